/* SPDX-License-Identifier: BSD-2-Clause */
/* Decode one instruction and carry it out. Semantics are those of SDM vol. 2. */
#include "visor/emulate/emulate.h"

#include "visor/emulate/emulation.h"
#include "visor/lib/format.h"

typedef enum emulate_result (*handler)(struct emulation *e);

/* ---- Moves ------------------------------------------------------------------------- */

static enum emulate_result move(struct emulation *e)
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
	return write_operand(e, 0, condition_holds(e->instruction.opcode & 15, e->cpu->rflags) ? value : old);
}

/* Machine status word: the low half of CR0. LMSW may set PE, but not clear it (SDM vol. 2, "LMSW"). */
static enum emulate_result load_status_word(struct emulation *e)
{
	uint64_t value;

	TRY(read_operand(e, 0, &value));
	e->cpu->cr0 = (e->cpu->cr0 & ~0xeull) | (value & 0xf);
	return EMULATE_DONE;
}

static enum emulate_result store_status_word(struct emulation *e)
{
	return write_operand(e, 0, e->cpu->cr0 & value_mask(operand_size(e, 0)));
}

static enum emulate_result set_if(struct emulation *e)
{
	return write_operand(e, 0, condition_holds(e->instruction.opcode & 15, e->cpu->rflags));
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
	alu(alu_of(e->instruction.mnemonic), operand_size(e, 0), a, b, &e->cpu->rflags);
	return EMULATE_DONE;
}

/* Two operands, the first one takes the result. */
static enum emulate_result alu_binary(struct emulation *e)
{
	uint64_t a, b;

	TRY(read_operand(e, 0, &a));
	TRY(read_operand(e, 1, &b));
	return write_operand(e, 0, alu(alu_of(e->instruction.mnemonic), operand_size(e, 0), a, b,
	                               &e->cpu->rflags));
}

static enum emulate_result alu_unary(struct emulation *e)
{
	uint64_t a;

	TRY(read_operand(e, 0, &a));
	return write_operand(e, 0, alu(alu_of(e->instruction.mnemonic), operand_size(e, 0), a, 0,
	                               &e->cpu->rflags));
}

static enum emulate_result not(struct emulation *e)
{
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
	unsigned size = operand_size(e, 0), last = e->instruction.operand_count_visible - 1u;
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
	bool writes = e->instruction.mnemonic != ZYDIS_MNEMONIC_BT;
	uint64_t offset, word, bit, address = effective_address(e, 0);
	struct location at;

	if (e->operand[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return EMULATE_UNSUPPORTED;
	TRY(read_operand(e, 1, &offset));
	if (e->operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
		address += (uint64_t)((int64_t)sign_extend(offset, size) >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * size;
	address &= value_mask(address_size(e));
	TRY(locate(e, operand_segment(e, 0), address, size, writes, true, &at));
	TRY(read_location(e, &at, size, &word));
	bit = 1ull << offset % bits;
	if (writes)
		TRY(write_location(e, &at, size, changed_bit(e->instruction.mnemonic, word, bit)));
	e->cpu->rflags = (e->cpu->rflags & ~X86_FLAG_CF) | (word & bit ? X86_FLAG_CF : 0);
	return EMULATE_DONE;
}

/* ---- Dispatch --------------------------------------------------------------------------- */

static handler find_handler(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVNTI:
		return move;
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
		return not;
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
	case ZYDIS_MNEMONIC_LMSW:
		return load_status_word;
	case ZYDIS_MNEMONIC_SMSW:
		return store_status_word;
	default:
		return NULL;
	}
}

/* By opcode, because each of these families has a mnemonic per size or condition. */
static handler find_family(const ZydisDecodedInstruction *i)
{
	if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return NULL;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	    ((i->opcode >= 0xa4 && i->opcode <= 0xa7) || (i->opcode >= 0xaa && i->opcode <= 0xaf)))
		return emulate_string;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0) == 0x40)
		return move_if;
	if (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0) == 0x90)
		return set_if;
	return NULL;
}

static void init_decoder(const struct x86_cpu_state *cpu, ZydisDecoder *decoder)
{
	uint32_t cs = cpu->segment[X86_CS].access;

	if ((cpu->efer & X86_EFER_LMA) && (cs & X86_ACCESS_LONG))
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (cs & X86_ACCESS_BIG)
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	else if (cpu->cr0 & X86_CR0_PE)
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	else
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
}

/* RIP keeps to the width of the code segment. */
static uint64_t advance_rip(const struct x86_cpu_state *cpu, const ZydisDecodedInstruction *i)
{
	uint64_t next = cpu->rip + i->length;

	return i->machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? next : next & 0xffffffffu;
}

static enum emulate_result decode(struct emulation *e, const uint8_t *bytes, unsigned count)
{
	ZydisDecoder decoder;
	ZyanStatus status;

	if (count > EMULATE_MAX_INSTRUCTION)
		count = EMULATE_MAX_INSTRUCTION;
	init_decoder(e->cpu, &decoder);
	status = ZydisDecoderDecodeFull(&decoder, bytes, count, &e->instruction, e->operand);
	if (status == ZYDIS_STATUS_NO_MORE_DATA) {
		snprintf(e->info->reason, sizeof(e->info->reason), "only %u bytes of an instruction could be read",
		         count);
		return EMULATE_TRUNCATED;
	}
	if (!ZYAN_SUCCESS(status)) {
		snprintf(e->info->reason, sizeof(e->info->reason), "no valid instruction begins with byte %02x",
		         count ? bytes[0] : 0u);
		return EMULATE_INVALID;
	}
	e->next_rip = advance_rip(e->cpu, &e->instruction);
	return EMULATE_DONE;
}

/* No operand is wider than 8 bytes. */
static bool operands_fit(const struct emulation *e)
{
	for (unsigned i = 0; i < e->instruction.operand_count_visible; i++) {
		unsigned bits = e->operand[i].size;

		if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
			return false;
	}
	return true;
}

static enum emulate_result execute(struct emulation *e)
{
	handler h = find_family(&e->instruction);
	enum emulate_result result = EMULATE_UNSUPPORTED;

	if (!h)
		h = find_handler(e->instruction.mnemonic);
	if (h && operands_fit(e))
		result = h(e);
	else
		result = emulate_wide(e);
	if (result == EMULATE_DONE)
		e->cpu->rip = e->next_rip;
	if (result == EMULATE_UNSUPPORTED)
		snprintf(e->info->reason, sizeof(e->info->reason), "unsupported instruction %s",
		         ZydisMnemonicGetString(e->instruction.mnemonic));
	return result;
}

/* What a fault leaves behind: nothing, or for a REP string the rounds that are done. */
static bool keeps_progress(const struct emulation *e, enum emulate_result result)
{
	if (result == EMULATE_DONE || result == EMULATE_AGAIN)
		return true;
	if (result != EMULATE_PAGE_FAULT && result != EMULATE_GENERAL_PROTECTION)
		return false;
	return find_family(&e->instruction) == emulate_string;
}

enum emulate_result emulate_instruction(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                        const uint8_t *bytes, unsigned count, uint64_t gpa,
                                        struct emulate_info *info)
{
	struct x86_cpu_state work = *cpu;
	struct emulation e = {.cpu = &work, .memory = memory, .info = info, .hint = gpa};
	enum emulate_result result;

	*info = (struct emulate_info){0};
	TRY(decode(&e, bytes, count));
	result = execute(&e);
	if (keeps_progress(&e, result))
		*cpu = work;
	return result;
}

unsigned instruction_length(const struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count)
{
	ZydisDecodedInstruction instruction;
	ZydisDecoder decoder;

	init_decoder(cpu, &decoder);
	if (count > EMULATE_MAX_INSTRUCTION)
		count = EMULATE_MAX_INSTRUCTION;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, count, &instruction)))
		return 0;
	return instruction.length;
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
	};

	return result < sizeof(name) / sizeof(name[0]) && name[result] ? name[result] : "unknown";
}
