/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hardware task switch (SDM vol. 3, 8.3): there and on. VMX always leaves it to
 * the hypervisor. QEMU's SVM does not, not even on shadow tables: the VM ends then.
 */
#include "guest.h"

enum { CODE = 0x08, DATA = 0x10, TASK_FROM = 0x18, TASK_TO = 0x20, GDT_ENTRIES = 5 };

/* 32-bit TSS (SDM vol. 3, figure 8-2), as words. */
enum { TSS_CR3 = 7, TSS_EIP = 8, TSS_EFLAGS = 9, TSS_ESP = 14, TSS_ES = 18, TSS_CS = 19, TSS_GS = 23, TSS_WORDS = 26 };

static uint32_t from[TSS_WORDS];
extern uint32_t task_to[TSS_WORDS];
uint32_t task_to[TSS_WORDS];
static uint64_t gdt[GDT_ENTRIES];

static uint64_t task_descriptor(const uint32_t *tss)
{
	uint64_t base = (uintptr_t)tss;

	return (TSS_WORDS * 4 - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24) << 56;
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) gdtr = {sizeof(gdt) - 1, (uintptr_t)gdt};

	gdt[CODE / 8] = 0x00cf9b000000ffff;
	gdt[DATA / 8] = 0x00cf93000000ffff;
	gdt[TASK_FROM / 8] = task_descriptor(from);
	gdt[TASK_TO / 8] = task_descriptor(task_to);
	__asm__ volatile("lgdt %0; ltr %w1" : : "m"(gdtr), "r"(TASK_FROM));
}

void test_task_switch(void)
{
	static volatile uint32_t arrived;

	interrupts_off();
	load_tables();
	for (unsigned i = TSS_ES; i <= TSS_GS; i++)
		task_to[i] = i == TSS_CS ? CODE : DATA;
	task_to[TSS_EFLAGS] = 2;
	/* The new task is this very function, one instruction on: only the stack pointer is carried over. */
	__asm__ volatile("push %%ebp; push %%ebx\n\t"
	                 "mov %%cr3, %%eax; mov %%eax, task_to + 4 * %c1; movl $1f, task_to + 4 * %c2; mov %%esp, task_to + 4 * %c3\n\t"
	                 "ljmp %4, $0\n"
	                 "1:	pop %%ebx; pop %%ebp\n\t"
	                 "movl $0x7a5c, %0"
	                 : "=m"(arrived)
	                 : "i"(TSS_CR3), "i"(TSS_EIP), "i"(TSS_ESP), "i"(TASK_TO)
	                 : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
	check_equal(arrived, 0x7a5c, "what the new task wrote");
}
