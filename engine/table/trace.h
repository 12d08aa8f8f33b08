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

/* What is told of a fault with its write, and whose clock the record has. */
enum vmmu_brief {
	VMMU_BRIEF_NO,     /* the write alone: the fault has records of its own */
	VMMU_BRIEF_HINTED, /* all, where the vCPU's hint leads: nothing is called */
	VMMU_BRIEF_TSC,    /* all; as before host.time_is_tsc is set */
	VMMU_BRIEF
};

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

/* `vm` and `vcpu` of the actor's records. */
static inline uint32_t vmmu_trace_stream(const struct vmmu_actor *who)
{
	uint32_t stream;

	VMMU_STATIC_ASSERT(offsetof(struct vmmu_actor, id) == offsetof(struct vmmu_actor, vm) + 2, "stream");
	__builtin_memcpy(&stream, &who->vm, sizeof(stream));
	return stream;
}

static inline uint64_t vmmu_trace_time(const struct vmmu_tables *t)
{
	if (VMMU_LIKELY(t->host->time_is_tsc))
		return __builtin_ia32_rdtsc();
	return t->host->time ? t->host->time(t->ctx) : 0;
}

/* The same by the TSC, whose halves go in as they come. */
static inline void vmmu_trace_tsc(struct vmmu_trace_record *r)
{
#ifdef VMMU_DEBUG
	r->time = __builtin_ia32_rdtsc();
#else
	uint32_t low, high;

	__asm__ volatile("rdtsc"
	                 : "=a"(low), "=d"(high));
	__builtin_memcpy(&r->time, &low, sizeof(low));
	__builtin_memcpy((char *)&r->time + sizeof(low), &high, sizeof(high));
#endif
}

static inline struct vmmu_trace_record *vmmu_trace_fill_as(struct vmmu_op *op, struct vmmu_trace_about about)
{
	struct vmmu_actor *who = op->who;
	struct vmmu_trace_record *r = who->at;

	vmmu_trace_words(r, vmmu_trace_time(op->tables),
	                 who->seq++ | (uint64_t)about.event << 32 | (uint64_t)about.level << 48 | (uint64_t)about.cause << 56,
	                 vmmu_trace_stream(who) | (uint64_t)op->fault << 32,
	                 op->map->id | (uint64_t)about.index << 16 | (uint64_t)about.aux << 32);
	return r;
}

static inline struct vmmu_trace_record *vmmu_trace_fill(struct vmmu_op *op, enum vmmu_trace_event event)
{
	return vmmu_trace_fill_as(op, (struct vmmu_trace_about){.event = event});
}

/* Somebody else has moved the ring's head: what is remembered of it is of no use to its reader. */
static inline bool vmmu_trace_is_astray(const struct vmmu_actor *who)
{
	const struct vmmu_trace_ring *ring = who->ring;

	return who->at != &ring->records[__atomic_load_n(&ring->head, __ATOMIC_RELAXED) & (ring->size - 1)];
}

/*
 * A record to be filled in, then published by vmmu_trace_end. NULL: not
 * tracing, or no room. The caller sets the whole payload, unless it has none.
 */
static inline struct vmmu_trace_record *vmmu_trace_begin_as(struct vmmu_op *op, struct vmmu_trace_about about)
{
	if (VMMU_LIKELY(!op->tracing))
		return NULL;
	if (VMMU_UNLIKELY(op->who->room == 0 || vmmu_trace_is_astray(op->who)) && !vmmu_trace_make_room(op))
		return NULL;
	return vmmu_trace_fill_as(op, about);
}

static inline struct vmmu_trace_record *vmmu_trace_begin(struct vmmu_op *op, enum vmmu_trace_event event)
{
	return vmmu_trace_begin_as(op, (struct vmmu_trace_about){.event = event});
}

/* The record at who->at is whole. */
static inline void vmmu_trace_publish(struct vmmu_actor *who)
{
	who->at++;
	who->room--;
	VMMU_STEP(&who->ring->head);
}

static inline void vmmu_trace_end(struct vmmu_op *op)
{
	vmmu_trace_publish(op->who);
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
