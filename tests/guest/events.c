/* SPDX-License-Identifier: BSD-2-Clause */
#include "events.h"

#define VECTOR_INT 0x50u
#define PATIENCE_TICKS UINT64_C(1000000000)

volatile unsigned deliveries;
struct frame seen;
uint64_t seen_cr2;
uint64_t trigger_address, return_address;

static uint64_t resume_address;

void record_event(struct frame *f)
{
	deliveries++;
	seen = *f;
	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(seen_cr2));
	if (f->vector == VECTOR_APIC)
		apic_write(APIC_EOI, 0);
	else if (f->vector == VECTOR_PIC)
		pic_end(0);
	else
		f->rip = resume_address;
}

/* ---- Triggers ------------------------------------------------------------------------- */

/* `at_fault`: the return address is the instruction itself, else the one behind it. */
#define RAISE(instruction, at_fault) \
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %2; lea 2f(%%rip), %%rcx; mov %%rcx, %1\n\t" \
	                 "test %3, %3; cmovz %%rcx, %%rax; mov %%rax, %0\n\t" \
	                 "mov %4, %%rdx\n" \
	                 "1: " instruction "\n" \
	                 "2:" \
	                 : "=m"(return_address), "=m"(resume_address), "=m"(trigger_address) \
	                 : "r"(at_fault), "r"(EVENT_NOT_MAPPED) \
	                 : "rax", "rcx", "rdx", "cc", "memory")

static void raise_int(void)
{
	RAISE("int $0x50", 0);
}
static void raise_breakpoint(void) { RAISE("int3", 0); }
static void raise_undefined(void) { RAISE("ud2", 1); }
static void raise_protection(void) { RAISE("mov $0x3b, %%eax; mov %%ax, %%ds", 1); }
static void raise_page_fault(void) { RAISE("mov %%eax, 0x123(%%rdx)", 1); }

static void raise_self_interrupt(void)
{
	apic_write(APIC_ICR, APIC_SELF | VECTOR_APIC);
	interrupts_on();
	__asm__ volatile("nop; nop");
	interrupts_off();
}

static void raise_timer(void)
{
	uint64_t start;

	pit_start(PIT_ONE_SHOT, 512);
	start = rdtsc();
	interrupts_on();
	while (!deliveries && rdtsc() - start < PATIENCE_TICKS)
		;
	interrupts_off();
	pic_setup(0xffff);
}

const struct event events[EVENTS] = {
	{"INT n", raise_int, VECTOR_INT, 0, true, 0},
	{"INT3", raise_breakpoint, VECTOR_BP, 0, true, 0},
	{"#UD", raise_undefined, VECTOR_UD, 0, true, 0},
	{"#GP", raise_protection, VECTOR_GP, 0x38, true, 5},
	{"#PF", raise_page_fault, VECTOR_PF, 2, true, 0},
	{"local APIC", raise_self_interrupt, VECTOR_APIC, 0, false, 0},
	{"PIT", raise_timer, VECTOR_PIC, 0, false, 0},
};
