/* SPDX-License-Identifier: BSD-2-Clause */
/* A trace ring that seems full: ask its host for room, count and tell what is lost. */
#include "table/trace.h"

static uint32_t room_in(struct vmmu_trace_ring *ring)
{
	return ring->size - (__atomic_load_n(&ring->head, __ATOMIC_RELAXED) -
	                     __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE));
}

static void drop_record(struct vmmu_actor *who)
{
	/* The number is used up all the same: a gap in seq is a loss. */
	who->seq++;
	who->untold++;
	vmmu_count(&who->count.dropped, 1);
	if (who->ring)
		__atomic_fetch_add(&who->ring->dropped, 1, __ATOMIC_RELAXED);
}

static void tell_drops(struct vmmu_op *op)
{
	struct vmmu_trace_record *r = vmmu_trace_fill(op, VMMU_TRACE_DROPS);

	r->drops = (struct vmmu_trace_number){.records = op->who->untold};
	op->who->untold = 0;
	vmmu_trace_end(op);
}

bool vmmu_trace_make_room(struct vmmu_op *op)
{
	struct vmmu_tables *t = op->tables;
	struct vmmu_actor *who = op->who;
	/*
	 * A record about drops must not take the place of the next one. A ring
	 * of one has never room for both: there the gap in seq shows them.
	 */
	uint32_t needed = who->untold && who->ring && who->ring->size > 1 ? 2 : 1;

	if (who->ring) {
		who->room = room_in(who->ring);
		if (who->room < needed && t->host->trace_full) {
			t->host->trace_full(t->ctx, who->ring);
			who->room = room_in(who->ring);
		}
	}
	if (who->room < needed) {
		who->room = 0;
		drop_record(who);
		return false;
	}
	if (who->untold && needed == 2)
		tell_drops(op);
	return true;
}
