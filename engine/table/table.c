/* SPDX-License-Identifier: BSD-2-Clause */
/* Where tables come from and where they go. */
#include "table/locks.h"
#include "table/table_hash.h"
#include "table/trace.h"
#include "table/walk.h"

/* Seats may be empty. */
static inline bool is_inside(const struct vmmu_actor *actor)
{
	return actor && atomic_load_explicit(&actor->inside, memory_order_seq_cst);
}

/* Until those on this seat and on all behind it are out. */
static VMMU_APART void wait_until_out(struct vmmu_tables *t, struct vmmu_actor *const *seat)
{
	for (struct vmmu_actor *const *end = t->actors + t->actors_end; seat < end; seat++)
		while (is_inside(*seat))
			vmmu_relax(t);
}

/* Shut the gate. Mostly nobody is inside. */
VMMU_INLINE void shut(struct vmmu_tables *t)
{
	struct vmmu_actor *const *seat = t->actors, *const *end = seat + t->actors_end;

	atomic_store_explicit(&t->closed, true, memory_order_seq_cst);
	while (seat < end && VMMU_LIKELY(!is_inside(*seat)))
		seat++;
	if (VMMU_UNLIKELY(seat < end))
		wait_until_out(t, seat);
}

static VMMU_APART void shut_watched(struct vmmu_tables *t)
{
	vmmu_point(t, VMMU_POINT_GATE_CLOSE, vmmu_hpa_of(0), 0);
	shut(t);
}

struct vmmu_closed vmmu_gate_close(struct vmmu_tables *t, struct vmmu_managing managing)
{
	vmmu_assert_managing(managing);
	VMMU_ASSERT(!atomic_load_explicit(&t->closed, memory_order_relaxed));
	if (VMMU_UNLIKELY(t->host->point != NULL))
		shut_watched(t);
	else
		shut(t);
	return (struct vmmu_closed){VMMU_PROOF_OF(t)};
}

void vmmu_table_delete(struct vmmu_tables *t, struct vmmu_table *table)
{
	vmmu_point(t, VMMU_POINT_TABLE_FREE, table->hpa, 0);
	t->host->table_free(t->ctx, table->hpa);
	t->host->object_free(t->ctx, table, t->header_bytes);
}

/* `mask`: the address bits that whatever is to name the table has. */
VMMU_INLINE struct vmmu_table *table_new(struct vmmu_tables *t, bool (*alloc)(void *ctx, vmmu_hpa *out), uint64_t mask)
{
	struct vmmu_table *table = t->host->object_alloc(t->ctx, t->header_bytes);

	if (!table)
		return NULL;
	if (!alloc(t->ctx, &table->hpa)) {
		t->host->object_free(t->ctx, table, t->header_bytes);
		return NULL;
	}
	if (table->hpa.v & ~mask) {
		vmmu_table_delete(t, table);
		return NULL;
	}
	/* The host has promised it. A word that is left over would be an entry. */
	VMMU_ASSERT(vmmu_table_is_empty(t, table->hpa));
	return table;
}

static void spare_push(struct vmmu_actor *who, struct vmmu_table *table)
{
	table->next = who->spare;
	who->spare = table;
	who->spares++;
}

bool vmmu_spares_fill(struct vmmu_tables *t, struct vmmu_actor *who, unsigned count)
{
	vmmu_assert_outside(t, who);
	if (VMMU_UNLIKELY(vmmu_table_hash_is_full(&t->hash)))
		vmmu_table_hash_grow(t);
	while (who->spares < count) {
		struct vmmu_table *table = table_new(t, t->host->table_alloc, t->frame_mask);

		if (!table)
			return false;
		spare_push(who, table);
	}
	return true;
}

bool vmmu_low_spare_fill(struct vmmu_tables *t, struct vmmu_actor *who)
{
	const struct vmmu_host *host = t->host;

	vmmu_assert_outside(t, who);
	if (!who->low_spare)
		who->low_spare = table_new(t, host->table_alloc_low ? host->table_alloc_low : host->table_alloc,
		                           t->frame_mask & UINT32_MAX);
	return who->low_spare;
}

void vmmu_spares_drain(struct vmmu_tables *t, struct vmmu_actor *who)
{
	if (who->low_spare)
		vmmu_table_delete(t, who->low_spare);
	who->low_spare = NULL;
	while (who->spares)
		vmmu_table_delete(t, vmmu_spare_pop(who));
}

void vmmu_trace_table(struct vmmu_op *op, enum vmmu_trace_event event,
                      const struct vmmu_table *table, enum vmmu_cause cause, bool created)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, event);

	if (!r)
		return;
	r->level = table->level;
	r->cause = (uint8_t)cause;
	r->created = created;
	r->page = (struct vmmu_trace_page){.table = table->hpa.v, .gfn = table->gfn.v};
	vmmu_trace_end(op);
}

static struct vmmu_table *take(struct vmmu_op *op, struct vmmu_table *table, unsigned level, vmmu_gfn gfn)
{
	vmmu_table_begin(op->who, table, level, gfn);
	if (op->map->input == VMMU_INPUT_NESTED_GPA)
		vmmu_count(&op->who->count.tables_nested[level], 1);
	vmmu_trace_table(op, VMMU_TRACE_GET_PAGE, table, VMMU_CAUSE_NONE, true);
	return table;
}

struct vmmu_table *vmmu_table_take(struct vmmu_op *op, unsigned level, vmmu_gfn gfn)
{
	return take(op, vmmu_spare_pop(op->who), level, gfn);
}

struct vmmu_table *vmmu_table_take_low(struct vmmu_op *op, unsigned level, vmmu_gfn gfn)
{
	struct vmmu_table *table = op->who->low_spare;

	VMMU_ASSERT(table != NULL);
	op->who->low_spare = NULL;
	return take(op, table, level, gfn);
}

void vmmu_table_return(struct vmmu_actor *who, struct vmmu_op *op, struct vmmu_table *table)
{
	vmmu_count(&who->count.tables_freed[table->level], 1);
	if (op)
		vmmu_trace_table(op, VMMU_TRACE_FREE_PAGE, table, VMMU_CAUSE_NONE, false);
	spare_push(who, table);
}

void vmmu_table_publish(struct vmmu_op *op, struct vmmu_table *table)
{
	vmmu_table_hash_add(&op->tables->hash, table);
}

struct vmmu_table *vmmu_table_find(struct vmmu_tables *t, struct vmmu_closed closed, vmmu_hpa hpa)
{
	vmmu_assert_closed(closed);
	return vmmu_table_hash_find(&t->hash, hpa);
}

void vmmu_table_retire_one(struct vmmu_exclusive x, struct vmmu_table *table, enum vmmu_cause cause)
{
	struct vmmu_op *op = x.op;

	vmmu_assert_exclusive(x);
	vmmu_table_hash_remove(&op->tables->hash, table);
	if (table->for_hole)
		atomic_fetch_sub_explicit(&op->map->hole_tables, 1, memory_order_relaxed);
	op->flush.freed_count = op->flush.freed ? op->flush.freed_count + 1 : 1;
	table->next = op->flush.freed;
	op->flush.freed = table;
	vmmu_count(&op->who->count.tables_freed[table->level], 1);
	vmmu_trace_table(op, VMMU_TRACE_PREPARE_ZAP_PAGE, table, cause, false);
}

struct retiring {
	struct vmmu_closed closed;
	enum vmmu_cause cause;
};

/* The same for some neighbours that are not all of one kind. */
static VMMU_APART uint64_t count_mixed(const struct vmmu_layout *l, unsigned level, const _Atomic uint64_t *entries,
                                       unsigned count)
{
	uint64_t leaves = 0;

	for (unsigned i = 0; i < count; i++)
		leaves += vmmu_is_leaf(l, level, atomic_load_explicit(&entries[i], memory_order_relaxed));
	return leaves;
}

/*
 * How many of its entries are leaves. Nobody writes them meanwhile. Neighbours are
 * mostly alike, so that what an entry is need be worked out once for many: this loop is
 * what taking a table down costs.
 */
enum { NEIGHBOURS = 64 };
static uint64_t count_leaves(const struct vmmu_op *op, const struct vmmu_table *table)
{
	const struct vmmu_layout *l = &op->map->layout;
	const _Atomic uint64_t *entries = (const _Atomic uint64_t *)(op->tables->read_base + table->hpa.v);
	const uint64_t kind = l->present | l->huge | l->mmio_mask;
	uint64_t leaves = 0;

	for (unsigned i = 0; i < VMMU_ENTRIES; i += NEIGHBOURS) {
		const uint64_t first = atomic_load_explicit(&entries[i], memory_order_relaxed);
		uint64_t differ = 0;

#pragma GCC unroll 16
		for (unsigned j = i + 1; j < i + NEIGHBOURS; j++)
			differ |= atomic_load_explicit(&entries[j], memory_order_relaxed) ^ first;
		if (VMMU_UNLIKELY(differ & kind))
			leaves += count_mixed(l, table->level, &entries[i], NEIGHBOURS);
		else if (vmmu_is_leaf(l, table->level, first))
			leaves += NEIGHBOURS;
	}
	return leaves;
}

bool vmmu_table_is_empty(const struct vmmu_tables *t, vmmu_hpa table)
{
	const _Atomic uint64_t *entries = (const _Atomic uint64_t *)(t->read_base + table.v);

	for (unsigned i = 0; i < VMMU_ENTRIES; i += NEIGHBOURS) {
		uint64_t any = 0;

#pragma GCC unroll 16
		for (unsigned j = i; j < i + NEIGHBOURS; j++)
			any |= atomic_load_explicit(&entries[j], memory_order_relaxed);
		if (any)
			return false;
	}
	return true;
}

/* Not with the VM, whose statistics nobody can read any more: it may have millions. */
static void count_out(struct vmmu_op *op, const struct vmmu_table *table)
{
	if (op->tables->ending)
		return;
	vmmu_count(&op->who->count.pages[table->level], -count_leaves(op, table));
}

/* Tables of leaves are nearly all tables there are: each goes in one step. */
static enum vmmu_next retire_pre(struct vmmu_visit *v, void *arg)
{
	const struct retiring *r = arg;
	struct vmmu_op *op = v->op;
	struct vmmu_table *table;

	if (v->level > VMMU_LEVEL_2M)
		return VMMU_DESCEND;
	table = vmmu_table_find(op->tables, r->closed, vmmu_entry_address(&op->map->layout, v->entry));
	count_out(op, table);
	vmmu_table_retire_one(vmmu_exclusive_of(op, r->closed), table, r->cause);
	return VMMU_NEXT;
}

static enum vmmu_next pass_leaf(struct vmmu_visit *v, void *arg)
{
	(void)v;
	(void)arg;
	return VMMU_NEXT;
}

static void retire_post(struct vmmu_op *op, vmmu_hpa hpa, void *arg)
{
	const struct retiring *r = arg;
	struct vmmu_table *table = vmmu_table_find(op->tables, r->closed, hpa);

	count_out(op, table);
	vmmu_table_retire_one(vmmu_exclusive_of(op, r->closed), table, r->cause);
}

void vmmu_table_retire(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_table *table,
                       enum vmmu_cause cause)
{
	static const struct vmmu_visitor retire = {
		.leaf = pass_leaf,
		.table_pre = retire_pre,
		.table_post = retire_post,
	};
	struct vmmu_top top = {table->hpa, table->level};
	uint64_t pages = vmmu_level_pages(table->level + 1u);
	struct retiring r = {.closed = closed, .cause = cause};

	op->map->retired++;
	if (table->level > VMMU_LEVEL_4K && !vmmu_table_is_empty(op->tables, table->hpa))
		vmmu_walk(op, top, table->gfn.v, table->gfn.v + pages, retire, &r);
	count_out(op, table);
	vmmu_table_retire_one(vmmu_exclusive_of(op, closed), table, cause);
}
