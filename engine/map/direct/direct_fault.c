/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault on a direct map: from "the CPU could not translate this gpa" to an
 * entry, or to the reason why there is none.
 *
 * The host is asked with no lock held, so its answer can be stale when it
 * comes. `sequence` is read before the question; inside the gate, where nothing
 * can change it, it must still be the same.
 */
#include "map/prepare.h"
#include "map/direct/direct.h"
#include "table/trace.h"

static inline enum vmmu_fault_result report(struct vmmu_fault *f, const struct vmmu_mapping *m)
{
	f->entry = m->entry;
	f->level = m->level;
	f->pfn = m->pfn;
	return m->result;
}

/* Nothing was mapped: what on_present may have left there says nothing of the answer. */
static inline enum vmmu_fault_result without_entry(struct vmmu_fault *f, enum vmmu_fault_result result)
{
	f->entry = 0;
	return result;
}

/* ---- the entry is there: nothing to ask the host ------------------------------ */

/* 0: the entry is of another generation, go on as if there were none. */
static enum vmmu_fault_result on_mmio_entry(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                            const struct vmmu_fault *f, uint64_t entry)
{
	uint64_t generation =
		atomic_load_explicit(&vcpu->vm->memory.generation, memory_order_relaxed);

	if (vmmu_mmio_generation(entry) != (generation & VMMU_MMIO_GEN_MASK)) {
		vmmu_trace_mmio(op, f, VMMU_TRACE_CHECK_MMIO, entry, generation);
		return 0;
	}
	vmmu_count(&op->who->count.mmio_hits, 1);
	vmmu_trace_mmio(op, f, VMMU_TRACE_HANDLE_MMIO, entry, generation);
	return VMMU_FAULT_EMULATE_MMIO;
}

/*
 * W was taken away only to see the first write (dirty log): give it back. 0: the
 * slot is being deleted or moved, and the leaf is not yet out of the tables.
 */
static enum vmmu_fault_result give_write_back(struct vmmu_vcpu *vcpu, struct vmmu_inside inside,
                                              const struct vmmu_fault *f, struct vmmu_visit *v)
{
	struct vmmu_slot *slot = vmmu_slot_at(&vcpu->vm->memory, vmmu_reading_inside(inside), vmmu_fault_gfn(f));
	uint64_t value = vmmu_leaf_writable(v->op, v->entry);

	if (!slot)
		return 0;
	vmmu_dirty_mark(v->op, slot, vmmu_fault_gfn(f));
	return vmmu_entry_write(v, value, VMMU_CAUSE_PERMISSION) ? VMMU_FAULT_FIXED
	                                                         : VMMU_FAULT_RETRY;
}

static enum vmmu_fault_result fault_on_leaf(struct vmmu_vcpu *vcpu, struct vmmu_inside inside,
                                            const struct vmmu_fault *f, struct vmmu_visit *v)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	unsigned missing = vmmu_fault_wants(f) & ~vmmu_entry_rights(l, v->entry);

	if (!missing)
		return VMMU_FAULT_SPURIOUS;
	if (missing == VMMU_W && v->level == VMMU_LEVEL_4K &&
	    (v->entry & l->format->soft_map_writable))
		return give_write_back(vcpu, inside, f, v);
	return 0;
}

/* For the caller alone: a fault that ends here needed no slot. */
static void describe(struct vmmu_vcpu *vcpu, struct vmmu_inside inside, struct vmmu_fault *f,
                     const struct vmmu_visit *v)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const struct vmmu_slot *slot = vmmu_slot_at(&vcpu->vm->memory, vmmu_reading_inside(inside), vmmu_fault_gfn(f));

	f->entry = v->entry;
	f->level = v->level;
	if (vmmu_is_leaf(l, v->level, v->entry))
		f->pfn.v = vmmu_hpa_pfn(vmmu_entry_address(l, v->entry)).v + (vmmu_fault_gfn(f) - v->gfn.v);
	if (slot)
		f->slot = slot->info.id;
}

/*
 * The CPU met a present or refused entry. Most of these end here, without a
 * slot being searched or the host being asked. 0: they do not; f->entry is what stands
 * there.
 */
static VMMU_RARE enum vmmu_fault_result
on_present(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	enum vmmu_fault_result result = 0;
	struct vmmu_inside inside;
	struct vmmu_visit v;

	inside = vmmu_op_enter(op);
	v = vmmu_find_leaf(op, vmmu_fault_gfn(f));
	if (vmmu_is_mmio(l, v.entry))
		result = on_mmio_entry(vcpu, op, f, v.entry);
	else if (vmmu_is_bad(l, v.level, v.entry))
		result = VMMU_FAULT_BAD_ENTRY;
	else if (vmmu_is_leaf(l, v.level, v.entry))
		result = fault_on_leaf(vcpu, inside, f, &v);
	if (result)
		describe(vcpu, inside, f, &v);
	f->entry = v.entry;
	vmmu_op_leave(op, inside);
	return result;
}

/* ---- the entry is missing ------------------------------------------------------ */

static VMMU_RARE enum vmmu_fault_result
map_mmio(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f, uint64_t sequence)
{
	struct vmmu_inside inside;
	struct vmmu_mapping m;

	m.gfn = vmmu_fault_gfn(f);
	m.result = VMMU_FAULT_RETRY;
	m.entry = 0;
	m.level = 0;
	m.pfn = vmmu_pfn_of(0);
	/* The entry only saves time: without memory for its path the answer is the same. */
	if (!op->map->mmio_cache || op->cause == VMMU_CAUSE_PREFAULT || !vmmu_have_spares(op))
		return without_entry(f, VMMU_FAULT_EMULATE_MMIO);
	inside = vmmu_op_enter(op);
	if (!vmmu_is_stale(&vcpu->vm->memory, inside, m.gfn, sequence))
		vmmu_mmio_map(op, inside, &m);
	vmmu_op_leave(op, inside);
	return report(f, &m);
}

VMMU_INLINE enum vmmu_fault_result map_backing(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                               struct vmmu_fault *f, uint64_t sequence,
                                               const struct vmmu_backing *backing)
{
	struct vmmu_inside inside;
	struct vmmu_mapping m;

	m.gfn = vmmu_fault_gfn(f);
	m.access = vmmu_fault_wants(f);
	m.pfn = backing->pfn;
	m.leaf = vmmu_backing_bits(&op->map->layout, vcpu->hit.info.flags, m.access, backing);
	vmmu_grant_remember(vcpu, m.access, backing, m.leaf);
	m.slot = vcpu->hit.slot;
	m.cause = op->cause;
	m.older = f->entry;
	inside = vmmu_op_enter(op);
	if (VMMU_UNLIKELY(vmmu_is_stale(&vcpu->vm->memory, inside, m.gfn, sequence))) {
		vmmu_op_leave(op, inside);
		f->entry = 0;
		return VMMU_FAULT_RETRY;
	}
	/* The slot may only be looked into while nothing can have removed it. */
	m.goal = vmmu_goal_level(vcpu, inside, m.gfn, backing);
	vmmu_direct_map(op, inside, &m);
	vmmu_op_leave(op, inside);
	return report(f, &m);
}

/* 0: another frame is mapped, by f->entry; what the host says next will be newer than that. */
static inline enum vmmu_fault_result on_answer(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f,
                                               struct vmmu_answer answer, struct vmmu_backing *backing)
{
	enum vmmu_fault_result result = vmmu_judge_backing(op, f, answer.result, backing);

	return result ? without_entry(f, result) : map_backing(vcpu, op, f, answer.sequence, backing);
}

/* The same, from the question on. */
static enum vmmu_fault_result on_missing(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer;

	answer.given = false;
	answer.sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_acquire);
	if (!vmmu_find_slot(vcpu, op, vmmu_fault_gfn(f)))
		return map_mmio(vcpu, op, f, answer.sequence);
	f->slot = vcpu->hit.info.id;
	if ((vcpu->hit.info.flags & VMMU_SLOT_READONLY) && (f->access & VMMU_W))
		return without_entry(f, VMMU_FAULT_READ_ONLY);
	if (!f->entry) {
		enum vmmu_fault_result result = vmmu_quick_missing(vcpu, f, op, VMMU_BRIEF_NO, &answer, &backing);

		if (result)
			return result;
	}
	if (!vmmu_have_spares(op))
		return without_entry(f, VMMU_FAULT_NO_MEMORY);
	if (!answer.given)
		answer.result = vmmu_ask_backing(vcpu, op, f, &backing);
	return on_answer(vcpu, op, f, answer, &backing);
}

/* The questions that one fault puts to the host at most, when others map the page meanwhile. */
enum { QUESTIONS = 4 };

/*
 * The host has named another frame than the leaf's, and now it says nothing. Which of the two
 * is the newer stays open: so neither is for use. What the CPU has set in the leaf is no matter.
 */
static VMMU_RARE void drop_doubtful(struct vmmu_op *op, uint64_t gfn, uint64_t leaf)
{
	const struct vmmu_layout *l = &op->map->layout;
	struct vmmu_inside inside = vmmu_op_enter(op);
	struct vmmu_visit v = vmmu_find_leaf(op, gfn);

	while (v.entry && !((v.entry ^ leaf) & ~(l->accessed | l->dirty)) && !vmmu_entry_write(&v, 0, VMMU_CAUSE_ZAP_REMAP))
		;
	vmmu_op_leave(op, inside);
}

static VMMU_RARE enum vmmu_fault_result
ask_again(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = 0;
	uint64_t doubtful = f->entry;

	for (unsigned i = 1; !result && i < QUESTIONS; i++) {
		doubtful = f->entry;
		result = on_missing(vcpu, op, f);
	}
	if (result != VMMU_FAULT_FIXED && result != VMMU_FAULT_SPURIOUS)
		drop_doubtful(op, vmmu_fault_gfn(f), doubtful);
	return result ? result : VMMU_FAULT_RETRY;
}

static inline enum vmmu_fault_result finish(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f,
                                            enum vmmu_fault_result result)
{
	if (VMMU_UNLIKELY(!result))
		result = ask_again(vcpu, op, f);
	if (op->flush.pending)
		vmmu_op_flush(op);
	return result;
}

enum vmmu_fault_result vmmu_direct_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *fault)
{
	enum vmmu_fault_result result = 0;

	if (vmmu_fault_gfn(fault) >= vcpu->vm->memory.limit)
		return VMMU_FAULT_BEYOND;
	if (fault->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED)) {
		result = vmmu_quick_present(vcpu, fault, op);
		if (!result)
			result = on_present(vcpu, op, fault);
	}
	if (!result)
		result = on_missing(vcpu, op, fault);
	return finish(vcpu, op, fault, result);
}

VMMU_RARE enum vmmu_fault_result vmmu_direct_go_on(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f,
                                                   struct vmmu_answer answer, struct vmmu_backing *backing)
{
	if (!answer.given)
		return vmmu_direct_fault(vcpu, op, f);
	if (!vmmu_have_spares(op))
		return without_entry(f, VMMU_FAULT_NO_MEMORY);
	return finish(vcpu, op, f, on_answer(vcpu, op, f, answer, backing));
}

VMMU_RARE enum vmmu_fault_result vmmu_direct_answered(struct vmmu_vcpu *vcpu, struct vmmu_fault *f,
                                                      struct vmmu_answer answer, struct vmmu_backing *backing)
{
	enum vmmu_fault_result result;
	struct vmmu_op op;

	vmmu_fault_begin(&op, vcpu, f, VMMU_CAUSE_VIOLATION);
	f->slot = vcpu->hit.info.id;
	result = vmmu_direct_go_on(vcpu, &op, f, answer, backing);
	vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}
