/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may write a guest table: its guest, or nobody while a shadow table for it
 * can be reached. The change from one to the other is made here.
 */
#include "map/shadow/shadow.h"

/* ---- taking W away ------------------------------------------------------------------ */

static void take_write(struct vmmu_op *op, struct vmmu_link *link, bool forbid)
{
	const struct vmmu_layout *l = &op->tables->layout;
	struct vmmu_visit v = vmmu_shadow_entry(op, vmmu_shadow_of(link), vmmu_link_index(link));
	uint64_t value = vmmu_revoke_write(l, v.entry);

	if (forbid)
		value &= ~l->soft_writable;
	if (value != v.entry)
		vmmu_shadow_write(&v, value, VMMU_CAUSE_PROTECT);
}

/* The same in the direct map, for vCPUs that run without paging. A large leaf goes as a whole. */
static void take_write_direct(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn, bool forbid)
{
	const struct vmmu_layout *l = &op->tables->layout;
	struct vmmu_visit v;
	uint64_t value;

	if (gfn >= vmmu_level_pages(vm->root->level + 1u))
		return;
	v = vmmu_look(op, vmmu_root_of(vm), gfn);
	if (!vmmu_is_leaf(l, v.level, v.entry))
		return;
	value = vmmu_revoke_write(l, v.entry);
	if (forbid)
		value &= ~l->soft_writable;
	if (v.level > VMMU_LEVEL_4K)
		value = 0;
	if (value != v.entry)
		vmmu_shadow_write(&v, value, VMMU_CAUSE_PROTECT);
}

void vmmu_shadow_protect(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn, bool forbid)
{
	struct vmmu_block *block = vmmu_block_of(&vm->shadow->frames, gfn);

	if (block) {
		for (struct vmmu_link *link = block->page[gfn % VMMU_ENTRIES]; link; link = link->next)
			take_write(op, link, forbid);
		while (block->huge)
			vmmu_shadow_drop(op, vmmu_shadow_of(block->huge), vmmu_link_index(block->huge),
			                 VMMU_CAUSE_PROTECT);
	}
	take_write_direct(vm, op, gfn, forbid);
}

/* ---- giving it back ------------------------------------------------------------------ */

static void give_write(struct vmmu_visit *v, unsigned level)
{
	const struct vmmu_layout *l = &v->op->tables->layout;

	if (v->level == level && (v->entry & l->format->soft_map_writable) && !(v->entry & l->format->write))
		vmmu_shadow_write(v, vmmu_grant_write(l, v->entry), VMMU_CAUSE_PERMISSION);
}

/* More than a page has in practice. What is left out costs a fault each, if it is written. */
enum { ALIASES = 64 };

/* What only the hold had withheld. A log has still to see the first write. */
static void allow(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn)
{
	struct vmmu_block *block = vmmu_block_of(&vm->shadow->frames, gfn);
	const struct vmmu_slot *slot = vmmu_slot_at(&vm->memory, gfn);
	unsigned left = ALIASES;
	struct vmmu_visit v;

	if (!slot || slot->dirty)
		return;
	for (struct vmmu_link *link = block ? block->page[gfn % VMMU_ENTRIES] : NULL; link && left--;
	     link = link->next) {
		v = vmmu_shadow_entry(op, vmmu_shadow_of(link), vmmu_link_index(link));
		give_write(&v, VMMU_LEVEL_4K);
	}
	if (gfn < vmmu_level_pages(vm->root->level + 1u)) {
		v = vmmu_look(op, vmmu_root_of(vm), gfn);
		give_write(&v, VMMU_LEVEL_4K);
	}
}

/* ---- both ways ------------------------------------------------------------------------ */

void vmmu_shadow_hold(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_shadow *s)
{
	if (!s->parked)
		return;
	s->parked = false;
	/* From now on no W is given on this frame; then take back what has been given. */
	vmmu_shadow_count_held(vm->shadow, s, 1);
	if (vmmu_shadow_stands_for_frame(s))
		vmmu_shadow_protect(vm, op, s->gfn, false);
	vmmu_shadow_make_newest(vm->shadow, s);
}

/* Is it the one table that is held for its frame? */
static bool is_held_alone(const struct vmmu_shadows *all, const struct vmmu_shadow *s)
{
	return vmmu_shadow_next(all, NULL, s->gfn) == s && !vmmu_shadow_next(all, s, s->gfn);
}

/*
 * The table above one that is written, if it serves this one alone: an address
 * space that is taken down is so from the bottom up, and one that grows is
 * entered through it again in any case. NULL: it has other uses.
 */
static struct vmmu_shadow *only_parent(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_shadow *s)
{
	struct vmmu_shadow *parent;

	if (s->role.level == VMMU_LEVEL_4K || !s->parents || s->parents->next)
		return NULL;
	parent = vmmu_shadow_of(s->parents);
	if (parent->role.registers || (parent->parents && parent->parents->next) ||
	    !is_held_alone(vm->shadow, parent))
		return NULL;
	return vmmu_shadow_unpin(vm, op, parent) ? parent : NULL;
}

static void park(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_shadow *s, bool announced)
{
	while (s->parents)
		vmmu_shadow_drop(op, vmmu_shadow_of(s->parents), vmmu_link_index(s->parents),
		                 VMMU_CAUSE_GUEST_WRITE);
	s->parked = true;
	s->stale = true;
	s->announced = announced;
	vmmu_shadow_count_held(vm->shadow, s, -1);
	/* It may serve another purpose by now: the first to go when tables are short. */
	vmmu_shadow_make_oldest(vm->shadow, s);
}

bool vmmu_shadow_park(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn, bool announced)
{
	if (!vmmu_shadow_holds(vm->shadow, gfn))
		return true;
	for (struct vmmu_shadow *s = vmmu_shadow_next(vm->shadow, NULL, gfn); s;
	     s = vmmu_shadow_next(vm->shadow, s, gfn))
		if (!vmmu_shadow_unpin(vm, op, s))
			return false;
	for (struct vmmu_shadow *s = vmmu_shadow_next(vm->shadow, NULL, gfn); s;
	     s = vmmu_shadow_next(vm->shadow, s, gfn)) {
		struct vmmu_shadow *above = only_parent(vm, op, s);

		park(vm, op, s, announced);
		/* Level by level, whatever the guest has made of its tables: each is above the last. */
		while (above) {
			struct vmmu_shadow *parent = above;

			above = only_parent(vm, op, parent);
			park(vm, op, parent, true);
			allow(vm, op, parent->gfn);
		}
	}
	allow(vm, op, gfn);
	return true;
}

/* Faults within which a table that was parked for little is not parked again. */
enum { SOON = 4 };

/*
 * Parking costs two exits: this one, and one when the table is needed again.
 * Emulating costs one a write. Where the last parking was for little, and only
 * just, a write is emulated first. Where it found nothing written at all, that is
 * so at any distance: an instruction may need the table in order to write it, and
 * would be in a quarrel with itself.
 */
static bool is_worth_parking(const struct vmmu_shadows *all, const struct vmmu_shadow *s)
{
	if (s->writes >= 1)
		return true;
	return !s->vain && (!s->single || all->faults - s->synced > SOON);
}

bool vmmu_shadow_is_worth_parking(const struct vmmu_shadows *all, uint64_t gfn)
{
	for (struct vmmu_shadow *s = vmmu_shadow_next(all, NULL, gfn); s;
	     s = vmmu_shadow_next(all, s, gfn))
		if (!is_worth_parking(all, s))
			return false;
	return true;
}
