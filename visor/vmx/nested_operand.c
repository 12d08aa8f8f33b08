/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vmx/nested_operand.h"

#include "visor/cpu/x86.h"
#include "visor/emulate/translate.h"
#include "visor/exit/exit.h"
#include "visor/lib/string.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"

/* Fields of the VM-exit instruction information. */
#define INFO_SCALE(i) ((i)&3)
#define INFO_ADDRESS_SIZE(i) ((i) >> 7 & 7)
#define INFO_SEGMENT(i) ((i) >> 15 & 7)
#define INFO_INDEX(i) ((i) >> 18 & 15)
#define INFO_NO_INDEX (1u << 22)
#define INFO_BASE(i) ((i) >> 23 & 15)
#define INFO_NO_BASE (1u << 27)

#define SEGMENT_WRITABLE 2u /* of the type: of data writable, of code readable */
#define SEGMENT_DOWN 4u
#define SEGMENT_CODE 8u
#define VECTOR_STACK 12u

static uint64_t operand_offset(struct vcpu *v, uint32_t info)
{
	static const uint64_t mask[] = {0xffff, UINT32_MAX, UINT64_MAX};
	uint64_t offset = vmread(VMCS_QUALIFICATION);

	if (!(info & INFO_NO_BASE))
		offset += v->state.gpr[INFO_BASE(info)];
	if (!(info & INFO_NO_INDEX))
		offset += v->state.gpr[INFO_INDEX(info)] << INFO_SCALE(info);
	return offset & mask[INFO_ADDRESS_SIZE(info) < 2 ? INFO_ADDRESS_SIZE(info) : 2];
}

/* Outside of 64-bit code (SDM vol. 3, 5.3 and 5.5). */
static bool operand_in_segment(const struct x86_segment *s, uint64_t offset, unsigned bytes, bool write)
{
	uint64_t last = offset + bytes - 1, top = s->access & X86_ACCESS_BIG ? UINT32_MAX : 0xffff;
	bool code = s->access & SEGMENT_CODE, marked = s->access & SEGMENT_WRITABLE;

	if (s->access & X86_ACCESS_UNUSABLE || (write ? code || !marked : code && !marked))
		return false;
	if (!code && s->access & SEGMENT_DOWN)
		return offset > s->limit && last <= top;
	return last <= s->limit;
}

/* The operand's linear address. False: #GP or #SS. */
static bool operand_linear(struct vcpu *v, unsigned bytes, bool write, uint64_t *linear)
{
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);
	enum x86_segment_register which = INFO_SEGMENT(info) < X86_SEGMENT_COUNT ? INFO_SEGMENT(info) : X86_DS;
	const struct x86_segment *s = &v->state.segment[which];
	uint64_t offset = operand_offset(v, info);

	if (vmx_in_64bit_code(v)) {
		*linear = offset + (which == X86_FS || which == X86_GS ? s->base : 0);
		if (x86_is_canonical(*linear))
			return true;
	} else {
		*linear = (uint32_t)(offset + s->base);
		if (operand_in_segment(s, offset, bytes, write))
			return true;
	}
	exit_raise(v, which == X86_SS ? VECTOR_STACK : X86_GP, true, 0);
	return false;
}

/* Part of it that lies in one page. */
static bool operand_part(struct vcpu *v, uint64_t linear, void *data, unsigned bytes, bool write)
{
	struct vmmu_guest_walk walk = {0};

	switch (guest_translate(&v->state, &v->vm->bus, linear, write ? VMMU_W : VMMU_R, &walk)) {
	case VMMU_GUEST_OK:
		break;
	case VMMU_GUEST_NONCANONICAL:
		exit_raise(v, X86_GP, true, 0);
		return false;
	case VMMU_GUEST_BUSY: /* the instruction is executed again */
		return false;
	default:
		write_cr2(linear);
		exit_raise(v, X86_PF, true, walk.error_code);
		return false;
	}
	if (!write) {
		if (!memory_read(v->vm, walk.gpa.v, data, bytes))
			memset(data, 0xff, bytes); /* nothing answers there */
	} else {
		memory_write(v->vm, walk.gpa.v, data, bytes);
	}
	return true;
}

static bool operand_access(struct vcpu *v, void *data, unsigned bytes, bool write)
{
	uint64_t linear;
	unsigned first;

	if (!operand_linear(v, bytes, write, &linear))
		return false;
	first = (unsigned)(VMMU_PAGE_SIZE - linear % VMMU_PAGE_SIZE);
	if (first >= bytes)
		return operand_part(v, linear, data, bytes, write);
	return operand_part(v, linear, data, first, write) &&
	       operand_part(v, linear + first, (uint8_t *)data + first, bytes - first, write);
}

bool nvmx_operand_read(struct vcpu *v, void *to, unsigned bytes)
{
	return operand_access(v, to, bytes, false);
}

bool nvmx_operand_write(struct vcpu *v, const void *from, unsigned bytes)
{
	uint8_t copy[16];

	memcpy(copy, from, bytes);
	return operand_access(v, copy, bytes, true);
}

bool nvmx_operand_read_value(struct vcpu *v, uint64_t *value)
{
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);
	bool wide = vmx_in_64bit_code(v);

	*value = 0;
	if (!(info & NVMX_INFO_IS_REGISTER))
		return nvmx_operand_read(v, value, wide ? 8 : 4);
	*value = wide ? v->state.gpr[NVMX_INFO_REGISTER1(info)] : (uint32_t)v->state.gpr[NVMX_INFO_REGISTER1(info)];
	return true;
}

bool nvmx_operand_write_value(struct vcpu *v, uint64_t value)
{
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);
	bool wide = vmx_in_64bit_code(v);

	if (!(info & NVMX_INFO_IS_REGISTER))
		return nvmx_operand_write(v, &value, wide ? 8 : 4);
	v->state.gpr[NVMX_INFO_REGISTER1(info)] = wide ? value : (uint32_t)value;
	return true;
}

uint64_t nvmx_operand_register(struct vcpu *v)
{
	uint64_t value = v->state.gpr[NVMX_INFO_REGISTER2((uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO))];

	return vmx_in_64bit_code(v) ? value : (uint32_t)value;
}
