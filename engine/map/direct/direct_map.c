/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * direct_map: one gfn, one path. The same visitor builds EPT, NPT and the map of
 * a guest that runs without paging where there is neither.
 */
#include "map/direct/direct.h"

VMMU_INLINE enum vmmu_next write_leaf(struct vmmu_visit *v, struct vmmu_mapping *m,
                                      enum vmmu_cause cause)
{
	const struct vmmu_layout *l = &v->op->map->layout;
	uint64_t value = vmmu_make_leaf(l, v->level, m->pfn, m->leaf);

	if (v->entry == value)
		return vmmu_mapped(v, m, VMMU_FAULT_SPURIOUS);
	/* Another frame may have stood here a moment ago, and a CPU still use it. */
	if (!vmmu_is_present(l, v->entry) && vmmu_is_flush_pending(v->op))
		return vmmu_mapped(v, m, VMMU_FAULT_RETRY);
	/* Before W is visible, so that no write can be missed by the log. */
	if (m->slot->dirty && (value & l->format->write))
		vmmu_dirty_mark(v->op, m->slot, m->gfn);
	if (!vmmu_entry_write(v, value, cause))
		return VMMU_AGAIN;
	vmmu_remember(v);
	return vmmu_mapped(v, m, VMMU_FAULT_FIXED);
}

static bool same_frame(const struct vmmu_visit *v, const struct vmmu_mapping *m)
{
	uint64_t first = vmmu_hpa_pfn(vmmu_entry_address(&v->op->map->layout, v->entry)).v;

	first &= ~(vmmu_level_pages(v->level) - 1);
	return first + (m->gfn - v->gfn.v) == m->pfn.v;
}

/* Something is mapped here already: rare, and kept out of the way of what is not. */
static VMMU_RARE enum vmmu_next over_leaf(struct vmmu_visit *v, struct vmmu_mapping *m)
{
	const struct vmmu_layout *l = &v->op->map->layout;

	/* Damage is reported and never repaired. */
	if (!vmmu_is_leaf(l, v->level, v->entry) || vmmu_is_bad(l, v->level, v->entry))
		return vmmu_mapped(v, m, VMMU_FAULT_BAD_ENTRY);
	if (!same_frame(v, m)) {
		/*
		 * Which of the two is the newer? If the leaf has come while the host was
		 * being asked, its frame may be one that the guest has written since
		 * (copy on write), and the answer one from before.
		 */
		if (m->older != v->entry)
			return vmmu_mapped(v, m, 0);
		/*
		 * A present leaf's frame never changes in place: a CPU could use
		 * both. Drop it; the flush is done before the vCPU comes again.
		 */
		if (!vmmu_entry_write(v, 0, VMMU_CAUSE_ZAP_REMAP))
			return VMMU_AGAIN;
		return vmmu_mapped(v, m, VMMU_FAULT_RETRY);
	}
	if (!(m->access & ~vmmu_entry_rights(l, v->entry)))
		return vmmu_mapped(v, m, VMMU_FAULT_SPURIOUS);
	if (v->level > m->goal)
		return vmmu_split_leaf(v);
	return write_leaf(v, m, VMMU_CAUSE_PERMISSION);
}

/* A table at the goal level or below never gets here: smaller pages are there, add to them. */
static inline enum vmmu_next map_leaf(struct vmmu_visit *v, void *arg)
{
	struct vmmu_mapping *m = arg;

	if (v->entry && !vmmu_is_mmio(&v->op->map->layout, v->entry))
		return over_leaf(v, m);
	if (v->level > m->goal)
		return vmmu_link_table(v, m->cause);
	return write_leaf(v, m, m->cause);
}

void vmmu_direct_map(struct vmmu_op *op, struct vmmu_inside inside, struct vmmu_mapping *m)
{
	static const struct vmmu_visitor map = {.leaf = map_leaf};

	vmmu_assert_inside(inside);
	vmmu_walk(op, vmmu_nearest(op, m->gfn), m->gfn, m->gfn + 1, map, m);
}
