/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault and its only write in one record (VMMU_TRACE_FAULT_FIXED), straight from the
 * facts at hand: a traced violation may cost little more than an untraced one.
 */
#ifndef VMMU_ENGINE_TRACE_FAULT_H
#define VMMU_ENGINE_TRACE_FAULT_H

#include "table/trace.h"
#include "table/write.h"

/* Bits of the error code and of the access that the record has room for. */
#define VMMU_FAULT_FIXED_ERROR 0x000000ff00000fffull
#define VMMU_FAULT_FIXED_ACCESS 0xffu

/* Of the word at offset 24, from bit 0 on: the root, the number of the table's frame, and the access in its last byte. */
enum { VMMU_FAULT_FIXED_FRAME = 16 };

/* A fault that has one, other than a violation on its usual way, is told in three records. */
VMMU_INLINE bool vmmu_is_fault_brief(const struct vmmu_fault *f)
{
	return !(f->error_code & ~VMMU_FAULT_FIXED_ERROR) && !(f->access & ~VMMU_FAULT_FIXED_ACCESS);
}

/*
 * Inside the gate, after the write: nothing was at `at`, and now there is `value`. There
 * is room for a record (who->room), and the fault is brief. Without an operation it gets its number here.
 */
VMMU_INLINE void vmmu_trace_fault_fixed(const struct vmmu_tables *t, struct vmmu_actor *who, const struct vmmu_op *op,
                                        struct vmmu_fault *f, enum vmmu_brief brief, uint16_t root,
                                        struct vmmu_place at, uint64_t value)
{
	struct vmmu_trace_record *r = who->at;
	const uint32_t id = op ? f->id : ++who->faults, seq = who->seq, stream = vmmu_trace_stream(who);
	const uint32_t what = VMMU_TRACE_FAULT_FIXED | at.level << 16;
	const uint64_t where = (uint64_t)root | at.table.v << (VMMU_FAULT_FIXED_FRAME - VMMU_PAGE_SHIFT);

	VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, frame_low) == offsetof(struct vmmu_trace_record, root) + 2 &&
	                           offsetof(struct vmmu_trace_record, frame_high) == offsetof(struct vmmu_trace_record, root) + 4,
	                   "where");
	f->id = id;
	who->seq = seq + VMMU_TRACE_EXPANDED;
	r->seq = seq;
	__builtin_memcpy(&r->event, &what, sizeof(what));
	r->error_high = (uint8_t)(f->error_code >> 32);
	__builtin_memcpy(&r->vm, &stream, sizeof(stream));
	r->fault = id;
	__builtin_memcpy(&r->root, &where, sizeof(where));
	((uint8_t *)&r->frame_high)[3] = (uint8_t)f->access;
	r->fault_fixed.address = f->gpa.v | f->error_code << 52;
	r->fault_fixed.guest_rip = f->rip;
	r->fault_fixed.word = f->word;
	r->fault_fixed.new_spte = value;
	if (brief == VMMU_BRIEF_HINTED || brief == VMMU_BRIEF_TSC)
		vmmu_trace_tsc(r);
	else
		r->time = vmmu_trace_time(t);
	vmmu_trace_publish(who);
}

#endif
