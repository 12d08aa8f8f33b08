/* SPDX-License-Identifier: BSD-2-Clause */
/* How the emulation of an instruction ends. */
#ifndef VISOR_EMULATE_RESULT_H
#define VISOR_EMULATE_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#define EMULATE_MAX_INSTRUCTION 15

enum emulate_result {
	EMULATE_DONE = 0,           /* cpu is the state after the instruction, RIP included */
	EMULATE_AGAIN,              /* part of a REP string is done, cpu says how far; run it again */
	EMULATE_PAGE_FAULT,         /* the guest gets #PF: fault_gva, error_code; cpu is unchanged, or as
	                       * it stands between two rounds of a REP string */
	EMULATE_NO_MEMORY,          /* nothing answers at fault_gpa; where that is a page table, error_code and
	                       * fault_gva say what #PF an entry that is not present would raise */
	EMULATE_UNSUPPORTED,        /* reason says which instruction */
	EMULATE_TRUNCATED,          /* the bytes given do not hold a whole instruction */
	EMULATE_GENERAL_PROTECTION, /* the guest gets #GP(0): segment limit or non-canonical address */
	EMULATE_INVALID,            /* the guest gets #UD: no such instruction */
	EMULATE_EXCEPTION,          /* the guest gets `vector`, with error_code if has_error */
};

struct emulate_info {
	uint64_t fault_gva;
	uint64_t fault_gpa;
	uint32_t error_code;
	uint8_t vector;
	bool has_error;
	char reason[96]; /* for UNSUPPORTED, INVALID and TRUNCATED: one line, no newline */
};

#endif
