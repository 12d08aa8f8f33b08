/* SPDX-License-Identifier: BSD-2-Clause */
#include "map/map.h"

static enum vmmu_next look(struct vmmu_visit *v, void *arg)
{
	const struct vmmu_layout *l = &v->op->tables->layout;

	if (vmmu_is_table(l, v->level, v->entry) && !vmmu_is_bad(l, v->level, v->entry))
		return VMMU_DESCEND;
	*(struct vmmu_visit *)arg = *v;
	return VMMU_STOP;
}

struct vmmu_visit vmmu_look(struct vmmu_op *op, struct vmmu_top root, uint64_t gfn)
{
	struct vmmu_visit end = {.op = op};

	vmmu_walk(op, root, gfn, gfn + 1, look, NULL, &end);
	return end;
}
