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

/* Make room for one range more, and for those of a slot that moves. */
static bool reserve_range(struct vmmu_vm *vm, struct vmmu_managing managing)
{
	struct vmmu_memory *m = &vm->memory;
	struct vmmu_invalidation *old = m->ranges, *bigger;
	uint32_t old_max = m->ranges_max;
	struct vmmu_closed closed;

	if (VMMU_LIKELY(m->invalidating + 1 + VMMU_RANGES_OF_MOVE <= old_max))
		return true;
	bigger = vmmu_object_alloc(vm, 2 * old_max * sizeof(*bigger));
	if (!bigger)
		return false;
	closed = vmmu_gate_close(&vm->tables, managing);
	for (uint32_t i = 0; i < m->invalidating; i++)
		bigger[i] = old[i];
	m->ranges = bigger;
	m->ranges_max = 2 * old_max;
	vmmu_gate_open(&vm->tables, closed);
	if (old != m->own_ranges)
		vmmu_object_free(vm, old, old_max * sizeof(*old));
	return true;
}

enum vmmu_status vmmu_invalidate_begin(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes)
{
	uint64_t first, end;
	struct vmmu_op op;
	struct vmmu_closed closed;
	struct vmmu_managing managing;
	enum vmmu_status status = VMMU_ERR_NO_MEMORY;
	bool done;

	if (!gfns_of(vm, base, bytes, &first, &end))
		return VMMU_ERR_INVALID;
	managing = vmmu_manage_lock(&vm->tables);
	if (reserve_range(vm, managing)) {
		op = vmmu_manage_op(vm);
		closed = vmmu_gate_close(&vm->tables, managing);
		vmmu_invalidation_add(&vm->memory, closed, first, end);
		done = end - first == 1 && vmmu_zap_page(vm, &op, closed, first, VMMU_CAUSE_ZAP_RANGE);
		vmmu_gate_open(&vm->tables, closed);
		if (done)
			vmmu_op_flush(&op);
		else
			vmmu_zap_range(vm, &op, first, end, 0, VMMU_CAUSE_ZAP_RANGE);
		status = VMMU_OK;
	}
	vmmu_manage_unlock(&vm->tables, managing);
	return status;
}

enum vmmu_status vmmu_invalidate_end(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes)
{
	uint64_t first, end;
	struct vmmu_closed closed;
	struct vmmu_managing managing;
	bool found;

	if (!gfns_of(vm, base, bytes, &first, &end))
		return VMMU_ERR_INVALID;
	managing = vmmu_manage_lock(&vm->tables);
	closed = vmmu_gate_close(&vm->tables, managing);
	found = vmmu_invalidation_take(&vm->memory, closed, first, end);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_manage_unlock(&vm->tables, managing);
	return found ? VMMU_OK : VMMU_ERR_INVALID;
}

void vmmu_invalidations_free_all(struct vmmu_vm *vm)
{
	struct vmmu_memory *m = &vm->memory;

	if (m->ranges != m->own_ranges)
		vmmu_object_free(vm, m->ranges, m->ranges_max * sizeof(*m->ranges));
}
