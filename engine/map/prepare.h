/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fault preparation: which slot, which frame, how large, and whether all that still
 * holds. Every fault goes through it before it maps. Inline, since a guest waits.
 */
#ifndef VMMU_PREPARE_H
#define VMMU_PREPARE_H

#include "map/map.h"
#include "table/locks.h"

/*
 * Most functions here share (vcpu, op, f): who faults, the operation, the fault.
 * They are passed one by one and not as a structure so that they stay in
 * registers: this path is what a guest waits for.
 */
static inline uint64_t vmmu_fault_gfn(const struct vmmu_fault *f)
{
	return vmmu_gpa_gfn(f->gpa).v;
}

/* A fault has been answered by a page of f->level: so many small ones from the fault's on. 0: by none. */
static inline uint64_t vmmu_pages_to_end(const struct vmmu_fault *f)
{
	return f->level ? vmmu_level_pages(f->level) - (vmmu_fault_gfn(f) & (vmmu_level_pages(f->level) - 1)) : 0;
}

static inline unsigned vmmu_fault_wants(const struct vmmu_fault *f)
{
	return f->access & VMMU_RWX;
}

/* Make the vCPU's copy that of the slot which covers gfn. False: no slot does. */
bool vmmu_take_slot(struct vmmu_vcpu *vcpu, struct vmmu_inside inside, uint64_t gfn);
/* The same from outside the gate. */
bool vmmu_search_slot(struct vmmu_vcpu *vcpu, struct vmmu_op *op, uint64_t gfn);

/* The same; most often the copy is that slot's already. */
static inline bool vmmu_find_slot(struct vmmu_vcpu *vcpu, struct vmmu_op *op, uint64_t gfn)
{
	const struct vmmu_slot_hit *hit = &vcpu->hit;

	return (gfn >= hit->first && gfn < hit->end &&
	        hit->generation ==
	                atomic_load_explicit(&vcpu->vm->memory.generation, memory_order_acquire)) ||
	       vmmu_search_slot(vcpu, op, gfn);
}

/* Tables for a whole path, no more, and always before the gate. */
static inline bool vmmu_have_spares(struct vmmu_op *op)
{
	unsigned needed = op->map->path_tables;

	return op->who->spares >= needed || vmmu_spares_fill(op->tables, op->who, needed);
}

/* Has anything made the host's answer stale since `sequence` was read? */
static inline bool vmmu_is_stale(const struct vmmu_memory *m, struct vmmu_inside inside, uint64_t gfn,
                                 uint64_t sequence)
{
	vmmu_assert_inside(inside);
	return atomic_load_explicit(&m->sequence, memory_order_relaxed) != sequence ||
	       vmmu_is_invalidating(m, gfn, gfn + 1);
}

/*
 * The largest leaf around gfn: inside the slot, contiguous and equally aligned
 * on both sides, under every cap, and clear of what the host is taking back. A
 * slot that logs writes them by 4 KiB.
 */
static inline unsigned vmmu_goal_level(const struct vmmu_vcpu *vcpu, struct vmmu_inside inside,
                                       uint64_t gfn, const struct vmmu_backing *backing)
{
	const struct vmmu_slot_hit *hit = &vcpu->hit;
	unsigned level = VMMU_LEVEL_4K;

	vmmu_assert_inside(inside);
	if (backing->order < VMMU_INDEX_BITS || hit->info.flags & VMMU_SLOT_LOG_DIRTY)
		return level;
	while (level < vcpu->map->leaf_level_max && backing->order >= VMMU_INDEX_BITS * level) {
		uint64_t pages = vmmu_level_pages(level + 1);
		uint64_t first = gfn & ~(pages - 1);

		if (first < hit->first || first + pages > hit->end ||
		    ((gfn ^ backing->pfn.v) & (pages - 1)) ||
		    (VMMU_UNLIKELY(hit->slot->caps != NULL) &&
		     vmmu_cap_of(hit->slot, vmmu_reading_inside(inside), gfn, level + 1) <= level) ||
		    vmmu_is_invalidating(&vcpu->vm->memory, first, first + pages))
			break;
		level++;
	}
	return level;
}

/* The bits of a leaf for this grant; a slot that logs gets W only for a write. */
static inline uint64_t vmmu_backing_bits(const struct vmmu_layout *l, uint32_t flags, unsigned wanted,
                                         const struct vmmu_backing *backing)
{
	struct vmmu_leaf leaf = {
		.rights = backing->rights,
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

/* What a leaf's bits follow from in an answer of the host. Not 0 with any right. */
static inline uint64_t vmmu_grant_said(const struct vmmu_backing *backing)
{
	uint32_t word;

	_Static_assert(offsetof(struct vmmu_backing, rights) == offsetof(struct vmmu_backing, order) + 1 &&
	                       offsetof(struct vmmu_backing, memtype) == offsetof(struct vmmu_backing, order) + 2 &&
	                       offsetof(struct vmmu_backing, ignore_pat) == offsetof(struct vmmu_backing, order) + 3,
	               "one load reads all but the frame");
	__builtin_memcpy(&word, (const unsigned char *)backing + offsetof(struct vmmu_backing, order), sizeof(word));
	return word >> 8;
}

/* What has been mapped so once needs no second look: see struct vmmu_grant. */
static inline void vmmu_grant_remember(struct vmmu_vcpu *vcpu, unsigned wanted, const struct vmmu_backing *backing,
                                       uint64_t leaf)
{
	if (backing->rights)
		vcpu->hit.grants[wanted] = (struct vmmu_grant){vmmu_grant_said(backing), leaf};
}

/* A walk of the guest's own tables reads and writes at once (SDM vol. 3, 29.3.5): ask for the write. */
static inline unsigned vmmu_one_access(unsigned wanted)
{
	return wanted & VMMU_W ? VMMU_W : wanted & VMMU_X ? VMMU_X
	                                                  : VMMU_R;
}

/*
 * Could this be a frame that the CPU can name, a memory type that there is, and rights?
 * Anything else would set other bits of the entry. The run needs no look: it is
 * aligned, so all of it is where pfn is.
 */
static inline bool vmmu_is_possible(const struct vmmu_layout *l, const struct vmmu_backing *backing)
{
	const unsigned types = 1u << VMMU_MEMTYPE_UC | 1u << VMMU_MEMTYPE_WC | 1u << VMMU_MEMTYPE_WT |
	                       1u << VMMU_MEMTYPE_WP | 1u << VMMU_MEMTYPE_WB;

	return !(backing->pfn.v & l->no_frame) && (backing->memtype | backing->rights) <= VMMU_RWX &&
	       (types >> backing->memtype & 1);
}

/* Why the host gave no frame, as a fault's result. */
enum vmmu_fault_result vmmu_refusal(enum vmmu_backing_result result);

static inline enum vmmu_backing_result vmmu_ask_backing(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                                        const struct vmmu_fault *f, struct vmmu_backing *backing)
{
	struct vmmu_tables *t = op->tables;

	return t->host->backing(t->ctx, &vcpu->hit.info, vmmu_gfn_of(vmmu_fault_gfn(f)),
	                        vmmu_one_access(vmmu_fault_wants(f)), backing);
}

/* 0: the host has granted what is wanted, and the CPU's tables can say so without granting more. */
static inline enum vmmu_fault_result vmmu_judge_backing(const struct vmmu_op *op, const struct vmmu_fault *f,
                                                        enum vmmu_backing_result result,
                                                        const struct vmmu_backing *backing)
{
	if (VMMU_UNLIKELY(result != VMMU_BACKING_OK))
		return vmmu_refusal(result);
	if (VMMU_UNLIKELY(!vmmu_is_possible(&op->map->layout, backing)))
		return VMMU_FAULT_BAD_BACKING;
	if ((vmmu_fault_wants(f) | op->map->layout.grants[backing->rights]) & ~(unsigned)backing->rights)
		return VMMU_FAULT_DENIED;
	return 0;
}

static inline enum vmmu_fault_result vmmu_prepare_backing(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                                          const struct vmmu_fault *f,
                                                          struct vmmu_backing *backing)
{
	return vmmu_judge_backing(op, f, vmmu_ask_backing(vcpu, op, f, backing), backing);
}

#endif
