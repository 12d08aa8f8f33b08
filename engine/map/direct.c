/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault on a direct map: from "the CPU could not translate this gpa" to an
 * entry, or to the reason why there is none.
 *
 * The host is asked with no lock held, so its answer can be stale when it
 * comes. `sequence` is read before the question; inside the gate, where nothing
 * can change it, it must still be the same.
 */
#include "map/map.h"
#include "table/locks.h"
#include "table/trace.h"

/*
 * Most functions here share (vcpu, op, f): who faults, the operation, the fault.
 * They are passed one by one and not as a structure so that they stay in
 * registers: this path is what a guest waits for.
 */
static inline uint64_t gfn_of(const struct vmmu_fault *f)
{
	return vmmu_gpa_gfn(f->gpa).v;
}

static inline unsigned wanted_by(const struct vmmu_fault *f)
{
	return f->access & VMMU_RWX;
}

static inline enum vmmu_fault_result report(struct vmmu_fault *f, const struct vmmu_mapping *m)
{
	f->entry = m->entry;
	f->level = m->level;
	f->pfn = m->pfn;
	return m->result;
}

/* ---- the entry is there: nothing to ask the host ------------------------------ */

static void trace_mmio(struct vmmu_op *op, const struct vmmu_fault *f, enum vmmu_trace_event event,
                       uint64_t entry, uint64_t generation)
{
	struct vmmu_trace_record *t = vmmu_trace_begin(op, event);

	if (!t)
		return;
	if (event == VMMU_TRACE_HANDLE_MMIO)
		vmmu_trace_words(t, f->gpa.v, gfn_of(f), f->rip, entry);
	else
		vmmu_trace_words(t, generation & VMMU_MMIO_GEN_MASK, vmmu_mmio_generation(entry),
		                 entry, 0);
	vmmu_trace_end(op);
}

/* 0: the entry is of another generation, go on as if there were none. */
static enum vmmu_fault_result on_mmio_entry(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                            const struct vmmu_fault *f, uint64_t entry)
{
	uint64_t generation =
		atomic_load_explicit(&vcpu->vm->memory.generation, memory_order_relaxed);

	if (vmmu_mmio_generation(entry) != (generation & VMMU_MMIO_GEN_MASK)) {
		trace_mmio(op, f, VMMU_TRACE_CHECK_MMIO, entry, generation);
		return 0;
	}
	vmmu_count(&op->who->count.mmio_hits, 1);
	trace_mmio(op, f, VMMU_TRACE_HANDLE_MMIO, entry, generation);
	return VMMU_FAULT_EMULATE_MMIO;
}

/*
 * W was taken away only to see the first write (dirty log): give it back. 0: the
 * slot is being deleted or moved, and the leaf is not yet out of the tables.
 */
static enum vmmu_fault_result give_write_back(struct vmmu_vcpu *vcpu, const struct vmmu_fault *f,
                                              struct vmmu_visit *v)
{
	struct vmmu_slot *slot = vmmu_slot_at(&vcpu->vm->memory, gfn_of(f));
	uint64_t value = vmmu_grant_write(&vcpu->vm->tables.layout, v->entry);

	if (!slot)
		return 0;
	vmmu_dirty_mark(slot, gfn_of(f));
	return vmmu_entry_write(v, value, VMMU_CAUSE_PERMISSION) ? VMMU_FAULT_FIXED
	                                                         : VMMU_FAULT_RETRY;
}

static enum vmmu_fault_result on_leaf(struct vmmu_vcpu *vcpu, const struct vmmu_fault *f,
                                      struct vmmu_visit *v)
{
	const struct vmmu_layout *l = &vcpu->vm->tables.layout;
	unsigned missing = wanted_by(f) & ~vmmu_entry_rights(l, v->entry);

	if (!missing)
		return VMMU_FAULT_SPURIOUS;
	if (missing == VMMU_W && v->level == VMMU_LEVEL_4K &&
	    (v->entry & l->format->soft_map_writable))
		return give_write_back(vcpu, f, v);
	return 0;
}

/* For the caller alone: a fault that ends here needed no slot. */
static void describe(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, const struct vmmu_visit *v)
{
	const struct vmmu_layout *l = &vcpu->vm->tables.layout;
	const struct vmmu_slot *slot = vmmu_slot_at(&vcpu->vm->memory, gfn_of(f));

	f->entry = v->entry;
	f->level = v->level;
	if (vmmu_is_leaf(l, v->level, v->entry))
		f->pfn.v = vmmu_hpa_pfn(vmmu_entry_address(l, v->entry)).v + (gfn_of(f) - v->gfn.v);
	if (slot)
		f->slot = slot->info.id;
}

/*
 * The CPU met a present or refused entry. Most of these end here, without a
 * slot being searched or the host being asked. 0: they do not.
 */
static VMMU_RARE enum vmmu_fault_result
on_present(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f)
{
	const struct vmmu_layout *l = &vcpu->vm->tables.layout;
	enum vmmu_fault_result result = 0;
	struct vmmu_visit v;

	vmmu_gate_enter(op->tables, op->who);
	v = vmmu_look(op, vmmu_root_of(vcpu->vm), gfn_of(f));
	if (vmmu_is_mmio(l, v.entry))
		result = on_mmio_entry(vcpu, op, f, v.entry);
	else if (vmmu_is_bad(l, v.level, v.entry))
		result = VMMU_FAULT_BAD_ENTRY;
	else if (vmmu_is_leaf(l, v.level, v.entry))
		result = on_leaf(vcpu, f, &v);
	if (result)
		describe(vcpu, f, &v);
	vmmu_gate_leave(op->tables, op->who);
	return result;
}

/* ---- the entry is missing ------------------------------------------------------ */

/* Make the vCPU's copy that of the slot which covers gfn. False: no slot does. */
static VMMU_RARE bool search_slot(struct vmmu_vcpu *vcpu, struct vmmu_op *op, uint64_t gfn)
{
	const struct vmmu_memory *memory = &vcpu->vm->memory;
	struct vmmu_slot *slot;

	vmmu_gate_enter(op->tables, op->who);
	slot = vmmu_slot_at(memory, gfn);
	if (slot)
		vcpu->hit = (struct vmmu_slot_hit){
			.generation = atomic_load_explicit(&memory->generation, memory_order_relaxed),
			.slot = slot,
			.info = slot->info,
			.first = slot->first,
			.end = slot->end,
		};
	vmmu_gate_leave(op->tables, op->who);
	return slot != NULL;
}

static inline bool find_slot(struct vmmu_vcpu *vcpu, struct vmmu_op *op, uint64_t gfn)
{
	const struct vmmu_slot_hit *hit = &vcpu->hit;

	return (gfn >= hit->first && gfn < hit->end &&
	        hit->generation ==
	                atomic_load_explicit(&vcpu->vm->memory.generation, memory_order_acquire)) ||
	       search_slot(vcpu, op, gfn);
}

/* Tables for a whole path, no more, and always before the gate. */
static inline bool have_spares(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	struct vmmu_vm *vm = vcpu->vm;

	return op->who->spares >= vm->path_tables ||
	       vmmu_spares_fill(&vm->tables, op->who, vm->path_tables);
}

/* Inside the gate: has anything made the host's answer stale since `sequence` was read? */
static inline bool is_stale(const struct vmmu_memory *m, uint64_t gfn, uint64_t sequence)
{
	return atomic_load_explicit(&m->sequence, memory_order_relaxed) != sequence ||
	       vmmu_is_pending(m, gfn, gfn + 1);
}

static VMMU_RARE enum vmmu_fault_result
map_mmio(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f, uint64_t sequence)
{
	struct vmmu_mapping m = {.gfn = gfn_of(f), .result = VMMU_FAULT_RETRY};

	/* The entry only saves time: without memory for its path the answer is the same. */
	if (!vcpu->vm->mmio_cache || op->cause == VMMU_CAUSE_PREFAULT || !have_spares(vcpu, op))
		return VMMU_FAULT_EMULATE_MMIO;
	vmmu_gate_enter(op->tables, op->who);
	if (!is_stale(&vcpu->vm->memory, m.gfn, sequence))
		vmmu_mmio_map(op, vcpu->vm, &m);
	vmmu_gate_leave(op->tables, op->who);
	return report(f, &m);
}

/*
 * The largest leaf around gfn: inside the slot, contiguous and equally aligned
 * on both sides, under every cap, and clear of what the host is taking back. A
 * slot that logs writes them by 4 KiB.
 */
static inline unsigned goal_level(const struct vmmu_vcpu *vcpu, uint64_t gfn,
                                  const struct vmmu_backing *backing)
{
	const struct vmmu_slot_hit *hit = &vcpu->hit;
	unsigned level = VMMU_LEVEL_4K;

	if (backing->order < VMMU_INDEX_BITS || hit->info.flags & VMMU_SLOT_LOG_DIRTY)
		return level;
	while (level < vcpu->vm->leaf_level_max) {
		uint64_t pages = vmmu_level_pages(level + 1);
		uint64_t first = gfn & ~(pages - 1);

		if (first < hit->first || first + pages > hit->end ||
		    backing->order < VMMU_INDEX_BITS * level ||
		    ((gfn ^ backing->pfn.v) & (pages - 1)) ||
		    vmmu_cap_of(hit->slot, gfn, level + 1) <= level ||
		    vmmu_is_pending(&vcpu->vm->memory, first, first + pages))
			break;
		level++;
	}
	return level;
}

static inline uint64_t leaf_bits(const struct vmmu_layout *l, uint32_t flags, unsigned wanted,
                                 const struct vmmu_backing *backing)
{
	struct vmmu_leaf leaf = {
		.rights = backing->rights & VMMU_RWX,
		.memtype = backing->memtype,
		.ignore_pat = backing->ignore_pat,
	};

	if (flags & VMMU_SLOT_READONLY)
		leaf.rights &= ~VMMU_W;
	leaf.writable = leaf.rights & VMMU_W;
	/* The log wants to see the first write. */
	if ((flags & VMMU_SLOT_LOG_DIRTY) && !(wanted & VMMU_W))
		leaf.rights &= ~VMMU_W;
	return vmmu_leaf_bits(l, leaf);
}

static inline enum vmmu_fault_result map_backing(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                                 struct vmmu_fault *f, uint64_t sequence,
                                                 const struct vmmu_backing *backing)
{
	struct vmmu_mapping m;

	m.gfn = gfn_of(f);
	m.access = wanted_by(f);
	m.pfn = backing->pfn;
	m.leaf = leaf_bits(&op->tables->layout, vcpu->hit.info.flags, m.access, backing);
	m.slot = vcpu->hit.slot;
	m.cause = op->cause;
	m.result = VMMU_FAULT_RETRY;
	m.entry = 0;
	m.level = 0;
	vmmu_gate_enter(op->tables, op->who);
	/* The slot may only be looked into while nothing can have removed it. */
	if (!is_stale(&vcpu->vm->memory, m.gfn, sequence)) {
		m.goal = goal_level(vcpu, m.gfn, backing);
		vmmu_direct_map(op, vmmu_root_of(vcpu->vm), &m);
	}
	vmmu_gate_leave(op->tables, op->who);
	return report(f, &m);
}

/* A walk of the guest's own tables reads and writes at once (SDM vol. 3, 29.3.5): ask for the write. */
static inline unsigned one_access(unsigned wanted)
{
	return wanted & VMMU_W ? VMMU_W : wanted & VMMU_X ? VMMU_X : VMMU_R;
}

static VMMU_RARE enum vmmu_fault_result refusal(enum vmmu_backing_result result)
{
	switch (result) {
	case VMMU_BACKING_RETRY:
		return VMMU_FAULT_RETRY;
	case VMMU_BACKING_NO_MEMORY:
		return VMMU_FAULT_NO_MEMORY;
	default:
		return VMMU_FAULT_DENIED;
	}
}

/* 0: the host has granted what is wanted, and the CPU's tables can say so without granting more. */
static inline enum vmmu_fault_result ask_host(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                              const struct vmmu_fault *f,
                                              struct vmmu_backing *backing)
{
	struct vmmu_tables *t = op->tables;
	enum vmmu_backing_result result =
		t->host->backing(t->ctx, &vcpu->hit.info, vmmu_gfn_of(gfn_of(f)),
	                         one_access(wanted_by(f)), backing);

	if (VMMU_UNLIKELY(result != VMMU_BACKING_OK))
		return refusal(result);
	if ((wanted_by(f) | t->layout.grants[backing->rights & VMMU_RWX]) & ~(unsigned)backing->rights)
		return VMMU_FAULT_DENIED;
	return 0;
}

static inline enum vmmu_fault_result on_missing(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                                struct vmmu_fault *f)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_backing backing = {.order = 0};
	enum vmmu_fault_result result;
	uint64_t sequence;

	sequence = atomic_load_explicit(&vm->memory.sequence, memory_order_acquire);
	if (!find_slot(vcpu, op, gfn_of(f)))
		return map_mmio(vcpu, op, f, sequence);
	f->slot = vcpu->hit.info.id;
	if ((vcpu->hit.info.flags & VMMU_SLOT_READONLY) && (f->access & VMMU_W))
		return VMMU_FAULT_READ_ONLY;
	if (!have_spares(vcpu, op))
		return VMMU_FAULT_NO_MEMORY;

	result = ask_host(vcpu, op, f, &backing);
	return result ? result : map_backing(vcpu, op, f, sequence, &backing);
}

enum vmmu_fault_result vmmu_direct_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *fault)
{
	enum vmmu_fault_result result = 0;

	if (gfn_of(fault) >= vcpu->vm->memory.limit)
		return VMMU_FAULT_BEYOND;
	if (fault->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED))
		result = on_present(vcpu, op, fault);
	if (!result)
		result = on_missing(vcpu, op, fault);
	if (op->owed.promised)
		vmmu_settle(op);
	return result;
}
