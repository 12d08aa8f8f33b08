/* SPDX-License-Identifier: BSD-2-Clause */
/* How entries are written. */
#ifndef VMMU_WRITE_H
#define VMMU_WRITE_H

#include "table/trace.h"
#include "table/walk.h"

/*
 * THE writer: beside its short form (write_fast.h) the only function of the engine
 * that stores a paging-structure entry. Compare-exchanges the entry of `visit` from visit->entry to `value`;
 * stores, traces, accounts, and notes in visit->op the flush that is needed now.
 *
 * True: visit->entry is `value`. False: somebody else was first, nothing has
 * happened, and visit->entry is what stands there now.
 *
 * What a write needs (SDM vol. 3, 29.4.3; APM vol. 2, 15.16 and 5.5.3): nothing
 * when the old entry was not present or was one the CPU refuses (neither is
 * ever cached), or when the new one only adds rights; a flush of the gfns it
 * translated otherwise.
 */
bool vmmu_entry_write(struct vmmu_visit *visit, uint64_t value, enum vmmu_cause cause);

/*
 * The same for a present leaf of 4 KiB that goes, for management, which removes page by page: what
 * follows from it is known. `table`: of the leaf, which maps gfn and can be reached by CPUs.
 * False: it is not `was`, and nothing has happened.
 */
bool vmmu_leaf_drop(struct vmmu_op *op, vmmu_hpa table, vmmu_gfn gfn, uint64_t was, enum vmmu_cause cause);

/* Where an entry stands. */
struct vmmu_place {
	vmmu_hpa table;
	unsigned index;
	unsigned level;
	vmmu_gfn gfn; /* first one that it translates */
};

/* Entries of one table of 4 KiB leaves: [first, end). */
struct vmmu_span {
	vmmu_hpa table;
	vmmu_gfn gfn; /* of the table's first entry */
	unsigned first, end;
};

/*
 * The writer for many leaves at once: the bits `take` go from every 4 KiB leaf of `span`
 * that has one of them. They are W with the dirty bit, or software's own; no other bit may
 * be taken. Traced, accounted and, where W goes, flushed as by vmmu_entry_write.
 */
void vmmu_leaves_narrow(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_span span, uint64_t take,
                        enum vmmu_cause cause);

/* What neighbours in one table of 4 KiB leaves are to become: entry `first` the first of `values`, and so on. */
struct vmmu_leaves {
	vmmu_hpa table;
	vmmu_gfn gfn; /* of the table's first entry */
	unsigned first, count;
	const uint64_t *values;
	bool pass; /* by entries that are taken otherwise */
};

/*
 * The writer for many new leaves: each goes where nothing is, by a compare-exchange from zero, which
 * needs no flush. Ends at the first entry that is taken otherwise, unless it is to pass, and where a flush is
 * pending. How many, from the first on, say what they should; *written of these are new.
 */
unsigned vmmu_leaves_fill(struct vmmu_op *op, struct vmmu_inside inside, const struct vmmu_leaves *leaves,
                          enum vmmu_cause cause, unsigned *written);

/* The record of one write. Only while op->tracing. */
void vmmu_trace_write(struct vmmu_op *op, struct vmmu_place at, uint64_t was, uint64_t value, enum vmmu_cause cause);

/* The record of one write, in line. */
VMMU_INLINE void vmmu_trace_put(struct vmmu_op *op, struct vmmu_place at, uint64_t was, uint64_t value,
                                enum vmmu_cause cause)
{
	struct vmmu_trace_record *r = vmmu_trace_begin_as(op, (struct vmmu_trace_about){
								      .event = VMMU_TRACE_SPTE_CHANGED,
								      .level = (uint8_t)at.level,
								      .cause = (uint8_t)cause,
								      .index = (uint16_t)at.index,
							      });

	if (!r)
		return;
	r->spte = (struct vmmu_trace_spte_changed){
		.table = at.table.v,
		.gfn = at.gfn.v,
		.old_spte = was,
		.new_spte = value,
	};
	vmmu_trace_end(op);
}

/*
 * Note that a flush of everything is needed, whatever was written: a table goes that
 * some CPU may still know of, although somebody else removed the entry for it.
 */
void vmmu_flush_all_needed(struct vmmu_op *op, enum vmmu_cause cause);

#endif
