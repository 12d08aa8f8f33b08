/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/emulate/plain_access.h"

#include <Zydis/Register.h>

#include "visor/emulate/emulation.h"

#define MOV_LOAD 0x8b
#define MOV_STORE 0x89
#define XCHG_STORE 0x87
#define CMPXCHG_STORE 0xb1 /* in the map of 0F */

/* A 64-bit general register, or none. False: something else. */
static bool address_register(ZydisRegister name, uint8_t *out)
{
	*out = PLAIN_NO_REGISTER;
	if (name == ZYDIS_REGISTER_NONE)
		return true;
	if (name < ZYDIS_REGISTER_RAX || name > ZYDIS_REGISTER_R15)
		return false;
	*out = (uint8_t)(name - ZYDIS_REGISTER_RAX);
	return true;
}

/* By the opcode alone: A1 and A3, the forms with a whole address, come with other rules for their width. */
static enum plain_kind plain_kind_of(const ZydisDecodedInstruction *i)
{
	if (i->machine_mode != ZYDIS_MACHINE_MODE_LONG_64 || i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || i->address_width != 64)
		return PLAIN_NONE;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_0F)
		return i->opcode == CMPXCHG_STORE ? PLAIN_COMPARE_EXCHANGE : PLAIN_NONE;
	if (i->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return PLAIN_NONE;
	switch (i->opcode) {
	case MOV_LOAD: return PLAIN_LOAD;
	case MOV_STORE: return PLAIN_STORE;
	case XCHG_STORE: return PLAIN_EXCHANGE;
	default: return PLAIN_NONE;
	}
}

struct plain_access plain_access_of(const struct decoded *d)
{
	const struct plain_access none = {.kind = PLAIN_NONE};
	enum plain_kind kind = plain_kind_of(&d->instruction);
	const ZydisDecodedOperand *reg = &d->operand[kind != PLAIN_LOAD], *in_memory = &d->operand[kind == PLAIN_LOAD];
	const ZydisDecodedOperandMem *mem = &in_memory->mem;
	struct plain_access p = {.kind = kind, .scale = 1};

	if (kind == PLAIN_NONE || reg->type != ZYDIS_OPERAND_TYPE_REGISTER || in_memory->type != ZYDIS_OPERAND_TYPE_MEMORY ||
	    in_memory->size != (kind == PLAIN_LOAD ? 32 : 64) || mem->segment == ZYDIS_REGISTER_FS || mem->segment == ZYDIS_REGISTER_GS)
		return none;
	if (!address_register(mem->index, &p.index))
		return none;
	if (mem->base == ZYDIS_REGISTER_RIP)
		p.base = PLAIN_RIP;
	else if (!address_register(mem->base, &p.base))
		return none;
	p.scale = mem->index == ZYDIS_REGISTER_NONE ? 1 : mem->scale;
	p.displacement = mem->disp.has_displacement ? mem->disp.value : 0;
	p.gpr = (uint8_t)(reg->reg.value - (kind == PLAIN_LOAD ? ZYDIS_REGISTER_EAX : ZYDIS_REGISTER_RAX));
	return p;
}

/* SDM vol. 2, CMPXCHG: the flags are those of a comparison of RAX with what was there. */
static bool compare_and_exchange(volatile uint64_t *entry, uint64_t *rax, uint64_t value, uint64_t *rflags)
{
	uint64_t found = *rax;
	bool done = __atomic_compare_exchange_n(entry, &found, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

	alu(ALU_SUB, sizeof(found), *rax, found, rflags);
	*rax = found;
	return done;
}

bool plain_store(const struct plain_access *p, volatile uint64_t *entry, uint64_t *gpr, uint64_t *rflags)
{
	switch (p->kind) {
	case PLAIN_STORE:
		__atomic_store_n(entry, gpr[p->gpr], __ATOMIC_RELEASE);
		return true;
	case PLAIN_EXCHANGE:
		gpr[p->gpr] = __atomic_exchange_n(entry, gpr[p->gpr], __ATOMIC_SEQ_CST);
		return true;
	case PLAIN_COMPARE_EXCHANGE:
		return compare_and_exchange(entry, &gpr[X86_RAX], gpr[p->gpr], rflags);
	default:
		return false;
	}
}
