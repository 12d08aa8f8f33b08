/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges of gfns in a direct map: removed, write-protected, harvested. */
#include "map/direct/direct.h"
#include "table/locks.h"

/*
 * Removing and write-protecting ranges while vCPUs run.
 *
 * The gate is opened again after so many entries, so that a fault waits for
 * some ten thousand reads and not for a terabyte. One step may be larger: a
 * table goes as a whole, and that which covers 1 GiB has up to 512 below it.
 */
enum { VISITS_PER_CLOSING = 8192 };

struct sweep {
	uint64_t first, end; /* the range, in gfns */
	unsigned keep;
	unsigned whole_max; /* level of the largest entry whose table goes as a whole */
	bool forbid;
	enum vmmu_cause cause;
	unsigned visits_left;
	uint64_t resume;
	struct vmmu_closed closed;
};

/* Bound the time the gate stays closed: true when this visit is one too many. */
static bool out_of_visits(struct sweep *s, const struct vmmu_visit *v)
{
	if (s->visits_left) {
		s->visits_left--;
		return false;
	}
	s->resume = v->gfn.v > s->first ? v->gfn.v : s->first;
	return true;
}

/* Call `walk_once` with the gate closed until it has got to the end. */
static void sweep_all(struct vmmu_op *op, struct vmmu_managing managing, struct sweep *s,
                      void (*walk_once)(struct vmmu_op *op, struct sweep *s))
{
	/* The map of guests without paging ends long before memory may. */
	if (s->end > vmmu_map_end(op->map))
		s->end = vmmu_map_end(op->map);
	while (s->first < s->end) {
		s->visits_left = VISITS_PER_CLOSING;
		s->resume = s->end;
		s->closed = vmmu_gate_close(op->tables, managing);
		walk_once(op, s);
		vmmu_gate_open(op->tables, s->closed);
		s->first = s->resume;
	}
}

static bool within(const struct sweep *s, const struct vmmu_visit *v)
{
	return v->gfn.v >= s->first && v->gfn.v + vmmu_level_pages(v->level) <= s->end;
}

static enum vmmu_next zap_table(struct vmmu_visit *v, struct sweep *s)
{
	struct vmmu_table *table =
		vmmu_table_find(v->op->tables, s->closed, vmmu_entry_address(&v->op->map->layout, v->entry));

	if (!vmmu_entry_write(v, 0, s->cause))
		return VMMU_AGAIN;
	vmmu_table_retire(v->op, s->closed, table, s->cause);
	s->visits_left -= s->visits_left < VMMU_ENTRIES ? s->visits_left : VMMU_ENTRIES;
	return VMMU_NEXT;
}

static enum vmmu_next zap_table_pre(struct vmmu_visit *v, void *arg)
{
	struct sweep *s = arg;

	if (out_of_visits(s, v))
		return VMMU_STOP;
	/* Whole tables go at once, but not so large a tree that faults wait for long. */
	if (!s->keep && v->level <= s->whole_max && within(s, v))
		return zap_table(v, s);
	return VMMU_DESCEND;
}

static enum vmmu_next zap_leaf(struct vmmu_visit *v, void *arg)
{
	struct sweep *s = arg;

	if (out_of_visits(s, v))
		return VMMU_STOP;
	if (!v->entry ||
	    (v->level <= s->keep && vmmu_is_leaf(&v->op->map->layout, v->level, v->entry)))
		return VMMU_NEXT;
	return vmmu_entry_write(v, 0, s->cause) ? VMMU_NEXT : VMMU_AGAIN;
}

static void zap_once(struct vmmu_op *op, struct sweep *s)
{
	static const struct vmmu_visitor zap = {.leaf = zap_leaf, .table_pre = zap_table_pre};

	vmmu_walk(op, vmmu_top_of(op->map), s->first, s->end, zap, s);
	vmmu_answers_age(&op->map->vm->memory, s->closed);
}

/* ---- tables that have become empty ------------------------------------------------ */

/* The entries that reference the tables on the way to a gfn, by the entry's level. */
struct way {
	struct vmmu_visit entry[VMMU_LEVEL_MAX + 1];
	unsigned lowest; /* level of the last one; 0: there is none */
};

static enum vmmu_next way_leaf(struct vmmu_visit *v, void *arg)
{
	(void)v;
	(void)arg;
	return VMMU_STOP;
}

static enum vmmu_next way_table(struct vmmu_visit *v, void *arg)
{
	struct way *way = arg;

	way->entry[v->level] = *v;
	way->lowest = v->level;
	return VMMU_DESCEND;
}

/*
 * Where a range ends inside a table, the sweep empties the table and leaves it. When
 * a slot goes that was all of it, nothing may come there again.
 */
static void prune(struct vmmu_op *op, struct vmmu_closed closed, uint64_t gfn, enum vmmu_cause cause)
{
	static const struct vmmu_visitor visitor = {.leaf = way_leaf, .table_pre = way_table};
	struct way way = {.lowest = 0};

	vmmu_walk(op, vmmu_top_of(op->map), gfn, gfn + 1, visitor, &way);
	for (unsigned level = way.lowest; level && level <= op->map->whole_level_max; level++) {
		struct vmmu_visit *v = &way.entry[level];
		vmmu_hpa table = vmmu_entry_address(&op->map->layout, v->entry);

		if (!vmmu_table_is_empty(op->tables, table) || !vmmu_entry_write(v, 0, cause))
			return;
		vmmu_table_retire(op, closed, vmmu_table_find(op->tables, closed, table), cause);
	}
}

static void prune_ends(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first, uint64_t end,
                       enum vmmu_cause cause)
{
	struct vmmu_closed closed;
	uint64_t last = vmmu_map_end(op->map) - 1;

	if (first > last)
		return;
	closed = vmmu_gate_close(op->tables, managing);
	prune(op, closed, first, cause);
	prune(op, closed, end - 1 < last ? end - 1 : last, cause);
	vmmu_gate_open(op->tables, closed);
}

void vmmu_direct_zap_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                           uint64_t end, unsigned keep, enum vmmu_cause cause)
{
	struct sweep s = {
		.first = first,
		.end = end,
		.keep = keep,
		.whole_max = op->map->whole_level_max,
		.cause = cause,
	};

	sweep_all(op, managing, &s, zap_once);
	if (cause == VMMU_CAUSE_ZAP_SLOT)
		prune_ends(op, managing, first, end, cause);
}

/* What the walker comes to last for one gfn: no visitor, no way back. The hint is management's own. */
VMMU_INLINE struct vmmu_visit ending(struct vmmu_op *op, uint64_t gfn)
{
	const struct vmmu_layout *l = &op->map->layout;
	struct vmmu_visit v = {.op = op, .table = op->map->root->hpa, .level = op->map->root->level};
	unsigned shift = VMMU_INDEX_BITS * (v.level - 1u);

	for (;; v.level--, shift -= VMMU_INDEX_BITS) {
		if (v.level == VMMU_HINT_LEVEL)
			op->who->hint = vmmu_hint_to(op->map, gfn, v.table);
		v.index = gfn >> shift & (VMMU_ENTRIES - 1);
		v.entry = vmmu_entry_read(op->tables, v.table, v.index);
		if (v.level == VMMU_LEVEL_4K || (v.entry & l->table_mask) != l->table_mark)
			break;
		v.table = vmmu_entry_address(l, v.entry);
	}
	v.gfn = vmmu_gfn_of(gfn >> shift << shift);
	return v;
}

/* Whatever maps gfn. */
static VMMU_APART void zap_ending(struct vmmu_op *op, uint64_t gfn, enum vmmu_cause cause)
{
	struct vmmu_visit v;

	if (gfn >= vmmu_map_end(op->map))
		return;
	v = ending(op, gfn);
	while (v.entry && !vmmu_entry_write(&v, 0, cause))
		;
}

/* Most often it is a leaf in a table to which the hint leads. Only the CPU's A and D can change it meanwhile. */
void vmmu_direct_zap_page(struct vmmu_op *op, struct vmmu_closed closed, uint64_t gfn, enum vmmu_cause cause)
{
	const struct vmmu_layout *l = &op->map->layout;
	const struct vmmu_hint *hint = &op->who->hint;
	uint64_t entry, leaf;
	vmmu_hpa table;

	vmmu_assert_closed(closed);
	if (VMMU_UNLIKELY(!vmmu_hint_leads_to(hint, op->map, gfn)))
		return zap_ending(op, gfn, cause);
	entry = vmmu_entry_read(op->tables, hint->table, gfn / VMMU_ENTRIES % VMMU_ENTRIES);
	if (VMMU_UNLIKELY((entry & l->table_mask) != l->table_mark))
		return zap_ending(op, gfn, cause);
	table = vmmu_entry_address(l, entry);
	leaf = vmmu_entry_read(op->tables, table, gfn % VMMU_ENTRIES);
	if (VMMU_UNLIKELY(!vmmu_is_present(l, leaf)) ||
	    VMMU_UNLIKELY(!vmmu_leaf_drop(op, table, vmmu_gfn_of(gfn), leaf, cause)))
		zap_ending(op, gfn, cause);
}

static uint64_t protected_leaf(const struct vmmu_op *op, uint64_t leaf, bool forbid)
{
	leaf = vmmu_leaf_protected(op, leaf);
	return forbid ? leaf & ~op->map->layout.soft_writable : leaf;
}

static enum vmmu_next protect_leaf(struct vmmu_visit *v, void *arg)
{
	const struct vmmu_layout *l = &v->op->map->layout;
	struct sweep *s = arg;
	uint64_t value;

	if (out_of_visits(s, v))
		return VMMU_STOP;
	if (!vmmu_is_leaf(l, v->level, v->entry))
		return VMMU_NEXT;
	value = protected_leaf(v->op, v->entry, s->forbid);
	if (value != v->entry && !vmmu_entry_write(v, value, VMMU_CAUSE_PROTECT))
		return VMMU_AGAIN;
	return VMMU_NEXT;
}

/* A table of leaves goes in one step. Large pages and MMIO entries are rare beside these. */
static enum vmmu_next protect_table(struct vmmu_visit *v, void *arg)
{
	const struct vmmu_layout *l = &v->op->map->layout;
	const uint64_t pages = vmmu_level_pages(VMMU_LEVEL_2M);
	struct sweep *s = arg;
	struct vmmu_span span;
	unsigned visits;

	if (v->level > VMMU_LEVEL_2M)
		return VMMU_DESCEND;
	if (out_of_visits(s, v))
		return VMMU_STOP;
	span.table = vmmu_entry_address(l, v->entry);
	span.gfn = v->gfn;
	span.first = v->gfn.v < s->first ? (unsigned)(s->first - v->gfn.v) : 0;
	span.end = (unsigned)(s->end - v->gfn.v < pages ? s->end - v->gfn.v : pages);
	vmmu_leaves_narrow(v->op, s->closed, span,
	                   l->format->write | l->dirty | (s->forbid ? l->soft_writable : 0), VMMU_CAUSE_PROTECT);
	visits = span.end - span.first;
	s->visits_left -= s->visits_left < visits ? s->visits_left : visits;
	return VMMU_NEXT;
}

static void protect_once(struct vmmu_op *op, struct sweep *s)
{
	static const struct vmmu_visitor protect = {.leaf = protect_leaf, .table_pre = protect_table};

	vmmu_walk(op, vmmu_top_of(op->map), s->first, s->end, protect, s);
}

void vmmu_direct_protect_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                               uint64_t end, bool forbid)
{
	struct sweep s = {.first = first, .end = end, .forbid = forbid};

	sweep_all(op, managing, &s, protect_once);
}

void vmmu_direct_harvest_range(struct vmmu_op *op, struct vmmu_closed closed, uint64_t first,
                               uint64_t end)
{
	struct sweep s = {.first = first, .end = end, .visits_left = ~0u, .closed = closed};

	vmmu_assert_closed(closed);
	if (s.end > vmmu_map_end(op->map))
		s.end = vmmu_map_end(op->map);
	protect_once(op, &s);
}
