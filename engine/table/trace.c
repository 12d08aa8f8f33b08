/* SPDX-License-Identifier: BSD-2-Clause */
#include "table/trace.h"

static uint32_t room_in(struct vmmu_trace_ring *ring)
{
	return ring->size - (atomic_load_explicit(&ring->head, memory_order_relaxed) -
	                     atomic_load_explicit(&ring->tail, memory_order_acquire));
}

static void drop(struct vmmu_actor *who)
{
	/* The number is used up all the same: a gap in seq is a loss. */
	who->seq++;
	who->untold++;
	vmmu_count(&who->count.dropped, 1);
	if (who->ring)
		atomic_fetch_add_explicit(&who->ring->dropped, 1, memory_order_relaxed);
}

static void tell_drops(struct vmmu_op *op)
{
	struct vmmu_trace_record *r = vmmu_trace_fill(op, VMMU_TRACE_DROPS);

	vmmu_trace_words(r, op->who->untold, 0, 0, 0);
	op->who->untold = 0;
	vmmu_trace_end(op);
}

bool vmmu_trace_make_room(struct vmmu_op *op)
{
	struct vmmu_tables *t = op->tables;
	struct vmmu_actor *who = op->who;
	/* A record that tells of drops must not take the place of the next one. */
	uint32_t needed = who->untold ? 2 : 1;

	if (who->ring) {
		who->room = room_in(who->ring);
		if (who->room < needed && t->host->trace_full) {
			t->host->trace_full(t->ctx, who->ring);
			who->room = room_in(who->ring);
		}
	}
	if (who->room < needed) {
		who->room = 0;
		drop(who);
		return false;
	}
	if (who->untold)
		tell_drops(op);
	return true;
}
