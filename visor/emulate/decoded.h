/* SPDX-License-Identifier: BSD-2-Clause */
/* An instruction as it was decoded, and what carries it out. */
#ifndef VISOR_EMULATE_DECODED_H
#define VISOR_EMULATE_DECODED_H

#include <Zydis/Decoder.h>

#include "visor/emulate/result.h"

struct emulation;

struct decoded {
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	enum emulate_result (*handler)(struct emulation *e); /* what carries it out */
};

#endif
