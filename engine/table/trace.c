/* SPDX-License-Identifier: BSD-2-Clause */
#include "table/trace.h"

static uint32_t ring_used(struct vmmu_trace_ring *ring)
{
	return atomic_load_explicit(&ring->head, memory_order_relaxed) -
	       atomic_load_explicit(&ring->tail, memory_order_acquire);
}

static bool ring_has_room(struct vmmu_op *op, struct vmmu_trace_ring *ring, uint32_t records)
{
	const struct vmmu_host *host = op->tables->host;

	if (ring->size - ring_used(ring) >= records)
		return true;
	if (host->trace_full)
		host->trace_full(op->tables->ctx, ring);
	return ring->size - ring_used(ring) >= records;
}

static void drop(struct vmmu_op *op)
{
	struct vmmu_actor *who = op->who;

	/* The number is used up all the same: a gap in seq is a loss. */
	who->seq++;
	who->untold++;
	vmmu_count(&who->count.dropped, 1);
	if (who->ring)
		atomic_fetch_add_explicit(&who->ring->dropped, 1, memory_order_relaxed);
}

static struct vmmu_trace_record *fill(struct vmmu_op *op, enum vmmu_trace_event event)
{
	struct vmmu_actor *who = op->who;
	struct vmmu_trace_ring *ring = who->ring;
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	struct vmmu_trace_record *r = &ring->records[head & (ring->size - 1)];

	*r = (struct vmmu_trace_record){
		.time = op->tables->host->time ? op->tables->host->time(op->tables->ctx) : 0,
		.seq = who->seq++,
		.event = (uint16_t)event,
		.vm = op->tables->vm_id,
		.vcpu = who->id,
		.fault = op->fault,
		.root = op->root,
	};
	return r;
}

struct vmmu_trace_record *vmmu_trace_reserve(struct vmmu_op *op, enum vmmu_trace_event event)
{
	struct vmmu_actor *who = op->who;
	uint32_t needed = who->untold ? 2 : 1;

	if (!who->ring || !ring_has_room(op, who->ring, needed)) {
		drop(op);
		return NULL;
	}
	if (__builtin_expect(who->untold != 0, 0)) {
		struct vmmu_trace_record *told = fill(op, VMMU_TRACE_DROPS);

		told->a[0] = who->untold;
		who->untold = 0;
		vmmu_trace_end(op);
	}
	return fill(op, event);
}
