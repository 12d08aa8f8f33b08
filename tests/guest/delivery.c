/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events whose delivery itself meets a page that is not mapped.
 *
 * The CPU reads IDT, GDT and TSS and pushes onto the handler's stack while it
 * delivers an event. When one of these is missing from the tables, the exit
 * comes in the middle of the delivery, and the visor has to deliver the event
 * again: once, with the same error code, return address and CR2 (SDM vol. 3,
 * 28.2.4 "Information for VM Exits That Occur During Event Delivery"; APM
 * vol. 2, 15.7.2 "Intercepts During IDT Interrupt Delivery").
 */
#include "guest.h"

#define VECTOR_INT 0x50u
#define PATIENCE_TICKS UINT64_C(1000000000)
#define NOT_MAPPED 0x400000000000ull /* a linear address without a PML4 entry */

static volatile unsigned deliveries;
static struct frame seen;
static uint64_t seen_cr2;

/* Set by each trigger: where the event's return address must point, and where to go on. */
static uint64_t return_address, resume_address;

static void record(struct frame *f)
{
	deliveries++;
	seen = *f;
	__asm__ volatile("mov %%cr2, %0" : "=r"(seen_cr2));
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
	__asm__ volatile("lea 1f(%%rip), %%rax; lea 2f(%%rip), %%rcx; mov %%rcx, %1\n\t" \
	                 "test %2, %2; cmovz %%rcx, %%rax; mov %%rax, %0\n\t" \
	                 "mov %3, %%rdx\n" \
	                 "1: " instruction "\n" \
	                 "2:" \
	                 : "=m"(return_address), "=m"(resume_address) \
	                 : "r"(at_fault), "r"(NOT_MAPPED) : "rax", "rcx", "rdx", "cc", "memory")

static void raise_int(void) { RAISE("int $0x50", 0); }
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

static const struct event {
	const char *name;
	void (*raise)(void);
	unsigned vector;
	uint64_t error;
	bool exact_return;   /* synchronous: the return address is known */
	unsigned skipped;    /* bytes of a trigger before the instruction that faults */
} events[] = {
	{"INT n", raise_int, VECTOR_INT, 0, true, 0},
	{"INT3", raise_breakpoint, VECTOR_BP, 0, true, 0},
	{"#UD", raise_undefined, VECTOR_UD, 0, true, 0},
	{"#GP", raise_protection, VECTOR_GP, 0x38, true, 5},
	{"#PF", raise_page_fault, VECTOR_PF, 2, true, 0},
	{"local APIC", raise_self_interrupt, VECTOR_APIC, 0, false, 0},
	{"PIT", raise_timer, VECTOR_PIC, 0, false, 0},
};
#define EVENTS (sizeof(events) / sizeof(events[0]))

/* ---- What goes missing -------------------------------------------------------------------- */

enum { IDT, GDT, TSS, STACK, STACK_EDGE, PIECES };

static const struct {
	const char *name;
	uint64_t bytes;
} pieces[PIECES] = {
	{"IDT", PAGE}, {"GDT", PAGE}, {"TSS", PAGE}, {"stack", 2 * PAGE}, {"stack across an edge", 2 * PAGE},
};
static uint64_t piece_page[PIECES];

/* An invalidation drops the entries and keeps the contents. */
static void drop(unsigned piece)
{
	device_ok("invalidate", TEST_INVALIDATE, piece_page[piece], pieces[piece].bytes, 0, 0);
}

static void check_delivery(const struct event *e, const char *missing)
{
	check(deliveries == 1, "%s without %s: delivered %u times", e->name, missing, deliveries);
	if (!deliveries)
		return;
	check(seen.vector == e->vector, "%s without %s: vector %lu", e->name, missing, seen.vector);
	check(seen.error == e->error, "%s without %s: error code 0x%lx", e->name, missing, seen.error);
	if (e->exact_return)
		check(seen.rip == return_address + e->skipped, "%s without %s: return address 0x%lx, not 0x%lx",
		      e->name, missing, seen.rip, return_address + e->skipped);
	if (e->vector == VECTOR_PF)
		check(seen_cr2 == NOT_MAPPED + 0x123, "#PF without %s: CR2 0x%lx", missing, seen_cr2);
}

static void deliver(const struct event *e, unsigned missing)
{
	uint64_t before = 0;

	/* 5 words are pushed: with the stack's top 16 bytes above an edge, both pages are written. */
	interrupt_stack(e->vector, piece_page[missing == STACK_EDGE ? STACK_EDGE : STACK] + PAGE +
	                                   (missing == STACK_EDGE ? 16 : 0));
	deliveries = 0;
	if (device_present()) {
		drop(missing);
		before = violations();
	}
	e->raise();
	if (device_present())
		check(violations() > before, "%s without %s: no violation", e->name, pieces[missing].name);
	check_delivery(e, pieces[missing].name);
	interrupt_stack(e->vector, 0);
}

/* Everything at once: one delivery, several violations. */
static void deliver_without_anything(const struct event *e)
{
	interrupt_stack(e->vector, piece_page[STACK_EDGE] + PAGE + 16);
	deliveries = 0;
	for (unsigned p = 0; p < PIECES && device_present(); p++)
		drop(p);
	e->raise();
	check_delivery(e, "all of them");
	interrupt_stack(e->vector, 0);
}

void test_delivery(void)
{
	apic_enable();
	for (unsigned p = 0; p < PIECES; p++)
		piece_page[p] = take_ram(2 * MIB); /* so that no two share a large leaf */
	move_table(TABLE_IDT, piece_page[IDT]);
	move_table(TABLE_GDT, piece_page[GDT]);
	move_table(TABLE_TSS, piece_page[TSS]);
	for (unsigned i = 0; i < EVENTS; i++)
		on_interrupt(events[i].vector, record);
	for (unsigned i = 0; i < EVENTS; i++) {
		for (unsigned p = 0; p < PIECES; p++)
			deliver(&events[i], p);
		deliver_without_anything(&events[i]);
	}
	for (unsigned i = 0; i < EVENTS; i++)
		on_interrupt(events[i].vector, NULL);
	if (device_present())
		audit("after events whose delivery faults");
}
