/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Switch tasks as a CPU does by hardware (SDM vol. 3, 8.3): VMX always leaves that
 * to the hypervisor (SDM vol. 3, 26.4.2), SVM where it is intercepted.
 */
#ifndef VISOR_EMULATE_TASK_SWITCH_H
#define VISOR_EMULATE_TASK_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/cpu/state.h"
#include "visor/emulate/deliver.h"
#include "visor/emulate/translate.h"

/* Numbered as bits 31:30 of VMX's exit qualification (SDM vol. 3, table 28-2). */
enum task_switch_source { TASK_SWITCH_CALL,
	                  TASK_SWITCH_IRET,
	                  TASK_SWITCH_JUMP,
	                  TASK_SWITCH_GATE };

struct task_switch {
	uint16_t selector; /* of the new task's TSS */
	enum task_switch_source source;
	/* TASK_SWITCH_GATE, a task gate in the IDT: */
	bool external;  /* for an interrupt or exception rather than INT n, INT3, INTO */
	bool has_error; /* for an exception with this error code */
	uint32_t error;
};

enum task_switch_result {
	TASK_SWITCH_DONE = 0,    /* cpu is at the new task's first instruction */
	TASK_SWITCH_EXCEPTION,   /* out->exception is to be raised: in the old task, cpu then is unchanged;
	                            * or in the new one, which cpu then is in */
	TASK_SWITCH_UNSUPPORTED, /* IA-32e mode has no task switches; or the page tables do not hold still */
};

struct task_switch_outcome {
	struct deliver_exception exception;
	bool switched;   /* cpu is in the new task */
	bool debug_trap; /* DONE: the new TSS has its T flag set: #DB with DR6.BT (SDM vol. 3, 18.3.1.5) */
};

/*
 * Before: cpu->rip is where the old task goes on: behind the instruction for CALL,
 * JMP, IRET and INT n, at it for a fault, for which cpu->rflags has RF set. The CPU
 * has checked privileges and the gate; all other checks are made here. Where
 * out->switched, the caller clears DR7's L0 to L3 and LE and loads what depends on
 * CR3, LDTR, TR and CR0.TS. Nothing is allocated; not locked: one vCPU.
 */
enum task_switch_result switch_task(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                    const struct task_switch *how, struct task_switch_outcome *out);

#endif
