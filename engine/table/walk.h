/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one walker. Every operation on the tables is a struct vmmu_visitor that
 * it calls for the entries of a gfn range, top down. It is inlined into its
 * caller together with the visitor, so that a fault pays for no indirect call.
 */
#ifndef VMMU_WALK_H
#define VMMU_WALK_H

#include "table/tables.h"

struct vmmu_visit {
	struct vmmu_op *op;
	vmmu_gfn gfn; /* first gfn that the entry translates */
	vmmu_hpa table;
	uint16_t index;
	uint8_t level;
	bool unreached;       /* no CPU can come to the table: what changes in it needs no flush */
	uint64_t entry;       /* as last read, or as the writer left it */
	const vmmu_hpa *path; /* the tables above it by level, from where the walk began */
};

enum vmmu_next {
	VMMU_NEXT,    /* on to the entry behind this one */
	VMMU_DESCEND, /* into the table that visit->entry references now */
	VMMU_AGAIN,   /* it changed under us: read it anew and call again */
	VMMU_STOP,
};

typedef enum vmmu_next (*vmmu_visit_fn)(struct vmmu_visit *visit, void *arg);

struct vmmu_visitor {
	/*
	 * Every entry that does not reference a table. May replace it through
	 * vmmu_entry_write, which keeps visit->entry true, and then descend.
	 */
	vmmu_visit_fn leaf;
	/* Every entry that does, before what is below it. NULL: always descend. */
	vmmu_visit_fn table_pre;
	/* The last entry in the range of a table below the top has been visited. May be NULL. */
	void (*table_post)(struct vmmu_op *op, vmmu_hpa table, void *arg);
};

/* Which table a walk starts from. */
struct vmmu_top {
	vmmu_hpa table;
	uint8_t level;
};

/* Visit what translates gfns [start, end) below `top`. */
VMMU_INLINE void vmmu_walk(struct vmmu_op *op, struct vmmu_top top, uint64_t start, uint64_t end,
                           const struct vmmu_visitor visitor, void *arg)
{
	const struct vmmu_tables *tables = op->tables;
	const struct vmmu_layout *layout = &op->map->layout;
	const uint64_t address = layout->address;
	const uint64_t table_mask = layout->table_mask;
	const uint64_t table_mark = layout->table_mark;
	vmmu_hpa path[VMMU_LEVEL_MAX + 1];
	unsigned level = top.level;
	unsigned shift = VMMU_INDEX_BITS * (level - 1); /* gfn bits below the index */
	uint64_t gfn = start;

	path[level] = top.table;
	while (gfn < end) {
		unsigned index = gfn >> shift & (VMMU_ENTRIES - 1);
		uint64_t entry = vmmu_entry_read(tables, path[level], index);
		bool is_table = level > VMMU_LEVEL_4K && (entry & table_mask) == table_mark;
		enum vmmu_next next = VMMU_DESCEND;

		if (!is_table || visitor.table_pre) {
			struct vmmu_visit v = {
				.op = op,
				.gfn = {gfn >> shift << shift},
				.table = path[level],
				.index = (uint16_t)index,
				.level = (uint8_t)level,
				.entry = entry,
				.path = path,
			};

			next = is_table ? visitor.table_pre(&v, arg) : visitor.leaf(&v, arg);
			entry = v.entry;
		}
		if (next == VMMU_DESCEND) {
			path[--level].v = entry & address;
			shift -= VMMU_INDEX_BITS;
			continue;
		}
		if (next == VMMU_STOP)
			return;
		if (next == VMMU_AGAIN)
			continue;
		gfn = (gfn >> shift << shift) + (1ull << shift);
		/* Up through every table that ends here. */
		while (level < top.level && (gfn >= end || !(gfn >> shift & (VMMU_ENTRIES - 1)))) {
			if (visitor.table_post)
				visitor.table_post(op, path[level], arg);
			level++;
			shift += VMMU_INDEX_BITS;
		}
	}
}

#endif
