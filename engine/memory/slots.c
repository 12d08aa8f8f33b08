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

/* Index of the first slot that ends behind gfn: the one that covers it or comes after it. */
static uint32_t first_ending_after(const struct vmmu_memory *m, uint64_t gfn)
{
	uint32_t low = 0, high = m->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (m->sorted[middle]->end <= gfn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct vmmu_slot *vmmu_slot_at(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t gfn)
{
	uint32_t i = first_ending_after(m, gfn);

	vmmu_assert_reading(reading);
	return i < m->count && m->sorted[i]->first <= gfn ? m->sorted[i] : NULL;
}

struct vmmu_slot *vmmu_slot_from(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t gfn)
{
	uint32_t i = first_ending_after(m, gfn);

	vmmu_assert_reading(reading);
	return i < m->count ? m->sorted[i] : NULL;
}

struct vmmu_slot *vmmu_slot_by_id(const struct vmmu_memory *m, struct vmmu_reading reading, uint32_t id)
{
	vmmu_assert_reading(reading);
	return id < m->id_capacity ? m->by_id[id] : NULL;
}

bool vmmu_slot_overlaps(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t first, uint64_t end,
                        const struct vmmu_slot *except)
{
	vmmu_assert_reading(reading);
	for (uint32_t i = first_ending_after(m, first); i < m->count; i++) {
		if (m->sorted[i]->first >= end)
			return false;
		if (m->sorted[i] != except)
			return true;
	}
	return false;
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
	uint32_t at = first_ending_after(m, slot->first);

	for (uint32_t i = m->count++; i > at; i--)
		m->sorted[i] = m->sorted[i - 1];
	m->sorted[at] = slot;
	m->by_id[slot->info.id] = slot;
	vmmu_slots_changed(m, closed);
}

void vmmu_slot_remove(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_slot *slot)
{
	uint32_t at = first_ending_after(m, slot->first);

	m->count--;
	for (uint32_t i = at; i < m->count; i++)
		m->sorted[i] = m->sorted[i + 1];
	m->by_id[slot->info.id] = NULL;
	vmmu_slots_changed(m, closed);
}
