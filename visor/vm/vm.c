/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/vm.h"

#include "visor/cpu/x86.h"
#include "visor/host/clock.h"
#include "visor/host/log.h"

uint64_t vm_now_ns(const struct vm *vm)
{
	return clock_ticks_to_ns(rdtsc() - vm->start_tsc);
}

void vm_refuse(const char *reason)
{
	log_line("visor: %s", reason);
	json_begin("end");
	json_string("status", "refused");
	json_number("code", 0);
	json_string("reason", reason);
	json_end();
}
