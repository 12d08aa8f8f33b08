/* SPDX-License-Identifier: BSD-2-Clause */
/* A trace ring that seems full: ask its host for room, count and tell what is lost. */
#include "table/trace.h"

/* Look at the ring again: where the next record goes, and how many more follow it there. Returns how many fit in all. */
static uint32_t look_at(struct vmmu_actor *who)
{
	struct vmmu_trace_ring *ring = who->ring;
	uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED), at = head & (ring->size - 1);
	uint32_t room = ring->size - (head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)), to_end = ring->size - at;

	who->at = &ring->records[at];
	who->room = room < to_end ? room : to_end;
	return room;
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
	uint32_t needed = who->untold && who->ring && who->ring->size > 1 ? 2 : 1, room = 0;

	if (who->ring) {
		room = look_at(who);
		if (room < needed && t->host->trace_full) {
			t->host->trace_full(t->ctx, who->ring);
			room = look_at(who);
		}
	}
	if (room < needed) {
		who->room = 0;
		drop_record(who);
		return false;
	}
	if (who->untold && needed == 2) {
		tell_drops(op);
		look_at(who);
	}
	return true;
}
