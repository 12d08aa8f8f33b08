/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real mode, in the form that needs no 16-bit code: CR0.PE off with the segments
 * that protected mode has loaded. VMX on shadow tables cannot follow there.
 */
#include "space.h"

#define PATTERN 0x600df00du

static uint32_t store_in_real_mode(uint64_t gpa)
{
	uint32_t value;

	write_cr0(read_cr0() & ~(uintptr_t)1);
	*word_at(gpa) = PATTERN;
	value = *word_at(gpa) + (uint32_t)(read_cr0() & 1);
	write_cr0(read_cr0() | 1);
	return value;
}

/* In real mode the interrupt table is at 0, as a BIOS has it; function 0Eh of interrupt 10h prints a character. */
void end_by_bios_call(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) table = {0x3ff, 0};

	interrupts_off();
	__asm__ volatile("lidt %0"
	                 :
	                 : "m"(table));
	write_cr0(read_cr0() & ~(uintptr_t)1);
	__asm__ volatile("int $0x10"
	                 :
	                 : "a"(0x0e41)
	                 : "memory");
	write_cr0(read_cr0() | 1);
	check(false, "a BIOS has answered");
}

void test_real_mode(void)
{
	uint64_t base = take_ram(2 * MIB);

	interrupts_off();
	for (unsigned i = 0; i < 8; i++) {
		check_equal(store_in_real_mode(base + i * PAGE), PATTERN, "a word stored in real mode");
		check_equal(*word_at(base + i * PAGE), PATTERN, "the same in protected mode");
	}
	if (device_present())
		audit("after real mode");
}
