/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: found by frame and role, their entries, their age; one comes and one goes. */
#include "map/shadow/shadow.h"

/* ---- finding ------------------------------------------------------------------- */

static unsigned shadow_bucket_of(uint64_t gfn)
{
	return (gfn ^ gfn >> 10) % VMMU_SHADOW_BUCKETS;
}

static unsigned held_bucket_of(uint64_t gfn)
{
	return shadow_bucket_of(gfn / VMMU_ENTRIES);
}

struct vmmu_shadow *vmmu_shadow_find(const struct vmmu_shadow_map *all, uint64_t gfn, union vmmu_role role)
{
	struct vmmu_shadow *s = all->bucket[shadow_bucket_of(gfn)];

	while (s && !(s->gfn == gfn && s->role.word == role.word))
		s = s->bucket_next;
	return s;
}

struct vmmu_shadow *vmmu_shadow_at(const struct vmmu_shadow_map *all, const struct vmmu_shadow *after, uint64_t gfn)
{
	struct vmmu_shadow *s = after ? after->bucket_next : all->bucket[shadow_bucket_of(gfn)];

	while (s && !(s->gfn == gfn && vmmu_shadow_stands_for_frame(s)))
		s = s->bucket_next;
	return s;
}

struct vmmu_shadow *vmmu_shadow_next(const struct vmmu_shadow_map *all, const struct vmmu_shadow *after,
                                     uint64_t gfn)
{
	struct vmmu_shadow *s = NULL;

	if (after)
		s = after->bucket_next;
	else if (all->held[held_bucket_of(gfn)])
		s = all->bucket[shadow_bucket_of(gfn)];
	while (s && !(s->gfn == gfn && vmmu_shadow_stands_for_frame(s) && s->state != VMMU_SHADOW_PARKED))
		s = s->bucket_next;
	return s;
}

void vmmu_shadow_count_held(struct vmmu_shadow_map *all, const struct vmmu_shadow *s, int by)
{
	if (vmmu_shadow_stands_for_frame(s))
		all->held[held_bucket_of(s->gfn)] += (uint32_t)by;
}

bool vmmu_shadow_holds(const struct vmmu_shadow_map *all, uint64_t gfn)
{
	return vmmu_shadow_next(all, NULL, gfn) != NULL;
}

bool vmmu_shadow_may_hold_near(const struct vmmu_shadow_map *all, uint64_t gfn)
{
	return all->held[held_bucket_of(gfn)];
}

bool vmmu_shadow_holds_near(const struct vmmu_shadow_map *all, uint64_t gfn)
{
	uint64_t first = gfn / VMMU_ENTRIES * VMMU_ENTRIES;

	for (unsigned i = 0; vmmu_shadow_may_hold_near(all, gfn) && i < VMMU_ENTRIES; i++)
		if (vmmu_shadow_holds(all, first + i))
			return true;
	return false;
}

/* ---- entries -------------------------------------------------------------------- */

static void hang(struct vmmu_visit *v, struct vmmu_shadow *s, uint64_t gfn, struct vmmu_link **head)
{
	struct vmmu_link *link = &s->link[v->index];

	link->place = gfn * VMMU_ENTRIES + v->index;
	vmmu_link_hang(link, head);
}

void vmmu_shadow_link(struct vmmu_visit *v, struct vmmu_shadow *s, struct vmmu_shadow *child,
                      uint64_t value, enum vmmu_cause cause)
{
	v->gfn.v = child->gfn;
	vmmu_shadow_write(v, value, cause);
	hang(v, s, child->gfn, &child->parents);
}

void vmmu_shadow_map_leaf(struct vmmu_visit *v, struct vmmu_shadow *s, uint64_t value, uint64_t gfn,
                          struct vmmu_block *block, enum vmmu_cause cause)
{
	v->gfn.v = gfn;
	vmmu_shadow_write(v, value, cause);
	hang(v, s, gfn, v->level == VMMU_LEVEL_4K ? &block->page[gfn % VMMU_ENTRIES] : &block->huge);
}

void vmmu_shadow_map_leaves(struct vmmu_exclusive x, struct vmmu_shadow *s, const uint64_t *values, unsigned first,
                            unsigned count, struct vmmu_block *block, enum vmmu_cause cause)
{
	struct vmmu_leaves leaves = {
		.table = s->table.hpa,
		.gfn = vmmu_gfn_of(s->gfn),
		.first = first,
		.count = count,
		.values = values,
		.pass = true,
	};
	struct vmmu_visit v = {.op = x.op};
	unsigned written, done = vmmu_leaves_fill(x.op, vmmu_inside_of(x), &leaves, cause, &written);

	for (unsigned i = first; written && i < first + done; i++) {
		if (s->link[i].at)
			continue;
		v.index = (uint16_t)i;
		hang(&v, s, s->gfn + i, &block->page[(s->gfn + i) % VMMU_ENTRIES]);
	}
}

void vmmu_shadow_drop(struct vmmu_exclusive x, struct vmmu_shadow *s, unsigned index,
                      enum vmmu_cause cause)
{
	struct vmmu_visit v = vmmu_shadow_entry(x.op, s, index);

	if (!v.entry)
		return;
	if (v.level > VMMU_LEVEL_4K)
		vmmu_shadow_map_of(x.op)->cuts++;
	vmmu_shadow_write(&v, 0, cause);
	vmmu_link_unhang(&s->link[index]);
}

/* ---- the list by age ------------------------------------------------------------------ */

static void unlist(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	*(s->older ? &s->older->newer : &all->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &all->newest) = s->older;
}

static void list_newest(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	s->older = all->newest;
	s->newer = NULL;
	*(all->newest ? &all->newest->newer : &all->oldest) = s;
	all->newest = s;
}

static void list_oldest(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	s->older = NULL;
	s->newer = all->oldest;
	*(all->oldest ? &all->oldest->older : &all->newest) = s;
	all->oldest = s;
}

void vmmu_shadow_make_newest(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	unlist(all, s);
	list_newest(all, s);
}

void vmmu_shadow_make_oldest(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	unlist(all, s);
	list_oldest(all, s);
}

/* ---- making ----------------------------------------------------------------------------- */

static void insert(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	struct vmmu_shadow **bucket = &all->bucket[shadow_bucket_of(s->gfn)];

	s->bucket_next = *bucket;
	*bucket = s;
	list_newest(all, s);
	all->count++;
}

static void take_out(struct vmmu_shadow_map *all, struct vmmu_shadow *s)
{
	struct vmmu_shadow **at = &all->bucket[shadow_bucket_of(s->gfn)];

	while (*at != s)
		at = &(*at)->bucket_next;
	*at = s->bucket_next;
	unlist(all, s);
	all->count--;
	if (s->state != VMMU_SHADOW_PARKED)
		vmmu_shadow_count_held(all, s, -1);
}

struct vmmu_shadow *vmmu_shadow_new(struct vmmu_exclusive x, uint64_t gfn, union vmmu_role role)
{
	struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);
	vmmu_gfn at = vmmu_gfn_of(gfn);
	struct vmmu_shadow *s;

	s = (struct vmmu_shadow *)(role.registers && all->kind->low_top ? vmmu_table_take_low(x.op, role.level, at)
	                                                                : vmmu_table_take(x.op, role.level, at));
	s->role = role;
	s->gfn = gfn;
	s->parents = NULL;
	s->pins = 0;
	s->format = vmmu_guest_format_of(role.format);
	s->state = VMMU_SHADOW_PARKED;
	s->filled = VMMU_FILLED_NONE;
	s->placed = 0;
	s->history = (struct vmmu_shadow_history){.worth = VMMU_PARKED_NEVER, .announced = true};
	vmmu_table_publish(x.op, &s->table);
	insert(all, s);
	return s;
}

/* ---- taking down ------------------------------------------------------------------------- */

void vmmu_shadow_empty(struct vmmu_exclusive x, struct vmmu_shadow *s, enum vmmu_cause cause)
{
	for (unsigned i = 0; i < VMMU_ENTRIES; i++) {
		vmmu_shadow_drop(x, s, i, cause);
		s->was[i] = 0;
	}
}

void vmmu_shadow_retire(struct vmmu_exclusive x, struct vmmu_shadow *s,
                        enum vmmu_cause cause)
{
	/* A root's top entries stay: CPUs hold them in registers (SDM vol. 3, 4.4.1). */
	if (!(s->role.registers && s->pins))
		vmmu_shadow_empty(x, s, cause);
	if (s->pins)
		return;
	while (s->parents)
		vmmu_shadow_drop(x, vmmu_shadow_of(s->parents), vmmu_link_index(s->parents), cause);
	take_out(vmmu_shadow_map_of(x.op), s);
	vmmu_flush_all_needed(x.op, cause);
	vmmu_table_retire_one(x, &s->table, cause);
}
