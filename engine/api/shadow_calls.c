/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls of shadow modes: registers, and writes to guest memory. */
#include "api/api.h"
#include "map/shadow/shadow.h"

/* One critical section of a vCPU that changes shadow tables. */
struct section {
	struct vmmu_op op;
	struct vmmu_inside inside;
	struct vmmu_exclusive x;
};

static void section_enter(struct vmmu_vcpu *vcpu, struct section *s)
{
	vmmu_vcpu_op(&s->op, vcpu);
	s->op.cause = VMMU_CAUSE_GUEST_WRITE;
	s->inside = vmmu_op_enter(&s->op);
	s->x = vmmu_shadow_lock(&s->op, s->inside);
}

static void section_leave(struct section *s)
{
	vmmu_shadow_unlock(s->x);
	vmmu_op_leave(&s->op, s->inside);
	if (s->op.flush.pending)
		vmmu_op_flush(&s->op);
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

	if (vm->maps->input != VMMU_INPUT_GVA || registers->cpu.maxphyaddr < 32 || registers->cpu.maxphyaddr > 52)
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

/* So many pages at a time. Those who wait for the gate get it in between. */
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
 * is then. False: there is none. A range may be as long as its type allows. *fill: entries that
 * have gone may be filled anew, once they are flushed: mostly none has gone, and that is now.
 */
static bool write_piece(struct vmmu_vcpu *vcpu, uint64_t *gpa, uint64_t *here, uint64_t last, bool *fill)
{
	const struct vmmu_map_ops *ops = vcpu->map->ops;
	struct section section;
	struct vmmu_slot *slot;

	section_enter(vcpu, &section);
	slot = vmmu_slot_from(&vcpu->vm->memory, vmmu_reading_exclusive(section.x), *gpa >> VMMU_PAGE_SHIFT);
	if (slot && slot->info.base.v > *gpa)
		*gpa = slot->info.base.v;
	if (slot && *gpa <= last) {
		uint64_t first = *gpa >> VMMU_PAGE_SHIFT;
		uint64_t end = smaller(smaller(slot->end, first + WRITTEN_PER_ENTRY),
		                       (last >> VMMU_PAGE_SHIFT) + 1);

		*here = smaller(last, (end << VMMU_PAGE_SHIFT) - 1) - *gpa + 1;
		mark_dirty(&section.op, slot, first, end);
		if (ops->written)
			ops->written(vcpu, section.x, *gpa, *here);
		*fill = ops->refill && section.op.flush.pending;
		if (ops->refill && !*fill)
			ops->refill(vcpu, section.x, *gpa, *here);
	} else {
		slot = NULL;
	}
	section_leave(&section);
	return slot;
}

void vmmu_guest_written(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes)
{
	uint64_t at = gpa.v, last = gpa.v + bytes - 1, here;
	struct section section;
	bool fill = false;

	if (!bytes)
		return;
	if (last < at)
		last = UINT64_MAX;
	while (at <= last && write_piece(vcpu, &at, &here, last, &fill)) {
		if (fill) {
			section_enter(vcpu, &section);
			vcpu->map->ops->refill(vcpu, section.x, at, here);
			section_leave(&section);
		}
		at += here;
	}
}

bool vmmu_guest_release(struct vmmu_vcpu *vcpu, vmmu_gpa gpa)
{
	struct section section;
	bool released;

	if (!vcpu->map->ops->release)
		return true;
	section_enter(vcpu, &section);
	released = vcpu->map->ops->release(section.x, vmmu_gpa_gfn(gpa).v);
	section_leave(&section);
	return released;
}
