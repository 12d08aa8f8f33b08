/* SPDX-License-Identifier: BSD-2-Clause */
/* The slots of a VM: found by gfn and by id, checked, put in and taken out. */
#include "memory/memory.h"
#include "table/locks.h"

enum vmmu_status vmmu_slot_check(const struct vmmu_memory *m, const struct vmmu_slot_info *info)
{
	if (info->id >= m->max_slots)
		return VMMU_ERR_SLOT_ID;
	if (info->flags & ~(uint32_t)(VMMU_SLOT_READONLY | VMMU_SLOT_LOG_DIRTY))
		return VMMU_ERR_SLOT_FLAGS;
	if (info->bytes == 0)
		return VMMU_ERR_SLOT_EMPTY;
	if ((info->base.v | info->bytes) % VMMU_PAGE_SIZE)
		return VMMU_ERR_SLOT_MISALIGNED;
	/* Ending exactly at 2^64 would be no wrap, but no guest can name it. */
	if (info->base.v + info->bytes - 1 < info->base.v)
		return VMMU_ERR_SLOT_WRAP;
	if ((info->base.v + info->bytes - 1) >> VMMU_PAGE_SHIFT >= m->limit)
		return VMMU_ERR_SLOT_BEYOND;
	return VMMU_OK;
}

struct vmmu_slot *vmmu_slot_from(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t gfn)
{
	vmmu_assert_reading(reading);
	return vmmu_slot_tree_find(m->slots[VMMU_BY_PLACE], VMMU_BY_PLACE, gfn);
}

struct vmmu_slot *vmmu_slot_at(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t gfn)
{
	struct vmmu_slot *slot = vmmu_slot_from(m, reading, gfn);

	return slot && slot->first <= gfn ? slot : NULL;
}

struct vmmu_slot *vmmu_slot_by_id(const struct vmmu_memory *m, struct vmmu_reading reading, uint32_t id)
{
	struct vmmu_slot *slot = vmmu_slot_tree_find(m->slots[VMMU_BY_ID], VMMU_BY_ID, id);

	vmmu_assert_reading(reading);
	return slot && slot->info.id == id ? slot : NULL;
}

bool vmmu_slot_overlaps(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t first, uint64_t end,
                        const struct vmmu_slot *except)
{
	struct vmmu_slot *slot = vmmu_slot_from(m, reading, first);

	if (slot && slot == except)
		slot = vmmu_slot_from(m, reading, slot->end);
	return slot && slot->first < end;
}

void vmmu_slot_place(struct vmmu_slot *slot, vmmu_gpa base)
{
	slot->info.base = base;
	slot->first = vmmu_gpa_gfn(base).v;
	slot->end = slot->first + slot->info.bytes / VMMU_PAGE_SIZE;
}

void vmmu_slots_changed(struct vmmu_memory *m, struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
	atomic_fetch_add_explicit(&m->generation, 1, memory_order_release);
	atomic_fetch_add_explicit(&m->sequence, 1, memory_order_release);
}

void vmmu_slot_insert(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_slot *slot)
{
	for (enum vmmu_slot_order order = 0; order < VMMU_SLOT_ORDERS; order++)
		vmmu_slot_tree_add(&m->slots[order], order, slot);
	vmmu_slots_changed(m, closed);
}

void vmmu_slot_remove(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_slot *slot)
{
	for (enum vmmu_slot_order order = 0; order < VMMU_SLOT_ORDERS; order++)
		vmmu_slot_tree_take(&m->slots[order], order, slot);
	vmmu_slots_changed(m, closed);
}
