/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A #PF under shadow paging: is it the guest's own, and if not, what is missing?
 *
 * The guest's tables are walked, and the host names the frame, with no lock held.
 * What is missing is built under the shadow lock (shadow_build.c). What had to be
 * taken from a CPU's reach on the way is flushed before anything is concluded. So an
 * attempt may end in VMMU_FAULT_AGAIN, which costs no exit.
 */
#include "map/shadow/shadow_build.h"

enum { ATTEMPTS = 16 };
/* More than another CPU's work on the same entry can explain. */
enum { REFUSALS = 8 };

VMMU_INLINE void lock(struct vmmu_build *b)
{
	struct vmmu_inside inside = vmmu_op_enter(b->op);

	b->x = vmmu_shadow_lock(b->op, inside);
}

VMMU_INLINE void unlock(struct vmmu_build *b)
{
	struct vmmu_inside inside = vmmu_inside_of(b->x);

	vmmu_shadow_unlock(b->x);
	vmmu_op_leave(b->op, inside);
	b->x = (struct vmmu_exclusive){.op = NULL};
}

/* ---- what the guest allows ----------------------------------------------------- */

/* The walk has set accessed and dirty bits: the pages that hold them are dirty now. Inside the gate. */
static void mark_tables_dirty(struct vmmu_build *b, struct vmmu_inside inside)
{
	bool any = false;

	for (unsigned i = 0; i < b->walk.steps; i++)
		any |= b->walk.step[i].stored;
	if (!any)
		return;
	for (unsigned i = 0; i < b->walk.steps; i++) {
		uint64_t gfn = vmmu_gpa_gfn(b->walk.step[i].where).v;
		struct vmmu_slot *slot =
			b->walk.step[i].stored ? vmmu_slot_at(&b->vcpu->vm->memory, vmmu_reading_inside(inside), gfn) : NULL;

		if (slot)
			vmmu_dirty_mark(b->op, slot, gfn);
	}
}

static enum vmmu_fault_result inject(struct vmmu_build *b)
{
	b->f->error_code = b->walk.error_code;
	return VMMU_FAULT_INJECT_PF;
}

/* Would the CPU find every A bit on the way set? */
static bool is_accessed(const struct vmmu_build *b)
{
	for (unsigned i = b->mode->format->top_in_registers; i < b->walk.steps; i++)
		if (!vmmu_guest_is_accessed(b->mode->format, b->walk.step[i].entry))
			return false;
	return true;
}

/*
 * One walk, with what it stores. Inside the gate: what it reads is the guest's at that
 * moment, and once vmmu_invalidate_begin has returned nothing is read or stored there.
 */
static enum vmmu_guest_result walk_once(struct vmmu_build *b)
{
	struct vmmu_guest_guard guard;
	struct vmmu_tables *t = b->op->tables;
	enum vmmu_guest_result result;
	struct vmmu_inside inside;

	inside = vmmu_op_enter(b->op);
	guard = vmmu_shadow_guard(b->vcpu, inside);
	result = vmmu_guest_walk_guarded(t->host, t->ctx, b->mode, vmmu_gva_of(b->input),
	                                 (b->f->access & ~VMMU_ACCESS_PEEK) | (b->ahead ? VMMU_ACCESS_PEEK : 0),
	                                 &guard, &b->walk);
	/* A walk that has stored anything ends with no other result. */
	if (result == VMMU_GUEST_OK || result == VMMU_GUEST_BUSY)
		mark_tables_dirty(b, inside);
	vmmu_op_leave(b->op, inside);
	return result;
}

/* No guest table is in use: the address is a gpa. Linear ones then have 32 bits. */
static enum vmmu_fault_result use_as_gpa(struct vmmu_build *b)
{
	b->walk.steps = 0;
	b->f->gpa = vmmu_gpa_of(b->op->map->input == VMMU_INPUT_GVA ? (uint32_t)b->input : b->input);
	b->gfn = vmmu_gpa_gfn(b->f->gpa).v;
	b->rights = VMMU_PAGE_ALL;
	return VMMU_FAULT_AGAIN;
}

static enum vmmu_fault_result walk_guest(struct vmmu_build *b)
{
	enum vmmu_guest_result result = VMMU_GUEST_BUSY;
	struct vmmu_fault *f = b->f;

	if (!b->mode->levels)
		return use_as_gpa(b);
	for (unsigned i = 0; result == VMMU_GUEST_BUSY && i < ATTEMPTS; i++)
		result = walk_once(b);
	switch (result) {
	case VMMU_GUEST_OK:
		if (b->ahead && !is_accessed(b))
			return VMMU_FAULT_RETRY;
		break;
	case VMMU_GUEST_BUSY:
		return VMMU_FAULT_RETRY;
	case VMMU_GUEST_NONCANONICAL:
		return VMMU_FAULT_BEYOND;
	case VMMU_GUEST_FAULT:
	case VMMU_GUEST_NO_MEMORY:
	default:
		return inject(b);
	}
	b->dirtied |= b->walk.dirtied;
	f->gpa = b->walk.gpa;
	b->gfn = vmmu_gpa_gfn(b->walk.gpa).v;
	b->rights = b->walk.rights;
	/* The first write must come here, to set D in the guest's entry. */
	if (!b->walk.dirty && !(f->access & VMMU_W))
		b->rights &= ~VMMU_PAGE_WRITE;
	return VMMU_FAULT_AGAIN;
}

/* ---- one attempt -------------------------------------------------------------------------- */

static bool have_block(struct vmmu_build *b)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);

	if (!sv->spare)
		sv->spare = vmmu_object_alloc(b->vcpu->vm, sizeof(*sv->spare));
	return sv->spare != NULL;
}

static enum vmmu_fault_result find_page(struct vmmu_build *b)
{
	struct vmmu_fault *f = b->f;

	b->sequence = atomic_load_explicit(&b->vcpu->vm->memory.sequence, memory_order_acquire);
	if (b->gfn >= b->vcpu->vm->memory.limit)
		return VMMU_FAULT_BEYOND;
	if (!vmmu_find_slot(b->vcpu, b->op, b->gfn))
		return VMMU_FAULT_EMULATE_MMIO;
	f->slot = b->vcpu->hit.info.id;
	if ((b->vcpu->hit.info.flags & VMMU_SLOT_READONLY) && (f->access & VMMU_W))
		return VMMU_FAULT_READ_ONLY;
	if (!vmmu_have_spares(b->op) || !have_block(b))
		return VMMU_FAULT_NO_MEMORY;
	/* No field may be left from an answer before. */
	b->backing = (struct vmmu_backing){.order = 0};
	b->asked = atomic_load_explicit(&vmmu_shadow_map_of(b->op)->frames.clock, memory_order_acquire);
	return vmmu_prepare_backing(b->vcpu, b->op, f, &b->backing);
}

/* `known`: with the walk and the host's answer of the attempt before. The build judges both anew. */
static enum vmmu_fault_result attempt(struct vmmu_build *b, bool known)
{
	enum vmmu_fault_result result = VMMU_FAULT_AGAIN;

	if (!known)
		result = walk_guest(b);
	else if (!vmmu_have_spares(b->op) || !have_block(b))
		result = VMMU_FAULT_NO_MEMORY;
	if (result == VMMU_FAULT_AGAIN && !known)
		result = find_page(b);
	if (result != VMMU_FAULT_AGAIN)
		return result;
	lock(b);
	vmmu_shadow_map_of(b->op)->faults += b->tries++ == 0;
	result = vmmu_shadow_build(b);
	unlock(b);
	return result;
}

/*
 * The guest's handler is about to write the entry at which its #PF ended. Most
 * often the table is not needed before that is done.
 */
bool vmmu_shadow_expect_write(struct vmmu_build *b, bool park)
{
	const struct vmmu_guest_step *last;
	struct vmmu_announced a = {.park = park};
	bool parked;

	if (b->walk.steps <= b->mode->format->top_in_registers)
		return true;
	last = &b->walk.step[b->walk.steps - 1];
	a.gfn = vmmu_gpa_gfn(last->where).v;
	a.at = last->where.v % VMMU_PAGE_SIZE;
	a.changes = last->entry & b->mode->format->present;
	lock(b);
	parked = vmmu_shadow_announce(b->x, a);
	unlock(b);
	return parked;
}

enum vmmu_fault_result vmmu_shadow_attempts(struct vmmu_build *b)
{
	enum vmmu_fault_result result = VMMU_FAULT_AGAIN;
	bool known = false;

	for (unsigned i = 0; result == VMMU_FAULT_AGAIN && i < ATTEMPTS; i++) {
		result = attempt(b, known);
		/* Most often nothing has changed but what the flush is for. */
		known = !known && b->op->flush.pending;
		if (b->op->flush.pending) {
			vmmu_op_flush(b->op);
		} else if (result == VMMU_FAULT_AGAIN) {
			/* A wait is cheaper than an exit. */
			vmmu_relax(b->op->tables);
			vmmu_flushes_wait(b->op);
		}
	}
	return result;
}

/*
 * SMAP: EFLAGS.AC excuses what a supervisor accesses explicitly, but not what the
 * CPU accesses for it (descriptor tables, TSS; SDM vol. 3, 4.6.1). The error code
 * does not tell them apart. If the CPU refuses time and again what the tables
 * allow to an explicit access, it was of the other kind.
 */
static bool is_implicit(const struct vmmu_build *b, enum vmmu_fault_result result)
{
	const uint32_t data = VMMU_ACCESS_PRESENT | VMMU_ACCESS_AC;
	struct vmmu_refused *refused = &vmmu_shadow_vcpu_of(b->vcpu)->refused;
	const struct vmmu_fault *f = b->f;

	if (result != VMMU_FAULT_SPURIOUS) {
		refused->times = 0;
		return false;
	}
	if (refused->gva.v != f->gva.v || refused->rip != f->rip || refused->access != f->access)
		*refused = (struct vmmu_refused){.gva = f->gva, .rip = f->rip, .access = f->access};
	return ++refused->times >= REFUSALS && (f->access & data) == data &&
	       !(f->access & (VMMU_X | VMMU_ACCESS_USER | VMMU_ACCESS_IMPLICIT)) &&
	       (b->mode->registers.cr4 >> 21 & 1) && (b->walk.rights & VMMU_PAGE_USER);
}

/* Is this the first fault after a switch, and was it the same last time? */
static bool is_as_before(const struct vmmu_build *b)
{
	const struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);

	return sv->fresh && sv->root && sv->root->wake.seen &&
	       (sv->root->wake.gva.v ^ b->f->gva.v) >> VMMU_PAGE_SHIFT == 0;
}

/* A table was linked again for it: the guest may have switched for its sake. */
static void note_for_switch(struct vmmu_build *b)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);
	struct vmmu_root_slot *root = sv->root;

	if (sv->fresh && root && b->woken)
		root->wake = (struct vmmu_wake){
			.gva = b->f->gva,
			.access = (b->f->access & ~(unsigned)(VMMU_RWX | VMMU_ACCESS_PRESENT)) | VMMU_R,
			.seen = b->for_switch ? VMMU_WAKE_SURE : 1,
		};
	sv->fresh = false;
}

void vmmu_shadow_wake(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	struct vmmu_root_slot *root = vmmu_shadow_vcpu_of(vcpu)->root;
	struct vmmu_build b = {
		.vcpu = vcpu,
		.op = op,
		.mode = &vmmu_shadow_vcpu_of(vcpu)->mode,
		.ahead = true,
		.for_switch = true,
	};
	struct vmmu_fault f = {.slot = UINT32_MAX};

	if (!root || root->wake.seen < VMMU_WAKE_SURE)
		return;
	f.gva = root->wake.gva;
	b.input = f.gva.v;
	f.access = root->wake.access;
	b.f = &f;
	op->cause = VMMU_CAUSE_PREFETCH;
	vmmu_shadow_attempts(&b);
	/* Not parked this time: once more like this, and it is the guest who asks. */
	if (!b.woken)
		root->wake.seen--;
}

static void note_way_to_fault(struct vmmu_build *b)
{
	lock(b);
	vmmu_shadow_note_own_fault(b);
	unlock(b);
}

enum vmmu_fault_result vmmu_shadow_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *f)
{
	struct vmmu_build b = {
		.vcpu = vcpu,
		.op = op,
		.f = f,
		.mode = &vmmu_shadow_vcpu_of(vcpu)->mode,
		.input = f->gva.v,
	};
	enum vmmu_fault_result result;

	result = vmmu_shadow_quick(vcpu, op, f);
	if (result) {
		vmmu_shadow_vcpu_of(vcpu)->fresh = false;
		vmmu_shadow_vcpu_of(vcpu)->refused.times = 0;
		return result;
	}
	b.for_switch = is_as_before(&b);
	result = vmmu_shadow_attempts(&b);
	/* The entry was right already, but could not be reached. */
	if (result == VMMU_FAULT_SPURIOUS && (b.linked || b.parked))
		result = VMMU_FAULT_FIXED;
	if (is_implicit(&b, result)) {
		f->access |= VMMU_ACCESS_IMPLICIT;
		result = vmmu_shadow_attempts(&b);
	}
	note_for_switch(&b);
	if (result == VMMU_FAULT_INJECT_PF) {
		if (!vmmu_shadow_expect_write(&b, f->access & VMMU_ACCESS_REPEATS))
			note_way_to_fault(&b);
		if (op->flush.pending)
			vmmu_op_flush(op);
	}
	return result == VMMU_FAULT_AGAIN ? VMMU_FAULT_RETRY : result;
}
