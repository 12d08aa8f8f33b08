/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of the reverse map, found by gfn. */
#include "memory/frames.h"

struct vmmu_block *vmmu_block_of(const struct vmmu_frames *frames, uint64_t gfn)
{
	uint64_t number = gfn / VMMU_ENTRIES;
	struct vmmu_block *block = frames->bucket[number % VMMU_BLOCK_BUCKETS];

	while (block && block->number != number)
		block = block->next;
	return block;
}

void vmmu_block_insert(struct vmmu_frames *frames, struct vmmu_block *block, uint64_t gfn)
{
	struct vmmu_block **bucket;

	block->number = gfn / VMMU_ENTRIES;
	bucket = &frames->bucket[block->number % VMMU_BLOCK_BUCKETS];
	block->next = *bucket;
	*bucket = block;
}

struct vmmu_block *vmmu_block_remove(struct vmmu_block **at)
{
	struct vmmu_block *block = *at;

	*at = block->next;
	return block;
}

bool vmmu_block_is_empty(const struct vmmu_block *block)
{
	for (unsigned i = 0; i < VMMU_ENTRIES; i++)
		if (block->page[i])
			return false;
	return !block->huge;
}
