/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running ahead of a guest on shadow tables, to spare it exits.
 *
 * A program that touches one fresh page after the other costs two exits a page:
 * its own #PF, which is injected, and the same access again once its kernel has
 * written the page table. Where a program is seen to do so in a loop, the visor
 * carries out that access itself, and the few instructions up to the next page
 * that is missing in the guest's own tables; and injects that #PF at once. So
 * the second exit for one page is the first one for the next. It is exact: the
 * guest's tables decide, as they do for its CPU.
 */
#ifndef VISOR_EXIT_AHEAD_H
#define VISOR_EXIT_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#include "visor/vm/ahead_state.h"

struct vcpu;

enum ahead_result {
	AHEAD_STAYED, /* nothing has happened */
	AHEAD_MOVED,  /* the guest has come further, but met no #PF */
	AHEAD_MET,    /* a #PF, which is to be injected: *fault is that one */
};

/* Is the user's #PF the next round of a loop that is worth running ahead in? */
bool ahead_is_due(struct vcpu *vcpu, const struct vmmu_fault *fault);

/*
 * When it is, and the engine has not been asked about it yet. Where nothing is gained since the round
 * has begun with the guest's own #PF, the fault is told to be one of many (VMMU_ACCESS_REPEATS). The vCPU's state is up to date again afterwards.
 */
enum ahead_result ahead_run(struct vcpu *vcpu, struct vmmu_fault *fault);

/* A #PF is injected. */
void ahead_note_injection(struct vcpu *vcpu, const struct vmmu_fault *fault);

#endif
