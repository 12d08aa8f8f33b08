/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls of shadow modes: registers, and writes to guest memory. */
#include "api/api.h"
#include "map/shadow/shadow.h"

/* One critical section of a vCPU that changes shadow tables. */
static void enter(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	vmmu_vcpu_op(op, vcpu);
	op->cause = VMMU_CAUSE_GUEST_WRITE;
	vmmu_op_enter(op);
	vmmu_shadow_lock(op->tables);
}

static void leave(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	vmmu_shadow_unlock(&vcpu->vm->tables);
	vmmu_gate_leave(&vcpu->vm->tables, &vcpu->actor);
	if (op->owed.promised)
		vmmu_settle(op);
}

/* Working out what the registers mean costs more than all else a switch of CR3 needs. */
static void mode_for(struct vmmu_vcpu *vcpu, const struct vmmu_paging *registers,
                     struct vmmu_guest_mode *mode)
{
	const struct vmmu_paging *old = &vmmu_shadow_vcpu_of(vcpu)->mode.registers;

	if (registers->cr0 != old->cr0 || registers->cr4 != old->cr4 || registers->efer != old->efer ||
	    registers->pkru != old->pkru || !vmmu_shadow_vcpu_of(vcpu)->started) {
		vmmu_guest_mode_init(mode, registers);
		return;
	}
	*mode = vmmu_shadow_vcpu_of(vcpu)->mode;
	mode->registers = *registers;
}

enum vmmu_status vmmu_vcpu_set_paging(struct vmmu_vcpu *vcpu, const struct vmmu_paging *registers)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_guest_mode mode;
	enum vmmu_status status;
	struct vmmu_op op;

	if (!vmmu_vm_shadow(vm) || registers->cpu.maxphyaddr < 32 || registers->cpu.maxphyaddr > 52)
		return VMMU_ERR_INVALID;
	mode_for(vcpu, registers, &mode);
	if (mode.levels > vm->maps->layout.levels)
		return VMMU_ERR_UNSUPPORTED;
	vmmu_vcpu_op(&op, vcpu);
	op.cause = VMMU_CAUSE_ROOT;
	status = vmmu_shadow_switch(vcpu, &op, &mode);
	if (status == VMMU_OK)
		vmmu_shadow_wake(vcpu, &op);
	return status;
}

/* So many pages at a time: whoever waits for the gate gets it in between. */
enum { WRITTEN_PER_ENTRY = 32768 };

/* Pages [first, end), of one slot. */
static void mark_dirty(struct vmmu_op *op, struct vmmu_slot *slot, uint64_t first, uint64_t end)
{
	for (uint64_t gfn = first; slot->dirty && gfn < end; gfn++)
		vmmu_dirty_mark(op, slot, gfn);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * See to the next piece of [gpa, end) that lies in a slot: *gpa and *here are what it
 * is then. False: there is none. A range may be as long as its type allows.
 */
static bool write_piece(struct vmmu_vcpu *vcpu, uint64_t *gpa, uint64_t *here, uint64_t last)
{
	struct vmmu_slot *slot;
	struct vmmu_op op;

	enter(vcpu, &op);
	slot = vmmu_slot_from(&vcpu->vm->memory, *gpa >> VMMU_PAGE_SHIFT);
	if (slot && slot->info.base.v > *gpa)
		*gpa = slot->info.base.v;
	if (slot && *gpa <= last) {
		uint64_t first = *gpa >> VMMU_PAGE_SHIFT;
		uint64_t end = smaller(smaller(slot->end, first + WRITTEN_PER_ENTRY),
		                       (last >> VMMU_PAGE_SHIFT) + 1);

		*here = smaller(last, (end << VMMU_PAGE_SHIFT) - 1) - *gpa + 1;
		mark_dirty(&op, slot, first, end);
		if (vmmu_vm_shadow(vcpu->vm))
			vmmu_shadow_written(vcpu, &op, *gpa, *here);
	} else {
		slot = NULL;
	}
	leave(vcpu, &op);
	return slot;
}

void vmmu_guest_written(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes)
{
	uint64_t at = gpa.v, last = gpa.v + bytes - 1, here;
	struct vmmu_op op;

	if (!bytes || last < at)
		return;
	while (at <= last && write_piece(vcpu, &at, &here, last)) {
		if (vmmu_vm_shadow(vcpu->vm)) {
			enter(vcpu, &op);
			vmmu_shadow_refill(vcpu, &op, at, here);
			leave(vcpu, &op);
		}
		at += here;
	}
}

bool vmmu_guest_release(struct vmmu_vcpu *vcpu, vmmu_gpa gpa)
{
	struct vmmu_op op;
	bool released;

	if (!vmmu_vm_shadow(vcpu->vm))
		return true;
	enter(vcpu, &op);
	released = vmmu_shadow_park(&op, vmmu_gpa_gfn(gpa).v, false);
	leave(vcpu, &op);
	return released;
}
