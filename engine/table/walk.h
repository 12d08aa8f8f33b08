/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one walker. Every operation on the tables is a visitor it calls for each
 * entry of a gfn range, top down. It is inlined into its caller together with
 * the visitor, so that a fault pays for no indirect call.
 */
#ifndef VMMU_WALK_H
#define VMMU_WALK_H

#include "table/tables.h"

struct vmmu_visit {
	struct vmmu_op *op;
	vmmu_gfn gfn;        /* first gfn that the entry translates */
	vmmu_hpa table;
	uint16_t index;
	uint8_t level;
	uint64_t entry;      /* as last read, or as the writer left it */
};

enum vmmu_next {
	VMMU_NEXT,     /* on to the entry behind this one */
	VMMU_DESCEND,  /* into the table that visit->entry references now */
	VMMU_AGAIN,    /* it changed under us: read it anew and call me again */
	VMMU_STOP,
};

/* May replace the entry through vmmu_entry_write, which keeps visit->entry true. */
typedef enum vmmu_next (*vmmu_visitor)(struct vmmu_visit *visit, void *arg);
/* Called when the last entry in the range of a table below the top has been visited. */
typedef void (*vmmu_table_left)(struct vmmu_op *op, vmmu_hpa table, void *arg);

/* Which table a walk starts from. */
struct vmmu_top {
	vmmu_hpa table;
	uint8_t level;
};

/* Visit what translates gfns [start, end) below `top`. */
static inline __attribute__((always_inline)) void
vmmu_walk(struct vmmu_op *op, struct vmmu_top top, uint64_t start, uint64_t end,
          vmmu_visitor visitor, vmmu_table_left left, void *arg)
{
	const struct vmmu_layout *layout = &op->tables->layout;
	vmmu_hpa path[VMMU_LEVEL_MAX + 1];
	struct vmmu_visit v = {.op = op};
	unsigned level = top.level;
	uint64_t gfn = start;

	path[level] = top.table;
	while (gfn < end) {
		uint64_t pages = vmmu_level_pages(level);
		enum vmmu_next next;

		v.table = path[level];
		v.level = (uint8_t)level;
		v.index = (uint16_t)(gfn / pages % VMMU_ENTRIES);
		v.gfn = vmmu_gfn_of(gfn & ~(pages - 1));
		v.entry = vmmu_entry_read(op->tables, v.table, v.index);

		next = visitor(&v, arg);
		if (next == VMMU_STOP)
			return;
		if (next == VMMU_AGAIN)
			continue;
		if (next == VMMU_DESCEND) {
			path[--level] = vmmu_entry_address(layout, v.entry);
			continue;
		}
		gfn = v.gfn.v + pages;
		/* Up through every table that ends here. */
		while (level < top.level && (gfn >= end || gfn % vmmu_level_pages(level + 1) == 0)) {
			if (left)
				left(op, path[level], arg);
			level++;
		}
	}
}

#endif
