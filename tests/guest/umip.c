/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * User-mode instruction prevention (SDM vol. 3, 2.5): with CR4.UMIP set, SGDT, SIDT,
 * SLDT, STR and SMSW at CPL 3 raise #GP(0); without it, and at CPL 0, they store. Where the
 * CPU has none, the visor makes it of exits; those of VMX leave SMSW out.
 */
#include "space.h"
#include "user.h"

enum { CR4_UMIP = 1 << 11,
       INSTRUCTION_BYTES = 3 };

/* At (%edx), each followed by UD2, which ends the user's program. */
static const uint8_t code[][INSTRUCTION_BYTES + 2] = {
	{0x0f, 0x01, 0x02, 0x0f, 0x0b},
	{0x0f, 0x01, 0x0a, 0x0f, 0x0b},
	{0x0f, 0x00, 0x02, 0x0f, 0x0b},
	{0x0f, 0x00, 0x0a, 0x0f, 0x0b},
	{0x0f, 0x01, 0x22, 0x0f, 0x0b},
};
static const char *const names[] = {"SGDT", "SIDT", "SLDT", "STR", "SMSW"};

static unsigned refusals;
static volatile uint32_t to[4];

static void skip_instruction(struct frame *f)
{
	check_equal(f->error, 0, "error code of #GP by UMIP");
	refusals++;
	f->eip += INSTRUCTION_BYTES;
}

static void as_user(unsigned i, bool prevented)
{
	struct user_registers r = {.dx = (uintptr_t)to, .ip = (uintptr_t)code[i], .flags = 2};

	to[0] = to[1] = 0x5a5a5a5a;
	refusals = 0;
	user_run(&r);
	check(refusals == prevented, "%s at CPL 3, UMIP %u: %u #GP", names[i], prevented, refusals);
	check((to[0] != 0x5a5a5a5a) == !prevented, "%s at CPL 3, UMIP %u: 0x%x stored", names[i], prevented, to[0]);
}

/* To a register there is no memory operand, and all of it is written. */
static uint32_t store_task_register(void)
{
	uint32_t v = 0xffffffff;

	__asm__ volatile("str %0"
	                 : "+r"(v));
	return v;
}

void test_umip(void)
{
	unsigned instructions = cpuid(0, 0).b == 0x756e6547 /* "Genu" */ ? 4 : 5;
	uintptr_t cr4 = read_cr4();
	uint32_t task = store_task_register();
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) before, after;

	if (!(cpuid(7, 0).c & 1 << 2)) {
		skip("umip: CPUID shows none");
		return;
	}
	interrupts_off();
	on_interrupt(VECTOR_GP, skip_instruction);
	__asm__ volatile("sgdt %0"
	                 : "=m"(before));
	for (unsigned round = 0; round < 2; round++) {
		write_cr4(cr4);
		for (unsigned i = 0; i < instructions; i++)
			as_user(i, false);
		write_cr4(cr4 | CR4_UMIP);
		check_equal(read_cr4(), cr4 | CR4_UMIP, "CR4 with UMIP");
		for (unsigned i = 0; i < instructions; i++)
			as_user(i, true);
		__asm__ volatile("sgdt %0"
		                 : "=m"(after));
		check(before.limit == after.limit && before.base == after.base, "SGDT at CPL 0: limit 0x%x, base 0x%x",
		      after.limit, after.base);
		check_equal(store_task_register(), task, "STR to a register at CPL 0");
		__asm__ volatile("lgdt %0"
		                 :
		                 : "m"(after));
	}
	write_cr4(cr4);
	on_interrupt(VECTOR_GP, NULL);
}
