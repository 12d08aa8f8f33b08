/* SPDX-License-Identifier: BSD-2-Clause */
/* The one writer of paging-structure entries, and what follows from each write. */
#include "table/write.h"

#include "table/locks.h"
#include "table/trace.h"

/* Does the CPU keep anything of `was` that `now` no longer says? */
static VMMU_RARE bool needs_flush(const struct vmmu_layout *l, unsigned level, uint64_t was, uint64_t now)
{
	/* What a present entry may gain without anyone having to forget the old one. */
	uint64_t gains = l->format->read | l->format->write | l->format->exec | l->accessed | l->dirty |
	                 l->format->soft_host_writable | l->format->soft_map_writable;

	if (!vmmu_is_present(l, was))
		return false;
	if (!vmmu_is_present(l, now) || vmmu_is_leaf(l, level, was) != vmmu_is_leaf(l, level, now))
		return true;
	if (vmmu_entry_rights(l, was) & ~vmmu_entry_rights(l, now))
		return true;
	/* Software bits may come and go; accessed and dirty may only come. */
	if ((was & ~now) & (l->accessed | l->dirty))
		return true;
	return (was ^ now) & ~(gains | l->format->no_exec);
}

static VMMU_RARE void note_flush(struct vmmu_op *op, const struct vmmu_visit *v, uint64_t was, enum vmmu_cause cause)
{
	struct vmmu_needed_flush *flush = &op->flush;
	uint64_t end = v->gfn.v + vmmu_level_pages(v->level);

	if (!flush->needed || v->gfn.v < flush->start)
		flush->start = v->gfn.v;
	if (!flush->needed || end > flush->end)
		flush->end = end;
	flush->all = (flush->needed && flush->all) || op->map->flush_all;
	flush->tables = (flush->needed && flush->tables) || vmmu_is_table(&op->map->layout, v->level, was);
	flush->needed = true;
	flush->cause = cause;
}

/* A fault that finds the entry changed must also find that a flush is pending (locks.h). */
static VMMU_RARE void count_pending(struct vmmu_op *op)
{
	struct vmmu_tables *t = op->tables;

	if (op->flush.pending || (op->who == &t->manager && !t->manager_counts_flushes))
		return;
	op->flush.pending = vmmu_flush_unit(atomic_load_explicit(&t->epoch, memory_order_relaxed));
	atomic_fetch_add_explicit(&t->flushes_pending, op->flush.pending, memory_order_seq_cst);
}

void vmmu_flush_all_needed(struct vmmu_op *op, enum vmmu_cause cause)
{
	count_pending(op);
	op->flush.all = (op->flush.needed && op->flush.all) || op->map->flush_all;
	op->flush.needed = true;
	op->flush.tables = true;
	op->flush.cause = cause;
	op->flush.start = 0;
	op->flush.end = VMMU_GFNS;
}

static void account(struct vmmu_op *op, const struct vmmu_visit *v, uint64_t was,
                    enum vmmu_cause cause)
{
	const struct vmmu_layout *l = &op->map->layout;
	struct vmmu_counters *count = &op->who->count;
	uint64_t pages = (uint64_t)vmmu_is_leaf(l, v->level, v->entry) -
	                 (uint64_t)vmmu_is_leaf(l, v->level, was);

	vmmu_count(&count->entries[cause][v->level], 1);
	if (pages)
		vmmu_count(&count->pages[v->level], pages);
}

void vmmu_trace_write(struct vmmu_op *op, struct vmmu_place at, uint64_t was, uint64_t value, enum vmmu_cause cause)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_SPTE_CHANGED);

	if (!r)
		return;
	r->level = (uint8_t)at.level;
	r->cause = (uint8_t)cause;
	r->index = (uint16_t)at.index;
	r->spte = (struct vmmu_trace_spte_changed){
		.table = at.table.v,
		.gfn = at.gfn.v,
		.old_spte = was,
		.new_spte = value,
	};
	vmmu_trace_end(op);
}

bool vmmu_entry_write(struct vmmu_visit *v, uint64_t value, enum vmmu_cause cause)
{
	struct vmmu_op *op = v->op;
	struct vmmu_tables *t = op->tables;
	_Atomic uint64_t *entries = (_Atomic uint64_t *)(t->host->table_write_base + v->table.v);
	uint64_t was = v->entry;
	const struct vmmu_layout *l = &op->map->layout;
	bool flush = was && !v->unreached && needs_flush(l, v->level, was, value);

	if (flush)
		count_pending(op);
	vmmu_point(t, VMMU_POINT_ENTRY_BEFORE, v->table, v->index);
	if (!atomic_compare_exchange_strong_explicit(&entries[v->index], &v->entry, value,
	                                             memory_order_acq_rel, memory_order_acquire))
		return false;
	v->entry = value;
	account(op, v, was, cause);
	if (flush)
		note_flush(op, v, was, cause);
	if (was && !vmmu_is_present(l, value) && vmmu_is_present(l, was))
		vmmu_count(&op->who->count.zapped[cause], 1);
	if (op->tracing)
		vmmu_trace_write(op, (struct vmmu_place){v->table, v->index, v->level, v->gfn}, was, value, cause);
	vmmu_point(t, VMMU_POINT_ENTRY_AFTER, v->table, v->index);
	return true;
}
