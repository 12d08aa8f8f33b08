/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one writer's short form, inlined where a guest waits: for writes that need no
 * flush whatever they find, which is known where they are made. All others go through
 * vmmu_entry_write. tests/check/one-writer says which file may include this.
 */
#ifndef VMMU_WRITE_FAST_H
#define VMMU_WRITE_FAST_H

#include "table/locks.h"
#include "table/trace_fault.h"
#include "table/write.h"

/* The one store. False: *was is what stands there now. */
VMMU_INLINE bool vmmu_entry_exchange(struct vmmu_tables *t, struct vmmu_place at, uint64_t *was, uint64_t value)
{
	_Atomic uint64_t *entries = (_Atomic uint64_t *)(t->host->table_write_base + at.table.v);

	return atomic_compare_exchange_strong_explicit(&entries[at.index], was, value,
	                                               memory_order_acq_rel, memory_order_acquire);
}

/*
 * Compare-exchange the entry at `at` from *was to `value`; then trace and account, as
 * vmmu_entry_write does. Nothing needs a flush: either *was is zero, or `value` is the
 * same leaf with more rights (SDM vol. 3, 29.4.3.1; APM vol. 2, 5.5.3).
 *
 * `op`: NULL when the test hook has no part in it (vmmu_gate_try), then neither that is called
 * nor a record of the write made. `brief`: one record is made that tells of the fault `f` and of
 * its write. False: somebody else was first, and *was is what
 * stands there.
 */
VMMU_INLINE bool vmmu_entry_put(struct vmmu_tables *t, const struct vmmu_map *map, struct vmmu_actor *who,
                                struct vmmu_op *op, struct vmmu_fault *f, enum vmmu_brief brief, struct vmmu_place at, uint64_t *was,
                                uint64_t value, enum vmmu_cause cause)
{
	const uint64_t before = *was;

	(void)map;
	VMMU_ASSERT(vmmu_is_leaf(&map->layout, at.level, value));
	VMMU_ASSERT(!before || !((before ^ value) & ~(map->layout.format->write | map->layout.dirty)));
	VMMU_ASSERT(!(before & ~value));
	if (op)
		vmmu_point(t, VMMU_POINT_ENTRY_BEFORE, at.table, at.index);
	if (!vmmu_entry_exchange(t, at, was, value))
		return false;
	vmmu_count(&who->count.entries[cause][at.level], 1);
	if (!before)
		vmmu_count(&who->count.pages[at.level], 1);
	if (brief)
		vmmu_trace_fault_fixed(t, who, op, f, brief, map->id, at, value);
	else if (op && op->tracing)
		vmmu_trace_put(op, at, before, value, cause);
	if (op)
		vmmu_point(t, VMMU_POINT_ENTRY_AFTER, at.table, at.index);
	return true;
}

/*
 * The same for an entry that is to reference a table, where nothing is: *was is zero, and no CPU
 * remembers that (SDM vol. 3, 29.4.2; APM vol. 2, 15.25.3).
 */
VMMU_INLINE bool vmmu_entry_link(struct vmmu_tables *t, const struct vmmu_layout *l, struct vmmu_actor *who,
                                 struct vmmu_op *op, struct vmmu_place at, uint64_t *was, uint64_t value,
                                 enum vmmu_cause cause)
{
	(void)l;
	VMMU_ASSERT(vmmu_is_table(l, at.level, value) && !*was);
	if (op)
		vmmu_point(t, VMMU_POINT_ENTRY_BEFORE, at.table, at.index);
	if (!vmmu_entry_exchange(t, at, was, value))
		return false;
	vmmu_count(&who->count.entries[cause][at.level], 1);
	if (op && op->tracing)
		vmmu_trace_put(op, at, 0, value, cause);
	if (op)
		vmmu_point(t, VMMU_POINT_ENTRY_AFTER, at.table, at.index);
	return true;
}

#endif
