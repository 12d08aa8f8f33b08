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
 * An access of 64-bit code by a 64-bit address, in a segment that has no base there, and a general
 * register: what it does follows from the general registers, the flags and RIP.
 */
enum plain_kind {
	PLAIN_NONE,             /* it is something else */
	PLAIN_LOAD,             /* MOV r32, m32 */
	PLAIN_STORE,            /* MOV m64, r64 */
	PLAIN_EXCHANGE,         /* XCHG m64, r64 */
	PLAIN_COMPARE_EXCHANGE, /* CMPXCHG m64, r64, with LOCK or without */
};

struct plain_access {
	enum plain_kind kind;
	uint8_t gpr;          /* the register operand */
	uint8_t base, index;  /* general registers, or one of those below */
	uint8_t scale;        /* 1, 2, 4, 8 */
	int64_t displacement; /* also an address without base, in whole */
};
enum { PLAIN_NO_REGISTER = 0xff,
       PLAIN_RIP = 0xfe }; /* the next instruction's */

struct decoded {
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	enum emulate_result (*handler)(struct emulation *e); /* what carries it out */
	struct plain_access plain;
};

#endif
