/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PUSH and POP: two memory accesses, of which either may be the one that the
 * CPU reported, so that both are translated.
 */
#include "visor/emulate/emulation.h"

static unsigned stack_width(const struct emulation *e)
{
	return e->instruction->stack_width / 8;
}

/* `offset` bytes above the stack pointer, in the stack's own width. */
static enum emulate_result locate_on_stack(struct emulation *e, int64_t offset, unsigned size, bool write,
                                           struct location *at)
{
	uint64_t top = (e->cpu->gpr[X86_RSP] + (uint64_t)offset) & value_mask(stack_width(e));

	return locate(e, X86_SS, top, size, write, false, at);
}

static void move_stack_pointer(struct emulation *e, int64_t bytes)
{
	write_gpr(e, X86_RSP, stack_width(e), e->cpu->gpr[X86_RSP] + (uint64_t)bytes);
}

static enum emulate_result locate_operand_0(struct emulation *e, unsigned size, bool write, struct location *at)
{
	return locate(e, operand_segment(e, 0), effective_address(e, 0), size, write, false, at);
}

enum emulate_result push_value(struct emulation *e, unsigned size, uint64_t value)
{
	struct location to;

	TRY(locate_on_stack(e, -(int64_t)size, size, true, &to));
	TRY(write_location(e, &to, size, value));
	move_stack_pointer(e, -(int64_t)size);
	return EMULATE_DONE;
}

enum emulate_result pop_value(struct emulation *e, unsigned size, uint64_t *value)
{
	struct location from;

	TRY(locate_on_stack(e, 0, size, false, &from));
	TRY(read_location(e, &from, size, value));
	move_stack_pointer(e, size);
	return EMULATE_DONE;
}

enum emulate_result emulate_push(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	struct location from;
	uint64_t value;

	if (e->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
		TRY(locate_operand_0(e, size, false, &from));
		TRY(read_location(e, &from, size, &value));
	} else {
		TRY(read_operand(e, 0, &value));
	}
	return push_value(e, size, value);
}

/* The operand's address is computed with the stack pointer as it is afterwards (SDM vol. 2, "POP"). */
enum emulate_result emulate_pop(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	struct location to;
	uint64_t value;

	TRY(pop_value(e, size, &value));
	if (e->operand[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return write_operand(e, 0, value);
	TRY(locate_operand_0(e, size, true, &to));
	return write_location(e, &to, size, value);
}

/* The frame's own base pointer is what the stack pointer stands at (SDM vol. 2, "LEAVE"). */
enum emulate_result emulate_leave(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	uint64_t value;

	write_gpr(e, X86_RSP, stack_width(e), e->cpu->gpr[X86_RBP]);
	TRY(pop_value(e, size, &value));
	write_gpr(e, X86_RBP, size, value);
	return EMULATE_DONE;
}

/* PUSHA, POPA: all eight registers; what is popped for the stack pointer is dropped. */
enum emulate_result emulate_push_all(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	uint64_t rsp = e->cpu->gpr[X86_RSP];

	for (unsigned i = 0; i < 8; i++)
		TRY(push_value(e, size, i == X86_RSP ? rsp : e->cpu->gpr[i]));
	return EMULATE_DONE;
}

enum emulate_result emulate_pop_all(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	uint64_t value;

	for (unsigned i = 8; i-- > 0;) {
		TRY(pop_value(e, size, &value));
		if (i != X86_RSP)
			write_gpr(e, i, size, value);
	}
	return EMULATE_DONE;
}

#define FLAGS_PUSHED 0xfcffffull /* not VM and RF (SDM vol. 2, "PUSHF") */
#define FLAG_IF (1ull << 9)
#define FLAG_IOPL (3ull << 12)
#define FLAGS_POPPED 0x244dd5ull /* ID, AC, NT, and the arithmetic, TF and DF */

static unsigned iopl(const struct emulation *e)
{
	return e->cpu->rflags >> 12 & 3;
}

/* In virtual-8086 mode with IOPL below 3 the CPU has refused before. */
enum emulate_result emulate_push_flags(struct emulation *e)
{
	return push_value(e, e->instruction->operand_width / 8, e->cpu->rflags & FLAGS_PUSHED);
}

enum emulate_result emulate_pop_flags(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	uint64_t value, may = FLAGS_POPPED & value_mask(size);

	if (!(e->cpu->cr0 & X86_CR0_PE) || !e->cpu->cpl)
		may |= FLAG_IOPL;
	if (!(e->cpu->cr0 & X86_CR0_PE) || e->cpu->cpl <= iopl(e))
		may |= FLAG_IF;
	TRY(pop_value(e, size, &value));
	e->cpu->rflags = ((e->cpu->rflags & ~may) | (value & may)) & ~X86_FLAG_RF;
	return EMULATE_DONE;
}

/* A new frame, with the pointers of `level` outer ones (SDM vol. 2, "ENTER"). */
enum emulate_result emulate_enter(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8, level = e->operand[1].imm.value.u & 31;
	uint64_t bytes = e->operand[0].imm.value.u, frame, outer;
	struct location at;

	TRY(push_value(e, size, e->cpu->gpr[X86_RBP]));
	frame = e->cpu->gpr[X86_RSP];
	for (unsigned i = 1; i < level; i++) {
		uint64_t from = (e->cpu->gpr[X86_RBP] - (uint64_t)i * size) & value_mask(stack_width(e));

		TRY(locate(e, X86_SS, from, size, false, false, &at));
		TRY(read_location(e, &at, size, &outer));
		TRY(push_value(e, size, outer));
	}
	if (level)
		TRY(push_value(e, size, frame));
	/* The new frame's last byte must be one that can be written, though it is not. */
	TRY(locate_on_stack(e, -(int64_t)bytes, size, true, &at));
	move_stack_pointer(e, -(int64_t)bytes);
	write_gpr(e, X86_RBP, size, frame);
	return EMULATE_DONE;
}
