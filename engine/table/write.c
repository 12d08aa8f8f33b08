/* SPDX-License-Identifier: BSD-2-Clause */
/* The one writer of paging-structure entries, and what follows from each write. */
#include "table/write.h"

#include "table/locks.h"
#include "table/trace.h"

/* Does the CPU keep anything of `was` that `now` no longer says? Both are present. */
static VMMU_RARE bool needs_flush(const struct vmmu_layout *l, unsigned level, uint64_t was, uint64_t now)
{
	/* What a present entry may gain without anyone having to forget the old one. */
	uint64_t gains = l->format->read | l->format->write | l->format->exec | l->accessed | l->dirty |
	                 l->format->soft_host_writable | l->format->soft_map_writable;

	if (vmmu_is_leaf(l, level, was) != vmmu_is_leaf(l, level, now))
		return true;
	if (vmmu_entry_rights(l, was) & ~vmmu_entry_rights(l, now))
		return true;
	/* Software bits may come and go; accessed and dirty may only come. */
	if ((was & ~now) & (l->accessed | l->dirty))
		return true;
	return (was ^ now) & ~(gains | l->format->no_exec);
}

VMMU_INLINE void note_flush_of(struct vmmu_op *op, uint64_t start, uint64_t end, bool tables, enum vmmu_cause cause)
{
	struct vmmu_needed_flush *flush = &op->flush;

	if (!flush->needed) {
		flush->start = start;
		flush->end = end;
		flush->all = op->map->flush_all;
		flush->tables = tables;
		flush->needed = true;
		flush->cause = cause;
		return;
	}
	if (start < flush->start)
		flush->start = start;
	if (end > flush->end)
		flush->end = end;
	flush->all |= op->map->flush_all;
	flush->tables |= tables;
	flush->cause = cause;
}

static VMMU_RARE void note_flush(struct vmmu_op *op, const struct vmmu_visit *v, uint64_t was, enum vmmu_cause cause)
{
	uint64_t end = v->gfn.v + vmmu_level_pages(v->level);

	note_flush_of(op, v->gfn.v, end, vmmu_is_table(&op->map->layout, v->level, was), cause);
}

/* Whoever finds the entry changed must also find that a flush is pending (locks.h). */
VMMU_INLINE void add_pending(struct vmmu_op *op)
{
	struct vmmu_tables *t = op->tables;

	op->flush.pending = vmmu_flush_unit(atomic_load_explicit(&t->epoch, memory_order_relaxed));
	atomic_fetch_add_explicit(&t->flushes_pending, op->flush.pending, memory_order_seq_cst);
}

static VMMU_RARE void count_pending_now(struct vmmu_op *op)
{
	add_pending(op);
}

static inline void count_pending(struct vmmu_op *op)
{
	if (!op->flush.pending)
		count_pending_now(op);
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

static inline _Atomic uint64_t *writable(const struct vmmu_tables *t, vmmu_hpa table)
{
	return (_Atomic uint64_t *)(t->host->table_write_base + table.v);
}

/* The one store. False: *was is what stands there now. */
VMMU_INLINE bool exchange(_Atomic uint64_t *entry, uint64_t *was, uint64_t value)
{
	return atomic_compare_exchange_strong_explicit(entry, was, value, memory_order_acq_rel, memory_order_acquire);
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
	vmmu_trace_put(op, at, was, value, cause);
}

bool vmmu_entry_write(struct vmmu_visit *v, uint64_t value, enum vmmu_cause cause)
{
	struct vmmu_op *op = v->op;
	struct vmmu_tables *t = op->tables;
	uint64_t was = v->entry;
	const struct vmmu_layout *l = &op->map->layout;
	bool was_present = was && vmmu_is_present(l, was);
	bool drops = was_present && !vmmu_is_present(l, value);
	bool flush = was_present && !v->unreached && (drops || needs_flush(l, v->level, was, value));

	if (flush)
		count_pending(op);
	vmmu_point(t, VMMU_POINT_ENTRY_BEFORE, v->table, v->index);
	if (!exchange(&writable(t, v->table)[v->index], &v->entry, value))
		return false;
	v->entry = value;
	account(op, v, was, cause);
	if (flush)
		note_flush(op, v, was, cause);
	if (drops)
		vmmu_count(&op->who->count.zapped[cause], 1);
	if (op->tracing)
		vmmu_trace_write(op, (struct vmmu_place){v->table, v->index, v->level, v->gfn}, was, value, cause);
	vmmu_point(t, VMMU_POINT_ENTRY_AFTER, v->table, v->index);
	return true;
}

bool vmmu_leaf_drop(struct vmmu_op *op, vmmu_hpa table, vmmu_gfn gfn, uint64_t was, enum vmmu_cause cause)
{
	struct vmmu_tables *t = op->tables;
	struct vmmu_counters *count = &op->who->count;
	const unsigned index = gfn.v % VMMU_ENTRIES;
	uint64_t found = was;

	VMMU_ASSERT(vmmu_is_leaf(&op->map->layout, VMMU_LEVEL_4K, was));
	if (VMMU_LIKELY(!op->flush.pending))
		add_pending(op);
	vmmu_point(t, VMMU_POINT_ENTRY_BEFORE, table, index);
	if (VMMU_UNLIKELY(!exchange(&writable(t, table)[index], &found, 0)))
		return false;
	vmmu_count(&count->entries[cause][VMMU_LEVEL_4K], 1);
	vmmu_count(&count->zapped[cause], 1);
	vmmu_count(&count->pages[VMMU_LEVEL_4K], -1ull);
	note_flush_of(op, gfn.v, gfn.v + 1, false, cause);
	if (VMMU_UNLIKELY(op->tracing))
		vmmu_trace_write(op, (struct vmmu_place){table, index, VMMU_LEVEL_4K, gfn}, was, 0, cause);
	vmmu_point(t, VMMU_POINT_ENTRY_AFTER, table, index);
	return true;
}

/* ---- many at once -------------------------------------------------------------- */

static void narrow_watched(struct vmmu_op *op, struct vmmu_place at, uint64_t was, uint64_t take, enum vmmu_cause cause)
{
	_Atomic uint64_t *entry = &writable(op->tables, at.table)[at.index];
	uint64_t value;

	/* The CPU sets A or D where the engine has not: then the entry is looked at again. */
	do {
		value = was & ~take;
		vmmu_point(op->tables, VMMU_POINT_ENTRY_BEFORE, at.table, at.index);
	} while (!exchange(entry, &was, value));
	if (op->tracing)
		vmmu_trace_write(op, at, was, value, cause);
	vmmu_point(op->tables, VMMU_POINT_ENTRY_AFTER, at.table, at.index);
}

/* The one store of many: nobody but the CPU writes the entry meanwhile, and an A that it sets stays. */
VMMU_INLINE void take_away(_Atomic uint64_t *entry, uint64_t take)
{
	(void)atomic_fetch_and_explicit(entry, ~take, memory_order_acq_rel);
}

/* From the first to the last that has one of the bits: no CPU need forget what is around these. */
static struct vmmu_span without_ends(const struct vmmu_tables *t, struct vmmu_span span, uint64_t take)
{
	while (span.first < span.end && !(vmmu_entry_read(t, span.table, span.first) & take))
		span.first++;
	while (span.first < span.end && !(vmmu_entry_read(t, span.table, span.end - 1) & take))
		span.end--;
	return span;
}

/* What became of a span. */
struct narrowed {
	unsigned entries; /* how many were written */
	uint64_t were;    /* what they said before of all that matters, or-ed */
};

/*
 * Neighbours are mostly alike. So an entry is only looked at closely when it differs, in
 * what makes it a leaf and in the bits that go, from the last one that was narrowed.
 */
VMMU_INLINE struct narrowed narrow(struct vmmu_op *op, struct vmmu_span span, uint64_t take, enum vmmu_cause cause,
                                   bool watched)
{
	const struct vmmu_layout *l = &op->map->layout;
	const uint64_t matters = l->present | l->mmio_mask | take;
	const _Atomic uint64_t *from = (const _Atomic uint64_t *)(op->tables->read_base + span.table.v);
	_Atomic uint64_t *to = writable(op->tables, span.table);
	struct narrowed n = {span.end - span.first, 0};
	uint64_t like = ~matters; /* like none */

#pragma GCC unroll 8
	for (unsigned i = span.first; i < span.end; i++) {
		uint64_t was = atomic_load_explicit(&from[i], memory_order_acquire);

		if (VMMU_UNLIKELY((was & matters) != like)) {
			if (!(was & take) || !vmmu_is_leaf(l, VMMU_LEVEL_4K, was)) {
				n.entries--;
				continue;
			}
			like = was & matters;
			n.were |= like;
		}
		if (watched)
			narrow_watched(op, (struct vmmu_place){span.table, i, VMMU_LEVEL_4K, vmmu_gfn_of(span.gfn.v + i)},
			               was, take, cause);
		else
			take_away(&to[i], take);
	}
	return n;
}

static VMMU_APART struct narrowed narrow_unwatched(struct vmmu_op *op, struct vmmu_span span, uint64_t take)
{
	return narrow(op, span, take, VMMU_CAUSE_NONE, false);
}

void vmmu_leaves_narrow(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_span span, uint64_t take,
                        enum vmmu_cause cause)
{
	bool watched = op->tracing || op->tables->host->point;
	struct narrowed n;

	vmmu_assert_closed(closed);
	span = without_ends(op->tables, span, take);
	count_pending(op);
	n = VMMU_UNLIKELY(watched) ? narrow(op, span, take, cause, true) : narrow_unwatched(op, span, take);
	if (n.entries)
		vmmu_count(&op->who->count.entries[cause][VMMU_LEVEL_4K], n.entries);
	if (n.were & (op->map->layout.format->write | op->map->layout.dirty))
		note_flush_of(op, span.gfn.v + span.first, span.gfn.v + span.end, false, cause);
}

/* The entry is read before it is asked whether a flush is pending: see locks.h. */
VMMU_INLINE unsigned fill(struct vmmu_op *op, const struct vmmu_leaves *leaves, enum vmmu_cause cause, bool watched,
                          unsigned *written)
{
	const struct vmmu_tables *t = op->tables;
	const struct vmmu_layout *l = &op->map->layout;
	const _Atomic uint64_t *from = (const _Atomic uint64_t *)(t->read_base + leaves->table.v) + leaves->first;
	_Atomic uint64_t *to = writable(t, leaves->table) + leaves->first;
	const uint64_t by_cpu = l->accessed | l->dirty;
	unsigned i, old = 0;

	for (i = 0; i < leaves->count; i++) {
		uint64_t was = atomic_load_explicit(&from[i], memory_order_acquire), value = leaves->values[i];

		if (VMMU_LIKELY(!was)) {
			struct vmmu_place at = {leaves->table, leaves->first + i, VMMU_LEVEL_4K,
			                        vmmu_gfn_of(leaves->gfn.v + leaves->first + i)};

			/* Another frame may have stood here a moment ago, and a CPU still use it. */
			if (VMMU_UNLIKELY(vmmu_is_flush_pending(op)))
				break;
			if (watched)
				vmmu_point(op->tables, VMMU_POINT_ENTRY_BEFORE, at.table, at.index);
			if (VMMU_LIKELY(exchange(&to[i], &was, value))) {
				if (watched && op->tracing)
					vmmu_trace_write(op, at, 0, value, cause);
				if (watched)
					vmmu_point(op->tables, VMMU_POINT_ENTRY_AFTER, at.table, at.index);
				continue;
			}
		}
		if (((was ^ value) & ~by_cpu) && !leaves->pass)
			break;
		old++;
	}
	*written = i - old;
	return i;
}

static VMMU_APART unsigned fill_unwatched(struct vmmu_op *op, const struct vmmu_leaves *leaves, unsigned *written)
{
	return fill(op, leaves, VMMU_CAUSE_NONE, false, written);
}

unsigned vmmu_leaves_fill(struct vmmu_op *op, struct vmmu_inside inside, const struct vmmu_leaves *leaves,
                          enum vmmu_cause cause, unsigned *written)
{
	unsigned done;

	vmmu_assert_inside(inside);
	done = op->tracing || op->tables->host->point ? fill(op, leaves, cause, true, written)
	                                              : fill_unwatched(op, leaves, written);
	if (*written) {
		vmmu_count(&op->who->count.entries[cause][VMMU_LEVEL_4K], *written);
		vmmu_count(&op->who->count.pages[VMMU_LEVEL_4K], *written);
	}
	return done;
}
