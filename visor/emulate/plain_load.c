/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/emulate/plain_load.h"

#include <Zydis/Register.h>

/* A 64-bit general register, or none. False: something else. */
static bool address_register(ZydisRegister name, uint8_t *out)
{
	*out = PLAIN_LOAD_NONE;
	if (name == ZYDIS_REGISTER_NONE)
		return true;
	if (name < ZYDIS_REGISTER_RAX || name > ZYDIS_REGISTER_R15)
		return false;
	*out = (uint8_t)(name - ZYDIS_REGISTER_RAX);
	return true;
}

/* Opcode 8B alone: A1, the form with a whole address, comes with other rules for its width. */
static bool is_load(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *to, const ZydisDecodedOperand *from)
{
	return i->machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       i->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && i->opcode == 0x8b && i->address_width == 64 &&
	       to->type == ZYDIS_OPERAND_TYPE_REGISTER && from->type == ZYDIS_OPERAND_TYPE_MEMORY && from->size == 32;
}

struct plain_load plain_load_of(const struct decoded *d)
{
	const ZydisDecodedOperand *to = &d->operand[0], *from = &d->operand[1];
	const ZydisDecodedOperandMem *mem = &from->mem;
	struct plain_load l = {.scale = 1};

	if (!is_load(&d->instruction, to, from) || mem->segment == ZYDIS_REGISTER_FS || mem->segment == ZYDIS_REGISTER_GS)
		return l;
	if (!address_register(mem->index, &l.index))
		return l;
	if (mem->base == ZYDIS_REGISTER_RIP)
		l.base = PLAIN_LOAD_RIP;
	else if (!address_register(mem->base, &l.base))
		return l;
	l.scale = mem->index == ZYDIS_REGISTER_NONE ? 1 : mem->scale;
	l.displacement = mem->disp.has_displacement ? mem->disp.value : 0;
	l.to = (uint8_t)(to->reg.value - ZYDIS_REGISTER_EAX);
	l.is_one = true;
	return l;
}
