/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls of nested modes: L1 enters L2 and comes back; which tags are stale. */
#include "api/api.h"
#include "map/nested/nested.h"

static bool is_nested(const struct vmmu_vcpu *vcpu)
{
	return vcpu->map->input == VMMU_INPUT_NESTED_GPA;
}

enum vmmu_status vmmu_vcpu_set_nested(struct vmmu_vcpu *vcpu, const struct vmmu_nested *nested)
{
	static const struct vmmu_guest_mode none = {.levels = 0};
	const struct vmmu_guest_mode *mode = &none;
	enum vmmu_status status = VMMU_OK;
	struct vmmu_op op;

	if (!is_nested(vcpu))
		return VMMU_ERR_INVALID;
	if (nested)
		mode = vmmu_nested_mode(vcpu, nested, &status);
	if (status != VMMU_OK)
		return status;
	vmmu_vcpu_op(&op, vcpu);
	op.cause = VMMU_CAUSE_ROOT;
	/*
	 * L1 has executed INVEPT before it enters L2, and nobody has done anything for it: what it wrote
	 * took what followed from it out of reach. But another vCPU may have done that, and still owe
	 * the flush.
	 */
	if (nested && !vmmu_flushes_wait(&op))
		return VMMU_ERR_BUSY;
	return vmmu_shadow_switch(vcpu, &op, mode);
}

bool vmmu_nested_tag(struct vmmu_vcpu *vcpu, uint16_t tag, enum vmmu_nested_flush flush, uint16_t flushed)
{
	struct vmmu_nested_vcpu *nv = (struct vmmu_nested_vcpu *)vcpu;
	bool stale;

	if (!is_nested(vcpu))
		return true;
	stale = !tag || tag != nv->tag || flush == VMMU_NESTED_FLUSH_ALL || flush > VMMU_NESTED_FLUSH_TABLES ||
	        ((flush == VMMU_NESTED_FLUSH_TAG || flush == VMMU_NESTED_FLUSH_ADDRESS) && flushed == tag);
	nv->tag = tag;
	return stale;
}
