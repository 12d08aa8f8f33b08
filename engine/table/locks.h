/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every lock of the engine, in the order in which they may be taken.
 *
 *   1. The management lock orders the management calls of one VM. It may be held
 *      across host callbacks. No fault ever takes it.
 *   2. The gate keeps walkers and invalidations apart.
 *   3. The shadow lock, inside the gate, orders the faults on shadow maps: they share
 *      tables, lists and counts. Faults on direct maps never take it. With the gate
 *      closed it is not needed.
 *
 * The gate is a reader-writer lock whose readers share no cache line. A walker (a
 * vCPU in a fault) sets a flag of its own, then reads whether the gate is closed. An
 * invalidation closes the gate, then waits until every flag is down. Both sides
 * store first and load second, with sequentially consistent operations, so that at
 * least one of them sees the other. Faults of several vCPUs thus run in parallel and
 * write nothing in common but the entries themselves. The invalidation, which is
 * rare, bears the cost.
 *
 * While the gate is closed nobody else reads or writes tables, slots or caps. Only
 * the hardware can reach a table that was unlinked then, so the table is free after
 * the flush.
 *
 * Nothing is allocated or flushed and no host callback is called while the gate is
 * closed or a walker is inside, but for plain reads of guest memory. vCPUs that wait
 * at a closed gate hold nothing.
 *
 * Flushes come after the gate: management opens it first, and faults that drop or
 * narrow an entry leave it. Until the flush is done the entry no longer tells what
 * CPUs may remember, and another frame put there, a copy on write, would be written by
 * one CPU while another still reads the old one. So whoever is to flush counts that in
 * `flushes_pending` before it changes the entry. While any is pending, no fault maps anything
 * where nothing is mapped: it answers RETRY. A management call waits, before it
 * returns, for the flushes that were pending when it was done: an entry that it found
 * gone may be a fault's doing. It holds only the management lock then, which those
 * flushes never need. Flushes that become pending later are counted apart.
 *
 * Words of this engine, and KVM's for the same. docs/architecture.md has the rest.
 *
 *   management lock         slots_lock
 *   gate                    mmu_lock: faults take the read side
 *   shadow lock             mmu_lock, write side
 *   proof                   lockdep_assert_held()
 *   flush needed            the `flush` that functions return, tlbs_dirty
 *   flush pending           tlb_flush_pending of Linux's struct mm_struct
 *   invalidating, sequence  mmu_invalidate_in_progress, mmu_invalidate_seq
 *   fault preparation       kvm_faultin_pfn()
 *   find leaf               get_walk()
 *   held, parked            nothing: the words are of this engine (map/shadow/shadow.h)
 */
#ifndef VMMU_LOCKS_H
#define VMMU_LOCKS_H

#include "table/proof.h"
#include "table/tables.h"

#ifdef VMMU_DEBUG
#define VMMU_PROOF_OF(whose) (whose)
#else
#define VMMU_PROOF_OF(whose)
#endif

/* ---- proofs, asserted ---- */

static inline void vmmu_assert_managing(struct vmmu_managing managing)
{
	(void)managing;
#ifdef VMMU_DEBUG
	VMMU_ASSERT(atomic_load_explicit(&managing.tables->managed, memory_order_relaxed));
#endif
}

static inline void vmmu_assert_inside(struct vmmu_inside inside)
{
	(void)inside;
#ifdef VMMU_DEBUG
	VMMU_ASSERT(atomic_load_explicit(&inside.who->inside, memory_order_relaxed));
#endif
}

static inline void vmmu_assert_closed(struct vmmu_closed closed)
{
	(void)closed;
#ifdef VMMU_DEBUG
	VMMU_ASSERT(atomic_load_explicit(&closed.tables->closed, memory_order_relaxed));
#endif
}

static inline void vmmu_assert_reading(struct vmmu_reading reading)
{
	(void)reading;
#ifdef VMMU_DEBUG
	VMMU_ASSERT(reading.who ? atomic_load_explicit(&reading.who->inside, memory_order_relaxed)
	                        : atomic_load_explicit(&reading.tables->managed, memory_order_relaxed));
#endif
}

/* Inside the gate with the shadow lock, or with the gate closed. */
static inline void vmmu_assert_exclusive(struct vmmu_exclusive x)
{
	(void)x;
#ifdef VMMU_DEBUG
	VMMU_ASSERT((atomic_load_explicit(&x.op->who->inside, memory_order_relaxed) &&
	             atomic_load_explicit(&x.op->tables->locked, memory_order_relaxed)) ||
	            (x.op->who == &x.op->tables->manager &&
	             atomic_load_explicit(&x.op->tables->closed, memory_order_relaxed)));
#endif
}

/* Neither inside the gate nor having closed it: the host may be called. */
static inline void vmmu_assert_outside(const struct vmmu_tables *t, const struct vmmu_actor *who)
{
	(void)t, (void)who;
	VMMU_ASSERT(!atomic_load_explicit(&who->inside, memory_order_relaxed));
	VMMU_ASSERT(who != &t->manager || !atomic_load_explicit(&t->closed, memory_order_relaxed));
}

/* ---- waiting ---- */

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

/* ---- 1. the management lock ---- */

static inline struct vmmu_managing vmmu_manage_lock(struct vmmu_tables *t)
{
	while (atomic_exchange_explicit(&t->managed, true, memory_order_acquire))
		vmmu_relax(t);
	return (struct vmmu_managing){VMMU_PROOF_OF(t)};
}

/* The next holder may free the VM, so nothing touches it after this. */
static inline void vmmu_manage_unlock(struct vmmu_tables *t, struct vmmu_managing managing)
{
	vmmu_assert_managing(managing);
	atomic_store_explicit(&t->managed, false, memory_order_release);
}

/* An operation of the management's proves that the lock is held. */
static inline struct vmmu_managing vmmu_managing_of(const struct vmmu_op *op)
{
	VMMU_ASSERT(op->who == &op->tables->manager);
	VMMU_ASSERT(atomic_load_explicit(&op->tables->managed, memory_order_relaxed));
	return (struct vmmu_managing){VMMU_PROOF_OF(op->tables)};
}

/* ---- 2. the gate ---- */

/* Waits while the gate is closed. The caller may read and compare-exchange until it leaves. */
static inline struct vmmu_inside vmmu_gate_enter(struct vmmu_tables *t, struct vmmu_actor *who)
{
	VMMU_ASSERT(!atomic_load_explicit(&who->inside, memory_order_relaxed));
	vmmu_point(t, VMMU_POINT_GATE_ENTER, vmmu_hpa_of(0), 0);
	for (;;) {
		atomic_store_explicit(&who->inside, true, memory_order_seq_cst);
		if (VMMU_LIKELY(!atomic_load_explicit(&t->closed, memory_order_seq_cst)))
			return (struct vmmu_inside){VMMU_PROOF_OF(who)};
		atomic_store_explicit(&who->inside, false, memory_order_release);
		while (atomic_load_explicit(&t->closed, memory_order_acquire))
			vmmu_relax(t);
	}
}

static inline void vmmu_gate_leave(struct vmmu_tables *t, struct vmmu_actor *who,
                                   struct vmmu_inside inside)
{
	vmmu_assert_inside(inside);
	atomic_store_explicit(&who->inside, false, memory_order_release);
	vmmu_point(t, VMMU_POINT_GATE_LEAVE, vmmu_hpa_of(0), 0);
}

/*
 * One try, for who can do otherwise: no test hook is called. False when the gate is
 * closed. Who makes no record inside has to see that nobody watches (tables->watched).
 */
static inline bool vmmu_gate_try(struct vmmu_tables *t, struct vmmu_actor *who)
{
	VMMU_ASSERT(!atomic_load_explicit(&who->inside, memory_order_relaxed));
	atomic_store_explicit(&who->inside, true, memory_order_seq_cst);
	if (VMMU_LIKELY(atomic_load_explicit(&t->closed, memory_order_seq_cst) == false))
		return true;
	atomic_store_explicit(&who->inside, false, memory_order_release);
	return false;
}

/*
 * The same for an operation. Tracing is switched with the gate closed, so inside
 * it is either on or off; an operation under way learns of it here.
 */
static inline struct vmmu_inside vmmu_op_enter(struct vmmu_op *op)
{
	struct vmmu_inside inside = vmmu_gate_enter(op->tables, op->who);

	op->tracing = atomic_load_explicit(&op->tables->tracing, memory_order_relaxed);
	return inside;
}

static inline void vmmu_op_leave(struct vmmu_op *op, struct vmmu_inside inside)
{
	vmmu_gate_leave(op->tables, op->who, inside);
}

/* Shut every walker out and wait for the last one to leave. */
struct vmmu_closed vmmu_gate_close(struct vmmu_tables *t, struct vmmu_managing managing);
static inline void vmmu_gate_open(struct vmmu_tables *t, struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
	atomic_store_explicit(&t->closed, false, memory_order_release);
	vmmu_point(t, VMMU_POINT_GATE_OPEN, vmmu_hpa_of(0), 0);
}

/* ---- slots may be read: inside the gate, or with the management lock ---- */

static inline struct vmmu_reading vmmu_reading_inside(struct vmmu_inside inside)
{
	vmmu_assert_inside(inside);
#ifdef VMMU_DEBUG
	return (struct vmmu_reading){.who = inside.who};
#else
	return (struct vmmu_reading){};
#endif
}

static inline struct vmmu_reading vmmu_reading_managed(struct vmmu_managing managing)
{
	vmmu_assert_managing(managing);
#ifdef VMMU_DEBUG
	return (struct vmmu_reading){.tables = managing.tables};
#else
	return (struct vmmu_reading){};
#endif
}

/* Only management closes the gate. */
static inline struct vmmu_reading vmmu_reading_closed(struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
#ifdef VMMU_DEBUG
	return (struct vmmu_reading){.tables = closed.tables};
#else
	return (struct vmmu_reading){};
#endif
}

/* Either way of being exclusive allows it. */
static inline struct vmmu_reading vmmu_reading_exclusive(struct vmmu_exclusive x)
{
	vmmu_assert_exclusive(x);
#ifdef VMMU_DEBUG
	return x.op->who == &x.op->tables->manager ? (struct vmmu_reading){.tables = x.op->tables}
	                                           : (struct vmmu_reading){.who = x.op->who};
#else
	return (struct vmmu_reading){};
#endif
}

/* ---- 3. the shadow lock ---- */

static inline struct vmmu_exclusive vmmu_shadow_lock(struct vmmu_op *op, struct vmmu_inside inside)
{
	vmmu_assert_inside(inside);
	while (atomic_exchange_explicit(&op->tables->locked, true, memory_order_acquire))
		vmmu_relax(op->tables);
	return (struct vmmu_exclusive){op};
}

static inline void vmmu_shadow_unlock(struct vmmu_exclusive x)
{
	vmmu_assert_exclusive(x);
	atomic_store_explicit(&x.op->tables->locked, false, memory_order_release);
}

/* Who has entered by vmmu_gate_try. */
static inline struct vmmu_inside vmmu_inside_by(struct vmmu_actor *who)
{
	(void)who;
	VMMU_ASSERT(atomic_load_explicit(&who->inside, memory_order_relaxed));
	return (struct vmmu_inside){VMMU_PROOF_OF(who)};
}

/* A vCPU that has the shadow lock is inside the gate. */
static inline struct vmmu_inside vmmu_inside_of(struct vmmu_exclusive x)
{
	VMMU_ASSERT(atomic_load_explicit(&x.op->who->inside, memory_order_relaxed));
	return (struct vmmu_inside){VMMU_PROOF_OF(x.op->who)};
}

/* With the gate closed the shadow lock is not needed: nobody is inside to hold it. */
static inline struct vmmu_exclusive vmmu_exclusive_of(struct vmmu_op *op, struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
	return (struct vmmu_exclusive){op};
}

#endif
