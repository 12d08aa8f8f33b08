/* SPDX-License-Identifier: BSD-2-Clause */
/* What exit/ahead.h remembers of a VM's loops. */
#ifndef VISOR_VM_AHEAD_STATE_H
#define VISOR_VM_AHEAD_STATE_H

#include <stdint.h>

#define AHEAD_PLACES 16u

/* An instruction of one address space that met the guest's own #PF. */
struct ahead_place {
	uint64_t rip, cr3;
	uint64_t page;     /* number of the page of its last #PF */
	unsigned rounds;   /* #PF injected, handled, and back again: so many times in a row */
	unsigned failures; /* times in a row that running ahead from here met no #PF */
	unsigned wait;     /* rounds to let pass before it is tried again */
};

struct ahead {
	struct ahead_place *last; /* where the last #PF was injected; NULL: the guest has been elsewhere since */
	struct ahead_place place[AHEAD_PLACES];
	uint64_t instructions; /* carried out, ever */
	uint64_t faults;       /* met by them, ever: as many exits less */
};

#endif
