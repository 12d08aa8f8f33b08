/* SPDX-License-Identifier: BSD-2-Clause */
/* The rare parts of fault preparation. */
#include "map/prepare.h"

VMMU_INLINE bool take_slot(struct vmmu_vcpu *vcpu, struct vmmu_inside inside, uint64_t gfn)
{
	const struct vmmu_memory *memory = &vcpu->vm->memory;
	struct vmmu_slot *slot = vmmu_slot_at(memory, vmmu_reading_inside(inside), gfn);

	vmmu_assert_inside(inside);
	if (!slot)
		return false;
	vcpu->hit = (struct vmmu_slot_hit){
		.generation = atomic_load_explicit(&memory->generation, memory_order_relaxed),
		.slot = slot,
		.info = slot->info,
		.first = slot->first,
		.end = slot->end,
		.grants = vcpu->grants[slot->info.flags],
	};
	return true;
}

VMMU_RARE bool vmmu_take_slot(struct vmmu_vcpu *vcpu, struct vmmu_inside inside, uint64_t gfn)
{
	return take_slot(vcpu, inside, gfn);
}

VMMU_RARE bool vmmu_search_slot(struct vmmu_vcpu *vcpu, struct vmmu_op *op, uint64_t gfn)
{
	struct vmmu_inside inside = vmmu_op_enter(op);
	bool found = take_slot(vcpu, inside, gfn);

	vmmu_op_leave(op, inside);
	return found;
}

VMMU_RARE enum vmmu_fault_result vmmu_refusal(enum vmmu_backing_result result)
{
	switch (result) {
	case VMMU_BACKING_RETRY:
		return VMMU_FAULT_RETRY;
	case VMMU_BACKING_NO_MEMORY:
		return VMMU_FAULT_NO_MEMORY;
	case VMMU_BACKING_DENIED:
		return VMMU_FAULT_DENIED;
	default:
		return VMMU_FAULT_BAD_BACKING;
	}
}
