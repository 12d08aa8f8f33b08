/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One frame for a gfn.
 *
 * A host that copies on write answers with another frame from some write on, and
 * does not invalidate the old one. Two things keep the old one out. An answer that was given before the
 * host gave a frame of this block to be written is not used. And what is mapped, or
 * noted, otherwise than the answer says goes first, on every way to it.
 */
#include "map/shadow/shadow_build.h"

/* Where the leaf that hangs in `link` has gfn. */
static uint64_t frame_in(const struct vmmu_build *b, struct vmmu_link *link, uint64_t gfn)
{
	const struct vmmu_visit v =
		vmmu_shadow_entry(b->op, vmmu_shadow_of(link), vmmu_link_index(link));
	uint64_t first = vmmu_hpa_pfn(vmmu_entry_address(&b->op->map->layout, v.entry)).v;

	return (first & ~(vmmu_level_pages(v.level) - 1)) + (gfn - v.gfn.v);
}

/* All leaves of one gfn have the same frame, so the first one is enough. */
static bool maps_another_frame(const struct vmmu_build *b, const struct vmmu_block *block)
{
	struct vmmu_link *page = block->page[b->gfn % VMMU_ENTRIES];

	return (page && frame_in(b, page, b->gfn) != b->backing.pfn.v) ||
	       (block->huge && frame_in(b, block->huge, b->gfn) != b->backing.pfn.v);
}

static void drop_all(const struct vmmu_build *b, struct vmmu_link **head)
{
	while (*head)
		vmmu_shadow_drop(b->x, vmmu_shadow_of(*head), vmmu_link_index(*head),
		                 VMMU_CAUSE_ZAP_REMAP);
}

static bool is_noted(const struct vmmu_build *b, const struct vmmu_run *run)
{
	return run->backing.order && run->sequence == b->sequence && b->gfn >= run->first &&
	       b->gfn < run->end;
}

static bool notes_another_frame(const struct vmmu_build *b, const struct vmmu_run *run)
{
	return is_noted(b, run) && run->backing.pfn.v + (b->gfn - run->first) != b->backing.pfn.v;
}

bool vmmu_shadow_agree(struct vmmu_build *b, struct vmmu_block *block)
{
	struct vmmu_frames *frames = &vmmu_shadow_map_of(b->op)->frames;
	bool other = maps_another_frame(b, block);

	if (other) {
		drop_all(b, &block->page[b->gfn % VMMU_ENTRIES]);
		drop_all(b, &block->huge);
	}
	if (VMMU_UNLIKELY(block->unpaged) && vmmu_unpaged_drop_other(b->x, block, b->gfn, b->backing.pfn))
		other = true;
	if (notes_another_frame(b, &block->run))
		block->run = (struct vmmu_run){.sequence = 0};
	if (other || ((b->backing.rights & VMMU_W) &&
	              !(is_noted(b, &block->run) && (block->run.backing.rights & VMMU_W)))) {
		vmmu_block_changed(frames, block);
		/* No answer is newer than this one. */
		b->asked = block->changed;
	}
	return !other;
}
