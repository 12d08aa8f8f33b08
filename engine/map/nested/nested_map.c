/* SPDX-License-Identifier: BSD-2-Clause */
/* A nested map as an object, with L1's own direct map beside it. */
#include "map/nested/nested.h"

static enum vmmu_handler nested_handler(const struct vmmu_vcpu *vcpu)
{
	return vmmu_in_l2(vcpu) ? VMMU_HANDLER_NESTED : VMMU_HANDLER_DIRECT;
}

static uint64_t nested_prefault_limit(const struct vmmu_vcpu *vcpu)
{
	return vmmu_in_l2(vcpu) ? 0 : UINT64_MAX;
}

/*
 * The CPU keeps accessed and dirty flags below the root as L1 has it: with them the walks of
 * L2's tables count as writes (SDM vol. 3, 29.3.5), which L1's rights may not allow.
 */
static enum vmmu_status nested_root_pointer(const struct vmmu_vcpu *vcpu, struct vmmu_root *out)
{
	const struct vmmu_shadow_vcpu *sv = (const struct vmmu_shadow_vcpu *)vcpu;
	enum vmmu_status status = vmmu_shadow_root_pointer(vcpu, out);

	out->pointer = vmmu_root_register_of(&vcpu->map->layout, out->table, out->levels,
	                                     !vmmu_in_l2(vcpu) || sv->mode.format->accessed);
	return status;
}

/* L1 writes its tables while it runs, and so while this vCPU reads none of them. */
static void nested_join(struct vmmu_vcpu *vcpu, struct vmmu_managing managing)
{
	vmmu_shadow_join(vcpu, managing);
	vmmu_shadow_vcpu_of(vcpu)->reads = &((struct vmmu_nested_vcpu *)vcpu)->mode;
}

static const struct vmmu_map_ops nested_ops = {
	.fault = vmmu_nested_fault,
	.zap_range = vmmu_shadow_zap_range,
	.protect_range = vmmu_shadow_protect_range,
	.harvest_range = vmmu_shadow_harvest_range,
	.allow_range = vmmu_shadow_allow_range,
	.each_entry = vmmu_shadow_each_entry,
	.audit = vmmu_shadow_audit,
	.written = vmmu_shadow_written,
	.refill = vmmu_shadow_refill,
	.release = vmmu_shadow_release,
	.handler = nested_handler,
	.root_pointer = nested_root_pointer,
	.prefault_limit = nested_prefault_limit,
	.vcpu_bytes = sizeof(struct vmmu_nested_vcpu),
	.join = nested_join,
	.leave = vmmu_shadow_leave,
	.fini = vmmu_shadow_fini,
};

/* L1's accesses are handled by the nested map's code, which knows what is held: no MMIO entries. */
static bool create_l1(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                      const struct vmmu_layout *layout)
{
	if (!vmmu_direct_create(vm, op, config, layout))
		return false;
	op->map->mmio_cache = false;
	return true;
}

bool vmmu_nested_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                        const struct vmmu_layout *layout)
{
	static const struct vmmu_shadow_kind kind = {
		.ops = &nested_ops,
		.input = VMMU_INPUT_NESTED_GPA,
		.root_tables = 1 + VMMU_PAE_ENTRIES + VMMU_CROWN_TABLES,
		.create_unpaged = create_l1,
	};

	if (!vmmu_shadow_create_kind(vm, op, config, layout, &kind))
		return false;
	/* The EPTP says how many levels are walked; under NPT the host's CR4 does. */
	op->map->root_levels = layout->format->pointer_levels ? 0 : layout->levels;
	return true;
}
