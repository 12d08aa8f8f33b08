/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events whose delivery meets a page that is missing in the guest's own tables.
 *
 * The #PF belongs to the guest; what else becomes of the event is in SDM vol. 3,
 * table 6-5: an exception or a software interrupt comes again when the handler of
 * #PF returns to its instruction; #PF upon #PF is a double fault. An external
 * interrupt has been acknowledged and would be lost on a CPU; under shadow paging,
 * where it is the visor who delivers it, it must come all the same, and once.
 */
#include "events.h"
#include "space.h"

#define VECTOR_DF 8

enum { IDT,
       TSS,
       STACK,
       PIECES };
static const char *const piece_name[PIECES] = {"IDT", "TSS", "stack"};

/* The IDT's first 32 gates end at a page's edge: the gate of #PF stays when the others go. */
#define EXCEPTION_GATES (32 * 16)

static uint64_t piece_linear(unsigned piece)
{
	return paging->window + (16 * piece + 1) * PAGE;
}

static volatile unsigned faults;
static struct frame fault_seen;
static uint64_t fault_address, missing_linear, missing_entry;

static void map_missing(struct frame *f)
{
	faults++;
	fault_seen = *f;
	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(fault_address));
	space_map(read_cr3(), missing_linear, missing_entry, 1);
}

static void take_away(unsigned piece)
{
	missing_linear = piece_linear(piece);
	missing_entry = entry_read(space_table(read_cr3(), missing_linear, 1), index_of(missing_linear, 1));
	space_map(read_cr3(), missing_linear, 0, 1);
	invalidate_page(missing_linear);
}

static void check_fault(const struct event *e, unsigned piece)
{
	check(faults == 1, "%s without %s: %u page faults", e->name, piece_name[piece], faults);
	check_equal(fault_address & ~(PAGE - 1), missing_linear, "CR2's page of a #PF during a delivery");
	check_equal(fault_seen.error, piece == STACK ? 2 : 0, "error code of a #PF during a delivery");
	if (e->exact_return)
		check(fault_seen.rip == trigger_address + e->skipped,
		      "%s without %s: the #PF returns to 0x%lx, not to the instruction at 0x%lx", e->name,
		      piece_name[piece], fault_seen.rip, trigger_address + e->skipped);
}

static void check_delivery(const struct event *e, unsigned piece)
{
	check(deliveries == 1, "%s without %s: delivered %u times", e->name, piece_name[piece], deliveries);
	if (!deliveries)
		return;
	check(seen.vector == e->vector && seen.error == e->error, "%s without %s: vector %lu, error code 0x%lx",
	      e->name, piece_name[piece], seen.vector, seen.error);
	if (e->exact_return)
		check_equal(seen.rip, return_address + e->skipped, "return address of an event that came again");
}

static void deliver(const struct event *e, unsigned piece)
{
	/* The gates of exceptions are those that #PF needs. */
	if (piece == IDT && e->vector < 32)
		return;
	interrupt_stack(e->vector, piece_linear(STACK) + PAGE);
	on_interrupt(VECTOR_PF, map_missing);
	deliveries = faults = 0;
	take_away(piece);
	e->raise();
	check_fault(e, piece);
	check_delivery(e, piece);
	on_interrupt(VECTOR_PF, NULL);
	interrupt_stack(e->vector, 0);
}

/* The #PF's own stack is missing: a double fault, on the stack that there is. */
static void double_fault(const struct event *page_fault)
{
	interrupt_stack(VECTOR_PF, piece_linear(STACK) + PAGE);
	on_interrupt(VECTOR_DF, record_event);
	deliveries = 0;
	take_away(STACK);
	page_fault->raise();
	check_equal(deliveries, 1, "double faults by a #PF without a stack");
	check_equal(seen.vector, VECTOR_DF, "vector of #PF upon #PF");
	check_equal(seen.error, 0, "error code of a double fault");
	check_equal(seen_cr2 & ~(PAGE - 1), missing_linear, "CR2's page after a double fault");
	on_interrupt(VECTOR_DF, NULL);
	interrupt_stack(VECTOR_PF, 0);
	space_map(read_cr3(), missing_linear, missing_entry, 1);
}

/* Where IDT and TSS go in the end: pages that no space will use. */
static uint64_t afterwards;

static void map_pieces(void)
{
	for (unsigned p = 0; p < PIECES; p++)
		space_map(read_cr3(), piece_linear(p), frame_take() | ENTRY_P | ENTRY_W, 1);
	space_map(read_cr3(), piece_linear(IDT) - PAGE, frame_take() | ENTRY_P | ENTRY_W, 1);
	move_table(TABLE_IDT, piece_linear(IDT) - EXCEPTION_GATES);
	move_table(TABLE_TSS, piece_linear(TSS));
}

static void faulting_deliveries(void)
{
	map_pieces();
	for (unsigned i = 0; i < EVENTS; i++) {
		const struct event *e = &events[i];

		if (e->vector == VECTOR_PF) {
			double_fault(e);
			continue;
		}
		if (!e->exact_return && !on_shadow_tables())
			continue;
		on_interrupt(e->vector, record_event);
		for (unsigned p = 0; p < PIECES; p++)
			deliver(e, p);
		on_interrupt(e->vector, NULL);
	}
	move_table(TABLE_IDT, afterwards);
	move_table(TABLE_TSS, afterwards + PAGE);
}

void test_delivery_paging(void)
{
	apic_enable();
	afterwards = take_ram(2 * PAGE);
	if (!on_shadow_tables())
		skip("delivery-paging: external interrupts, which a CPU loses when their delivery faults");
	in_each_mode(faulting_deliveries);
}

static void triple_fault(void)
{
	map_pieces();
	interrupt_stack(VECTOR_PF, piece_linear(STACK) + PAGE);
	interrupt_stack(VECTOR_DF, piece_linear(STACK) + PAGE);
	take_away(STACK);
	*(volatile uint8_t *)EVENT_NOT_MAPPED;
	check(false, "a #PF upon a double fault came back");
}

void end_by_faults_upon_faults(void)
{
	in_each_mode(triple_fault);
}
