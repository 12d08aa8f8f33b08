/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions and interrupts of the 32-bit guest (SDM vol. 3, 6.11). */
#include "guest.h"

enum { SELECTOR_CODE32 = 0x08 };

struct gate {
	uint16_t offset0, selector;
	uint8_t reserved, type;
	uint16_t offset16;
};

struct table_register {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static _Alignas(4096) struct gate idt[256];
static interrupt_fn handlers[256];
struct trap last_trap;

extern const char interrupt_entries[];
extern const char run_guarded_caught[];
extern uint32_t guarded_stack;

void interrupts_setup(void)
{
	struct table_register r = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned v = 0; v < 256; v++) {
		uint32_t entry = (uintptr_t)interrupt_entries + 16 * v;

		idt[v] = (struct gate){.offset0 = (uint16_t)entry, .selector = SELECTOR_CODE32, .type = 0x8e,
		                       .offset16 = (uint16_t)(entry >> 16)};
	}
	__asm__ volatile("lidt %0" : : "m"(r));
}

void on_interrupt(unsigned vector, interrupt_fn handler)
{
	handlers[vector] = handler;
}

static uint32_t read_cr2(void)
{
	uint32_t v;

	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
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
