/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A #PF that needs nothing built: the guest's own, and a write to one of its tables
 * that is to be emulated.
 *
 * The CPU walks tables that say what the guest's say. So where these lead to a table of
 * small pages, the guest's upper entries need not be read again: one word of the guest's
 * decides. A vCPU remembers the last such tables. Whatever is not as usual here, takes the
 * long way (shadow_fault.c), whose answer is the same.
 */
#include "map/shadow/shadow.h"

struct quick {
	struct vmmu_vcpu *vcpu;
	struct vmmu_exclusive x;
	struct vmmu_fault *f;
	const struct vmmu_guest_mode *mode;
	struct vmmu_shadow *s; /* a table of small pages that the CPU reaches */
	unsigned index;        /* of the entry there */
	bool write, user, fetch, excused;
};

/* ---- ways that are remembered ---------------------------------------------------------- */

static struct vmmu_shadow_way *way_of(struct vmmu_shadow_vcpu *sv, uint64_t region)
{
	/* Regions of one program differ by powers of two. */
	return &sv->way[region * 0x9e3779b97f4a7c15ull >> 60 & (VMMU_SHADOW_WAYS - 1)];
}

static uint64_t region_of(uint64_t input)
{
	return input >> (VMMU_PAGE_SHIFT + VMMU_INDEX_BITS);
}

void vmmu_shadow_note_way(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t input, struct vmmu_shadow *s)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(vcpu);

	*way_of(sv, region_of(input)) = (struct vmmu_shadow_way){
		.top = sv->root->top,
		.s = s,
		.region = region_of(input),
		.cuts = vmmu_shadow_map_of(x.op)->cuts,
	};
}

/* The way of `input`, if it is remembered; NULL: it is not. It may be cut by now. */
static const struct vmmu_shadow_way *remembered_way(struct vmmu_shadow_vcpu *sv, uint64_t input)
{
	const struct vmmu_shadow_way *way = way_of(sv, region_of(input));

	return sv->root && way->top == sv->root->top && way->region == region_of(input) ? way : NULL;
}

/* ---- the guest's own fault ---------------------------------------------------------------- */

static enum vmmu_fault_result own_fault(struct quick *q, uint32_t why)
{
	q->s->history.writes = 0;
	q->f->error_code = vmmu_guest_error_code(q->mode, q->write, q->user, q->fetch, why);
	vmmu_shadow_announce(q->x, (struct vmmu_announced){.gfn = q->s->gfn,
	                                                   .at = vmmu_shadow_guest_offset(q->s, q->index),
	                                                   .changes = why & VMMU_PF_PRESENT,
	                                                   .park = q->f->access & VMMU_ACCESS_REPEATS});
	return VMMU_FAULT_INJECT_PF;
}

/* ---- a write to one of the guest's tables --------------------------------------------------- */

/* What the long way finds for it, where the leaf lacks W only because a table for its page is held. */
static enum vmmu_fault_result write_to_held(struct quick *q)
{
	const struct vmmu_layout *l = &q->x.op->map->layout;
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(q->x.op);
	struct vmmu_visit v = vmmu_shadow_entry(q->x.op, q->s, q->index);
	const struct vmmu_slot_hit *hit = &q->vcpu->hit;
	uint64_t gfn = v.gfn.v;

	if (!v.entry || (v.entry & l->format->write) || !(v.entry & l->format->soft_map_writable) ||
	    vmmu_is_flush_pending(q->x.op) || !vmmu_shadow_holds(all, gfn) || vmmu_shadow_is_worth_parking(all, gfn))
		return 0;
	if (gfn < hit->first || gfn >= hit->end ||
	    hit->generation != atomic_load_explicit(&q->vcpu->vm->memory.generation, memory_order_relaxed))
		return 0;
	q->f->slot = hit->info.id;
	q->f->gpa = vmmu_gpa_of(gfn << VMMU_PAGE_SHIFT | (q->f->gva.v & (VMMU_PAGE_SIZE - 1)));
	return VMMU_FAULT_WRITE_TABLE;
}

/* ---- one entry --------------------------------------------------------------------------------- */

static bool refuses(const struct quick *q, unsigned rights)
{
	return q->mode->refused[vmmu_guest_kind(q->write, q->user, q->fetch, q->excused)] >> rights & 1;
}

static bool read_word(struct quick *q, uint64_t *word)
{
	const struct vmmu_tables *t = q->x.op->tables;
	vmmu_gpa where = vmmu_gpa_of((q->s->gfn << VMMU_PAGE_SHIFT) + vmmu_shadow_guest_offset(q->s, q->index));

	*word = 0;
	if (t->host->guest_read(t->ctx, where, q->mode->format->entry_bytes, word) != VMMU_GUEST_READ_OK)
		return false;
	*word = vmmu_guest_word(q->mode->format, *word);
	return true;
}

/* In a table that stands for one of the guest's. */
static enum vmmu_fault_result small_page(struct quick *q)
{
	const struct vmmu_guest_format *f = q->mode->format;
	unsigned rights;
	uint64_t word;

	if (!read_word(q, &word))
		return 0;
	if (!(word & f->present))
		return own_fault(q, 0);
	rights = vmmu_guest_rights(q->mode, word);
	if (vmmu_guest_is_bad(q->mode, VMMU_LEVEL_4K, true, word, rights))
		return 0;
	rights &= q->s->role.access;
	if (refuses(q, rights))
		return own_fault(q, VMMU_PF_PRESENT);
	return q->write && (rights & VMMU_PAGE_WRITE) && (word & f->dirty) == f->dirty ? write_to_held(q) : 0;
}

/* In one that stands for part of a large page: its role says what the guest's entries above allow. */
static enum vmmu_fault_result part_of_large_page(struct quick *q)
{
	unsigned rights = q->s->role.access;

	return q->write && (rights & VMMU_PAGE_WRITE) && !refuses(q, rights) ? write_to_held(q) : 0;
}

/* The table is still there, the CPU comes to it, and no page is being taken back. Keys, too, would refuse. */
static bool is_usable(const struct quick *q, const struct vmmu_shadow_way *way)
{
	return way->cuts == vmmu_shadow_map_of(q->x.op)->cuts && way->s->state == VMMU_SHADOW_CURRENT &&
	       !q->vcpu->vm->memory.invalidating && !q->mode->keys;
}

static enum vmmu_fault_result by_way(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f,
                                     const struct vmmu_shadow_way *way)
{
	const bool implicit = f->access & VMMU_ACCESS_IMPLICIT;
	struct vmmu_inside inside = vmmu_op_enter(op);
	enum vmmu_fault_result result = 0;
	struct quick q = {
		.vcpu = vcpu,
		.x = vmmu_shadow_lock(op, inside),
		.f = f,
		.mode = &vmmu_shadow_vcpu_of(vcpu)->mode,
		.s = way->s,
		.index = f->gva.v >> VMMU_PAGE_SHIFT & (VMMU_ENTRIES - 1),
		.write = f->access & VMMU_W,
		.user = (f->access & VMMU_ACCESS_USER) && !implicit,
		.fetch = f->access & VMMU_X,
		.excused = (f->access & VMMU_ACCESS_AC) && !implicit,
	};

	if (is_usable(&q, way))
		result = q.s->role.direct ? part_of_large_page(&q) : small_page(&q);
	vmmu_shadow_unlock(q.x);
	vmmu_op_leave(op, inside);
	if (op->flush.pending)
		vmmu_op_flush(op);
	return result;
}

enum vmmu_fault_result vmmu_shadow_quick(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f)
{
	const struct vmmu_shadow_way *way = remembered_way(vmmu_shadow_vcpu_of(vcpu), f->gva.v);

	return way ? by_way(vcpu, op, f, way) : 0;
}
