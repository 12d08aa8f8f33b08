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

struct request {
	struct vmmu_vcpu *vcpu;
	struct vmmu_vm *vm;
	struct vmmu_op *op;
	struct vmmu_fault *fault;
	enum vmmu_cause cause;
	uint64_t gfn;
	unsigned wanted;          /* VMMU_R, W, X */
	uint64_t sequence;
};

static void report(struct request *r, const struct vmmu_mapping *m)
{
	r->fault->entry = m->entry;
	r->fault->level = m->level;
	r->fault->pfn = m->leaf.pfn;
}

/* ---- the entry is there: nothing to ask the host ------------------------------ */

static void trace_mmio(struct request *r, enum vmmu_trace_event event, uint64_t entry)
{
	uint64_t generation =
		atomic_load_explicit(&r->vm->memory.generation, memory_order_relaxed);
	struct vmmu_trace_record *t = vmmu_trace_begin(r->op, event);

	if (!t)
		return;
	if (event == VMMU_TRACE_HANDLE_MMIO)
		vmmu_trace_words(t, r->fault->gpa.v, r->gfn, r->fault->rip, entry);
	else
		vmmu_trace_words(t, generation & VMMU_MMIO_GEN_MASK, vmmu_mmio_generation(entry),
		                 entry, 0);
	vmmu_trace_end(r->op);
}

/* 0: the entry is of another generation, go on as if there were none. */
static enum vmmu_fault_result on_mmio_entry(struct request *r, const struct vmmu_visit *v)
{
	uint64_t generation =
		atomic_load_explicit(&r->vm->memory.generation, memory_order_relaxed);

	if (vmmu_mmio_generation(v->entry) != (generation & VMMU_MMIO_GEN_MASK)) {
		trace_mmio(r, VMMU_TRACE_CHECK_MMIO, v->entry);
		return 0;
	}
	vmmu_count(&r->op->who->count.mmio_hits, 1);
	trace_mmio(r, VMMU_TRACE_HANDLE_MMIO, v->entry);
	return VMMU_FAULT_EMULATE_MMIO;
}

/* W was taken away only to see the first write (dirty log): give it back. */
static enum vmmu_fault_result give_write_back(struct request *r, struct vmmu_visit *v)
{
	struct vmmu_slot *slot = vmmu_slot_at(&r->vm->memory, r->gfn);
	uint64_t value = vmmu_grant_write(&r->vm->tables.layout, v->entry);

	vmmu_dirty_mark(slot, r->gfn);
	return vmmu_entry_write(v, value, VMMU_CAUSE_PERMISSION) ? VMMU_FAULT_FIXED
	                                                         : VMMU_FAULT_RETRY;
}

static enum vmmu_fault_result on_leaf(struct request *r, struct vmmu_visit *v)
{
	const struct vmmu_layout *l = &r->vm->tables.layout;
	unsigned missing = r->wanted & ~vmmu_entry_rights(l, v->entry);

	if (!missing)
		return VMMU_FAULT_SPURIOUS;
	if (missing == VMMU_W && v->level == VMMU_LEVEL_4K &&
	    (v->entry & l->format->soft_map_writable))
		return give_write_back(r, v);
	return 0;
}

/* For the caller alone: a fault that ends here needed no slot. */
static void name_slot(struct request *r)
{
	const struct vmmu_slot *slot = vmmu_slot_at(&r->vm->memory, r->gfn);

	if (slot)
		r->fault->slot = slot->info.id;
}

/*
 * The CPU met a present or refused entry. Most of these end here, without a
 * slot being searched or the host being asked. 0: they do not.
 */
static enum vmmu_fault_result on_present(struct request *r)
{
	const struct vmmu_layout *l = &r->vm->tables.layout;
	struct vmmu_visit v = vmmu_look(r->op, vmmu_root_of(r->vm), r->gfn);
	enum vmmu_fault_result result = 0;

	if (vmmu_is_mmio(l, v.entry))
		result = on_mmio_entry(r, &v);
	else if (vmmu_is_bad(l, v.level, v.entry))
		result = VMMU_FAULT_BAD_ENTRY;
	else if (vmmu_is_leaf(l, v.level, v.entry))
		result = on_leaf(r, &v);
	if (result) {
		r->fault->entry = v.entry;
		r->fault->level = v.level;
		if (vmmu_is_leaf(l, v.level, v.entry))
			r->fault->pfn.v = vmmu_hpa_pfn(vmmu_entry_address(l, v.entry)).v +
			                  (r->gfn - v.gfn.v);
		name_slot(r);
	}
	return result;
}

/* ---- the entry is missing ------------------------------------------------------ */

/* Fill the vCPU's copy of the slot that covers gfn. False: no slot does. */
static bool find_slot(struct request *r)
{
	struct vmmu_slot_hit *hit = &r->vcpu->hit;
	struct vmmu_memory *memory = &r->vm->memory;
	uint64_t generation = atomic_load_explicit(&memory->generation, memory_order_acquire);

	if (hit->generation == generation && r->gfn >= hit->first && r->gfn < hit->end)
		return true;

	vmmu_gate_enter(&r->vm->tables, r->op->who);
	struct vmmu_slot *slot = vmmu_slot_at(memory, r->gfn);

	if (slot)
		*hit = (struct vmmu_slot_hit){
			.generation = atomic_load_explicit(&memory->generation, memory_order_relaxed),
			.slot = slot,
			.info = slot->info,
			.first = slot->first,
			.end = slot->end,
		};
	vmmu_gate_leave(&r->vm->tables, r->op->who);
	return slot != NULL;
}

/* Inside the gate: has anything made the host's answer stale since it was asked? */
static bool is_stale(const struct request *r)
{
	const struct vmmu_memory *m = &r->vm->memory;

	return atomic_load_explicit(&m->sequence, memory_order_relaxed) != r->sequence ||
	       vmmu_is_pending(m, r->gfn, r->gfn + 1);
}

static enum vmmu_fault_result map_mmio(struct request *r)
{
	struct vmmu_mapping m = {.gfn = r->gfn};
	enum vmmu_fault_result result = VMMU_FAULT_EMULATE_MMIO;

	if (!r->vm->mmio_cache || r->cause == VMMU_CAUSE_PREFAULT)
		return result;
	vmmu_gate_enter(&r->vm->tables, r->op->who);
	if (is_stale(r))
		result = VMMU_FAULT_RETRY;
	else
		vmmu_mmio_map(r->op, r->vm, &m);
	vmmu_gate_leave(&r->vm->tables, r->op->who);
	report(r, &m);
	return result;
}

/*
 * The largest leaf around gfn: inside the slot, contiguous and equally aligned
 * on both sides, under every cap, and clear of what the host is taking back. A
 * slot that logs writes them by 4 KiB.
 */
static unsigned goal_level(const struct request *r, const struct vmmu_backing *backing)
{
	const struct vmmu_slot_hit *hit = &r->vcpu->hit;
	unsigned level = VMMU_LEVEL_4K;

	if (hit->info.flags & VMMU_SLOT_LOG_DIRTY)
		return level;
	while (level < r->vm->leaf_level_max) {
		uint64_t pages = vmmu_level_pages(level + 1);
		uint64_t first = r->gfn & ~(pages - 1);

		if (first < hit->first || first + pages > hit->end ||
		    backing->order < VMMU_INDEX_BITS * level ||
		    ((r->gfn ^ backing->pfn.v) & (pages - 1)) ||
		    vmmu_cap_of(hit->slot, r->gfn, level + 1) <= level ||
		    vmmu_is_pending(&r->vm->memory, first, first + pages))
			break;
		level++;
	}
	return level;
}

static struct vmmu_leaf leaf_of(const struct request *r, const struct vmmu_backing *backing)
{
	uint32_t flags = r->vcpu->hit.info.flags;
	unsigned rights = backing->rights;
	bool writable;

	if (flags & VMMU_SLOT_READONLY)
		rights &= ~(unsigned)VMMU_W;
	writable = rights & VMMU_W;
	/* The log wants to see the first write. */
	if ((flags & VMMU_SLOT_LOG_DIRTY) && !(r->wanted & VMMU_W))
		rights &= ~(unsigned)VMMU_W;
	return (struct vmmu_leaf){
		.pfn = backing->pfn,
		.rights = (uint8_t)rights,
		.memtype = backing->memtype,
		.ignore_pat = backing->ignore_pat,
		.host_writable = writable,
		.map_writable = writable,
	};
}

static enum vmmu_fault_result map_backing(struct request *r, const struct vmmu_backing *backing)
{
	struct vmmu_mapping m;

	m.gfn = r->gfn;
	m.access = r->wanted;
	m.slot = r->vcpu->hit.slot;
	m.cause = r->cause;
	m.leaf = leaf_of(r, backing);
	m.result = VMMU_FAULT_RETRY;
	m.entry = 0;
	m.level = 0;
	vmmu_gate_enter(&r->vm->tables, r->op->who);
	/* The slot may only be looked into while nothing can have removed it. */
	if (!is_stale(r)) {
		m.goal = goal_level(r, backing);
		vmmu_direct_map(r->op, vmmu_root_of(r->vm), &m);
	}
	vmmu_gate_leave(&r->vm->tables, r->op->who);
	report(r, &m);
	return m.result;
}

/* A walk of the guest's own tables reads and writes at once (SDM vol. 3, 29.3.5): ask for the write. */
static unsigned one_access(unsigned wanted)
{
	return wanted & VMMU_W ? VMMU_W : wanted & VMMU_X ? VMMU_X : VMMU_R;
}

/* May an entry be made of this grant? Not if the CPU's tables could only say more than it. */
static bool is_expressible(const struct vmmu_layout *l, unsigned rights)
{
	return !(l->grants[rights & VMMU_RWX] & ~rights);
}

static enum vmmu_fault_result ask_host(struct request *r, struct vmmu_backing *backing)
{
	struct vmmu_tables *t = &r->vm->tables;

	switch (t->host->backing(t->ctx, &r->vcpu->hit.info, vmmu_gfn_of(r->gfn),
	                         one_access(r->wanted), backing)) {
	case VMMU_BACKING_OK:
		break;
	case VMMU_BACKING_RETRY:
		return VMMU_FAULT_RETRY;
	case VMMU_BACKING_NO_MEMORY:
		return VMMU_FAULT_NO_MEMORY;
	case VMMU_BACKING_DENIED:
	default:
		return VMMU_FAULT_DENIED;
	}
	if (r->wanted & ~(unsigned)backing->rights || !is_expressible(&t->layout, backing->rights))
		return VMMU_FAULT_DENIED;
	return 0;
}

static enum vmmu_fault_result on_missing(struct request *r)
{
	struct vmmu_backing backing = {.order = 0};
	enum vmmu_fault_result result;

	/* Never more than a path's worth, and always before the gate. */
	if (r->op->who->spares < r->vm->path_tables &&
	    !vmmu_spares_fill(&r->vm->tables, r->op->who, r->vm->path_tables))
		return VMMU_FAULT_NO_MEMORY;

	r->sequence = atomic_load_explicit(&r->vm->memory.sequence, memory_order_acquire);
	if (!find_slot(r))
		return map_mmio(r);
	r->fault->slot = r->vcpu->hit.info.id;
	if ((r->wanted & VMMU_W) && (r->vcpu->hit.info.flags & VMMU_SLOT_READONLY))
		return VMMU_FAULT_READ_ONLY;

	result = ask_host(r, &backing);
	return result ? result : map_backing(r, &backing);
}

enum vmmu_fault_result vmmu_direct_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *fault, enum vmmu_cause cause)
{
	struct request r = {
		.vcpu = vcpu,
		.vm = vcpu->vm,
		.op = op,
		.fault = fault,
		.cause = cause,
		.gfn = vmmu_gpa_gfn(fault->gpa).v,
		.wanted = fault->access & VMMU_RWX,
	};
	enum vmmu_fault_result result = 0;

	if (r.gfn >= r.vm->memory.limit)
		return VMMU_FAULT_BEYOND;
	if (fault->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED)) {
		vmmu_gate_enter(&r.vm->tables, op->who);
		result = on_present(&r);
		vmmu_gate_leave(&r.vm->tables, op->who);
	}
	if (!result)
		result = on_missing(&r);
	if (op->owed.any)
		vmmu_settle(op);
	return result;
}
