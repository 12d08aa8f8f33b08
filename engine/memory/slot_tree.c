/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slots in an order: a treap, that is a search tree in which each slot also has a
 * priority, and none stands under one of lower priority. The priorities are the ids, mixed.
 * So no two are equal, nothing is stored, and the tree's shape follows from its slots
 * alone, whatever calls have led there. Its depth is logarithmic for ids that are not
 * chosen to make it deep, and only the host chooses them.
 */
#include "memory/memory.h"

/* One to one: each step can be undone. */
static uint32_t slot_priority(const struct vmmu_slot *slot)
{
	uint32_t mixed = slot->info.id;

	mixed = (mixed ^ mixed >> 16) * 0x9e3779b1u;
	mixed = (mixed ^ mixed >> 15) * 0x85ebca77u;
	return mixed ^ mixed >> 16;
}

static inline uint64_t last_of(const struct vmmu_slot *slot, enum vmmu_slot_order order)
{
	return order == VMMU_BY_ID ? slot->info.id : slot->end - 1;
}

struct vmmu_slot *vmmu_slot_tree_find(struct vmmu_slot *root, enum vmmu_slot_order order, uint64_t least)
{
	struct vmmu_slot *found = NULL;

	while (root) {
		if (last_of(root, order) >= least) {
			found = root;
			root = root->below[order];
		} else {
			root = root->above[order];
		}
	}
	return found;
}

/* Slots do not overlap, so their ends are in the order of their beginnings. */
static inline bool is_below(const struct vmmu_slot *slot, const struct vmmu_slot *other, enum vmmu_slot_order order)
{
	return last_of(slot, order) < last_of(other, order);
}

/* It takes the place of the first slot of lower priority on its way down, and parts what was under that place. */
void vmmu_slot_tree_add(struct vmmu_slot **root, enum vmmu_slot_order order, struct vmmu_slot *slot)
{
	struct vmmu_slot **below = &slot->below[order], **above = &slot->above[order], *rest;
	const uint32_t priority = slot_priority(slot);

	while (*root && slot_priority(*root) > priority)
		root = is_below(slot, *root, order) ? &(*root)->below[order] : &(*root)->above[order];
	rest = *root;
	*root = slot;
	while (rest) {
		if (is_below(rest, slot, order)) {
			*below = rest;
			below = &rest->above[order];
			rest = *below;
		} else {
			*above = rest;
			above = &rest->below[order];
			rest = *above;
		}
	}
	*below = *above = NULL;
}

/* Its two subtrees become one in its place. */
void vmmu_slot_tree_take(struct vmmu_slot **root, enum vmmu_slot_order order, struct vmmu_slot *slot)
{
	struct vmmu_slot *below = slot->below[order], *above = slot->above[order];

	while (*root != slot)
		root = is_below(slot, *root, order) ? &(*root)->below[order] : &(*root)->above[order];
	while (below && above) {
		if (slot_priority(below) > slot_priority(above)) {
			*root = below;
			root = &below->above[order];
			below = *root;
		} else {
			*root = above;
			root = &above->below[order];
			above = *root;
		}
	}
	*root = below ? below : above;
}
