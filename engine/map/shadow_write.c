/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest has written a page that is one of its tables: what followed from the old words goes. */
#include "map/shadow.h"

/*
 * A table that is written so often between two faults is no table any more, or
 * one in the making: better let the guest write it, and shadow it anew when it
 * is used.
 */
enum { WRITES_BEFORE_RELEASE = 3 };

/* Drop the entries of `s` that stand for the guest entry number `gpte`. */
static void drop_for(struct vmmu_op *op, struct vmmu_shadow *s, unsigned gpte)
{
	unsigned quadrant = s->role.quadrant;

	if (s->role.levels != 2) {
		vmmu_shadow_drop(op, s, gpte, VMMU_CAUSE_GUEST_WRITE);
	} else if (s->role.level == VMMU_LEVEL_4K) {
		if (gpte / 512 == quadrant)
			vmmu_shadow_drop(op, s, gpte % 512, VMMU_CAUSE_GUEST_WRITE);
	} else if (gpte / 256 == quadrant) { /* 4 MiB of the guest's are two of ours */
		vmmu_shadow_drop(op, s, gpte % 256 * 2, VMMU_CAUSE_GUEST_WRITE);
		vmmu_shadow_drop(op, s, gpte % 256 * 2 + 1, VMMU_CAUSE_GUEST_WRITE);
	}
}

static void written(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_shadow *s, unsigned offset,
                    unsigned bytes, bool expected)
{
	unsigned size = s->role.levels == 2 ? 4 : 8;

	s->writes += !expected;
	if (s->writes >= WRITES_BEFORE_RELEASE && !s->pins) {
		vmmu_shadow_retire(vm, op, s, VMMU_CAUSE_GUEST_WRITE);
		return;
	}
	for (unsigned gpte = offset / size; gpte <= (offset + bytes - 1) / size; gpte++)
		drop_for(op, s, gpte);
}

static void page_written(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gpa, unsigned bytes,
                         bool expected)
{
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT;
	struct vmmu_shadow *next;

	for (struct vmmu_shadow *s = vmmu_shadow_next(vm->shadow, NULL, gfn); s; s = next) {
		next = vmmu_shadow_next(vm->shadow, s, gfn);
		written(vm, op, s, gpa % VMMU_PAGE_SIZE, bytes, expected);
	}
}

void vmmu_shadow_written(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gpa, uint64_t bytes,
                         bool expected)
{
	while (bytes) {
		uint64_t here = VMMU_PAGE_SIZE - gpa % VMMU_PAGE_SIZE;

		here = here < bytes ? here : bytes;
		page_written(vm, op, gpa, (unsigned)here, expected);
		gpa += here;
		bytes -= here;
	}
}

bool vmmu_shadow_release(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn)
{
	struct vmmu_shadow *next;

	for (struct vmmu_shadow *s = vmmu_shadow_next(vm->shadow, NULL, gfn); s; s = next) {
		next = vmmu_shadow_next(vm->shadow, s, gfn);
		vmmu_shadow_retire(vm, op, s, VMMU_CAUSE_GUEST_WRITE);
	}
	return !vmmu_shadow_holds(vm->shadow, gfn);
}
