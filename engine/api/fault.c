/* SPDX-License-Identifier: BSD-2-Clause */
/* The vCPUs' calls: faults and prefaults. */
#include "api/api.h"

enum vmmu_fault_result vmmu_fault(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault)
{
	return vcpu->map->handle(vcpu, fault);
}

enum vmmu_fault_result vmmu_prefault(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes,
                                     unsigned access, uint64_t *done)
{
	uint64_t covered = 0, limit = vcpu->map->ops->prefault_limit(vcpu);
	enum vmmu_fault_result result = VMMU_FAULT_SPURIOUS;

	if (!limit) {
		result = VMMU_FAULT_DENIED;
		bytes = 0;
	}
	while (covered < bytes) {
		struct vmmu_fault f = {
			.gpa = {gpa.v + covered},
			.gva = {gpa.v + covered},
			.access = access & VMMU_RWX,
		};
		enum vmmu_fault_result one = VMMU_FAULT_BEYOND;
		uint64_t span;

		/* As an address, what is past it would mean another page. */
		if (f.gpa.v < limit)
			one = vmmu_handle(vcpu, &f, VMMU_CAUSE_PREFAULT);
		if (one != VMMU_FAULT_FIXED && one != VMMU_FAULT_SPURIOUS) {
			result = one;
			break;
		}
		if (one == VMMU_FAULT_FIXED)
			result = one;
		span = vmmu_level_pages(f.level) * VMMU_PAGE_SIZE;
		covered += span - ((gpa.v + covered) & (span - 1));
	}
	if (done)
		*done = covered < bytes ? covered : bytes;
	return result;
}
