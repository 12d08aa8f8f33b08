/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/execute.h"

#include "visor/cpu/state.h"
#include "visor/cpu/x86.h"
#include "visor/host/interrupts.h"
#include "visor/lib/string.h"

/* CR0.WP lets read-only pages be written for as long as it is off (SDM vol. 3, 4.6.1): none of them is for good. */
static void put_code(const uint8_t *code, unsigned bytes)
{
	uint64_t cr0 = read_cr0();

	write_cr0(cr0 & ~X86_CR0_WP);
	memcpy(native_code, code, bytes);
	write_cr0(cr0);
}

int execute_code(const uint8_t *code, unsigned bytes, struct native_registers *registers)
{
	int vector;

	put_code(code, bytes);
	interrupts_recover(native_code, native_code + NATIVE_CODE_BYTES, native_recover);
	vector = native_run(registers, native_code);
	interrupts_recover(NULL, NULL, NULL);
	return vector;
}
