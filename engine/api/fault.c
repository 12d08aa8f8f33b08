/* SPDX-License-Identifier: BSD-2-Clause */
/* The vCPUs' calls: faults and prefaults. */
#include "api/api.h"
#include "map/prepare.h"

enum vmmu_fault_result vmmu_fault(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault)
{
	return atomic_load_explicit(&vcpu->map->handle, memory_order_relaxed)(vcpu, fault);
}

/* Map the page of `f` before it is touched, and more of `wanted` where the map can: *mapped in all. */
static enum vmmu_fault_result prefault(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t wanted, uint64_t *mapped)
{
	enum vmmu_fault_result result;

	if (vcpu->map->ops->prefault)
		return vcpu->map->ops->prefault(vcpu, f, wanted, mapped);
	result = vmmu_handle(vcpu, f, VMMU_CAUSE_PREFAULT);
	*mapped = vmmu_pages_to_end(f);
	return result;
}

/* Pages that [gpa, gpa + bytes) meets, or a large number of them. */
static uint64_t pages_of(uint64_t gpa, uint64_t bytes)
{
	const uint64_t large = 1ull << 40;

	return ((bytes < large ? bytes : large) + gpa % VMMU_PAGE_SIZE + VMMU_PAGE_SIZE - 1) / VMMU_PAGE_SIZE;
}

enum vmmu_fault_result vmmu_prefault(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes,
                                     unsigned access, uint64_t *done)
{
	uint64_t covered = 0, limit = vcpu->map->ops->prefault_limit(vcpu);
	enum vmmu_fault_result result = VMMU_FAULT_SPURIOUS;

	if (!limit || !access || access & ~(unsigned)VMMU_RWX) {
		result = VMMU_FAULT_DENIED;
		bytes = 0;
	}
	while (covered < bytes) {
		struct vmmu_fault f = {
			.gpa = {gpa.v + covered},
			.gva = {gpa.v + covered},
			.access = access,
		};
		enum vmmu_fault_result one = VMMU_FAULT_BEYOND;
		uint64_t mapped = 0;

		/* As an address, what is past it would mean another page. */
		if (f.gpa.v < limit)
			one = prefault(vcpu, &f, pages_of(f.gpa.v, bytes - covered), &mapped);
		if (one != VMMU_FAULT_FIXED && one != VMMU_FAULT_SPURIOUS) {
			result = one;
			break;
		}
		if (one == VMMU_FAULT_FIXED)
			result = one;
		covered += mapped * VMMU_PAGE_SIZE - f.gpa.v % VMMU_PAGE_SIZE;
	}
	if (done)
		*done = covered < bytes ? covered : bytes;
	return result;
}
