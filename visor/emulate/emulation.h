/* SPDX-License-Identifier: BSD-2-Clause */
/* One instruction on its way. Private to visor/emulate. */
#ifndef VISOR_EMULATE_EMULATION_H
#define VISOR_EMULATE_EMULATION_H

#include "visor/cpu/state.h"
#include "visor/emulate/decoded.h"
#include "visor/emulate/translate.h"

/* Where a memory operand lies: in one piece, or byte by byte when it crosses a page. */
struct location {
	uint64_t gpa;           /* of the first byte */
	uint64_t gpa_next_page; /* of the first byte on the second page */
	unsigned first_bytes;   /* how many are on the first page */
};

struct emulation {
	struct x86_cpu_state *cpu;
	const struct guest_memory *memory;
	struct emulate_info *info;
	uint64_t hint; /* gpa the CPU saw; UINT64_MAX = not known */
	uint64_t next_rip;
	const struct decoded *decoded;
	const uint8_t *bytes; /* that it was decoded from */
	const ZydisDecodedInstruction *instruction;
	const ZydisDecodedOperand *operand;
	/*
	 * Pages that this instruction has translated already, as a CPU's TLB has them: for one that makes many
	 * accesses. NULL: each is translated anew, or memory->recent knows.
	 */
	struct guest_recent *recent;
	/* Where the memory operand lies, once that has been found out: an instruction has one address. */
	bool located;
	struct location operand_at;
};

/* Leave the function unless `expression` gives EMULATE_DONE. */
#define TRY(expression) \
	do { \
		enum emulate_result try_result = (expression); \
		if (try_result != EMULATE_DONE) \
			return try_result; \
	} while (0)

/* All values are zero-extended to 64 bits. `size` in bytes: 1, 2, 4 or 8. */
static inline uint64_t value_mask(unsigned size)
{
	return size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
}

static inline uint64_t sign_extend(uint64_t value, unsigned size)
{
	unsigned unused = 64 - 8 * size;

	return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* ---- emulate.c ------------------------------------------------------------------- */

typedef enum emulate_result (*emulate_handler)(struct emulation *e);

/* What carries it out, or says that it is unsupported. */
emulate_handler find_handler(const struct decoded *d);

/* ---- operand.c ------------------------------------------------------------------- */

/* Size of operand i in bytes. */
unsigned operand_size(const struct emulation *e, unsigned i);
/* Read or write operand i: register, immediate or memory. */
enum emulate_result read_operand(struct emulation *e, unsigned i, uint64_t *value);
enum emulate_result write_operand(struct emulation *e, unsigned i, uint64_t value);

/* General register `index`, low `size` bytes. A 4-byte write clears the upper half. */
uint64_t read_gpr(const struct emulation *e, enum x86_gpr index, unsigned size);
void write_gpr(struct emulation *e, enum x86_gpr index, unsigned size, uint64_t value);

/* Address arithmetic of the instruction wraps at this many bytes: 2, 4 or 8. */
unsigned address_size(const struct emulation *e);

/*
 * Translate [offset, offset + size) of a segment for reading or writing.
 * `may_use_hint`: this is the access that the CPU reported.
 */
enum emulate_result locate(struct emulation *e, enum x86_segment_register segment, uint64_t offset,
                           unsigned size, bool write, bool may_use_hint, struct location *out);
enum emulate_result read_location(struct emulation *e, const struct location *at, unsigned size,
                                  uint64_t *value);
enum emulate_result write_location(struct emulation *e, const struct location *at, unsigned size,
                                   uint64_t value);

/*
 * May `size` bytes be accessed from `offset` of the segment on, as far as the
 * segment is concerned? In 64-bit code: is their address canonical?
 */
bool segment_covers(const struct emulation *e, enum x86_segment_register segment, uint64_t offset,
                    uint64_t size, bool write);
bool in_long_mode(const struct emulation *e);

/* Effective address of memory operand i. */
uint64_t effective_address(const struct emulation *e, unsigned i);
enum x86_segment_register operand_segment(const struct emulation *e, unsigned i);

/* ---- alu.c: results and flags --------------------------------------------------- */

enum alu_operation {
	ALU_ADD,
	ALU_OR,
	ALU_ADC,
	ALU_SBB,
	ALU_AND,
	ALU_SUB,
	ALU_XOR, /* as ModRM encodes 80h-83h */
	ALU_INC,
	ALU_DEC,
	ALU_NEG,
	ALU_SHL,
	ALU_SHR,
	ALU_SAR,
	ALU_ROL,
	ALU_ROR,
};

/*
 * a op b (b is not used by INC, DEC, NEG; the count for shifts). Changes *rflags
 * as the instruction does; flags that it leaves undefined stay as they are.
 */
uint64_t alu(enum alu_operation operation, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags);
/* Condition code 0..15 as Jcc encodes it. */
bool condition_holds(unsigned code, uint64_t rflags);

/* ---- stack.c --------------------------------------------------------------------- */

enum emulate_result emulate_push(struct emulation *e);
enum emulate_result emulate_pop(struct emulation *e);
enum emulate_result emulate_leave(struct emulation *e);
enum emulate_result emulate_enter(struct emulation *e);
enum emulate_result emulate_push_all(struct emulation *e); /* PUSHA */
enum emulate_result emulate_pop_all(struct emulation *e);
enum emulate_result emulate_push_flags(struct emulation *e);
enum emulate_result emulate_pop_flags(struct emulation *e);

/* Push one value, or pop one: with the stack pointer as it is, which moves when the access is done. */
enum emulate_result push_value(struct emulation *e, unsigned size, uint64_t value);
enum emulate_result pop_value(struct emulation *e, unsigned size, uint64_t *value);

/* ---- flow.c ---------------------------------------------------------------------- */

enum emulate_result emulate_jump(struct emulation *e);
enum emulate_result emulate_jump_if(struct emulation *e);
enum emulate_result emulate_jump_by_count(struct emulation *e); /* LOOPcc, JrCXZ */
enum emulate_result emulate_call(struct emulation *e);
enum emulate_result emulate_return(struct emulation *e);

/* ---- system.c -------------------------------------------------------------------- */

/* The guest gets this exception. */
enum emulate_result emulate_raise(struct emulation *e, uint8_t vector, uint32_t error);

enum emulate_result emulate_load_segment(struct emulation *e); /* MOV Sreg, m16 */
enum emulate_result emulate_pop_segment(struct emulation *e);
enum emulate_result emulate_load_far_pointer(struct emulation *e); /* LDS, LES, LFS, LGS, LSS */
enum emulate_result emulate_far_jump(struct emulation *e);
enum emulate_result emulate_far_call(struct emulation *e);
enum emulate_result emulate_far_return(struct emulation *e);
enum emulate_result emulate_interrupt_return(struct emulation *e);
enum emulate_result emulate_load_table(struct emulation *e);         /* LGDT, LIDT */
enum emulate_result emulate_store_table(struct emulation *e);        /* SGDT, SIDT */
enum emulate_result emulate_load_system(struct emulation *e);        /* LLDT, LTR */
enum emulate_result emulate_store_selector(struct emulation *e);     /* SLDT, STR */
enum emulate_result emulate_store_status_word(struct emulation *e);  /* SMSW */
enum emulate_result emulate_look_at_descriptor(struct emulation *e); /* LAR, LSL, VERR, VERW */
enum emulate_result emulate_adjust_rpl(struct emulation *e);         /* ARPL */

/* ---- native.c -------------------------------------------------------------------- */

/* By the CPU itself, on a copy of the memory operand. */
enum emulate_result emulate_natively(struct emulation *e);
/* Is it an instruction that can be carried out so, wherever the memory behind it is at hand? */
bool native_may_run(const struct decoded *d);

/* ---- state_area.c ---------------------------------------------------------------- */

/* FXSAVE, FXRSTOR; XSAVE, XSAVEOPT, XSAVEC and XRSTOR in 64-bit code. */
enum emulate_result emulate_state_area(struct emulation *e);

/* ---- string.c -------------------------------------------------------------------- */

enum emulate_result emulate_string(struct emulation *e);

#endif
