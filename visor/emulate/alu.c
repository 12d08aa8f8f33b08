/* SPDX-License-Identifier: BSD-2-Clause */
/* Results and flags (SDM vol. 1, 3.4.3.1 "Status Flags", and the instruction pages of vol. 2). */
#include "visor/emulate/emulation.h"

#define FLAGS_LOGIC (X86_FLAG_CF | X86_FLAG_OF | X86_FLAG_SF | X86_FLAG_ZF | X86_FLAG_PF)
#define FLAGS_ALL (FLAGS_LOGIC | X86_FLAG_AF)

static bool top_bit(uint64_t value, unsigned size)
{
	return value >> (8 * size - 1) & 1;
}

static uint64_t flag_if(bool condition, uint64_t flag)
{
	return condition ? flag : 0;
}

/* Sign, zero and parity of a result. Parity looks at the low byte alone. */
static uint64_t result_flags(uint64_t result, unsigned size)
{
	result &= value_mask(size);
	return flag_if(top_bit(result, size), X86_FLAG_SF) | flag_if(!result, X86_FLAG_ZF) |
	       flag_if(!__builtin_parity(result & 0xff), X86_FLAG_PF);
}

static void set_flags(uint64_t *rflags, uint64_t which, uint64_t values)
{
	*rflags = (*rflags & ~which) | (values & which);
}

/* `carries` has bit n set when bit n carried (borrowed) out. */
static uint64_t arithmetic_flags(uint64_t result, uint64_t carries, bool overflow, unsigned size)
{
	return result_flags(result, size) | flag_if(top_bit(carries, size), X86_FLAG_CF) |
	       flag_if(carries & 8, X86_FLAG_AF) | flag_if(overflow, X86_FLAG_OF);
}

static uint64_t alu_add(unsigned size, uint64_t a, uint64_t b, bool carry, uint64_t which, uint64_t *rflags)
{
	uint64_t result = a + b + carry;
	uint64_t carries = (a & b) | ((a | b) & ~result);

	set_flags(rflags, which,
	          arithmetic_flags(result, carries, top_bit(~(a ^ b) & (a ^ result), size), size));
	return result & value_mask(size);
}

static uint64_t subtract(unsigned size, uint64_t a, uint64_t b, bool borrow, uint64_t which,
                         uint64_t *rflags)
{
	uint64_t result = a - b - borrow;
	uint64_t borrows = (~a & b) | ((~a | b) & result);

	set_flags(rflags, which,
	          arithmetic_flags(result, borrows, top_bit((a ^ b) & (a ^ result), size), size));
	return result & value_mask(size);
}

/* AF is undefined after logic operations and stays. */
static uint64_t logic(unsigned size, uint64_t result, uint64_t *rflags)
{
	set_flags(rflags, FLAGS_LOGIC, result_flags(result, size));
	return result & value_mask(size);
}

/* The count is taken modulo 32, or 64 for 8-byte operands; 0 changes nothing. */
static unsigned shift_count(unsigned size, uint64_t count)
{
	return count & (size == 8 ? 63 : 31);
}

/* Overflow is defined for counts of 1: the sign has changed. It is given for others too. */
static uint64_t shift_left(unsigned size, uint64_t a, unsigned count, uint64_t *rflags)
{
	unsigned bits = 8 * size;
	uint64_t result = count < bits ? a << count : 0;
	bool carry = count <= bits && (a >> (bits - count) & 1);

	set_flags(rflags, FLAGS_LOGIC,
	          result_flags(result, size) | flag_if(carry, X86_FLAG_CF) |
	                  flag_if(top_bit(result, size) != carry, X86_FLAG_OF));
	return result & value_mask(size);
}

static uint64_t shift_right(unsigned size, uint64_t a, unsigned count, bool arithmetic, uint64_t *rflags)
{
	uint64_t wide = arithmetic ? sign_extend(a, size) : a;
	uint64_t fill = arithmetic && top_bit(a, size) ? UINT64_MAX : 0;
	uint64_t result = wide >> count;
	bool carry = wide >> (count - 1) & 1;

	if (fill)
		result |= ~(UINT64_MAX >> count);
	set_flags(rflags, FLAGS_LOGIC,
	          result_flags(result, size) | flag_if(carry, X86_FLAG_CF) |
	                  flag_if(!arithmetic && top_bit(a, size), X86_FLAG_OF));
	return result & value_mask(size);
}

/* Rotates change only CF and OF. */
static uint64_t rotate_left(unsigned size, uint64_t a, unsigned count, uint64_t *rflags)
{
	unsigned bits = 8 * size, by = count % bits;
	uint64_t result = by ? a << by | a >> (bits - by) : a;
	bool carry = result & 1;

	set_flags(rflags, X86_FLAG_CF | X86_FLAG_OF,
	          flag_if(carry, X86_FLAG_CF) | flag_if(top_bit(result, size) != carry, X86_FLAG_OF));
	return result & value_mask(size);
}

static uint64_t rotate_right(unsigned size, uint64_t a, unsigned count, uint64_t *rflags)
{
	unsigned bits = 8 * size, by = count % bits;
	uint64_t result = by ? a >> by | a << (bits - by) : a;
	bool carry = top_bit(result, size);

	set_flags(rflags, X86_FLAG_CF | X86_FLAG_OF,
	          flag_if(carry, X86_FLAG_CF) |
	                  flag_if(top_bit(result, size) != (result >> (bits - 2) & 1), X86_FLAG_OF));
	return result & value_mask(size);
}

static uint64_t shift(enum alu_operation operation, unsigned size, uint64_t a, uint64_t b,
                      uint64_t *rflags)
{
	unsigned count = shift_count(size, b);

	if (!count)
		return a;
	switch (operation) {
	case ALU_SHL:
		return shift_left(size, a, count, rflags);
	case ALU_SHR:
		return shift_right(size, a, count, false, rflags);
	case ALU_SAR:
		return shift_right(size, a, count, true, rflags);
	case ALU_ROL:
		return rotate_left(size, a, count, rflags);
	default:
		return rotate_right(size, a, count, rflags);
	}
}

uint64_t alu(enum alu_operation operation, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags)
{
	bool carry = *rflags & X86_FLAG_CF;

	a &= value_mask(size);
	b &= value_mask(size);
	switch (operation) {
	case ALU_ADD:
		return alu_add(size, a, b, false, FLAGS_ALL, rflags);
	case ALU_ADC:
		return alu_add(size, a, b, carry, FLAGS_ALL, rflags);
	case ALU_INC:
		return alu_add(size, a, 1, false, FLAGS_ALL & ~X86_FLAG_CF, rflags);
	case ALU_SUB:
		return subtract(size, a, b, false, FLAGS_ALL, rflags);
	case ALU_SBB:
		return subtract(size, a, b, carry, FLAGS_ALL, rflags);
	case ALU_DEC:
		return subtract(size, a, 1, false, FLAGS_ALL & ~X86_FLAG_CF, rflags);
	case ALU_NEG:
		return subtract(size, 0, a, false, FLAGS_ALL, rflags);
	case ALU_AND:
		return logic(size, a & b, rflags);
	case ALU_OR:
		return logic(size, a | b, rflags);
	case ALU_XOR:
		return logic(size, a ^ b, rflags);
	default:
		return shift(operation, size, a, b, rflags);
	}
}

/* SDM vol. 1, appendix B "EFLAGS Condition Codes". */
bool condition_holds(unsigned code, uint64_t rflags)
{
	bool sign_differs = !(rflags & X86_FLAG_SF) != !(rflags & X86_FLAG_OF);
	bool holds;

	switch (code >> 1) {
	case 0:
		holds = rflags & X86_FLAG_OF;
		break;
	case 1:
		holds = rflags & X86_FLAG_CF;
		break;
	case 2:
		holds = rflags & X86_FLAG_ZF;
		break;
	case 3:
		holds = rflags & (X86_FLAG_CF | X86_FLAG_ZF);
		break;
	case 4:
		holds = rflags & X86_FLAG_SF;
		break;
	case 5:
		holds = rflags & X86_FLAG_PF;
		break;
	case 6:
		holds = sign_differs;
		break;
	default:
		holds = sign_differs || (rflags & X86_FLAG_ZF);
	}
	return holds != (code & 1);
}
