/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Near jumps, calls and returns. Where the CPU would refuse to go, and where the
 * makers of CPUs differ in what an instruction means, it is left to the CPU.
 */
#include "visor/emulate/emulation.h"

static bool is_far(const struct emulation *e)
{
	return e->instruction->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/*
 * An operand-size prefix is ignored in 64-bit code by some CPUs and shortens RIP
 * on others (SDM vol. 2, "JMP"; APM vol. 3, "JMP"); elsewhere it does so on all.
 */
static bool is_plain(const struct emulation *e)
{
	return !is_far(e) && !(in_long_mode(e) && e->instruction->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE);
}

static unsigned rip_size(const struct emulation *e)
{
	return in_long_mode(e) ? 8 : e->instruction->operand_width / 8;
}

/* Canonical in 64-bit code, at any depth of paging; within the code segment elsewhere. */
static bool may_go_to(const struct emulation *e, uint64_t target)
{
	if (in_long_mode(e))
		return sign_extend(target & value_mask(6 /* bytes: 48 bits */), 6) == target;
	return target <= e->cpu->segment[X86_CS].limit;
}

static uint64_t relative_target(const struct emulation *e)
{
	return (e->next_rip + e->operand[0].imm.value.u) & value_mask(rip_size(e));
}

static enum emulate_result go_to(struct emulation *e, uint64_t target)
{
	if (!is_plain(e))
		return EMULATE_UNSUPPORTED;
	if (!may_go_to(e, target)) /* which of two instructions it is that faults differs between CPUs */
		return e->memory->ram_only ? EMULATE_UNSUPPORTED : EMULATE_GENERAL_PROTECTION;
	e->next_rip = target;
	return EMULATE_DONE;
}

static enum emulate_result find_target(struct emulation *e, uint64_t *target)
{
	if (!is_plain(e))
		return EMULATE_UNSUPPORTED;
	if (e->operand[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return read_operand(e, 0, target);
	*target = relative_target(e);
	return EMULATE_DONE;
}

enum emulate_result emulate_jump(struct emulation *e)
{
	uint64_t target;

	if (is_far(e))
		return emulate_far_jump(e);
	TRY(find_target(e, &target));
	return go_to(e, target);
}

enum emulate_result emulate_jump_if(struct emulation *e)
{
	if (!condition_holds(e->instruction->opcode & 15, e->cpu->rflags))
		return EMULATE_DONE;
	return go_to(e, relative_target(e));
}

/* Opcodes E0h to E3h: LOOPNE, LOOPE, LOOP, and JrCXZ, which counts nothing. */
enum emulate_result emulate_jump_by_count(struct emulation *e)
{
	unsigned kind = e->instruction->opcode & 3, width = address_size(e);
	uint64_t count = read_gpr(e, X86_RCX, width);
	bool zero = e->cpu->rflags & X86_FLAG_ZF;

	if (kind == 3)
		return count ? EMULATE_DONE : go_to(e, relative_target(e));
	count = (count - 1) & value_mask(width);
	if (count && (kind == 2 || zero == (kind == 1)))
		TRY(go_to(e, relative_target(e)));
	write_gpr(e, X86_RCX, width, count);
	return EMULATE_DONE;
}

enum emulate_result emulate_call(struct emulation *e)
{
	uint64_t target, back = e->next_rip;

	if (is_far(e))
		return emulate_far_call(e);
	TRY(find_target(e, &target));
	TRY(go_to(e, target));
	return push_value(e, rip_size(e), back);
}

/* RET n drops its caller's arguments. */
enum emulate_result emulate_return(struct emulation *e)
{
	uint64_t target, dropped = 0;

	if (is_far(e))
		return emulate_far_return(e);
	if (!is_plain(e))
		return EMULATE_UNSUPPORTED;
	if (e->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		dropped = e->operand[0].imm.value.u;
	TRY(pop_value(e, rip_size(e), &target));
	TRY(go_to(e, target));
	write_gpr(e, X86_RSP, e->instruction->stack_width / 8, e->cpu->gpr[X86_RSP] + dropped);
	return EMULATE_DONE;
}
