/* SPDX-License-Identifier: BSD-2-Clause */
/* Page-size caps: the largest leaf that each 2 MiB block of a slot may have. */
#include "memory/memory.h"
#include "table/locks.h"

static uint64_t block_of(const struct vmmu_slot *slot, uint64_t gfn)
{
	/* Blocks are aligned in guest-physical space; the first may begin before the slot. */
	return gfn / vmmu_level_pages(VMMU_LEVEL_2M) - slot->first / vmmu_level_pages(VMMU_LEVEL_2M);
}

size_t vmmu_caps_bytes(const struct vmmu_slot *slot)
{
	return block_of(slot, slot->end - 1) + 1;
}

unsigned vmmu_cap_of(const struct vmmu_slot *slot, struct vmmu_reading reading, uint64_t gfn, unsigned level)
{
	uint64_t pages = vmmu_level_pages(level);
	uint64_t gfn_first = gfn & ~(pages - 1);
	unsigned cap = VMMU_LEVEL_1G;

	vmmu_assert_reading(reading);
	if (!slot->caps)
		return cap;
	for (uint64_t at = gfn_first; at < gfn_first + pages; at += vmmu_level_pages(VMMU_LEVEL_2M)) {
		uint8_t here = slot->caps[block_of(slot, at)];

		if (here && here < cap)
			cap = here;
	}
	return cap;
}

void vmmu_cap_set(struct vmmu_slot *slot, struct vmmu_closed closed, uint64_t first, uint64_t end,
                  unsigned level)
{
	vmmu_assert_closed(closed);
	for (uint64_t block = block_of(slot, first); block <= block_of(slot, end - 1); block++)
		slot->caps[block] = level < VMMU_LEVEL_1G ? (uint8_t)level : 0;
}
