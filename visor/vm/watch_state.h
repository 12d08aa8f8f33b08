/* SPDX-License-Identifier: BSD-2-Clause */
/* What vm/watch.h keeps for one VM. */
#ifndef VISOR_VM_WATCH_STATE_H
#define VISOR_VM_WATCH_STATE_H

#include <stdint.h>

#include "visor/vm/exit_kind.h"

struct watch {
	uint64_t start;      /* TSC */
	enum exit_kind kind; /* of the exit that is being handled */
	uint64_t longest, longest_rip;
	enum exit_kind longest_kind;
	unsigned told;
	uint64_t looked_at; /* the exit that the timer has met, by its start, ... */
	unsigned looks;     /* ... and how often */
};

#endif
