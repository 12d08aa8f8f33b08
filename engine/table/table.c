/* SPDX-License-Identifier: BSD-2-Clause */
/* Where tables come from and where they go. */
#include "table/locks.h"
#include "table/trace.h"
#include "table/walk.h"

void vmmu_gate_close(struct vmmu_tables *t)
{
	vmmu_point(t, VMMU_POINT_GATE_CLOSE, vmmu_hpa_of(0), 0);
	atomic_store_explicit(&t->closed, true, memory_order_seq_cst);
	for (uint32_t i = 0; i < t->actors_max; i++)
		while (t->actors[i] && atomic_load_explicit(&t->actors[i]->inside, memory_order_seq_cst))
			vmmu_relax(t);
}

void vmmu_gate_open(struct vmmu_tables *t)
{
	atomic_store_explicit(&t->closed, false, memory_order_release);
	vmmu_point(t, VMMU_POINT_GATE_OPEN, vmmu_hpa_of(0), 0);
}

void vmmu_table_delete(struct vmmu_tables *t, struct vmmu_table *table)
{
	vmmu_point(t, VMMU_POINT_TABLE_FREE, table->hpa, 0);
	t->host->table_free(t->ctx, table->hpa);
	t->host->object_free(t->ctx, table, t->header_bytes);
}

static struct vmmu_table *table_new(struct vmmu_tables *t)
{
	struct vmmu_table *table = t->host->object_alloc(t->ctx, t->header_bytes);

	if (!table)
		return NULL;
	if (!t->host->table_alloc(t->ctx, &table->hpa)) {
		t->host->object_free(t->ctx, table, t->header_bytes);
		return NULL;
	}
	/* No entry could name it. */
	if (table->hpa.v & ~t->frame_mask) {
		vmmu_table_delete(t, table);
		return NULL;
	}
	return table;
}

static void spare_push(struct vmmu_actor *who, struct vmmu_table *table)
{
	table->next = who->spare;
	who->spare = table;
	who->spares++;
}

static struct vmmu_table *spare_pop(struct vmmu_actor *who)
{
	struct vmmu_table *table = who->spare;

	who->spare = table->next;
	who->spares--;
	return table;
}

bool vmmu_spares_fill(struct vmmu_tables *t, struct vmmu_actor *who, unsigned count)
{
	while (who->spares < count) {
		struct vmmu_table *table = table_new(t);

		if (!table)
			return false;
		spare_push(who, table);
	}
	return true;
}

void vmmu_spares_drain(struct vmmu_tables *t, struct vmmu_actor *who)
{
	while (who->spares)
		vmmu_table_delete(t, spare_pop(who));
}

static struct vmmu_table *_Atomic *bucket_of(struct vmmu_tables *t, vmmu_hpa hpa)
{
	uint64_t pfn = vmmu_hpa_pfn(hpa).v;

	return &t->buckets[(pfn ^ pfn >> 10) % VMMU_TABLE_BUCKETS];
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

struct vmmu_table *vmmu_table_take(struct vmmu_op *op, unsigned level, vmmu_gfn gfn)
{
	struct vmmu_table *table = spare_pop(op->who);

	table->next = NULL;
	table->level = (uint8_t)level;
	table->gfn = gfn;
	vmmu_count(&op->who->count.tables_allocated[level], 1);
	vmmu_trace_table(op, VMMU_TRACE_GET_PAGE, table, VMMU_CAUSE_NONE, true);
	return table;
}

void vmmu_table_return(struct vmmu_op *op, struct vmmu_table *table)
{
	vmmu_count(&op->who->count.tables_freed[table->level], 1);
	vmmu_trace_table(op, VMMU_TRACE_FREE_PAGE, table, VMMU_CAUSE_NONE, false);
	spare_push(op->who, table);
}

void vmmu_table_publish(struct vmmu_op *op, struct vmmu_table *table)
{
	struct vmmu_table *_Atomic *bucket = bucket_of(op->tables, table->hpa);
	struct vmmu_table *first = atomic_load_explicit(bucket, memory_order_relaxed);

	do
		table->chain = first;
	while (!atomic_compare_exchange_weak_explicit(bucket, &first, table, memory_order_release,
	                                              memory_order_relaxed));
}

struct vmmu_table *vmmu_table_find(struct vmmu_tables *t, vmmu_hpa hpa)
{
	struct vmmu_table *table = atomic_load_explicit(bucket_of(t, hpa), memory_order_acquire);

	while (table && table->hpa.v != hpa.v)
		table = table->chain;
	return table;
}

/* The gate is closed, so nobody pushes meanwhile. */
static void forget(struct vmmu_tables *t, struct vmmu_table *table)
{
	struct vmmu_table *_Atomic *bucket = bucket_of(t, table->hpa);
	struct vmmu_table *at = atomic_load_explicit(bucket, memory_order_relaxed);

	if (at == table) {
		atomic_store_explicit(bucket, table->chain, memory_order_relaxed);
		return;
	}
	while (at->chain != table)
		at = at->chain;
	at->chain = table->chain;
}

void vmmu_table_retire_one(struct vmmu_op *op, struct vmmu_table *table, enum vmmu_cause cause)
{
	forget(op->tables, table);
	table->next = op->owed.freed;
	op->owed.freed = table;
	op->owed.freed_count++;
	vmmu_count(&op->who->count.tables_freed[table->level], 1);
	vmmu_trace_table(op, VMMU_TRACE_PREPARE_ZAP_PAGE, table, cause, false);
}

static enum vmmu_next count_leaf_out(struct vmmu_visit *v, void *arg)
{
	(void)arg;
	if (vmmu_is_leaf(&v->op->map->layout, v->level, v->entry))
		vmmu_count(&v->op->who->count.pages[v->level], (uint64_t)-1);
	return VMMU_NEXT;
}

static void retire_left(struct vmmu_op *op, vmmu_hpa hpa, void *arg)
{
	vmmu_table_retire_one(op, vmmu_table_find(op->tables, hpa), *(enum vmmu_cause *)arg);
}

void vmmu_table_retire(struct vmmu_op *op, struct vmmu_table *table, enum vmmu_cause cause)
{
	static const struct vmmu_visitor retire = {.end = count_leaf_out, .left = retire_left};
	struct vmmu_top top = {table->hpa, table->level};
	uint64_t pages = vmmu_level_pages(table->level + 1u);

	op->map->retired++;
	vmmu_walk(op, top, table->gfn.v, table->gfn.v + pages, retire, &cause);
	vmmu_table_retire_one(op, table, cause);
}
