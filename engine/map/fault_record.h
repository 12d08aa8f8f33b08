/* SPDX-License-Identifier: BSD-2-Clause */
/* How a fault begins, and the two records that tell of it: in line, as every fault has them. */
#ifndef VMMU_FAULT_RECORD_H
#define VMMU_FAULT_RECORD_H

#include "map/map.h"
#include "table/trace.h"

/* A fault gets its number and its operation. `cause` goes into the entries that it writes. */
VMMU_INLINE void vmmu_begin_fault(struct vmmu_op *op, struct vmmu_vcpu *vcpu, struct vmmu_fault *fault,
                                  enum vmmu_cause cause)
{
	vmmu_vcpu_op(op, vcpu);
	op->cause = cause;
	fault->id = op->fault = ++vcpu->actor.faults;
	fault->slot = UINT32_MAX;
	fault->pfn = vmmu_pfn_of(0);
	fault->entry = 0;
	fault->level = 0;
}

/* `address`: what the map translates. The host's hint is no part of the access. */
VMMU_INLINE void vmmu_trace_begin_fault(struct vmmu_op *op, const struct vmmu_fault *f, uint64_t address)
{
	struct vmmu_trace_record *r =
		vmmu_trace_begin_as(op, (struct vmmu_trace_about){.event = VMMU_TRACE_PAGE_FAULT, .aux = f->access & ~(uint32_t)VMMU_ACCESS_REPEATS});

	if (!r)
		return;
	r->page_fault = (struct vmmu_trace_page_fault){
		.address = address,
		.error_code = f->error_code,
		.guest_rip = f->rip,
		.word = f->word,
	};
	vmmu_trace_end(op);
}

VMMU_INLINE void vmmu_trace_end_fault(struct vmmu_op *op, const struct vmmu_fault *f, enum vmmu_fault_result result,
                                      enum vmmu_handler handler)
{
	struct vmmu_trace_record *r = vmmu_trace_begin_as(
		op, (struct vmmu_trace_about){.event = VMMU_TRACE_FAULT_END, .level = f->level, .aux = result});

	if (!r)
		return;
	r->fault_end = (struct vmmu_trace_fault_end){
		.gpa = f->gpa.v, .pfn = f->pfn.v, .entry = f->entry, .handler = handler};
	vmmu_trace_end(op);
}

#endif
