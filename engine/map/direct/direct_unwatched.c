/* SPDX-License-Identifier: BSD-2-Clause */
/* The short ways of a fault (direct_quick.h) without an operation: from vmmu_fault, while nobody watches. */
#include "map/direct/direct_quick.h"

static VMMU_APART enum vmmu_fault_result present_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = 0;

	if (VMMU_LIKELY(vmmu_fault_gfn(f) < vcpu->vm->memory.limit))
		result = quick_present(vcpu, f, NULL);
	return result ? result : vmmu_handle_violation(vcpu, f);
}

static VMMU_APART enum vmmu_fault_result missing_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f,
                                                           uint64_t sequence)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.sequence = sequence};
	enum vmmu_fault_result result = quick_missing(vcpu, f, NULL, VMMU_CAUSE_VIOLATION, &answer, &backing);

	if (VMMU_LIKELY(result))
		return result;
	return answer.given ? vmmu_direct_answered(vcpu, f, answer, &backing) : vmmu_handle_violation(vcpu, f);
}

/* ---- from vmmu_fault ------------------------------------------------------------------- */

/* Which way it is. No register is saved for that. */
enum vmmu_fault_result vmmu_direct_quick(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	uint64_t sequence;

	if (f->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED))
		return present_unwatched(vcpu, f);
	/* Before it is seen that nobody watches: who begins to makes answers old. */
	sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_acquire);
	if (VMMU_UNLIKELY(!has_hit(vcpu, vmmu_fault_gfn(f))))
		return vmmu_handle_violation(vcpu, f);
	if (VMMU_UNLIKELY(atomic_load_explicit(&vcpu->vm->tables.watched, memory_order_relaxed)))
		return vmmu_direct_watched(vcpu, f, sequence);
	return missing_unwatched(vcpu, f, sequence);
}
