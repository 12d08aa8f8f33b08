/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lock contracts as types.
 *
 * The function that takes a lock returns a proof, and functions that need the lock
 * ask for it: a call without the lock does not compile. Only table/locks.h makes
 * proofs. A proof ends with its lock. In a release build it has no contents and
 * costs nothing; a debug build (VMMU_DEBUG) keeps in it whose lock it was, and
 * asserts that the lock is still taken.
 *
 *   vmmu_managing    the management lock is held
 *   vmmu_inside      a walker is inside the gate
 *   vmmu_closed      the gate is closed: nobody else reads or writes tables or slots
 *   vmmu_reading     slots stand still: a walker is inside the gate, or the management lock
 *                    is held, without which nobody closes the gate to change them
 *   vmmu_exclusive   an operation to which alone shadow tables and their lists belong:
 *                    the shadow lock is held inside the gate, or the gate is closed
 *
 * What no type can say is asserted by VMMU_ASSERT, in debug builds alone.
 */
#ifndef VMMU_PROOF_H
#define VMMU_PROOF_H

#include <stdbool.h>

struct vmmu_tables;
struct vmmu_actor;
struct vmmu_op;

#ifdef VMMU_DEBUG
#define VMMU_PROOF(what) what;
#define VMMU_ASSERT(x) ((x) ? (void)0 : __builtin_trap())
#else
#define VMMU_PROOF(what)
#define VMMU_ASSERT(x) ((void)sizeof(x))
#endif

struct vmmu_managing {
	VMMU_PROOF(struct vmmu_tables *tables)
};
struct vmmu_inside {
	VMMU_PROOF(struct vmmu_actor *who)
};
struct vmmu_closed {
	VMMU_PROOF(struct vmmu_tables *tables)
};
/* Whose gate, or whose lock; the other is NULL. */
struct vmmu_reading {
	VMMU_PROOF(struct vmmu_actor *who)
	VMMU_PROOF(struct vmmu_tables *tables)
};
struct vmmu_exclusive {
	struct vmmu_op *op;
};

#endif
