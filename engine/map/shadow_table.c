/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: found by frame and role, made, held against writes, taken down. */
#include "map/shadow.h"

/* ---- finding ------------------------------------------------------------------- */

static unsigned bucket_of(uint64_t gfn)
{
	return (gfn ^ gfn >> 10) % VMMU_SHADOW_BUCKETS;
}

static unsigned held_bucket_of(uint64_t gfn)
{
	return bucket_of(gfn / VMMU_ENTRIES);
}

/* Does it stand for the contents of a guest frame? */
static bool holds_frame(const struct vmmu_shadow *s)
{
	return !s->role.direct && !s->role.registers;
}

struct vmmu_shadow *vmmu_shadow_find(const struct vmmu_shadows *all, uint64_t gfn, union vmmu_role role)
{
	struct vmmu_shadow *s = all->bucket[bucket_of(gfn)];

	while (s && !(s->gfn == gfn && s->role.word == role.word))
		s = s->bucket_next;
	return s;
}

struct vmmu_shadow *vmmu_shadow_next(const struct vmmu_shadows *all, const struct vmmu_shadow *after,
                                     uint64_t gfn)
{
	struct vmmu_shadow *s = NULL;

	if (after)
		s = after->bucket_next;
	else if (all->held[held_bucket_of(gfn)])
		s = all->bucket[bucket_of(gfn)];
	while (s && !(s->gfn == gfn && holds_frame(s)))
		s = s->bucket_next;
	return s;
}

bool vmmu_shadow_holds(const struct vmmu_shadows *all, uint64_t gfn)
{
	return vmmu_shadow_next(all, NULL, gfn) != NULL;
}

bool vmmu_shadow_holds_near(const struct vmmu_shadows *all, uint64_t gfn)
{
	uint64_t first = gfn / VMMU_ENTRIES * VMMU_ENTRIES;

	for (unsigned i = 0; all->held[held_bucket_of(gfn)] && i < VMMU_ENTRIES; i++)
		if (vmmu_shadow_holds(all, first + i))
			return true;
	return false;
}

/* ---- entries -------------------------------------------------------------------- */

/* Nobody else writes entries meanwhile, and the CPU finds A and D set: this cannot fail. */
static void write_entry(struct vmmu_visit *v, uint64_t value, enum vmmu_cause cause)
{
	while (!vmmu_entry_write(v, value, cause))
		continue;
}

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
	write_entry(v, value, cause);
	hang(v, s, child->gfn, &child->parents);
}

void vmmu_shadow_map(struct vmmu_visit *v, struct vmmu_shadow *s, uint64_t value, uint64_t gfn,
                     struct vmmu_block *block, enum vmmu_cause cause)
{
	v->gfn.v = gfn;
	write_entry(v, value, cause);
	hang(v, s, gfn, v->level == VMMU_LEVEL_4K ? &block->page[gfn % VMMU_ENTRIES] : &block->huge);
}

void vmmu_shadow_drop(struct vmmu_op *op, struct vmmu_shadow *s, unsigned index,
                      enum vmmu_cause cause)
{
	struct vmmu_visit v = vmmu_shadow_entry(op, s, index);

	if (!v.entry)
		return;
	write_entry(&v, 0, cause);
	vmmu_link_unhang(&s->link[index]);
}

/* ---- holding frames ----------------------------------------------------------------- */

static void take_write(struct vmmu_op *op, struct vmmu_link *link, bool forbid)
{
	const struct vmmu_layout *l = &op->tables->layout;
	struct vmmu_visit v = vmmu_shadow_entry(op, vmmu_shadow_of(link), vmmu_link_index(link));
	uint64_t value = vmmu_revoke_write(l, v.entry);

	if (forbid)
		value &= ~l->soft_writable;
	if (value != v.entry)
		write_entry(&v, value, VMMU_CAUSE_PROTECT);
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
		write_entry(&v, value, VMMU_CAUSE_PROTECT);
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

/* ---- making ----------------------------------------------------------------------------- */

static void insert(struct vmmu_shadows *all, struct vmmu_shadow *s)
{
	struct vmmu_shadow **bucket = &all->bucket[bucket_of(s->gfn)];

	s->bucket_next = *bucket;
	*bucket = s;
	s->older = all->newest;
	s->newer = NULL;
	*(all->newest ? &all->newest->newer : &all->oldest) = s;
	all->newest = s;
	all->count++;
	if (holds_frame(s))
		all->held[held_bucket_of(s->gfn)]++;
}

static void take_out(struct vmmu_shadows *all, struct vmmu_shadow *s)
{
	struct vmmu_shadow **at = &all->bucket[bucket_of(s->gfn)];

	while (*at != s)
		at = &(*at)->bucket_next;
	*at = s->bucket_next;
	*(s->older ? &s->older->newer : &all->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &all->newest) = s->older;
	all->count--;
	if (holds_frame(s))
		all->held[held_bucket_of(s->gfn)]--;
}

struct vmmu_shadow *vmmu_shadow_make(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn,
                                     union vmmu_role role)
{
	struct vmmu_shadow *s =
		(struct vmmu_shadow *)vmmu_table_take(op, role.level, vmmu_gfn_of(gfn));

	s->role = role;
	s->gfn = gfn;
	s->parents = NULL;
	s->pins = 0;
	s->writes = 0;
	vmmu_table_publish(op, &s->table);
	insert(vm->shadow, s);
	/* From now on no W is given on this frame; then take back what has been given. */
	if (holds_frame(s))
		vmmu_shadow_protect(vm, op, gfn, true);
	return s;
}

/* ---- taking down ------------------------------------------------------------------------- */

void vmmu_shadow_retire(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_shadow *s,
                        enum vmmu_cause cause)
{
	/* A root's top entries stay: CPUs hold them in registers (SDM vol. 3, 4.4.1). */
	for (unsigned i = 0; i < VMMU_ENTRIES && !(s->role.registers && s->pins); i++)
		vmmu_shadow_drop(op, s, i, cause);
	if (s->pins)
		return;
	while (s->parents)
		vmmu_shadow_drop(op, vmmu_shadow_of(s->parents), vmmu_link_index(s->parents), cause);
	take_out(vm->shadow, s);
	vmmu_owe_all(op, cause);
	vmmu_table_retire_one(op, &s->table, cause);
}

void vmmu_shadow_reclaim(struct vmmu_vm *vm, struct vmmu_op *op, unsigned room)
{
	struct vmmu_shadows *all = vm->shadow;
	struct vmmu_shadow *s = all->oldest;

	while (s && all->count + room > all->limit) {
		struct vmmu_shadow *newer = s->newer;

		if (!s->pins)
			vmmu_shadow_retire(vm, op, s, VMMU_CAUSE_RECLAIM);
		s = newer;
	}
}
