/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a fault on a shadow map builds: shared by the parts of its handling.
 *
 *   shadow_fault.c   no lock held: walk the guest's tables, ask the host, try again
 *   shadow_build.c   under the shadow lock: tables on the way, the leaf
 *   shadow_agree.c   the same: one frame for a gfn on every way to it
 */
#ifndef VMMU_SHADOW_BUILD_H
#define VMMU_SHADOW_BUILD_H

#include "map/shadow/shadow.h"

/* No result of a fault: once more, with what has been learnt. */
#define VMMU_FAULT_AGAIN ((enum vmmu_fault_result)0)

struct vmmu_build {
	struct vmmu_vcpu *vcpu;
	struct vmmu_op *op;
	struct vmmu_exclusive x; /* of the attempt under way, from its lock to its unlock */
	struct vmmu_fault *f;
	const struct vmmu_guest_mode *mode;
	uint64_t input; /* the address that faulted, as the map's input */
	struct vmmu_guest_walk walk;
	struct vmmu_backing backing;
	uint64_t gfn; /* that the guest's tables name */
	uint64_t sequence;
	uint64_t asked; /* frames.clock when the host was asked */
	uint8_t rights; /* VMMU_PAGE_* that the leaf is to give */
	unsigned tries;
	bool ahead;        /* nothing has faulted yet: change nothing of the guest's */
	bool for_switch;   /* ahead, or as after the last switch to this root */
	bool woken;        /* a table that had been parked is linked again */
	bool linked;       /* any table is linked now that was not */
	uint64_t reported; /* nested: what the CPU has said of the access */
	bool dirtied;      /* a D bit of the guest's leaf has been set */
	bool was_empty;    /* nothing was mapped where the leaf is now */
	bool parked;       /* the tables for the page that is written are */
};

/* ---- shadow_agree.c ---- */

/* False: something else was mapped for the gfn, and has gone. */
bool vmmu_shadow_agree(struct vmmu_build *b, struct vmmu_block *block);

/* ---- shadow_fault.c ---- */

/* As often as it takes: walk the guest's tables, ask the host, build. */
enum vmmu_fault_result vmmu_shadow_attempts(struct vmmu_build *b);
/*
 * The fault is told to the guest: its handler is about to write the entry at which the walk ended.
 * `park`: whatever such handlers have done before. True: no table is held for it now.
 */
bool vmmu_shadow_expect_write(struct vmmu_build *b, bool park);

/* ---- shadow_build.c ---- */

/* Build what is missing. VMMU_FAULT_AGAIN: something had to go first, or has changed meanwhile. */
enum vmmu_fault_result vmmu_shadow_build(struct vmmu_build *b);
/* The walk has ended in the guest's own fault: the way there is remembered, if the CPU comes so far. */
void vmmu_shadow_note_own_fault(struct vmmu_build *b);

#endif
