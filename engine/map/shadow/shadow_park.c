/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables parked: out of the reach of CPUs, so that the guest may write what they
 * stand for. When is that worth it?
 */
#include "map/shadow/shadow.h"

/* ---- giving it back ------------------------------------------------------------------ */

/* More than a page has in practice. What is left out costs a fault each, if it is written. */
enum { ALIASES = 64 };

/* What only the hold had withheld. A log has still to see the first write. */
static void allow(struct vmmu_exclusive x, uint64_t gfn)
{
	struct vmmu_block *block = vmmu_block_of(&vmmu_shadow_map_of(x.op)->frames, gfn);
	const struct vmmu_slot *slot = vmmu_slot_at(&x.op->map->vm->memory, vmmu_reading_exclusive(x), gfn);
	unsigned left = ALIASES;
	struct vmmu_visit v;

	if (!slot || slot->dirty)
		return;
	for (struct vmmu_link *link = block ? block->page[gfn % VMMU_ENTRIES] : NULL; link && left--;
	     link = link->next) {
		v = vmmu_shadow_entry(x.op, vmmu_shadow_of(link), vmmu_link_index(link));
		vmmu_shadow_give_write(&v);
	}
	vmmu_unpaged_allow(x, block, gfn);
}

/* ---- parking  ------------------------------------------------------------------------ */

/* Is it the one table that is held for its frame? */
static bool is_held_alone(const struct vmmu_shadow_map *all, const struct vmmu_shadow *s)
{
	return vmmu_shadow_next(all, NULL, s->gfn) == s && !vmmu_shadow_next(all, s, s->gfn);
}

/*
 * The table above one that is written, if it serves this one alone: an address
 * space that is taken down is so from the bottom up, and one that grows is
 * entered through it again in any case. NULL: it has other uses.
 */
static struct vmmu_shadow *only_parent(struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	struct vmmu_shadow *parent;

	if (s->role.level == VMMU_LEVEL_4K || !s->parents || s->parents->next)
		return NULL;
	parent = vmmu_shadow_of(s->parents);
	if (parent->role.registers || (parent->parents && parent->parents->next) ||
	    !is_held_alone(vmmu_shadow_map_of(x.op), parent))
		return NULL;
	return vmmu_shadow_unpin(x, parent) ? parent : NULL;
}

static void park(struct vmmu_exclusive x, struct vmmu_shadow *s, bool announced)
{
	while (s->parents)
		vmmu_shadow_drop(x, vmmu_shadow_of(s->parents), vmmu_link_index(s->parents),
		                 VMMU_CAUSE_GUEST_WRITE);
	s->state = VMMU_SHADOW_PARKED;
	s->history.announced = announced;
	/* The handler has written a second word, or more is written than it alone would. */
	if (!announced && s->history.handler == VMMU_WRITE_CAME)
		vmmu_shadow_note_mistake(x, s);
	s->history.handler = VMMU_WRITE_NOT_AWAITED;
	vmmu_shadow_count_held(vmmu_shadow_map_of(x.op), s, -1);
	/* The guest may use the frame otherwise by now. So the table goes first when tables are short. */
	vmmu_shadow_make_oldest(vmmu_shadow_map_of(x.op), s);
}

bool vmmu_shadow_park(struct vmmu_exclusive x, uint64_t gfn, bool announced)
{
	if (!vmmu_shadow_holds(vmmu_shadow_map_of(x.op), gfn))
		return true;
	for (struct vmmu_shadow *s = vmmu_shadow_next(vmmu_shadow_map_of(x.op), NULL, gfn); s;
	     s = vmmu_shadow_next(vmmu_shadow_map_of(x.op), s, gfn))
		if (!vmmu_shadow_unpin(x, s))
			return false;
	for (struct vmmu_shadow *s = vmmu_shadow_next(vmmu_shadow_map_of(x.op), NULL, gfn); s;
	     s = vmmu_shadow_next(vmmu_shadow_map_of(x.op), s, gfn)) {
		struct vmmu_shadow *above = only_parent(x, s);

		park(x, s, announced);
		/* Level by level, whatever the guest has made of its tables: each is above the last. */
		while (above) {
			struct vmmu_shadow *parent = above;

			above = only_parent(x, parent);
			park(x, parent, true);
			allow(x, parent->gfn);
		}
	}
	allow(x, gfn);
	return true;
}

bool vmmu_shadow_release(struct vmmu_exclusive x, uint64_t gfn)
{
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);

	/* It has been offered the write, and has not emulated it. */
	for (struct vmmu_shadow *s = vmmu_shadow_next(all, NULL, gfn); s; s = vmmu_shadow_next(all, s, gfn))
		s->history.released |= s->history.handler == VMMU_WRITE_AWAITED;
	return vmmu_shadow_park(x, gfn, false);
}

/* ---- the guest's own #PF ---------------------------------------------------------------- */

/*
 * A handler that writes one word is better emulated: the entry is made with it, so that the
 * access does not fault again, and nothing is flushed and compared. But if the handler writes
 * two, the table must be parked all the same, and there are two exits more. So a table's
 * handlers must have written one word each, several times in a row.
 *
 * How often, the map learns from all of its tables, as the guest's kernel is the same: SINGLES
 * at first, and twice as often for each DOUBT. Many a kernel clears a present entry before it
 * changes it, so there is some doubt from the beginning.
 */
enum { SINGLES = 2,
       DOUBT = 8, /* that a mistake adds; what comes as expected takes 1 */
       DOUBT_OF_CHANGES = 3 * DOUBT,
       DOUBT_MAX = 12 * DOUBT };

void vmmu_shadow_doubt(struct vmmu_shadow_map *all)
{
	all->doubt[true] = DOUBT_OF_CHANGES;
}

void vmmu_shadow_note_mistake(struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	uint8_t *doubt = &vmmu_shadow_map_of(x.op)->doubt[s->history.changes];

	s->history.handler = VMMU_WRITE_NOT_AWAITED;
	s->history.singles = 0;
	*doubt += *doubt < DOUBT_MAX ? DOUBT : 0;
}

static bool will_write_one_word(const struct vmmu_shadow_map *all, const struct vmmu_announced *a)
{
	unsigned singles = SINGLES << all->doubt[a->changes] / DOUBT;

	for (struct vmmu_shadow *s = vmmu_shadow_next(all, NULL, a->gfn); s; s = vmmu_shadow_next(all, s, a->gfn))
		if (s->history.singles < singles || s->history.released)
			return false;
	return true;
}

static void await_write(struct vmmu_shadow_map *all, const struct vmmu_announced *a)
{
	for (struct vmmu_shadow *s = vmmu_shadow_next(all, NULL, a->gfn); s; s = vmmu_shadow_next(all, s, a->gfn)) {
		struct vmmu_shadow_history *h = &s->history;

		/* The last one came as expected. */
		if (h->handler == VMMU_WRITE_CAME && all->doubt[h->changes])
			all->doubt[h->changes]--;
		h->handler = VMMU_WRITE_AWAITED;
		h->changes = a->changes;
		h->at = (uint16_t)a->at;
		h->writes = 0;
	}
}

bool vmmu_shadow_announce(struct vmmu_exclusive x, struct vmmu_announced a)
{
	struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);

	if (!vmmu_shadow_holds(all, a.gfn))
		return true;
	if (a.park || !will_write_one_word(all, &a))
		return vmmu_shadow_park(x, a.gfn, true);
	await_write(all, &a);
	return false;
}

/* ---- a guest CPU writes ------------------------------------------------------------------ */

/* Faults within which a table that was parked for little is not parked again. */
enum { SOON = 4 };

/*
 * Parking costs two exits: this one, and one when the table is needed again.
 * Emulating costs one exit for each write. A write is emulated first if the last
 * parking was for little and not long ago. It is also emulated, however long ago that
 * was, if the last parking was in vain: an instruction may need the table in order to
 * write it, and would never finish. And it is emulated if a fault has announced it as one that
 * comes alone.
 */
static bool is_worth_parking(const struct vmmu_shadow_map *all, const struct vmmu_shadow *s)
{
	const struct vmmu_shadow_history *h = &s->history;

	if (h->writes >= 1)
		return true;
	if (h->handler == VMMU_WRITE_AWAITED)
		return false;
	switch (h->worth) {
	case VMMU_PARKED_IN_VAIN:
		return false;
	case VMMU_PARKED_FOR_LITTLE:
		return all->faults - h->synced > SOON;
	default:
		return true;
	}
}

bool vmmu_shadow_is_worth_parking(const struct vmmu_shadow_map *all, uint64_t gfn)
{
	for (struct vmmu_shadow *s = vmmu_shadow_next(all, NULL, gfn); s;
	     s = vmmu_shadow_next(all, s, gfn))
		if (!is_worth_parking(all, s))
			return false;
	return true;
}
