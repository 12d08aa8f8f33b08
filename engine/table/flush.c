/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operation has unmapped: CPUs forget it first, then it is freed. */
#include "table/locks.h"
#include "table/trace.h"

static void trace_flush_needed(struct vmmu_op *op, const struct vmmu_flush *flush)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_FLUSH_OWED);

	if (!r)
		return;
	r->cause = (uint8_t)op->flush.cause;
	r->flush_id = flush->id;
	r->flush = (struct vmmu_trace_flush){
		.start_gfn = flush->start.v,
		.pages = flush->pages,
		.tables = op->flush.freed ? op->flush.freed_count : 0,
	};
	vmmu_trace_end(op);
}

static void trace_id(struct vmmu_op *op, enum vmmu_trace_event event, uint32_t id, uint64_t table)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, event);

	if (!r)
		return;
	r->flush_id = id;
	r->page = (struct vmmu_trace_page){.table = table};
	vmmu_trace_end(op);
}

static uint32_t flush(struct vmmu_op *op)
{
	struct vmmu_tables *t = op->tables;
	struct vmmu_flush f;

	f.vm = t->vm_id;
	f.all = op->flush.all;
	f.tables_freed = op->flush.tables;
	f.start = vmmu_gfn_of(op->flush.start);
	f.pages = op->flush.end - op->flush.start;
	f.id = atomic_fetch_add_explicit(&t->next_flush, 1, memory_order_relaxed) + 1;
	if (VMMU_UNLIKELY(op->tracing))
		trace_flush_needed(op, &f);
	vmmu_point(t, VMMU_POINT_FLUSH_BEFORE, vmmu_hpa_of(0), 0);
	t->host->flush(t->ctx, &f);
	vmmu_count(&op->who->count.flushes, 1);
	if (VMMU_UNLIKELY(op->tracing))
		trace_id(op, VMMU_TRACE_FLUSH_DONE, f.id, 0);
	vmmu_point(t, VMMU_POINT_FLUSH_DONE, vmmu_hpa_of(0), 0);
	return f.id;
}

static VMMU_APART void free_waiting(struct vmmu_op *op, uint32_t flush_id)
{
	while (op->flush.freed) {
		struct vmmu_table *table = op->flush.freed;

		op->flush.freed = table->next;
		trace_id(op, VMMU_TRACE_FREE_PAGE, flush_id, table->hpa.v);
		vmmu_table_delete(op->tables, table);
	}
}

/*
 * Entries found gone or narrowed may be a fault's doing, whose flush is pending still.
 * Flushes that are counted from now on are counted in the other epoch, and nobody
 * waits for them. The epoch steps with the gate closed, so that no fault is between
 * reading it and counting its flush. Those of the other epoch were waited for last
 * time.
 */
static VMMU_APART void wait_for_faults(struct vmmu_tables *t, struct vmmu_managing managing)
{
	uint32_t epoch = atomic_load_explicit(&t->epoch, memory_order_relaxed);
	uint64_t old = vmmu_flush_unit(epoch) * UINT32_MAX;
	struct vmmu_closed closed;

	closed = vmmu_gate_close(t, managing);
	atomic_store_explicit(&t->epoch, epoch ^ 1, memory_order_relaxed);
	vmmu_gate_open(t, closed);
	while (atomic_load_explicit(&t->flushes_pending, memory_order_acquire) & old)
		vmmu_relax(t);
}

void vmmu_op_flush(struct vmmu_op *op)
{
	struct vmmu_tables *t = op->tables;
	uint32_t id = 0;

	vmmu_assert_outside(t, op->who);
	if (op->flush.needed)
		id = flush(op);
	if (VMMU_UNLIKELY(op->flush.freed))
		free_waiting(op, id);
	if (op->flush.pending)
		atomic_fetch_sub_explicit(&t->flushes_pending, op->flush.pending, memory_order_release);
	if (op->who == &t->manager && VMMU_UNLIKELY(atomic_load_explicit(&t->flushes_pending, memory_order_acquire)))
		wait_for_faults(t, vmmu_managing_of(op));
	vmmu_flush_begin(&op->flush);
}

enum { PATIENCE = 1024 };

bool vmmu_flushes_wait(struct vmmu_op *op)
{
	for (unsigned i = 0; vmmu_is_flush_pending(op); i++) {
		if (i == PATIENCE)
			return false;
		vmmu_relax(op->tables);
	}
	return true;
}
