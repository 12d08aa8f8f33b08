/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptor tables, exceptions and interrupts of the 32-bit guest (SDM vol. 3, 3.4.5, 6.11, 7.2.1). */
#include "guest.h"

enum {
	SELECTOR_CODE32 = 0x08,
	SELECTOR_DATA = 0x10, /* as in boot_legacy.S; 18h and 20h are the user's */
	SELECTOR_TSS = 0x28,
};

struct gate {
	uint16_t offset0, selector;
	uint8_t reserved, type;
	uint16_t offset16;
};

/* Of a TSS, all but the stack for CPL 0 belongs to task switches. */
struct tss {
	uint32_t previous, esp0, ss0, rest[23];
};

struct table_register {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static _Alignas(4096) struct gate idt[256];
static _Alignas(8) uint64_t gdt[6] = {
	0,
	0x00cf9b000000ffff,
	0x00cf93000000ffff,
	0x00cffb000000ffff,
	0x00cff3000000ffff,
};
static struct tss tss = {.ss0 = SELECTOR_DATA};
static interrupt_fn handlers[256];
struct trap last_trap;

extern const char interrupt_entries[];
extern const char run_guarded_caught[];
extern uint32_t guarded_stack;

static void load_gdt_and_tss(void)
{
	struct table_register r = {sizeof(gdt) - 1, (uintptr_t)gdt};
	uint64_t base = (uintptr_t)&tss;

	gdt[SELECTOR_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	__asm__ volatile("lgdt %0; ltr %w1"
	                 :
	                 : "m"(r), "r"(SELECTOR_TSS));
}

void interrupts_setup(void)
{
	struct table_register r = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned v = 0; v < 256; v++) {
		uint32_t entry = (uintptr_t)interrupt_entries + 16 * v;

		idt[v] = (struct gate){
			.offset0 = (uint16_t)entry,
			.selector = SELECTOR_CODE32,
			.type = 0x8e,
			.offset16 = (uint16_t)(entry >> 16),
		};
	}
	__asm__ volatile("lidt %0"
	                 :
	                 : "m"(r));
	load_gdt_and_tss();
}

void on_interrupt(unsigned vector, interrupt_fn handler)
{
	handlers[vector] = handler;
}

static uint32_t read_cr2(void)
{
	uint32_t v;

	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(v));
	return v;
}

static _Noreturn void report_unexpected(const struct frame *f)
{
	print("FAIL exception %u, error 0x%x, eip 0x%x, cr2 0x%x, eflags 0x%x\n", f->vector, f->error, f->eip,
	      read_cr2(), f->eflags);
	print("  eax %8x ebx %8x ecx %8x edx %8x esi %8x edi %8x ebp %8x\n", f->eax, f->ebx, f->ecx, f->edx,
	      f->esi, f->edi, f->ebp);
	guest_exit(GUEST_EXCEPTION);
}

void interrupt_arrived(struct frame *f);
void interrupt_arrived(struct frame *f)
{
	if (handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (f->vector >= 32 || !guarded_stack)
		report_unexpected(f);
	last_trap = (struct trap){f->vector, f->error, f->eip, read_cr2()};
	f->eip = (uintptr_t)run_guarded_caught;
}

/* ---- CPL 3 ------------------------------------------------------------------------- */

void user_interrupt_stack(uintptr_t top)
{
	tss.esp0 = top;
}
