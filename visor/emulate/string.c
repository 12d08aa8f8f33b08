/* SPDX-License-Identifier: BSD-2-Clause */
/* MOVS, STOS, LODS, CMPS and SCAS, with and without a repeat prefix (SDM vol. 2, "REP"). */
#include "visor/emulate/emulation.h"

/*
 * Rounds of one call; the rest follows when the instruction is run again, after interrupts. An element in
 * device memory counts for two and takes some 3,000 instructions, so that no call takes longer than an exit may.
 */
#define MAX_ROUNDS 128u
#define ELEMENT_ROUNDS 2u
/* What a run of elements inside one page counts for, however many they are: 4 pages at most. */
#define RUN_ROUNDS 32u

#define PAGE 4096u

enum string_kind { STRING_MOVS,
	           STRING_STOS,
	           STRING_LODS,
	           STRING_CMPS,
	           STRING_SCAS };

struct string {
	enum string_kind kind;
	unsigned size; /* of one element, bytes */
	bool repeats, until_equal, while_equal;
	enum x86_segment_register source_segment;
};

static enum string_kind kind_of(const struct emulation *e)
{
	switch (e->instruction->mnemonic) {
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
		return STRING_MOVS;
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		return STRING_STOS;
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
		return STRING_LODS;
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_CMPSD:
	case ZYDIS_MNEMONIC_CMPSQ:
		return STRING_CMPS;
	default:
		return STRING_SCAS;
	}
}

static struct string describe(const struct emulation *e)
{
	ZydisInstructionAttributes a = e->instruction->attributes;
	struct string s = {
		.kind = kind_of(e),
		.repeats = a & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE),
		.source_segment = X86_DS,
	};

	if (s.kind == STRING_CMPS || s.kind == STRING_SCAS) {
		s.until_equal = a & ZYDIS_ATTRIB_HAS_REPNE;
		s.while_equal = s.repeats && !s.until_equal;
	}
	for (unsigned i = 0; i < e->instruction->operand_count; i++) {
		const ZydisDecodedOperand *o = &e->operand[i];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		s.size = operand_size(e, i);
		if (o->mem.segment != ZYDIS_REGISTER_ES || o->mem.base == ZYDIS_REGISTER_RSI ||
		    o->mem.base == ZYDIS_REGISTER_ESI || o->mem.base == ZYDIS_REGISTER_SI)
			s.source_segment = operand_segment(e, i);
	}
	return s;
}

static enum emulate_result element(struct emulation *e, enum x86_segment_register segment,
                                   enum x86_gpr pointer, unsigned size, bool write, struct location *at)
{
	return locate(e, segment, read_gpr(e, pointer, address_size(e)), size, write, false, at);
}

static enum emulate_result read_element(struct emulation *e, const struct string *s,
                                        enum x86_segment_register segment, enum x86_gpr pointer,
                                        uint64_t *value)
{
	struct location at;

	TRY(element(e, segment, pointer, s->size, false, &at));
	return read_location(e, &at, s->size, value);
}

static void string_step(struct emulation *e, const struct string *s, enum x86_gpr pointer)
{
	uint64_t by = e->cpu->rflags & X86_FLAG_DF ? -(uint64_t)s->size : s->size;

	write_gpr(e, pointer, address_size(e), read_gpr(e, pointer, address_size(e)) + by);
}

/* The destination is translated before the source is read: a device must not be read in vain. */
static enum emulate_result string_move(struct emulation *e, const struct string *s)
{
	struct location from, to;
	uint64_t value;

	TRY(element(e, s->source_segment, X86_RSI, s->size, false, &from));
	TRY(element(e, X86_ES, X86_RDI, s->size, true, &to));
	TRY(read_location(e, &from, s->size, &value));
	TRY(write_location(e, &to, s->size, value));
	string_step(e, s, X86_RSI);
	string_step(e, s, X86_RDI);
	return EMULATE_DONE;
}

static enum emulate_result string_store(struct emulation *e, const struct string *s)
{
	struct location to;

	TRY(element(e, X86_ES, X86_RDI, s->size, true, &to));
	TRY(write_location(e, &to, s->size, read_gpr(e, X86_RAX, s->size)));
	string_step(e, s, X86_RDI);
	return EMULATE_DONE;
}

static enum emulate_result string_load(struct emulation *e, const struct string *s)
{
	uint64_t value;

	TRY(read_element(e, s, s->source_segment, X86_RSI, &value));
	write_gpr(e, X86_RAX, s->size, value);
	string_step(e, s, X86_RSI);
	return EMULATE_DONE;
}

static enum emulate_result compare(struct emulation *e, const struct string *s)
{
	uint64_t left, right;

	TRY(read_element(e, s, s->source_segment, X86_RSI, &left));
	TRY(read_element(e, s, X86_ES, X86_RDI, &right));
	alu(ALU_SUB, s->size, left, right, &e->cpu->rflags);
	string_step(e, s, X86_RSI);
	string_step(e, s, X86_RDI);
	return EMULATE_DONE;
}

static enum emulate_result scan(struct emulation *e, const struct string *s)
{
	uint64_t value;

	TRY(read_element(e, s, X86_ES, X86_RDI, &value));
	alu(ALU_SUB, s->size, read_gpr(e, X86_RAX, s->size), value, &e->cpu->rflags);
	string_step(e, s, X86_RDI);
	return EMULATE_DONE;
}

static enum emulate_result one_round(struct emulation *e, const struct string *s)
{
	switch (s->kind) {
	case STRING_MOVS:
		return string_move(e, s);
	case STRING_STOS:
		return string_store(e, s);
	case STRING_LODS:
		return string_load(e, s);
	case STRING_CMPS:
		return compare(e, s);
	default:
		return scan(e, s);
	}
}

/* ---- many elements at once ------------------------------------------------------------ */

/* How many elements from here up, at most `most`, lie in one page and inside the segment. */
static uint64_t elements_in_page(const struct emulation *e, const struct string *s, enum x86_segment_register segment,
                                 enum x86_gpr pointer, const struct location *at, bool write, uint64_t most)
{
	uint64_t n = (PAGE - at->gpa % PAGE) / s->size, offset = read_gpr(e, pointer, address_size(e));
	uint64_t to_wrap = (value_mask(address_size(e)) - offset) / s->size;

	n = n < most ? n : most;
	n = n < to_wrap ? n : to_wrap;
	return n && segment_covers(e, segment, offset, n * s->size, write) ? n : 0;
}

static uint8_t *bytes_at(const struct emulation *e, uint64_t gpa, bool write)
{
	uint8_t *page = e->memory->page(e->memory->ctx, gpa - gpa % PAGE, write);

	return page ? page + gpa % PAGE : NULL;
}

/* Element by element and upwards, as the guest's CPU does it: what overlaps comes out the same. */
static void move_elements(uint8_t *to, const uint8_t *from, unsigned size, uint64_t n)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep movsb"
		                 : "+D"(to), "+S"(from), "+c"(n)
		                 :
		                 : "memory");
		break;
	case 2:
		__asm__ volatile("rep movsw"
		                 : "+D"(to), "+S"(from), "+c"(n)
		                 :
		                 : "memory");
		break;
	case 4:
		__asm__ volatile("rep movsl"
		                 : "+D"(to), "+S"(from), "+c"(n)
		                 :
		                 : "memory");
		break;
	default: __asm__ volatile("rep movsq"
		                  : "+D"(to), "+S"(from), "+c"(n)
		                  :
		                  : "memory");
	}
}

static void store_elements(uint8_t *to, uint64_t value, unsigned size, uint64_t n)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep stosb"
		                 : "+D"(to), "+c"(n)
		                 : "a"(value)
		                 : "memory");
		break;
	case 2:
		__asm__ volatile("rep stosw"
		                 : "+D"(to), "+c"(n)
		                 : "a"(value)
		                 : "memory");
		break;
	case 4:
		__asm__ volatile("rep stosl"
		                 : "+D"(to), "+c"(n)
		                 : "a"(value)
		                 : "memory");
		break;
	default: __asm__ volatile("rep stosq"
		                  : "+D"(to), "+c"(n)
		                  : "a"(value)
		                  : "memory");
	}
}

static void step_by(struct emulation *e, const struct string *s, enum x86_gpr pointer, uint64_t n)
{
	write_gpr(e, pointer, address_size(e), read_gpr(e, pointer, address_size(e)) + n * s->size);
}

/*
 * As many rounds of MOVS or STOS as stay inside the pages that the first of them
 * touches; *done says how many: 0 where it takes single rounds, for devices,
 * downwards, and across a page's end.
 */
static enum emulate_result run_of_rounds(struct emulation *e, const struct string *s, uint64_t most, uint64_t *done)
{
	struct location from, to;
	const uint8_t *source = NULL;
	uint8_t *target;
	uint64_t n;

	*done = 0;
	if (!e->memory->page || (s->kind != STRING_MOVS && s->kind != STRING_STOS) || e->cpu->rflags & X86_FLAG_DF)
		return EMULATE_DONE;
	if (s->kind == STRING_MOVS)
		TRY(element(e, s->source_segment, X86_RSI, s->size, false, &from));
	TRY(element(e, X86_ES, X86_RDI, s->size, true, &to));
	n = elements_in_page(e, s, X86_ES, X86_RDI, &to, true, most);
	if (n && s->kind == STRING_MOVS) {
		n = elements_in_page(e, s, s->source_segment, X86_RSI, &from, false, n);
		source = n ? bytes_at(e, from.gpa, false) : NULL;
	}
	target = n ? bytes_at(e, to.gpa, true) : NULL;
	if (!target || (s->kind == STRING_MOVS && !source))
		return EMULATE_DONE;
	if (source)
		move_elements(target, source, s->size, n);
	else
		store_elements(target, read_gpr(e, X86_RAX, s->size), s->size, n);
	e->memory->written(e->memory->ctx, to.gpa, n * s->size);
	if (source)
		step_by(e, s, X86_RSI, n);
	step_by(e, s, X86_RDI, n);
	*done = n;
	return EMULATE_DONE;
}

/* ---- all of it -------------------------------------------------------------------------- */

static bool stops_early(const struct emulation *e, const struct string *s)
{
	bool equal = e->cpu->rflags & X86_FLAG_ZF;

	return (s->until_equal && equal) || (s->while_equal && !equal);
}

/*
 * Every round leaves the CPU's state complete, so that a fault or an interrupt
 * between two of them resumes where it was.
 */
enum emulate_result emulate_string(struct emulation *e)
{
	unsigned width = address_size(e), rounds = e->memory->rounds ? e->memory->rounds : MAX_ROUNDS;
	struct string s = describe(e);
	struct guest_recent recent = {0};

	if (!s.repeats)
		return one_round(e, &s);
	e->recent = &recent;
	for (unsigned round = 0; round < rounds;) {
		uint64_t left = read_gpr(e, X86_RCX, width), done;

		if (!left)
			return EMULATE_DONE;
		TRY(run_of_rounds(e, &s, left, &done));
		round += done ? RUN_ROUNDS : e->memory->ram_only ? 1
		                                                 : ELEMENT_ROUNDS;
		if (!done)
			TRY(one_round(e, &s));
		write_gpr(e, X86_RCX, width, left - (done ? done : 1));
		if (stops_early(e, &s))
			return EMULATE_DONE;
	}
	return read_gpr(e, X86_RCX, width) ? EMULATE_AGAIN : EMULATE_DONE;
}
