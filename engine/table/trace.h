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

/* What a record says beside its payload, its time, its number and whose it is. */
struct vmmu_trace_about {
	enum vmmu_trace_event event;
	uint8_t level, cause;
	uint16_t index;
	uint32_t aux;
};

/*
 * The head goes in by whole words, as the format has them: it is little endian, and so
 * is every CPU with these tables. Field by field it takes twelve stores instead of four.
 */
static inline void vmmu_trace_words(struct vmmu_trace_record *r, uint64_t time, uint64_t numbered, uint64_t whose,
                                    uint64_t where)
{
	const uint64_t words[] = {time, numbered, whose, where};

	VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, seq) == 8 && offsetof(struct vmmu_trace_record, event) == 12 &&
	                           offsetof(struct vmmu_trace_record, level) == 14 && offsetof(struct vmmu_trace_record, cause) == 15,
	                   "numbered");
	VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, vm) == 16 && offsetof(struct vmmu_trace_record, vcpu) == 18 &&
	                           offsetof(struct vmmu_trace_record, fault) == 20,
	                   "whose");
	VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, root) == 24 && offsetof(struct vmmu_trace_record, index) == 26 &&
	                           offsetof(struct vmmu_trace_record, aux) == 28,
	                   "where");
	__builtin_memcpy(r, words, sizeof(words));
}

static inline struct vmmu_trace_record *vmmu_trace_fill_as(struct vmmu_op *op, struct vmmu_trace_about about)
{
	struct vmmu_tables *t = op->tables;
	struct vmmu_actor *who = op->who;
	struct vmmu_trace_ring *ring = who->ring;
	uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
	struct vmmu_trace_record *r = &ring->records[head & (ring->size - 1)];

	vmmu_trace_words(r, t->host->time ? t->host->time(t->ctx) : 0,
	                 who->seq++ | (uint64_t)about.event << 32 | (uint64_t)about.level << 48 | (uint64_t)about.cause << 56,
	                 t->vm_id | (uint64_t)who->id << 16 | (uint64_t)op->fault << 32,
	                 op->map->id | (uint64_t)about.index << 16 | (uint64_t)about.aux << 32);
	return r;
}

static inline struct vmmu_trace_record *vmmu_trace_fill(struct vmmu_op *op, enum vmmu_trace_event event)
{
	return vmmu_trace_fill_as(op, (struct vmmu_trace_about){.event = event});
}

/*
 * A record to be filled in, then published by vmmu_trace_end. NULL: not
 * tracing, or no room. The caller sets the whole payload, unless it has none.
 */
static inline struct vmmu_trace_record *vmmu_trace_begin_as(struct vmmu_op *op, struct vmmu_trace_about about)
{
	if (VMMU_LIKELY(!op->tracing))
		return NULL;
	if (VMMU_UNLIKELY(op->who->room == 0) && !vmmu_trace_make_room(op))
		return NULL;
	return vmmu_trace_fill_as(op, about);
}

static inline struct vmmu_trace_record *vmmu_trace_begin(struct vmmu_op *op, enum vmmu_trace_event event)
{
	return vmmu_trace_begin_as(op, (struct vmmu_trace_about){.event = event});
}

static inline void vmmu_trace_end(struct vmmu_op *op)
{
	struct vmmu_trace_ring *ring = op->who->ring;
	uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);

	op->who->room--;
	__atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
}

/* An entry of L1's, read to merge it with ours. */
static inline void vmmu_trace_element(struct vmmu_op *op, unsigned level, enum vmmu_cause cause,
                                      struct vmmu_trace_element element)
{
	struct vmmu_trace_record *r = vmmu_trace_begin_as(
		op, (struct vmmu_trace_about){.event = VMMU_TRACE_PAGING_ELEMENT, .level = (uint8_t)level, .cause = (uint8_t)cause});

	if (!r)
		return;
	r->element = element;
	vmmu_trace_end(op);
}

#endif
