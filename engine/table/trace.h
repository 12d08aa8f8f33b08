/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records into the actor's ring. One branch when tracing is off; inlined,
 * because an entry write should cost little more when it is on.
 */
#ifndef VMMU_ENGINE_TRACE_H
#define VMMU_ENGINE_TRACE_H

#include "table/tables.h"

/* The ring seemed full: read its tail again, call the host, record drops. False: this record is lost. */
bool vmmu_trace_make_room(struct vmmu_op *op);

static inline struct vmmu_trace_record *vmmu_trace_fill(struct vmmu_op *op,
                                                        enum vmmu_trace_event event)
{
	struct vmmu_tables *t = op->tables;
	struct vmmu_actor *who = op->who;
	struct vmmu_trace_ring *ring = who->ring;
	uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
	struct vmmu_trace_record *r = &ring->records[head & (ring->size - 1)];

	r->time = t->host->time ? t->host->time(t->ctx) : 0;
	r->seq = who->seq++;
	r->event = (uint16_t)event;
	r->level = 0;
	r->cause = 0;
	r->vm = t->vm_id;
	r->vcpu = who->id;
	r->fault = op->fault;
	r->root = op->map->id;
	r->index = 0;
	r->aux = 0;
	return r;
}

/*
 * A record to be filled in, then published by vmmu_trace_end. NULL: not
 * tracing, or no room. The caller sets the whole payload, unless it has none.
 */
static inline struct vmmu_trace_record *vmmu_trace_begin(struct vmmu_op *op,
                                                         enum vmmu_trace_event event)
{
	if (VMMU_LIKELY(!op->tracing))
		return NULL;
	if (VMMU_UNLIKELY(op->who->room == 0) && !vmmu_trace_make_room(op))
		return NULL;
	return vmmu_trace_fill(op, event);
}

static inline void vmmu_trace_end(struct vmmu_op *op)
{
	struct vmmu_trace_ring *ring = op->who->ring;
	uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);

	op->who->room--;
	__atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
}

#endif
