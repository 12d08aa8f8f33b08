/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map of guests without paging, beside the shadow map: a direct map of 4 GiB
 * in PAE's format, whose top CPUs hold in registers. What is held must not be
 * written through it either.
 */
#include "map/shadow/shadow.h"

/* The VM's unpaged map, where it maps gfn, of this block, with a leaf; else NULL. Most blocks it has never met. */
static struct vmmu_map *unpaged_leaf(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn,
                                     struct vmmu_visit *v)
{
	struct vmmu_map *map = vmmu_shadow_map_of(x.op)->unpaged, *before;

	if (!block || !block->unpaged || gfn >= vmmu_map_end(map))
		return NULL;
	before = vmmu_op_on(x.op, map);
	*v = vmmu_find_leaf(x.op, gfn);
	vmmu_op_on(x.op, before);
	return vmmu_is_leaf(&map->layout, v->level, v->entry) ? map : NULL;
}

void vmmu_unpaged_protect(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn)
{
	struct vmmu_map *before, *map;
	struct vmmu_visit v;
	uint64_t value;

	map = unpaged_leaf(x, block, gfn, &v);
	if (!map)
		return;
	before = vmmu_op_on(x.op, map);
	/* A large leaf goes as a whole. */
	value = v.level > VMMU_LEVEL_4K ? 0 : vmmu_leaf_protected(x.op, v.entry);
	if (value != v.entry)
		vmmu_shadow_write(&v, value, VMMU_CAUSE_PROTECT);
	vmmu_op_on(x.op, before);
}

void vmmu_unpaged_allow(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn)
{
	struct vmmu_map *before, *map;
	struct vmmu_visit v;

	map = unpaged_leaf(x, block, gfn, &v);
	if (!map)
		return;
	before = vmmu_op_on(x.op, map);
	vmmu_shadow_give_write(&v);
	vmmu_op_on(x.op, before);
}

bool vmmu_unpaged_drop_other(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn, vmmu_pfn pfn)
{
	struct vmmu_map *before, *map;
	struct vmmu_visit v;
	uint64_t first;

	map = unpaged_leaf(x, block, gfn, &v);
	if (!map)
		return false;
	first = vmmu_hpa_pfn(vmmu_entry_address(&map->layout, v.entry)).v & ~(vmmu_level_pages(v.level) - 1);
	if (first + (gfn - v.gfn.v) == pfn.v)
		return false;
	before = vmmu_op_on(x.op, map);
	vmmu_shadow_write(&v, 0, VMMU_CAUSE_ZAP_REMAP);
	vmmu_op_on(x.op, before);
	return true;
}

static enum vmmu_next stop_at_leaf(struct vmmu_visit *v, void *arg)
{
	*(bool *)arg |= vmmu_is_leaf(&v->op->map->layout, v->level, v->entry);
	return *(bool *)arg ? VMMU_STOP : VMMU_NEXT;
}

bool vmmu_unpaged_maps_some(struct vmmu_exclusive x, const struct vmmu_block *block)
{
	static const struct vmmu_visitor finder = {.leaf = stop_at_leaf};
	const uint64_t first = block->number * VMMU_ENTRIES;
	struct vmmu_map *map = vmmu_shadow_map_of(x.op)->unpaged, *before;
	bool any = false;

	if (!block->unpaged || first >= vmmu_map_end(map))
		return false;
	before = vmmu_op_on(x.op, map);
	vmmu_walk(x.op, vmmu_top_of(map), first, first + VMMU_ENTRIES, finder, &any);
	vmmu_op_on(x.op, before);
	return any;
}

static void fill_unpaged_top(struct vmmu_op *op, struct vmmu_map *map)
{
	for (unsigned i = 0; i < VMMU_PAE_ENTRIES; i++) {
		struct vmmu_visit v = {
			.op = op,
			.gfn = {i * vmmu_level_pages(VMMU_LEVEL_1G)},
			.table = map->root->hpa,
			.index = (uint16_t)i,
			.level = VMMU_LEVEL_1G,
		};
		struct vmmu_table *table = vmmu_table_take(op, VMMU_LEVEL_2M, v.gfn);

		bool written = vmmu_entry_write(&v, vmmu_pdpte_for(op, table->hpa), VMMU_CAUSE_ROOT);

		/* No vCPU is there yet. */
		VMMU_ASSERT(written);
		(void)written;
		vmmu_table_publish(op, table);
	}
}

bool vmmu_unpaged_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                         const struct vmmu_layout *layout)
{
	struct vmmu_map *map = vmmu_object_alloc(vm, sizeof(*map));

	if (!map || !vmmu_spares_fill(&vm->tables, op->who, VMMU_PAE_ENTRIES) ||
	    !vmmu_low_spare_fill(&vm->tables, op->who)) {
		vmmu_object_free(vm, map, sizeof(*map));
		return false;
	}
	vmmu_map_init(map, &vmmu_direct_ops, vm, config, layout);
	/* The top entries stay, as CPUs hold them in registers. */
	map->whole_level_max = VMMU_LEVEL_2M;
	map->mmio_cache = false;
	map->flush_all = true;
	op->map = map;
	map->root = vmmu_table_take_low(op, VMMU_LEVEL_1G, vmmu_gfn_of(0));
	vmmu_table_publish(op, map->root);
	fill_unpaged_top(op, map);
	return true;
}
