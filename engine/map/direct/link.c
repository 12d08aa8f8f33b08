/* SPDX-License-Identifier: BSD-2-Clause */
/* Steps that several visitors share: a table linked, a large leaf split. */
#include "map/direct/direct.h"

enum vmmu_next vmmu_link_table(struct vmmu_visit *v, enum vmmu_cause cause)
{
	struct vmmu_op *op = v->op;
	struct vmmu_table *table = vmmu_table_take(op, v->level - 1u, v->gfn);

	if (!vmmu_entry_write(v, vmmu_make_table(&op->map->layout, table->hpa), cause)) {
		vmmu_table_return(op->who, op, table);
		return VMMU_AGAIN;
	}
	table->for_hole = cause == VMMU_CAUSE_MMIO;
	vmmu_table_publish(op, table);
	return VMMU_DESCEND;
}

/* Nobody else can reach the table yet, so no write of these can fail. */
static void fill_split(struct vmmu_op *op, const struct vmmu_table *table, uint64_t huge, bool undo)
{
	const struct vmmu_layout *l = &op->map->layout;

	for (unsigned i = 0; i < VMMU_ENTRIES; i++) {
		uint64_t part = vmmu_split_entry(l, table->level + 1u, huge, i);
		struct vmmu_visit child = {
			.op = op,
			.gfn = {table->gfn.v + i * vmmu_level_pages(table->level)},
			.table = table->hpa,
			.index = (uint16_t)i,
			.level = table->level,
			.entry = undo ? part : 0,
		};

		bool written = vmmu_entry_write(&child, undo ? 0 : part, VMMU_CAUSE_SPLIT);

		VMMU_ASSERT(written);
		(void)written;
	}
}

/* The table is full before it is linked: no CPU ever sees a hole. */
enum vmmu_next vmmu_split_leaf(struct vmmu_visit *v)
{
	struct vmmu_op *op = v->op;
	uint64_t huge = v->entry;
	struct vmmu_table *table = vmmu_table_take(op, v->level - 1u, v->gfn);

	fill_split(op, table, huge, false);
	if (!vmmu_entry_write(v, vmmu_make_table(&op->map->layout, table->hpa),
	                      VMMU_CAUSE_SPLIT)) {
		fill_split(op, table, huge, true);
		vmmu_table_return(op->who, op, table);
		return VMMU_AGAIN;
	}
	vmmu_table_publish(op, table);
	return VMMU_DESCEND;
}
