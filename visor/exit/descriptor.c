/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/descriptor.h"

#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

/* Byte 5 of a descriptor (SDM vol. 3, figure 3-8). */
#define TYPE_BYTE 5
#define ACCESSED 0x01u
#define CODE_OR_DATA 0x10u
#define PRESENT 0x80u

static bool is_in(uint64_t gva, uint64_t base, uint32_t limit)
{
	return gva - base <= limit;
}

/* Where the table begins that gva lies in. False: in neither. */
static bool table_around(const struct x86_cpu_state *s, uint64_t gva, uint64_t *base)
{
	if (is_in(gva, s->gdtr.base, s->gdtr.limit))
		*base = s->gdtr.base;
	else if (!(s->ldtr.access & X86_ACCESS_UNUSABLE) && is_in(gva, s->ldtr.base, s->ldtr.limit))
		*base = s->ldtr.base;
	else
		return false;
	return true;
}

bool descriptor_mark_accessed(struct vcpu *v, uint64_t gva, uint64_t gpa)
{
	uint64_t base, at, type;
	uint8_t byte;

	if (!table_around(&v->state, gva, &base))
		return false;
	at = base + ((gva - base) & ~7ull) + TYPE_BYTE;
	if ((at ^ gva) / VMMU_PAGE_SIZE) /* a descriptor across two pages: gpa says nothing of the other */
		return false;
	gpa += at - gva;
	if (!memory_load(v->vm, gpa, 1, &type) || (type & (PRESENT | CODE_OR_DATA)) != (PRESENT | CODE_OR_DATA) ||
	    type & ACCESSED)
		return false;
	byte = (uint8_t)(type | ACCESSED);
	return memory_write(v->vm, gpa, &byte, 1);
}
