/* SPDX-License-Identifier: BSD-2-Clause */
/* The host takes frames back. */
#include "api/api.h"

/* The gfns that [base, base + bytes) touches, clipped to what a guest can name. */
static bool gfns_of(const struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes, uint64_t *first,
                    uint64_t *end)
{
	uint64_t last = base.v + bytes - 1;

	if (!bytes || last < base.v)
		return false;
	*first = vmmu_gpa_gfn(base).v;
	*end = (last >> VMMU_PAGE_SHIFT) + 1;
	if (*end > vm->memory.limit)
		*end = vm->memory.limit;
	return *first < *end;
}

enum vmmu_status vmmu_invalidate_begin(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes)
{
	struct vmmu_invalidation *invalidation;
	uint64_t first, end;
	struct vmmu_op op;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	if (!gfns_of(vm, base, bytes, &first, &end))
		return VMMU_ERR_INVALID;
	invalidation = vmmu_object_alloc(vm, sizeof(*invalidation));
	if (!invalidation)
		return VMMU_ERR_NO_MEMORY;
	invalidation->first = first;
	invalidation->end = end;

	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	closed = vmmu_gate_close(&vm->tables, managing);
	vmmu_invalidation_add(&vm->memory, closed, invalidation);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_zap_range(vm, &op, first, end, 0, VMMU_CAUSE_ZAP_RANGE);
	vmmu_manage_unlock(&vm->tables, managing);
	return VMMU_OK;
}

enum vmmu_status vmmu_invalidate_end(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes)
{
	struct vmmu_invalidation *invalidation;
	uint64_t first, end;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	if (!gfns_of(vm, base, bytes, &first, &end))
		return VMMU_ERR_INVALID;
	managing = vmmu_manage_lock(&vm->tables);
	closed = vmmu_gate_close(&vm->tables, managing);
	invalidation = vmmu_invalidation_take(&vm->memory, closed, first, end);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_manage_unlock(&vm->tables, managing);
	vmmu_object_free(vm, invalidation, sizeof(*invalidation));
	return invalidation ? VMMU_OK : VMMU_ERR_INVALID;
}

void vmmu_invalidations_free_all(struct vmmu_vm *vm)
{
	while (vm->memory.invalidating) {
		struct vmmu_invalidation *next = vm->memory.invalidating->next;

		vmmu_object_free(vm, vm->memory.invalidating, sizeof(*next));
		vm->memory.invalidating = next;
	}
}
