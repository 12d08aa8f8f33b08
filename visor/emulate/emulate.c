/* SPDX-License-Identifier: BSD-2-Clause */
/* Decode one instruction and carry it out. Semantics are those of SDM vol. 2. */
#include "visor/emulate/emulate.h"

#include "visor/emulate/decode.h"
#include "visor/emulate/emulation.h"
#include "visor/lib/format.h"
#include "visor/lib/string.h"

/* ---- Moves ------------------------------------------------------------------------- */

static enum emulate_result emulate_move(struct emulation *e)
{
	uint64_t value;

	TRY(read_operand(e, 1, &value));
	return write_operand(e, 0, value);
}

static enum emulate_result move_sign_extended(struct emulation *e)
{
	uint64_t value;

	TRY(read_operand(e, 1, &value));
	return write_operand(e, 0, sign_extend(value, operand_size(e, 1)));
}

static enum emulate_result move_swapped(struct emulation *e)
{
	uint64_t value;

	TRY(read_operand(e, 1, &value));
	return write_operand(e, 0, __builtin_bswap64(value) >> (64 - 8 * operand_size(e, 1)));
}

/* The load happens whether the condition holds or not, and a 32-bit register is extended. */
static enum emulate_result move_if(struct emulation *e)
{
	uint64_t value, old;

	TRY(read_operand(e, 1, &value));
	TRY(read_operand(e, 0, &old));
	return write_operand(e, 0, condition_holds(e->instruction->opcode & 15, e->cpu->rflags) ? value : old);
}

/* Machine status word: the low half of CR0. LMSW may set PE, but not clear it (SDM vol. 2, "LMSW"). */
static enum emulate_result load_status_word(struct emulation *e)
{
	uint64_t value;

	TRY(read_operand(e, 0, &value));
	e->cpu->cr0 = (e->cpu->cr0 & ~0xeull) | (value & 0xf);
	return EMULATE_DONE;
}

static enum emulate_result set_if(struct emulation *e)
{
	return write_operand(e, 0, condition_holds(e->instruction->opcode & 15, e->cpu->rflags));
}

/* ---- Arithmetic and logic ------------------------------------------------------------ */

static enum alu_operation alu_of(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_XADD:
		return ALU_ADD;
	case ZYDIS_MNEMONIC_ADC:
		return ALU_ADC;
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_CMPXCHG:
		return ALU_SUB;
	case ZYDIS_MNEMONIC_SBB:
		return ALU_SBB;
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_TEST:
		return ALU_AND;
	case ZYDIS_MNEMONIC_OR:
		return ALU_OR;
	case ZYDIS_MNEMONIC_XOR:
		return ALU_XOR;
	case ZYDIS_MNEMONIC_INC:
		return ALU_INC;
	case ZYDIS_MNEMONIC_DEC:
		return ALU_DEC;
	case ZYDIS_MNEMONIC_NEG:
		return ALU_NEG;
	case ZYDIS_MNEMONIC_SHR:
		return ALU_SHR;
	case ZYDIS_MNEMONIC_SAR:
		return ALU_SAR;
	case ZYDIS_MNEMONIC_ROL:
		return ALU_ROL;
	case ZYDIS_MNEMONIC_ROR:
		return ALU_ROR;
	default:
		return ALU_SHL;
	}
}

static enum emulate_result alu_flags_only(struct emulation *e)
{
	uint64_t a, b;

	TRY(read_operand(e, 0, &a));
	TRY(read_operand(e, 1, &b));
	alu(alu_of(e->instruction->mnemonic), operand_size(e, 0), a, b, &e->cpu->rflags);
	return EMULATE_DONE;
}

/* Two operands, the first one takes the result. */
static enum emulate_result alu_binary(struct emulation *e)
{
	uint64_t a, b;

	TRY(read_operand(e, 0, &a));
	TRY(read_operand(e, 1, &b));
	return write_operand(e, 0, alu(alu_of(e->instruction->mnemonic), operand_size(e, 0), a, b, &e->cpu->rflags));
}

static enum emulate_result alu_unary(struct emulation *e)
{
	uint64_t a;

	TRY(read_operand(e, 0, &a));
	return write_operand(e, 0, alu(alu_of(e->instruction->mnemonic), operand_size(e, 0), a, 0, &e->cpu->rflags));
}

static enum emulate_result not(struct emulation * e) {
	uint64_t a;

	TRY(read_operand(e, 0, &a));
	return write_operand(e, 0, ~a);
}

static enum emulate_result exchange(struct emulation *e)
{
	uint64_t a, b;

	TRY(read_operand(e, 0, &a));
	TRY(read_operand(e, 1, &b));
	TRY(write_operand(e, 0, b));
	return write_operand(e, 1, a);
}

static enum emulate_result exchange_and_add(struct emulation *e)
{
	uint64_t a, b, sum;

	TRY(read_operand(e, 0, &a));
	TRY(read_operand(e, 1, &b));
	sum = alu(ALU_ADD, operand_size(e, 0), a, b, &e->cpu->rflags);
	TRY(write_operand(e, 1, a));
	return write_operand(e, 0, sum); /* last: with twice the same register the sum stays */
}

/* "The destination operand receives a write cycle without regard to the result" (SDM vol. 2, CMPXCHG). */
static enum emulate_result compare_exchange(struct emulation *e)
{
	unsigned size = operand_size(e, 0);
	uint64_t old, new_value, accumulator = read_gpr(e, X86_RAX, size);

	TRY(read_operand(e, 0, &old));
	TRY(read_operand(e, 1, &new_value));
	alu(ALU_SUB, size, accumulator, old, &e->cpu->rflags);
	if (e->cpu->rflags & X86_FLAG_ZF)
		return write_operand(e, 0, new_value);
	TRY(write_operand(e, 0, old));
	write_gpr(e, X86_RAX, size, old);
	return EMULATE_DONE;
}

/* CMPXCHG8B. */
static enum emulate_result compare_exchange_pair(struct emulation *e)
{
	uint64_t expected = read_gpr(e, X86_RDX, 4) << 32 | read_gpr(e, X86_RAX, 4);
	uint64_t new_value = read_gpr(e, X86_RCX, 4) << 32 | read_gpr(e, X86_RBX, 4), old;

	TRY(read_operand(e, 0, &old));
	if (old == expected) {
		e->cpu->rflags |= X86_FLAG_ZF;
		return write_operand(e, 0, new_value);
	}
	e->cpu->rflags &= ~X86_FLAG_ZF;
	TRY(write_operand(e, 0, old));
	write_gpr(e, X86_RAX, 4, old);
	write_gpr(e, X86_RDX, 4, old >> 32);
	return EMULATE_DONE;
}

/*
 * IMUL with two or three operands; the one that gives twice the width is not
 * needed on memory. SF, ZF, AF and PF are undefined.
 */
static enum emulate_result multiply(struct emulation *e)
{
	unsigned size = operand_size(e, 0), last = e->instruction->operand_count_visible - 1u;
	uint64_t a, b;
	int64_t product;
	bool overflow;

	if (!last)
		return EMULATE_UNSUPPORTED;
	TRY(read_operand(e, last - 1, &a));
	TRY(read_operand(e, last, &b));
	overflow = __builtin_mul_overflow((int64_t)sign_extend(a, size), (int64_t)sign_extend(b, size), &product);
	overflow |= (int64_t)sign_extend((uint64_t)product, size) != product;
	e->cpu->rflags &= ~(uint64_t)(X86_FLAG_CF | X86_FLAG_OF);
	if (overflow)
		e->cpu->rflags |= X86_FLAG_CF | X86_FLAG_OF;
	return write_operand(e, 0, (uint64_t)product);
}

/* ---- Registers alone ---------------------------------------------------------------------- */

static enum emulate_result load_address(struct emulation *e)
{
	return write_operand(e, 0, effective_address(e, 1));
}

static enum emulate_result no_operation(struct emulation *e)
{
	(void)e;
	return EMULATE_DONE;
}

/* CLC, STC, CMC, CLD, STD. */
static enum emulate_result set_flag(struct emulation *e)
{
	uint64_t *flags = &e->cpu->rflags;

	switch (e->instruction->mnemonic) {
	case ZYDIS_MNEMONIC_CLC: *flags &= ~X86_FLAG_CF; break;
	case ZYDIS_MNEMONIC_STC: *flags |= X86_FLAG_CF; break;
	case ZYDIS_MNEMONIC_CMC: *flags ^= X86_FLAG_CF; break;
	case ZYDIS_MNEMONIC_CLD: *flags &= ~X86_FLAG_DF; break;
	default: *flags |= X86_FLAG_DF;
	}
	return EMULATE_DONE;
}

/* CBW, CWDE, CDQE: the accumulator's lower half fills all of it. */
static enum emulate_result widen_accumulator(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;

	write_gpr(e, X86_RAX, size, sign_extend(read_gpr(e, X86_RAX, size / 2), size / 2));
	return EMULATE_DONE;
}

/* CWD, CDQ, CQO: its sign fills RDX. */
static enum emulate_result spread_sign(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	bool negative = read_gpr(e, X86_RAX, size) >> (8 * size - 1);

	write_gpr(e, X86_RDX, size, negative ? UINT64_MAX : 0);
	return EMULATE_DONE;
}

/* XLAT: a byte of a table that AL is the index in. */
static enum emulate_result translate_byte(struct emulation *e)
{
	uint64_t address = (read_gpr(e, X86_RBX, address_size(e)) + read_gpr(e, X86_RAX, 1)) & value_mask(address_size(e));
	enum x86_segment_register segment = X86_DS;
	struct location at;
	uint64_t value;

	for (unsigned i = 0; i < e->instruction->operand_count; i++) {
		if (e->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			segment = operand_segment(e, i);
	}
	TRY(locate(e, segment, address, 1, false, true, &at));
	TRY(read_location(e, &at, 1, &value));
	write_gpr(e, X86_RAX, 1, value);
	return EMULATE_DONE;
}

enum { VECTOR_BR = 5 };

/* BOUND: #BR where an index lies outside the two bounds in memory. */
static enum emulate_result check_bounds(struct emulation *e)
{
	unsigned size = operand_size(e, 0);
	uint64_t address = effective_address(e, 1), index, low, high;
	struct location at, next;

	TRY(read_operand(e, 0, &index));
	TRY(locate(e, operand_segment(e, 1), address, size, false, true, &at));
	TRY(locate(e, operand_segment(e, 1), (address + size) & value_mask(address_size(e)), size, false, false, &next));
	TRY(read_location(e, &at, size, &low));
	TRY(read_location(e, &next, size, &high));
	if ((int64_t)sign_extend(index, size) >= (int64_t)sign_extend(low, size) &&
	    (int64_t)sign_extend(index, size) <= (int64_t)sign_extend(high, size))
		return EMULATE_DONE;
	e->info->vector = VECTOR_BR;
	e->info->has_error = false;
	return EMULATE_EXCEPTION;
}

/* Cache lines and prefetches: a device has none. */
static enum emulate_result touch_nothing(struct emulation *e)
{
	(void)e;
	return EMULATE_DONE;
}

/* CLZERO (APM vol. 3): zeros for the line of 64 bytes that holds DS:rAX. */
static enum emulate_result clear_line(struct emulation *e)
{
	enum { LINE = 64 };
	enum x86_segment_register segment = X86_DS;
	uint64_t line = read_gpr(e, X86_RAX, address_size(e)) & ~(uint64_t)(LINE - 1);

	if (e->memory->ram_only)
		return EMULATE_UNSUPPORTED;
	for (unsigned i = 0; i < e->instruction->operand_count; i++) {
		if (e->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			segment = operand_segment(e, i);
	}
	for (unsigned done = 0; done < LINE; done += sizeof(uint64_t)) {
		struct location to;

		TRY(locate(e, segment, line + done, sizeof(uint64_t), true, false, &to));
		TRY(write_location(e, &to, sizeof(uint64_t), 0));
	}
	return EMULATE_DONE;
}

static enum emulate_result undefined(struct emulation *e)
{
	(void)e;
	return EMULATE_INVALID;
}

/* ---- Bits ----------------------------------------------------------------------------- */

static uint64_t changed_bit(ZydisMnemonic mnemonic, uint64_t word, uint64_t bit)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_BTS:
		return word | bit;
	case ZYDIS_MNEMONIC_BTR:
		return word & ~bit;
	default:
		return word ^ bit;
	}
}

/*
 * A bit offset in a register reaches beyond the operand: the words before and
 * behind it in memory (SDM vol. 2, "BT - Bit Test"). The others only change CF.
 */
static enum emulate_result bit_test(struct emulation *e)
{
	unsigned size = operand_size(e, 0), bits = 8 * size;
	bool writes = e->instruction->mnemonic != ZYDIS_MNEMONIC_BT;
	uint64_t offset, word, bit, address = effective_address(e, 0);
	struct location at;

	if (e->operand[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return EMULATE_UNSUPPORTED;
	TRY(read_operand(e, 1, &offset));
	if (e->operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
		address += (uint64_t)((int64_t)sign_extend(offset, size) >> (size == 8 ? 6 : size == 4 ? 5
		                                                                                       : 4)) *
		           size;
	address &= value_mask(address_size(e));
	TRY(locate(e, operand_segment(e, 0), address, size, writes, true, &at));
	TRY(read_location(e, &at, size, &word));
	bit = 1ull << offset % bits;
	if (writes)
		TRY(write_location(e, &at, size, changed_bit(e->instruction->mnemonic, word, bit)));
	e->cpu->rflags = (e->cpu->rflags & ~X86_FLAG_CF) | (word & bit ? X86_FLAG_CF : 0);
	return EMULATE_DONE;
}

/* ---- Dispatch --------------------------------------------------------------------------- */

/* Segments and descriptor tables. */
static emulate_handler of_system(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_LDS:
	case ZYDIS_MNEMONIC_LES:
	case ZYDIS_MNEMONIC_LFS:
	case ZYDIS_MNEMONIC_LGS:
	case ZYDIS_MNEMONIC_LSS:
		return emulate_load_far_pointer;
	case ZYDIS_MNEMONIC_LGDT:
	case ZYDIS_MNEMONIC_LIDT:
		return emulate_load_table;
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
		return emulate_store_table;
	case ZYDIS_MNEMONIC_LLDT:
	case ZYDIS_MNEMONIC_LTR:
		return emulate_load_system;
	case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_STR:
		return emulate_store_selector;
	case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL:
	case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW:
		return emulate_look_at_descriptor;
	case ZYDIS_MNEMONIC_ARPL:
		return emulate_adjust_rpl;
	default:
		return NULL;
	}
}

static emulate_handler of_mnemonic(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVNTI:
		return emulate_move;
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
		return move_sign_extended;
	case ZYDIS_MNEMONIC_MOVBE:
		return move_swapped;
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_TEST:
		return alu_flags_only;
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_SBB:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
		return alu_binary;
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_NEG:
		return alu_unary;
	case ZYDIS_MNEMONIC_NOT:
		return not ;
	case ZYDIS_MNEMONIC_IMUL:
		return multiply;
	case ZYDIS_MNEMONIC_PUSH:
		return emulate_push;
	case ZYDIS_MNEMONIC_POP:
		return emulate_pop;
	case ZYDIS_MNEMONIC_XCHG:
		return exchange;
	case ZYDIS_MNEMONIC_XADD:
		return exchange_and_add;
	case ZYDIS_MNEMONIC_CMPXCHG:
		return compare_exchange;
	case ZYDIS_MNEMONIC_CMPXCHG8B:
		return compare_exchange_pair;
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		return bit_test;
	case ZYDIS_MNEMONIC_LEAVE:
		return emulate_leave;
	case ZYDIS_MNEMONIC_LEA:
		return load_address;
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_ENDBR32:
	case ZYDIS_MNEMONIC_ENDBR64:
		return no_operation;
	case ZYDIS_MNEMONIC_CLC:
	case ZYDIS_MNEMONIC_STC:
	case ZYDIS_MNEMONIC_CMC:
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD:
		return set_flag;
	case ZYDIS_MNEMONIC_CBW:
	case ZYDIS_MNEMONIC_CWDE:
	case ZYDIS_MNEMONIC_CDQE:
		return widen_accumulator;
	case ZYDIS_MNEMONIC_CWD:
	case ZYDIS_MNEMONIC_CDQ:
	case ZYDIS_MNEMONIC_CQO:
		return spread_sign;
	case ZYDIS_MNEMONIC_JMP:
		return emulate_jump;
	case ZYDIS_MNEMONIC_CALL:
		return emulate_call;
	case ZYDIS_MNEMONIC_RET:
		return emulate_return;
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		return emulate_interrupt_return;
	case ZYDIS_MNEMONIC_LMSW:
		return load_status_word;
	case ZYDIS_MNEMONIC_SMSW:
		return emulate_store_status_word;
	case ZYDIS_MNEMONIC_ENTER:
		return emulate_enter;
	case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD:
		return emulate_push_all;
	case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD:
		return emulate_pop_all;
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
		return emulate_push_flags;
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		return emulate_pop_flags;
	case ZYDIS_MNEMONIC_XLAT:
		return translate_byte;
	case ZYDIS_MNEMONIC_BOUND:
		return check_bounds;
	case ZYDIS_MNEMONIC_CLFLUSH:
	case ZYDIS_MNEMONIC_CLFLUSHOPT:
	case ZYDIS_MNEMONIC_CLWB:
	case ZYDIS_MNEMONIC_CLDEMOTE:
	case ZYDIS_MNEMONIC_PREFETCH:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
	case ZYDIS_MNEMONIC_PREFETCHW:
	case ZYDIS_MNEMONIC_PREFETCHWT1:
		return touch_nothing;
	case ZYDIS_MNEMONIC_CLZERO:
		return clear_line;
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
		return emulate_state_area;
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
		return undefined;
	default:
		return of_system(mnemonic);
	}
}

/* By opcode, because each of these families has a mnemonic per size or condition. */
static emulate_handler of_family(const ZydisDecodedInstruction *i)
{
	if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return NULL;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	    ((i->opcode >= 0xa4 && i->opcode <= 0xa7) || (i->opcode >= 0xaa && i->opcode <= 0xaf)))
		return emulate_string;
	if ((i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->opcode & 0xf0) == 0x70) ||
	    (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0) == 0x80))
		return emulate_jump_if;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && i->opcode >= 0xe0 && i->opcode <= 0xe3)
		return emulate_jump_by_count;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0) == 0x40)
		return move_if;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0) == 0x90)
		return set_if;
	return NULL;
}

/* No operand is wider than 8 bytes; that of LEA is no operand. */
static bool operands_fit(const struct decoded *d)
{
	for (unsigned i = 0; i < d->instruction.operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &d->operand[i];
		bool is_address = o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_AGEN;

		if (o->size != 8 && o->size != 16 && o->size != 32 && o->size != 64 && !is_address)
			return false;
	}
	return true;
}

/* These see to their operand themselves: far pointers, table registers, cache lines, bounds. */
static bool takes_any_size(emulate_handler h)
{
	return h == emulate_jump || h == emulate_call || h == emulate_load_far_pointer || h == emulate_load_table ||
	       h == emulate_store_table || h == touch_nothing || h == check_bounds || h == emulate_push_all ||
	       h == emulate_pop_all || h == emulate_state_area || h == clear_line;
}

/* MOV and POP to a segment register are another thing than MOV and POP. */
static emulate_handler of_segment(const struct decoded *d)
{
	if (d->operand[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    ZydisRegisterGetClass(d->operand[0].reg.value) != ZYDIS_REGCLASS_SEGMENT)
		return NULL;
	return d->instruction.mnemonic == ZYDIS_MNEMONIC_MOV   ? emulate_load_segment
	       : d->instruction.mnemonic == ZYDIS_MNEMONIC_POP ? emulate_pop_segment
	                                                       : NULL;
}

emulate_handler find_handler(const struct decoded *d)
{
	emulate_handler h = of_segment(d);

	if (!h)
		h = of_family(&d->instruction);
	if (!h)
		h = of_mnemonic(d->instruction.mnemonic);
	return h && (operands_fit(d) || takes_any_size(h)) ? h : emulate_natively;
}

/* Would every CPU carry it out at any privilege level, whatever its CPUID and control registers say? */
static bool is_common(const struct emulation *e, emulate_handler h)
{
	return h != load_status_word && h != emulate_store_status_word && h != move_swapped && h != emulate_pop_flags &&
	       h != emulate_load_segment && h != emulate_pop_segment && h != touch_nothing && h != undefined && !of_system(e->instruction->mnemonic);
}

/* RIP keeps to the width of the code segment. */
static uint64_t advance_rip(const struct x86_cpu_state *cpu, const ZydisDecodedInstruction *i)
{
	uint64_t next = cpu->rip + i->length;

	return i->machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? next : next & 0xffffffffu;
}

static enum emulate_result emulate_execute(struct emulation *e, emulate_handler h)
{
	enum emulate_result result = EMULATE_UNSUPPORTED;

	if (!e->memory->ram_only || is_common(e, h))
		result = h(e);
	if (result == EMULATE_UNSUPPORTED && h != emulate_natively)
		result = emulate_natively(e);
	if (result == EMULATE_DONE)
		e->cpu->rip = e->next_rip;
	return result;
}

/* What an instruction may change of the CPU. */
struct changed {
	uint64_t gpr[X86_GPR_COUNT], rip, rflags, cr0;
};

static void save(const struct x86_cpu_state *cpu, struct changed *c)
{
	memcpy(c->gpr, cpu->gpr, sizeof(c->gpr));
	c->rip = cpu->rip;
	c->rflags = cpu->rflags;
	c->cr0 = cpu->cr0;
}

static void restore(struct x86_cpu_state *cpu, const struct changed *c)
{
	memcpy(cpu->gpr, c->gpr, sizeof(c->gpr));
	cpu->rip = c->rip;
	cpu->rflags = c->rflags;
	cpu->cr0 = c->cr0;
}

/* What a fault leaves behind: nothing, or for a REP string the rounds that are done. */
static bool keeps_progress(emulate_handler h, enum emulate_result result)
{
	if (result == EMULATE_DONE || result == EMULATE_AGAIN)
		return true;
	return h == emulate_string && (result == EMULATE_PAGE_FAULT || result == EMULATE_GENERAL_PROTECTION);
}

static void say_why(struct emulate_info *info, enum emulate_result result, const struct decoded *d,
                    const uint8_t *bytes, unsigned count)
{
	if (result == EMULATE_TRUNCATED)
		snprintf(info->reason, sizeof(info->reason), "only %u bytes of an instruction could be read", count);
	else if (result == EMULATE_INVALID)
		snprintf(info->reason, sizeof(info->reason), "no valid instruction begins with byte %02x",
		         count ? bytes[0] : 0u);
	else if (result == EMULATE_UNSUPPORTED)
		snprintf(info->reason, sizeof(info->reason), "unsupported instruction %s",
		         ZydisMnemonicGetString(d->instruction.mnemonic));
}

static enum emulate_result emulate_carry_out(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                             const struct decoded *d, const uint8_t *bytes, uint64_t gpa,
                                             struct emulate_info *info)
{
	struct emulation e = {.cpu = cpu, .memory = memory, .info = info, .hint = gpa};
	enum emulate_result result;
	struct changed before;

	save(cpu, &before);
	e.decoded = d;
	e.bytes = bytes;
	e.instruction = &d->instruction;
	e.operand = d->operand;
	e.next_rip = advance_rip(cpu, e.instruction);
	result = emulate_execute(&e, d->handler);
	if (!keeps_progress(d->handler, result))
		restore(cpu, &before);
	return result;
}

bool instruction_address(struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count, uint64_t *gva)
{
	const struct decoded *d;
	struct emulation e = {.cpu = cpu};
	enum x86_segment_register segment;

	if (decode(cpu, bytes, count, &d) != EMULATE_DONE || d->instruction.mnemonic != ZYDIS_MNEMONIC_INVLPG)
		return false;
	e.decoded = d;
	e.instruction = &d->instruction;
	e.operand = d->operand;
	e.next_rip = cpu->rip + d->instruction.length;
	segment = operand_segment(&e, 0);
	*gva = effective_address(&e, 0);
	/* In 64-bit code only FS and GS have a base (SDM vol. 3, 3.4.4). */
	if (!in_long_mode(&e) || segment == X86_FS || segment == X86_GS)
		*gva += cpu->segment[segment].base;
	if (!in_long_mode(&e))
		*gva &= UINT32_MAX;
	return true;
}

enum emulate_result emulate_instruction(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                        const uint8_t *bytes, unsigned count, uint64_t gpa,
                                        struct emulate_info *info)
{
	const struct decoded *d;
	enum emulate_result result = decode(cpu, bytes, count, &d);

	info->fault_gva = info->fault_gpa = info->error_code = 0;
	info->reason[0] = '\0';
	if (result == EMULATE_DONE)
		result = emulate_carry_out(cpu, memory, d, bytes, gpa, info);
	say_why(info, result, d, bytes, count);
	return result;
}

const char *emulate_result_name(enum emulate_result result)
{
	static const char *const name[] = {
		[EMULATE_DONE] = "done",
		[EMULATE_AGAIN] = "again",
		[EMULATE_PAGE_FAULT] = "page-fault",
		[EMULATE_NO_MEMORY] = "no-memory",
		[EMULATE_UNSUPPORTED] = "unsupported",
		[EMULATE_TRUNCATED] = "truncated",
		[EMULATE_GENERAL_PROTECTION] = "general-protection",
		[EMULATE_INVALID] = "invalid",
		[EMULATE_EXCEPTION] = "exception",
	};

	return result < sizeof(name) / sizeof(name[0]) && name[result] ? name[result] : "unknown";
}
