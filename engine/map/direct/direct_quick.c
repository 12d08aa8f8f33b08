/* SPDX-License-Identifier: BSD-2-Clause */
/* The short ways of a fault (direct_quick.h) with an operation: traced, tested, and judged. */
#include "map/direct/direct_quick.h"

enum vmmu_fault_result vmmu_quick_missing(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief,
                                          struct vmmu_answer *answer, struct vmmu_backing *backing)
{
	return quick_missing(vcpu, f, op, brief, is_quiet(vcpu, answer->sequence, true), op->cause, answer, backing);
}

enum vmmu_fault_result vmmu_quick_place(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                        const struct vmmu_answer *answer, const struct vmmu_backing *backing)
{
	return quick_place(vcpu, f, op, VMMU_BRIEF_NO, false, op->cause, answer, backing);
}

enum vmmu_fault_result vmmu_quick_present(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op)
{
	return quick_present(vcpu, f, op);
}
