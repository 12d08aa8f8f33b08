/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/summary.h"

#include "visor/host/clock.h"
#include "visor/host/log.h"
#include "visor/lib/format.h"
#include "visor/vm/counters.h"
#include "visor/vm/memory.h"
#include "visor/vm/trace_disk.h"
#include "visor/vm/vm.h"
#include "visor/vm/watch.h"

static void write_tables(const struct counters *c, bool nested)
{
	uint64_t live[VMMU_LEVEL_MAX + 1] = {0};

	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
		live[level] = c->engine.tables_allocated[level] - c->engine.tables_freed[level];
	counters_write_by_level("tables", live);
	json_number("tables_freed", counters_tables_freed(c));
	if (nested)
		counters_write_by_level("tables_made_nested", c->engine.tables_nested);
	json_number("table_bytes", (counters_tables_allocated(c) - counters_tables_freed(c)) * VMMU_PAGE_SIZE);
}

void summary_write(struct vm *vm)
{
	struct counters c;

	counters_read(vm, &c);
	json_begin("summary");
	json_number("guest_ns", clock_ticks_to_ns(vm->end_tsc - vm->start_tsc));
	json_number("host_ticks", vm->end_tsc - vm->start_tsc);
	counters_write(vm, &c);
	write_tables(&c, vm->options->nested);
	json_open("mapped");
	json_number("4k", c.engine.pages[VMMU_LEVEL_4K]);
	json_number("2m", c.engine.pages[VMMU_LEVEL_2M]);
	json_number("1g", c.engine.pages[VMMU_LEVEL_1G]);
	json_close();
	json_number("frames", memory_frames(vm));
	watch_write(&vm->vcpu);
	json_number("trace_records", trace_disk_records());
	json_number("trace_dropped", trace_disk_dropped());
	json_number("audit_findings", vm->audit_findings);
	json_end();
}

static const char *end_name(enum vm_end end)
{
	switch (end) {
	case VM_POWER_OFF: return "power-off";
	case VM_REBOOT: return "reboot";
	case VM_TRIPLE_FAULT: return "triple-fault";
	case VM_DEBUG_EXIT: return "debug-exit";
	case VM_HALTED: return "halted";
	case VM_KILLED: return "killed";
	case VM_RUNNING:
	case VM_FAILED: break;
	}
	return "failed";
}

static void write_rip(const struct vm *vm)
{
	char text[17];

	/* As a string: readers of JSON take numbers of 63 bits at most. */
	snprintf(text, sizeof(text), "%llx", (unsigned long long)vm->vcpu.state.rip);
	json_string("rip", text);
}

static void write_end(const struct vm *vm, const char *event)
{
	json_begin(event);
	json_string("status", end_name(vm->end));
	json_number("code", vm->end_code);
	write_rip(vm);
	if (vm->reason[0])
		json_string("reason", vm->reason);
	json_end();
}

void summary_guest_ended(const struct vm *vm)
{
	write_end(vm, "ended");
}

void summary_end(const struct vm *vm)
{
	write_end(vm, "end");
}
