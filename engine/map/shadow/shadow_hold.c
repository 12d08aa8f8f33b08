/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables held: from now on no CPU can write the guest table, so that what is
 * read of it stays true.
 */
#include "map/shadow/shadow.h"

/* ---- taking W away ------------------------------------------------------------------ */

static void take_write(struct vmmu_exclusive x, struct vmmu_link *link, bool forbid)
{
	const struct vmmu_layout *l = &x.op->map->layout;
	struct vmmu_visit v = vmmu_shadow_entry(x.op, vmmu_shadow_of(link), vmmu_link_index(link));
	uint64_t value = vmmu_leaf_protected(x.op, v.entry);

	if (forbid)
		value &= ~l->soft_writable;
	if (value != v.entry)
		vmmu_shadow_write(&v, value, VMMU_CAUSE_PROTECT);
}

static void protect_in(struct vmmu_exclusive x, struct vmmu_block *block, uint64_t gfn, bool forbid)
{
	for (struct vmmu_link *link = block->page[gfn % VMMU_ENTRIES]; link; link = link->next)
		take_write(x, link, forbid);
	while (block->huge)
		vmmu_shadow_drop(x, vmmu_shadow_of(block->huge), vmmu_link_index(block->huge), VMMU_CAUSE_PROTECT);
}

void vmmu_shadow_protect(struct vmmu_exclusive x, uint64_t gfn, bool forbid)
{
	struct vmmu_block *block = vmmu_block_of(&vmmu_shadow_map_of(x.op)->frames, gfn);

	if (block)
		protect_in(x, block, gfn, forbid);
}

/* ---- holding ------------------------------------------------------------------------- */

void vmmu_shadow_hold(struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	struct vmmu_block *block;

	if (s->state != VMMU_SHADOW_PARKED)
		return;
	s->state = vmmu_shadow_stands_for_frame(s) ? VMMU_SHADOW_HELD : VMMU_SHADOW_CURRENT;
	/* From now on no W is given on this frame; then take back what has been given. */
	vmmu_shadow_count_held(vmmu_shadow_map_of(x.op), s, 1);
	block = vmmu_block_of(&vmmu_shadow_map_of(x.op)->frames, s->gfn);
	if (vmmu_shadow_stands_for_frame(s) && block) {
		protect_in(x, block, s->gfn, false);
		vmmu_unpaged_protect(x, block, s->gfn);
	}
	vmmu_shadow_make_newest(vmmu_shadow_map_of(x.op), s);
}

struct vmmu_shadow *vmmu_shadow_make(struct vmmu_exclusive x, uint64_t gfn, union vmmu_role role)
{
	struct vmmu_shadow *s = vmmu_shadow_new(x, gfn, role);

	vmmu_shadow_hold(x, s);
	return s;
}
