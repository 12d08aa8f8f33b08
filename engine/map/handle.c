/* SPDX-License-Identifier: BSD-2-Clause */
/* One fault from begin to end, whatever map handles it: told, handled, counted, told. */
#include "map/map.h"
#include "table/trace.h"

static void trace_begin_fault(struct vmmu_op *op, const struct vmmu_fault *f, uint64_t address)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_PAGE_FAULT);

	if (!r)
		return;
	r->access = f->access;
	r->page_fault = (struct vmmu_trace_page_fault){
		.address = address,
		.error_code = f->error_code,
		.guest_rip = f->rip,
		.word = f->word,
	};
	vmmu_trace_end(op);
}

static void trace_end_fault(const struct vmmu_vcpu *vcpu, struct vmmu_op *op, const struct vmmu_fault *f,
                            enum vmmu_fault_result result)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_FAULT_END);

	if (!r)
		return;
	r->level = f->level;
	r->result = result;
	r->fault_end = (struct vmmu_trace_fault_end){
		.gpa = f->gpa.v, .pfn = f->pfn.v, .entry = f->entry, .handler = op->map->ops->handler(vcpu)};
	vmmu_trace_end(op);
}

/* Apart, so that an untraced fault saves no registers for it. */
static VMMU_APART enum vmmu_fault_result
handle_traced(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *fault)
{
	enum vmmu_fault_result result;

	trace_begin_fault(op, fault, op->map->input == VMMU_INPUT_GVA ? fault->gva.v : fault->gpa.v);
	result = op->map->ops->fault(vcpu, op, fault);
	trace_end_fault(vcpu, op, fault, result);
	return result;
}

VMMU_INLINE void begin_fault(struct vmmu_op *op, struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause)
{
	vmmu_vcpu_op(op, vcpu);
	op->cause = cause;
	fault->id = op->fault = ++vcpu->actor.faults;
	fault->slot = UINT32_MAX;
	fault->pfn = vmmu_pfn_of(0);
	fault->entry = 0;
	fault->level = 0;
}

void vmmu_fault_begin(struct vmmu_op *op, struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause)
{
	begin_fault(op, vcpu, fault, cause);
}

VMMU_INLINE enum vmmu_fault_result handle(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause)
{
	enum vmmu_fault_result result;
	struct vmmu_op op;

	begin_fault(&op, vcpu, fault, cause);
	result = VMMU_UNLIKELY(op.tracing) ? handle_traced(vcpu, &op, fault)
	                                   : op.map->ops->fault(vcpu, &op, fault);
	vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}

enum vmmu_fault_result vmmu_handle(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause)
{
	return handle(vcpu, fault, cause);
}

/* Not by vmmu_handle: a constant cause saves what would carry it. */
enum vmmu_fault_result vmmu_handle_violation(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault)
{
	return handle(vcpu, fault, VMMU_CAUSE_VIOLATION);
}
