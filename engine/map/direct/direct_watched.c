/* SPDX-License-Identifier: BSD-2-Clause */
/* A missing entry while somebody watches, from vmmu_fault: the short way (direct_quick.h) with its records. */
#include "map/direct/direct_known.h"
#include "map/fault_record.h"

/* What vmmu_handle and vmmu_direct_fault do for it, in one piece: most of a traced fault is calls otherwise. */
enum vmmu_fault_result vmmu_direct_watched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.sequence = sequence};
	enum vmmu_fault_result result = 0;
	struct vmmu_op op;

	vmmu_begin_fault(&op, vcpu, f, VMMU_CAUSE_VIOLATION);
	vmmu_trace_begin_fault(&op, f, f->gpa.v);
	f->slot = vcpu->hit.info.id;
	if (is_known(vcpu, vmmu_fault_gfn(f)) || (vcpu->known[1].pages && find_known(vcpu, vmmu_fault_gfn(f))))
		result = quick_known(vcpu, f, &op, VMMU_CAUSE_VIOLATION);
	if (!result)
		result = quick_missing(vcpu, f, &op, is_quiet(vcpu, sequence, &op), VMMU_CAUSE_VIOLATION, &answer, &backing);
	if (VMMU_UNLIKELY(!result))
		result = vmmu_direct_go_on(vcpu, &op, f, answer, &backing);
	vmmu_trace_end_fault(&op, f, result, vcpu->map->ops->handler(vcpu));
	vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}
