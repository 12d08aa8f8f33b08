/* SPDX-License-Identifier: BSD-2-Clause */
/* An instruction as it was decoded, and what carries it out. */
#ifndef VISOR_EMULATE_DECODED_H
#define VISOR_EMULATE_DECODED_H

#include <stdbool.h>
#include <stdint.h>

#include <Zydis/Decoder.h>

#include "visor/emulate/result.h"

struct emulation;

/*
 * MOV of 32 bits from memory to a general register in 64-bit code, by a 64-bit address in a
 * segment that has no base there: what it does follows from the general registers and RIP.
 */
struct plain_load {
	bool is_one;
	uint8_t to;           /* general register */
	uint8_t base, index;  /* general registers, or PLAIN_LOAD_* */
	uint8_t scale;        /* 1, 2, 4, 8 */
	int64_t displacement; /* also an address without base, in whole */
};
enum { PLAIN_LOAD_NONE = 0xff,
       PLAIN_LOAD_RIP = 0xfe }; /* the next instruction's */

struct decoded {
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	enum emulate_result (*handler)(struct emulation *e); /* what carries it out */
	struct plain_load plain;
};

#endif
