/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deliver an event through the guest's IDT, as its CPU does (SDM vol. 3, 6.12 to
 * 6.14): for a handler whose stack the CPU may not write, since it lies in a page
 * table, in a read-only slot or where no RAM is.
 */
#ifndef VISOR_EMULATE_DELIVER_H
#define VISOR_EMULATE_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/cpu/state.h"
#include "visor/emulate/translate.h"

struct delivery {
	uint8_t vector;
	bool software; /* INT n, INT3, INTO: state->rip is behind the instruction already */
	bool fault;    /* an exception whose instruction will be executed again */
	bool has_error;
	uint32_t error;
};

enum deliver_result {
	DELIVER_DONE = 0,    /* cpu is the state at the handler's first instruction */
	DELIVER_EXCEPTION,   /* the delivery raises `exception`; cpu is unchanged */
	DELIVER_UNSUPPORTED, /* a task gate, a 16-bit gate or TSS, virtual-8086 or real mode */
};

/* What the delivery raises instead. */
struct deliver_exception {
	uint8_t vector; /* #PF, #TS, #NP, #SS or #GP: all of them have an error code */
	uint32_t error;
	uint64_t address; /* #PF: for CR2 */
};

enum deliver_result deliver_event(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                  const struct delivery *event, struct deliver_exception *exception);

#endif
