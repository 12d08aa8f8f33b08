/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries that follow the guest's without a fault of their own: when a table is
 * linked again after the guest could write it, and around an entry that faulted.
 * Nothing is asked of the host: what it has named as a run of frames before is
 * all that is used.
 */
#include "map/shadow/shadow.h"
#include "table/trace.h"

struct sync {
	struct vmmu_vcpu *vcpu;
	struct vmmu_exclusive x;
	struct vmmu_shadow *s;
	const struct vmmu_guest_mode *mode;
	const void *page; /* the guest's table; NULL: to be read word by word */
	bool busy;        /* a word could not be read: what is said of it is what was */
};

/* ---- frames known -------------------------------------------------------------------- */

void vmmu_shadow_note_run(struct vmmu_vcpu *vcpu, struct vmmu_block *block, uint64_t gfn,
                          const struct vmmu_backing *backing, uint64_t sequence)
{
	/* Frames and gfns must be equally far into their runs. */
	uint64_t out_of_step = (gfn ^ backing->pfn.v) | 1ull << VMMU_INDEX_BITS;
	unsigned in_step = (unsigned)__builtin_ctzll(out_of_step);
	unsigned order = backing->order < in_step ? backing->order : in_step;
	uint64_t first = gfn & ~((1ull << order) - 1);
	const struct vmmu_slot_hit *hit = &vcpu->hit;
	struct vmmu_run *run = &block->run;

	if (!order || (run->sequence == sequence && run->backing.order >= order &&
	               gfn >= run->first && gfn < run->end && run->backing.rights == backing->rights))
		return;
	*run = (struct vmmu_run){
		.backing = *backing,
		.sequence = sequence,
		.first = first > hit->first ? first : hit->first,
		.end = first + (1ull << order) < hit->end ? first + (1ull << order) : hit->end,
	};
	run->backing.order = (uint8_t)order;
	run->backing.pfn.v -= gfn - run->first;
}

/* Does what the host has said of gfn still hold? */
static bool is_known(const struct vmmu_vcpu *vcpu, struct vmmu_inside inside, const struct vmmu_run *run, uint64_t gfn)
{
	const struct vmmu_memory *memory = &vcpu->vm->memory;
	const struct vmmu_slot_hit *hit = &vcpu->hit;

	return gfn >= run->first && gfn < run->end && gfn >= hit->first && gfn < hit->end &&
	       hit->generation == atomic_load_explicit(&memory->generation, memory_order_acquire) &&
	       !vmmu_is_stale(memory, inside, gfn, run->sequence);
}

struct vmmu_neighbours vmmu_shadow_known_part(const struct vmmu_vcpu *vcpu, const struct vmmu_block *block,
                                              struct vmmu_neighbours n)
{
	const struct vmmu_run *run = &block->run;
	const struct vmmu_slot_hit *hit = &vcpu->hit;
	uint64_t start = block->number * VMMU_ENTRIES, first = start + n.first, end = start + n.end;

	first = run->first > first ? run->first : first;
	first = hit->first > first ? hit->first : first;
	end = run->end < end ? run->end : end;
	end = hit->end < end ? hit->end : end;
	return first < end ? (struct vmmu_neighbours){(unsigned)(first - start), (unsigned)(end - start)}
	                   : (struct vmmu_neighbours){0, 0};
}

bool vmmu_shadow_known_leaf(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, const struct vmmu_block *block,
                            const struct vmmu_guest_format *format, uint64_t gfn, uint64_t gpte, unsigned rights,
                            uint64_t *value)
{
	const struct vmmu_layout *l = &x.op->map->layout;
	struct vmmu_backing backing;

	if (!block || !is_known(vcpu, vmmu_inside_of(x), &block->run, gfn))
		return false;
	backing = block->run.backing;
	backing.pfn.v += gfn - block->run.first;
	*value = vmmu_make_leaf(l, VMMU_LEVEL_4K, backing.pfn,
	                        vmmu_shadow_leaf_bits(x.op, format, gpte, vcpu->hit.info.flags, backing, rights, 0));
	/* Host and guest may have no right in common. */
	if (!vmmu_is_present(l, *value))
		return false;
	if (vcpu->hit.slot->dirty || vmmu_shadow_holds(vmmu_shadow_map_of(x.op), gfn))
		*value = vmmu_leaf_protected(x.op, *value);
	return true;
}

bool vmmu_shadow_known_leaves(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, const struct vmmu_block *block,
                              const struct vmmu_guest_format *format, struct vmmu_neighbours n, uint64_t gpte,
                              unsigned rights, uint64_t *values)
{
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);
	const uint64_t gfn = block->number * VMMU_ENTRIES + n.first;
	const bool held = vmmu_shadow_may_hold_near(all, gfn);
	struct vmmu_backing backing = block->run.backing;
	uint64_t bits, value;

	if (vmmu_is_invalidating(&vcpu->vm->memory, gfn, gfn + (n.end - n.first)) ||
	    !is_known(vcpu, vmmu_inside_of(x), &block->run, gfn))
		return false;
	backing.pfn.v += gfn - block->run.first;
	/* A log withholds W from all, as nothing has written there. What else differs is the frame, and what is held. */
	bits = vmmu_shadow_leaf_bits(x.op, format, gpte, vcpu->hit.info.flags, backing, rights, 0);
	for (unsigned i = 0; i < n.end - n.first; i++, backing.pfn.v++) {
		value = vmmu_make_leaf(&x.op->map->layout, VMMU_LEVEL_4K, backing.pfn, bits);
		values[i] = held && vmmu_shadow_holds(all, gfn + i) ? vmmu_leaf_protected(x.op, value) : value;
	}
	return vmmu_is_present(&x.op->map->layout, values[0]);
}

/* ---- one entry ------------------------------------------------------------------------ */

/* The entry of L1's that a merged one is made from; none has faulted at it. */
static void tell_of(const struct sync *y, unsigned index, uint64_t gpte, uint64_t gfn)
{
	if (VMMU_LIKELY(!y->x.op->tracing) || y->x.op->map->input != VMMU_INPUT_NESTED_GPA)
		return;
	vmmu_trace_element(y->x.op, y->s->role.level, VMMU_CAUSE_PREFETCH,
	                   (struct vmmu_trace_element){.where = (y->s->gfn << VMMU_PAGE_SHIFT) + vmmu_shadow_guest_offset(y->s, index),
	                                               .pte = gpte,
	                                               .gpa = gfn << VMMU_PAGE_SHIFT});
}

/* The leaf for a guest's small page; false: only a fault can tell. */
static bool sync_leaf(const struct sync *y, uint64_t gpte, uint64_t gfn, struct vmmu_block **block,
                      uint64_t *value)
{
	const struct vmmu_guest_format *f = y->mode->format;
	unsigned rights = y->s->role.access & vmmu_guest_rights(y->mode, gpte);

	if (!vmmu_guest_is_accessed(f, gpte) ||
	    vmmu_guest_is_bad(y->mode, VMMU_LEVEL_4K, true, gpte, vmmu_guest_rights(y->mode, gpte)) ||
	    (y->mode->all_user && !(rights & VMMU_PAGE_USER)))
		return false;
	if ((gpte & f->dirty) != f->dirty)
		rights &= ~(unsigned)VMMU_PAGE_WRITE;
	*block = vmmu_block_of(&vmmu_shadow_map_of(y->x.op)->frames, gfn);
	if (!vmmu_shadow_known_leaf(y->vcpu, y->x, *block, f, gfn, gpte, rights, value))
		return false;
	return true;
}

static void follow_leaf(struct sync *y, unsigned index, uint64_t gpte)
{
	struct vmmu_visit v = vmmu_shadow_entry(y->x.op, y->s, index);
	uint64_t gfn = (gpte & y->mode->address) >> VMMU_PAGE_SHIFT, value = 0;
	struct vmmu_block *block = NULL;
	bool known = sync_leaf(y, gpte, gfn, &block, &value);

	if (v.entry && known && vmmu_link_gfn(&y->s->link[index]) == gfn) {
		if (v.entry != value) {
			tell_of(y, index, gpte, gfn);
			vmmu_shadow_write(&v, value, VMMU_CAUSE_SYNC);
		}
		return;
	}
	vmmu_shadow_drop(y->x, y->s, index, VMMU_CAUSE_SYNC);
	if (!known)
		return;
	v = vmmu_shadow_entry(y->x.op, y->s, index);
	tell_of(y, index, gpte, gfn);
	vmmu_shadow_map_leaf(&v, y->s, value, gfn, block, VMMU_CAUSE_PREFETCH);
}

/* An upper entry: linked at once if the table below is there, and held. */
static void follow_table(struct sync *y, unsigned index, uint64_t gpte)
{
	const struct vmmu_guest_format *f = y->mode->format;
	struct vmmu_shadow *s = y->s, *child;
	struct vmmu_visit v;

	vmmu_shadow_drop(y->x, s, index, VMMU_CAUSE_SYNC);
	if (!vmmu_guest_is_accessed(f, gpte) || vmmu_guest_is_bad(y->mode, s->role.level, false, gpte, vmmu_guest_rights(y->mode, gpte)) ||
	    (s->role.level <= y->mode->huge_level_max && (gpte & f->huge)))
		return;
	child = vmmu_shadow_find(
		vmmu_shadow_map_of(y->x.op), (gpte & y->mode->address) >> VMMU_PAGE_SHIFT,
		vmmu_shadow_role_below(s, index, s->role.access & vmmu_guest_rights(y->mode, gpte)));
	if (!child || child->state != VMMU_SHADOW_CURRENT)
		return;
	tell_of(y, index, gpte, 0);
	v = vmmu_shadow_entry(y->x.op, s, index);
	vmmu_shadow_link(&v, s, child, vmmu_make_table(&y->x.op->map->layout, child->table.hpa),
	                 VMMU_CAUSE_PREFETCH);
}

/* ---- neighbours ------------------------------------------------------------------------- */

/*
 * Entries around the one that faulted that are filled with it; powers of two. Each costs a
 * tenth of a fault of its own, so that one in ten must be wanted. Where a guest goes on from what
 * it has, most of what follows is. Where it begins, nothing is known.
 */
enum { NEAR = 16,
       GOING_ON = 64 };

struct vmmu_neighbours vmmu_shadow_neighbours(const struct vmmu_op *op, const struct vmmu_shadow *s, unsigned index)
{
	unsigned first = index & ~(NEAR - 1u), end = first + NEAR;

	if ((first && vmmu_entry_read(op->tables, s->table.hpa, first - 1)) ||
	    (end < VMMU_ENTRIES && vmmu_entry_read(op->tables, s->table.hpa, end))) {
		first = index & ~(GOING_ON - 1u);
		end = first + GOING_ON;
	}
	return (struct vmmu_neighbours){first, end};
}

/* ---- a table ---------------------------------------------------------------------------- */

/* The guest's word for the entry at `index`; where it cannot be read just now, the word that it was. */
static uint64_t guest_entry(struct sync *y, unsigned index)
{
	const struct vmmu_host *host = y->x.op->tables->host;
	unsigned offset = vmmu_shadow_guest_offset(y->s, index);
	uint64_t value = 0;

	if (y->page && y->s->format->entry_bytes == sizeof(uint32_t))
		return atomic_load_explicit((const _Atomic uint32_t *)((const char *)y->page + offset),
		                            memory_order_relaxed);
	if (y->page)
		return atomic_load_explicit((const _Atomic uint64_t *)((const char *)y->page + offset),
		                            memory_order_relaxed);
	switch (host->guest_read(y->x.op->tables->ctx,
	                         vmmu_gpa_of((y->s->gfn << VMMU_PAGE_SHIFT) + offset),
	                         y->s->format->entry_bytes, &value)) {
	case VMMU_GUEST_READ_OK:
		return vmmu_guest_word(y->s->format, value);
	case VMMU_GUEST_READ_NONE:
		return 0;
	default:
		y->busy = true;
		return y->s->was[index];
	}
}

static void follow(struct sync *y, unsigned index, uint64_t gpte)
{
	y->s->was[index] = gpte;
	if (y->s->role.level == VMMU_LEVEL_4K)
		follow_leaf(y, index, gpte);
	else
		follow_table(y, index, gpte);
}

static struct sync start(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	const struct vmmu_host *host = x.op->tables->host;

	return (struct sync){
		.vcpu = vcpu,
		.x = x,
		.s = s,
		.mode = vmmu_shadow_vcpu_of(vcpu)->reads,
		.page = host->guest_page
	                        ? host->guest_page(x.op->tables->ctx, vmmu_gpa_of(s->gfn << VMMU_PAGE_SHIFT))
	                        : NULL,
	};
}

/* So many words are compared at a glance. */
enum { GLANCE = 8 };

static inline bool is_alike(const _Atomic uint64_t *now, const uint64_t *was)
{
	uint64_t differ = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < GLANCE; i++)
		differ |= atomic_load_explicit(&now[i], memory_order_relaxed) ^ was[i];
	return !differ;
}

/* The first entry from `index` on that the guest has changed since. This is what a sync does most. */
static unsigned next_changed(struct sync *y, unsigned index)
{
	const _Atomic uint64_t *now = y->s->format->entry_bytes == sizeof(*now) ? y->page : NULL;
	const uint64_t *was = y->s->was;

	for (; index < VMMU_ENTRIES; index++) {
		while (now && index % GLANCE == 0 && is_alike(&now[index], &was[index])) {
			index += GLANCE;
			if (index == VMMU_ENTRIES)
				return index;
		}
		if ((now ? atomic_load_explicit(&now[index], memory_order_relaxed) : guest_entry(y, index)) != was[index])
			return index;
	}
	return index;
}

/* So few changes that emulating the writes would have cost no more exits. */
enum { FEW = 2 };

/* A handler that announced itself does not show how the next write will be. */
static void note_parking(struct vmmu_shadow_history *h, unsigned changed)
{
	if (h->announced && changed)
		h->singles = changed > 1 ? 0 : h->singles + (h->singles < UINT16_MAX);
	if (!h->announced)
		h->worth = !changed         ? VMMU_PARKED_IN_VAIN
		           : changed <= FEW ? VMMU_PARKED_FOR_LITTLE
		                            : VMMU_PARKED_FOR_MUCH;
	else if (h->worth == VMMU_PARKED_IN_VAIN)
		h->worth = VMMU_PARKED_FOR_LITTLE;
	else if (h->worth == VMMU_PARKED_NEVER)
		h->worth = VMMU_PARKED_FOR_MUCH;
}

bool vmmu_shadow_sync(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	struct sync y = start(vcpu, x, s);
	unsigned changed = 0;

	for (unsigned i = next_changed(&y, 0); i < VMMU_ENTRIES; i = next_changed(&y, i + 1)) {
		changed++;
		follow(&y, i, guest_entry(&y, i));
	}
	/* It is compared anew. Out of reach it stays as it is; a root is in use, and may hold nothing until then. */
	if (y.busy) {
		if (s->pins)
			vmmu_shadow_empty(x, s, VMMU_CAUSE_SYNC);
		return false;
	}
	note_parking(&s->history, changed);
	s->history.synced = vmmu_shadow_map_of(x.op)->faults;
	s->state = VMMU_SHADOW_CURRENT;
	return true;
}

void vmmu_shadow_prefetch(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s,
                          unsigned first, unsigned end)
{
	struct sync y = start(vcpu, x, s);

	/* Nothing may follow from a frame that the host is taking back. */
	if (vmmu_is_invalidating(&vcpu->vm->memory, s->gfn, s->gfn + 1))
		return;
	for (unsigned i = first; i < end; i++) {
		uint64_t gpte;

		if (vmmu_entry_read(x.op->tables, s->table.hpa, i))
			continue;
		gpte = guest_entry(&y, i);
		if (y.busy)
			return;
		follow(&y, i, gpte);
	}
}
