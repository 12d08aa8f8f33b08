/* SPDX-License-Identifier: BSD-2-Clause */
/* Records into the actor's ring. One branch when tracing is off. */
#ifndef VMMU_ENGINE_TRACE_H
#define VMMU_ENGINE_TRACE_H

#include "table/tables.h"

/* Room in the ring, asking the host to make some; fills what all records share. NULL: dropped. */
struct vmmu_trace_record *vmmu_trace_reserve(struct vmmu_op *op, enum vmmu_trace_event event);

static inline struct vmmu_trace_record *vmmu_trace_begin(struct vmmu_op *op,
                                                         enum vmmu_trace_event event)
{
	return __builtin_expect(op->tracing, 0) ? vmmu_trace_reserve(op, event) : NULL;
}

/* Publish the record that vmmu_trace_begin gave. */
static inline void vmmu_trace_end(struct vmmu_op *op)
{
	struct vmmu_trace_ring *ring = op->who->ring;
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

#endif
