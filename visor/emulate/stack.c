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
