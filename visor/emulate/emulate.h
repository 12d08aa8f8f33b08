/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Carry out one instruction that touched memory the CPU could not reach:
 * device memory, or a read-only slot.
 */
#ifndef VISOR_EMULATE_EMULATE_H
#define VISOR_EMULATE_EMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/cpu/state.h"
#include "visor/emulate/translate.h"

#define EMULATE_MAX_INSTRUCTION 15

enum emulate_result {
	EMULATE_DONE = 0,     /* cpu is the state after the instruction, RIP included */
	EMULATE_AGAIN,        /* part of a REP string is done, cpu says how far; run it again */
	EMULATE_PAGE_FAULT,   /* the guest gets #PF: fault_gva, error_code; cpu is unchanged, or as
	                       * it stands between two rounds of a REP string */
	EMULATE_NO_MEMORY,    /* nothing answers at fault_gpa; where that is a page table, error_code and
	                       * fault_gva say what #PF an entry that is not present would raise */
	EMULATE_UNSUPPORTED,  /* reason says which instruction */
	EMULATE_TRUNCATED,    /* the bytes given do not hold a whole instruction */
	EMULATE_GENERAL_PROTECTION, /* the guest gets #GP(0): segment limit or non-canonical address */
	EMULATE_INVALID,      /* the guest gets #UD: no such instruction */
};

struct emulate_info {
	uint64_t fault_gva;
	uint64_t fault_gpa;
	uint32_t error_code;
	char reason[96];      /* for UNSUPPORTED, INVALID and TRUNCATED: one line, no newline */
};

/*
 * Decode `bytes` (what is at CS:RIP, `count` of them) and carry it out on
 * `cpu`. Each access is translated by the guest's own tables and then goes to
 * memory->read or ->write, which tell RAM from devices. `gpa` is where the
 * CPU saw the access fail: with a single memory operand inside one page it is
 * used as it is and no walk is made; UINT64_MAX = not known.
 *
 * One device access per element; an operand that crosses a page is split.
 * LOCK is honoured in that nothing else runs meanwhile (one vCPU).
 */
enum emulate_result emulate_instruction(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                        const uint8_t *bytes, unsigned count, uint64_t gpa,
                                        struct emulate_info *info);

/*
 * Length in bytes of the instruction, for exits that do not report it.
 * 0: not an instruction, or not all of it is there.
 */
unsigned instruction_length(const struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count);

/* "done", "again", "page-fault" ... */
const char *emulate_result_name(enum emulate_result result);

#endif
