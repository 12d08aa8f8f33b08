/* SPDX-License-Identifier: BSD-2-Clause */
/* One fault from begin to end, whatever map handles it: told, handled, counted, told. */
#include "map/fault_record.h"

/* Apart, so that an untraced fault saves no registers for it. */
static VMMU_APART enum vmmu_fault_result
handle_traced(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *fault)
{
	enum vmmu_fault_result result;

	vmmu_trace_begin_fault(op, fault, op->map->input == VMMU_INPUT_GVA ? fault->gva.v : fault->gpa.v);
	result = op->map->ops->fault(vcpu, op, fault);
	vmmu_trace_end_fault(op, fault, result, op->map->ops->handler(vcpu));
	return result;
}

void vmmu_fault_begin(struct vmmu_op *op, struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause)
{
	vmmu_begin_fault(op, vcpu, fault, cause);
}

VMMU_INLINE enum vmmu_fault_result handle(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause)
{
	enum vmmu_fault_result result;
	struct vmmu_op op;

	vmmu_begin_fault(&op, vcpu, fault, cause);
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
