/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every lock of the engine, in the order in which they may be taken.
 *
 *   1. the turn   orders management calls of one VM among themselves. It may be
 *                 held across host callbacks. No fault ever takes it.
 *   2. the gate   keeps walkers and invalidations apart.
 *   3. the shadow lock, inside the gate, orders the faults of vCPUs in shadow
 *      modes among themselves: they share tables, lists and counts. Faults on
 *      direct maps never take it; who has closed the gate needs it not.
 *
 * The gate is a reader-writer lock whose readers share no cache line. A walker
 * (a vCPU in a fault) sets a flag of its own, then looks whether the gate is
 * closed; an invalidation closes it, then waits until every flag is down. Both
 * sides store first and look second, with sequentially consistent operations,
 * so that at least one of them sees the other. Faults of several vCPUs thus run
 * in parallel and write nothing in common but the entries themselves; the
 * invalidation, which is rare, pays for all.
 *
 * While the gate is closed nobody else reads or writes tables, slots or
 * restrictions. A table unlinked under it can only be reached by the hardware,
 * so after the flush it is free.
 *
 * Nothing is allocated, flushed or asked of the host while the gate is closed,
 * and none of that happens while a walker is inside. vCPUs that wait at a
 * closed gate hold nothing.
 *
 * Faults flush too, outside the gate: when they drop or narrow an entry. Until
 * that is done the entry no longer tells what CPUs may remember. So a fault
 * promises the flush before it changes the entry, and counts the promise in
 * `unpaid`; in shadow modes management does so, too. While it is not zero, no
 * fault maps anything where nothing is mapped (it answers RETRY). No management
 * call returns before what had been promised until then is paid: what it found
 * already gone may be a fault's doing. It waits for the host's flush there, but
 * holds the turn only, which that flush never needs; and not for what is promised
 * later, which is counted apart.
 */
#ifndef VMMU_LOCKS_H
#define VMMU_LOCKS_H

#include "table/tables.h"

static inline void vmmu_relax(struct vmmu_tables *t)
{
	if (t->host->relax)
		t->host->relax(t->ctx);
	else
		__builtin_ia32_pause();
}

static inline void vmmu_point(struct vmmu_tables *t, unsigned point, vmmu_hpa table, unsigned index)
{
	if (VMMU_UNLIKELY(t->host->point != NULL))
		t->host->point(t->ctx, point, table, index);
}

/* Inside the gate, by faults of shadow modes. */
static inline void vmmu_shadow_lock(struct vmmu_tables *t)
{
	while (atomic_exchange_explicit(&t->locked, true, memory_order_acquire))
		vmmu_relax(t);
}

static inline void vmmu_shadow_unlock(struct vmmu_tables *t)
{
	atomic_store_explicit(&t->locked, false, memory_order_release);
}

static inline void vmmu_turn_take(struct vmmu_tables *t)
{
	while (atomic_exchange_explicit(&t->turn, true, memory_order_acquire))
		vmmu_relax(t);
}

static inline void vmmu_turn_give(struct vmmu_tables *t)
{
	atomic_store_explicit(&t->turn, false, memory_order_release);
}

/* Waits while the gate is closed. The caller may read and compare-exchange until it leaves. */
static inline void vmmu_gate_enter(struct vmmu_tables *t, struct vmmu_actor *who)
{
	vmmu_point(t, VMMU_POINT_GATE_ENTER, vmmu_hpa_of(0), 0);
	for (;;) {
		atomic_store_explicit(&who->inside, true, memory_order_seq_cst);
		if (VMMU_LIKELY(!atomic_load_explicit(&t->closed, memory_order_seq_cst)))
			return;
		atomic_store_explicit(&who->inside, false, memory_order_release);
		while (atomic_load_explicit(&t->closed, memory_order_acquire))
			vmmu_relax(t);
	}
}

/*
 * The same for an operation. Tracing is switched with the gate closed, so inside
 * it is either on or off; an operation under way learns of it here.
 */
static inline void vmmu_op_enter(struct vmmu_op *op)
{
	vmmu_gate_enter(op->tables, op->who);
	op->tracing = atomic_load_explicit(&op->tables->tracing, memory_order_relaxed);
}

static inline void vmmu_gate_leave(struct vmmu_tables *t, struct vmmu_actor *who)
{
	atomic_store_explicit(&who->inside, false, memory_order_release);
	vmmu_point(t, VMMU_POINT_GATE_LEAVE, vmmu_hpa_of(0), 0);
}

/* Shut every walker out and wait for the last one to leave. Needs the turn. */
void vmmu_gate_close(struct vmmu_tables *t);
void vmmu_gate_open(struct vmmu_tables *t);

#endif
