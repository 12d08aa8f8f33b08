/* SPDX-License-Identifier: BSD-2-Clause */
/* The entry that ends the translation of a gfn. */
#include "map/direct/direct.h"

static enum vmmu_next take_leaf(struct vmmu_visit *v, void *arg)
{
	*(struct vmmu_visit *)arg = *v;
	return VMMU_STOP;
}

/* Never follow a reference that the CPU would refuse: there may be no table behind it. */
static enum vmmu_next take_table(struct vmmu_visit *v, void *arg)
{
	return vmmu_is_bad(&v->op->map->layout, v->level, v->entry) ? take_leaf(v, arg) : VMMU_DESCEND;
}

struct vmmu_visit vmmu_find_leaf(struct vmmu_op *op, uint64_t gfn)
{
	static const struct vmmu_visitor finder = {.leaf = take_leaf, .table_pre = take_table};
	struct vmmu_visit end = {.op = op};

	VMMU_ASSERT(atomic_load_explicit(&op->who->inside, memory_order_relaxed) ||
	            atomic_load_explicit(&op->tables->managed, memory_order_relaxed));
	vmmu_walk(op, vmmu_top_of(op->map), gfn, gfn + 1, finder, &end);
	return end;
}
