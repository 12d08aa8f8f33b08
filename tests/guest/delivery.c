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
#include "events.h"

/* ---- What goes missing -------------------------------------------------------------------- */

enum { IDT,
       GDT,
       TSS,
       STACK,
       STACK_EDGE,
       PIECES };

static const struct {
	const char *name;
	uint64_t bytes;
} pieces[PIECES] = {
	{"IDT", PAGE},
	{"GDT", PAGE},
	{"TSS", PAGE},
	{"stack", 2 * PAGE},
	{"stack across an edge", 2 * PAGE},
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
		check(seen_cr2 == EVENT_NOT_MAPPED + 0x123, "#PF without %s: CR2 0x%lx", missing, seen_cr2);
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
		on_interrupt(events[i].vector, record_event);
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
