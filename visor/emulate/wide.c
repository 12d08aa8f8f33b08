/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operands of 16 bytes, and stores of XMM registers. The guest's vector
 * registers stay in the CPU while the visor runs: only those that the CPU would
 * have let the guest use at this place are asked for.
 */
#include "visor/emulate/emulation.h"

/* The part of a located operand that begins `offset` bytes into it. */
static struct location part_of(const struct location *at, unsigned offset, unsigned size)
{
	struct location part = {.gpa = at->gpa + offset, .gpa_next_page = at->gpa_next_page};

	if (offset >= at->first_bytes)
		return (struct location){.gpa = at->gpa_next_page + (offset - at->first_bytes), .first_bytes = size};
	part.first_bytes = at->first_bytes - offset < size ? at->first_bytes - offset : size;
	return part;
}

static enum emulate_result locate_written(struct emulation *e, struct location *at)
{
	return locate(e, operand_segment(e, 0), effective_address(e, 0), operand_size(e, 0), true, true, at);
}

/* All of it is located before the first part is written: what faults has changed nothing. */
static enum emulate_result write_halves(struct emulation *e, const struct location *at, const uint64_t *value)
{
	struct location low = part_of(at, 0, 8), high = part_of(at, 8, 8);

	TRY(write_location(e, &low, 8, value[0]));
	return write_location(e, &high, 8, value[1]);
}

static enum emulate_result read_halves(struct emulation *e, const struct location *at, uint64_t *value)
{
	struct location low = part_of(at, 0, 8), high = part_of(at, 8, 8);

	TRY(read_location(e, &low, 8, &value[0]));
	return read_location(e, &high, 8, &value[1]);
}

/* ---- Stores of XMM registers ------------------------------------------------------------ */

/* Is it one, and which half goes to memory first? */
static bool is_vector_store(ZydisMnemonic mnemonic, unsigned *half)
{
	*half = 0;
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOVHPS:
	case ZYDIS_MNEMONIC_MOVHPD:
		*half = 1;
		return true;
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD:
	case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_MOVLPS:
	case ZYDIS_MNEMONIC_MOVLPD:
	case ZYDIS_MNEMONIC_MOVSS:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVD:
	case ZYDIS_MNEMONIC_MOVQ:
		return true;
	default:
		return false;
	}
}

static enum emulate_result store_vector(struct emulation *e, unsigned half)
{
	ZydisRegister source = e->operand[1].reg.value;
	unsigned size = operand_size(e, 0);
	uint64_t value[2];
	struct location at;

	if (e->operand[0].type != ZYDIS_OPERAND_TYPE_MEMORY || e->operand[1].type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    source < ZYDIS_REGISTER_XMM0 || source > ZYDIS_REGISTER_XMM15 || (size != 4 && size != 8 && size != 16))
		return EMULATE_UNSUPPORTED;
	e->memory->vector(e->memory->ctx, source - ZYDIS_REGISTER_XMM0, value);
	TRY(locate_written(e, &at));
	return size == 16 ? write_halves(e, &at, value) : write_location(e, &at, size, value[half]);
}

/* ---- CMPXCHG16B: aligned, so on one page -------------------------------------------------- */

static enum emulate_result compare_exchange_16(struct emulation *e)
{
	uint64_t expected[2] = {read_gpr(e, X86_RAX, 8), read_gpr(e, X86_RDX, 8)};
	uint64_t value[2] = {read_gpr(e, X86_RBX, 8), read_gpr(e, X86_RCX, 8)}, old[2];
	struct location at;

	TRY(locate_written(e, &at));
	TRY(read_halves(e, &at, old));
	if (old[0] == expected[0] && old[1] == expected[1]) {
		e->cpu->rflags |= X86_FLAG_ZF;
		return write_halves(e, &at, value);
	}
	e->cpu->rflags &= ~(uint64_t)X86_FLAG_ZF;
	TRY(write_halves(e, &at, old));
	write_gpr(e, X86_RAX, 8, old[0]);
	write_gpr(e, X86_RDX, 8, old[1]);
	return EMULATE_DONE;
}

enum emulate_result emulate_wide(struct emulation *e)
{
	unsigned half;

	if (e->hint == UINT64_MAX || e->instruction->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return EMULATE_UNSUPPORTED;
	if (e->instruction->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B)
		return compare_exchange_16(e);
	return e->memory->vector && is_vector_store(e->instruction->mnemonic, &half) ? store_vector(e, half)
	                                                                            : EMULATE_UNSUPPORTED;
}
