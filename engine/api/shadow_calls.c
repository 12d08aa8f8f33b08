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

/* What a guest CPU promises shapes entries that all vCPUs share. */
static bool is_same_cpu(const struct vmmu_guest_cpu *a, const struct vmmu_guest_cpu *b)
{
	return a->maxphyaddr == b->maxphyaddr && a->pse36 == b->pse36 && a->page_1g == b->page_1g &&
	       a->bit8_reserved == b->bit8_reserved;
}

static bool agree_on_cpu(struct vmmu_vcpu *vcpu, const struct vmmu_guest_cpu *cpu)
{
	struct vmmu_shadow_map *all = vmmu_vm_shadow(vcpu->vm);
	struct vmmu_op op;
	bool same;

	enter(vcpu, &op);
	if (!all->cpu_known)
		all->cpu = *cpu;
	all->cpu_known = true;
	same = is_same_cpu(&all->cpu, cpu);
	leave(vcpu, &op);
	return same;
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
	struct vmmu_op op;

	if (!vmmu_vm_shadow(vm) || registers->cpu.maxphyaddr < 32 || registers->cpu.maxphyaddr > 52 ||
	    !agree_on_cpu(vcpu, &registers->cpu))
		return VMMU_ERR_INVALID;
	mode_for(vcpu, registers, &mode);
	if (mode.levels > vm->maps->layout.levels)
		return VMMU_ERR_UNSUPPORTED;
	vmmu_vcpu_op(&op, vcpu);
	op.cause = VMMU_CAUSE_ROOT;
	if (!vmmu_shadow_switch(vcpu, &op, &mode))
		return VMMU_ERR_NO_MEMORY;
	vmmu_shadow_wake(vcpu, &op);
	return VMMU_OK;
}

static void mark_dirty(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t last)
{
	for (uint64_t gfn = first; gfn <= last; gfn++) {
		struct vmmu_slot *slot = vmmu_slot_at(&vm->memory, gfn);

		if (slot)
			vmmu_dirty_mark(op, slot, gfn);
	}
}

void vmmu_guest_written(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_op op;

	if (!bytes || gpa.v + bytes - 1 < gpa.v)
		return;
	enter(vcpu, &op);
	mark_dirty(vm, &op, vmmu_gpa_gfn(gpa).v, (gpa.v + bytes - 1) >> VMMU_PAGE_SHIFT);
	if (vmmu_vm_shadow(vm))
		vmmu_shadow_written(vcpu, &op, gpa.v, bytes);
	leave(vcpu, &op);
	if (!vmmu_vm_shadow(vm))
		return;
	enter(vcpu, &op);
	vmmu_shadow_refill(vcpu, &op, gpa.v, bytes);
	leave(vcpu, &op);
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
