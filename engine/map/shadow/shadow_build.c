/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under the shadow lock: the missing part of the path to a leaf. Each entry that the
 * walk of the guest's tables went through is read once more, now from a table that no
 * CPU can write. Only what is still the same is built upon.
 */
#include "map/shadow/shadow_build.h"

/* ---- tables on the way ------------------------------------------------------------ */

static bool is_unchanged(struct vmmu_build *b, const struct vmmu_guest_step *step)
{
	const struct vmmu_host *host = b->op->tables->host;
	uint64_t now = 0, gfn = vmmu_gpa_gfn(step->where).v;

	/* While the host takes the table's frame back, nothing may follow from it. */
	return !vmmu_is_invalidating(&b->vcpu->vm->memory, gfn, gfn + 1) &&
	       host->guest_read(b->op->tables->ctx, step->where, b->mode->format->entry_bytes, &now) ==
	               VMMU_GUEST_READ_OK &&
	       vmmu_guest_word(b->mode->format, now) == step->entry;
}

static unsigned index_at(const struct vmmu_build *b, unsigned level)
{
	return b->input >> (VMMU_PAGE_SHIFT + VMMU_INDEX_BITS * (level - 1)) & (VMMU_ENTRIES - 1);
}

/* Is the table's frame memory of the guest's? It was, if no slot has come or gone since. */
static bool is_memory(const struct vmmu_build *b, struct vmmu_shadow *s)
{
	const struct vmmu_memory *memory = &b->vcpu->vm->memory;
	uint64_t generation = atomic_load_explicit(&memory->generation, memory_order_relaxed);

	if (VMMU_LIKELY(s->placed == generation))
		return true;
	if (!vmmu_slot_at(memory, vmmu_reading_exclusive(b->x), s->gfn))
		return false;
	s->placed = generation;
	return true;
}

/* Held and like the guest's. False: its frame may be written until a flush is done, or is gone. */
static bool make_ready(struct vmmu_build *b, struct vmmu_shadow *s)
{
	if (vmmu_shadow_stands_for_frame(s) && !is_memory(b, s))
		return false;
	vmmu_shadow_hold(b->x, s);
	if (b->op->flush.pending)
		return false;
	/* Then parking costs no second exit. */
	if (b->for_switch) {
		s->history.announced = true;
		if (s->history.worth != VMMU_PARKED_NEVER)
			s->history.worth = VMMU_PARKED_FOR_MUCH;
	}
	if (s->state == VMMU_SHADOW_CURRENT)
		return true;
	if (vmmu_is_invalidating(&b->vcpu->vm->memory, s->gfn, s->gfn + 1))
		return false;
	b->woken |= s->history.worth != VMMU_PARKED_NEVER;
	return vmmu_shadow_sync(b->vcpu, b->x, s);
}

/*
 * The table below the entry of `s` that the guest's word `gpte` is for; NULL:
 * something had to go first.
 */
static struct vmmu_shadow *child_of(struct vmmu_build *b, struct vmmu_shadow *s, uint64_t gpte, uint64_t gfn,
                                    union vmmu_role role)
{
	const struct vmmu_layout *l = &b->op->map->layout;
	struct vmmu_visit v = vmmu_shadow_entry(b->op, s, index_at(b, s->role.level));
	struct vmmu_shadow *child = vmmu_shadow_find(vmmu_shadow_map_of(b->op), gfn, role);

	if (child && v.entry == vmmu_make_table(l, child->table.hpa)) {
		s->was[v.index] = gpte;
		return child;
	}
	vmmu_shadow_drop(b->x, s, v.index, VMMU_CAUSE_REMAP);
	if (!child)
		child = vmmu_shadow_make(b->x, gfn, role);
	if (!make_ready(b, child))
		return NULL;
	v = vmmu_shadow_entry(b->op, s, v.index);
	vmmu_shadow_link(&v, s, child, vmmu_make_table(l, child->table.hpa), b->op->cause);
	s->was[v.index] = gpte;
	b->linked = true;
	return child;
}

/* The table that holds the entry for the leaf as the guest has it; NULL: again. */
static struct vmmu_shadow *descend(struct vmmu_build *b)
{
	const struct vmmu_root_slot *root = vmmu_shadow_vcpu_of(b->vcpu)->root;
	struct vmmu_shadow *s = root->role.registers ? root->part[b->input >> 30 & 3] : root->top;
	unsigned access = VMMU_PAGE_ALL;
	const struct vmmu_guest_step *step = b->walk.step + b->mode->format->top_in_registers;
	const struct vmmu_guest_step *last = &b->walk.step[b->walk.steps - 1];

	if (!s || !make_ready(b, s))
		return NULL;
	for (;; step++) {
		if (!s || !is_unchanged(b, step))
			return NULL;
		s->history.writes = 0;
		if (step == last)
			return s;
		access &= step->rights;
		s = child_of(b, s, step->entry, (step->entry & b->mode->address) >> VMMU_PAGE_SHIFT,
		             vmmu_shadow_role_below(s, index_at(b, s->role.level), access));
	}
}

/* ---- the way that the CPU goes ----------------------------------------------------- */

/* The same child, if the CPU comes to it; NULL: it does not. */
static struct vmmu_shadow *linked_child(const struct vmmu_build *b, struct vmmu_shadow *s, uint64_t gfn,
                                        union vmmu_role role)
{
	struct vmmu_shadow *child = vmmu_shadow_find(vmmu_shadow_map_of(b->op), gfn, role);
	uint64_t entry = vmmu_entry_read(b->op->tables, s->table.hpa, index_at(b, s->role.level));

	return child && entry == vmmu_make_table(&b->op->map->layout, child->table.hpa) ? child : NULL;
}

/* The table in which the guest's walk ended, as far as the CPU comes to it. */
static struct vmmu_shadow *reached_table(const struct vmmu_build *b)
{
	const struct vmmu_root_slot *root = vmmu_shadow_vcpu_of(b->vcpu)->root;
	struct vmmu_shadow *s = root->role.registers ? root->part[b->input >> 30 & 3] : root->top;
	const struct vmmu_guest_step *step = b->walk.step + b->mode->format->top_in_registers;
	const struct vmmu_guest_step *last = &b->walk.step[b->walk.steps - 1];
	unsigned access = VMMU_PAGE_ALL;

	for (; s && step < last; step++) {
		access &= step->rights;
		s = linked_child(b, s, (step->entry & b->mode->address) >> VMMU_PAGE_SHIFT,
		                 vmmu_shadow_role_below(s, index_at(b, s->role.level), access));
	}
	return s;
}

void vmmu_shadow_note_own_fault(struct vmmu_build *b)
{
	struct vmmu_shadow *s = reached_table(b);

	if (s && s->role.level == VMMU_LEVEL_4K)
		vmmu_shadow_note_way(b->vcpu, b->x, b->input, s);
}

/* ---- the leaf ------------------------------------------------------------------------ */

/* The guest's leaf; 0: it has none. */
static uint64_t own_entry(const struct vmmu_build *b)
{
	return b->walk.steps ? b->walk.step[b->walk.steps - 1].entry : 0;
}

/* What the leaf is to say besides its frame. */
static uint64_t bits_for(struct vmmu_build *b)
{
	uint64_t bits = vmmu_shadow_leaf_bits(b->op, b->mode->format, own_entry(b), b->vcpu->hit.info.flags, b->backing,
	                                      b->rights, b->f->access);

	/* W comes back when the table is parked. */
	return vmmu_shadow_holds(vmmu_shadow_map_of(b->op), b->gfn) ? vmmu_leaf_protected(b->op, bits) : bits;
}

static uint64_t fault_leaf(struct vmmu_build *b, unsigned level)
{
	return vmmu_make_leaf(&b->op->map->layout, level, b->backing.pfn, bits_for(b));
}

static bool grants_write(const struct vmmu_build *b, uint64_t leaf)
{
	return leaf & b->op->map->layout.format->write;
}

/* May `value` take the place of `was` in one step: the same frame, only other rights? */
static bool is_same_page(const struct vmmu_build *b, const struct vmmu_shadow *s, const struct vmmu_visit *v,
                         uint64_t value)
{
	const struct vmmu_layout *l = &b->op->map->layout;

	return vmmu_is_leaf(l, v->level, v->entry) &&
	       vmmu_entry_address(l, v->entry).v == vmmu_entry_address(l, value).v &&
	       vmmu_link_gfn(&s->link[v->index]) == (b->gfn & ~(vmmu_level_pages(v->level) - 1));
}

static struct vmmu_block *block_for(struct vmmu_build *b)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);
	struct vmmu_block *block = vmmu_block_of(&vmmu_shadow_map_of(b->op)->frames, b->gfn);

	if (!block) {
		block = sv->spare;
		sv->spare = NULL;
		vmmu_block_insert(&vmmu_shadow_map_of(b->op)->frames, block, b->gfn);
	}
	return block;
}

static enum vmmu_fault_result install(struct vmmu_build *b, struct vmmu_shadow *s, uint64_t value)
{
	struct vmmu_visit v = vmmu_shadow_entry(b->op, s, index_at(b, s->role.level));
	uint64_t first = b->gfn & ~(vmmu_level_pages(v.level) - 1);

	b->f->entry = value;
	b->f->level = v.level;
	b->f->pfn = b->backing.pfn;
	if (v.entry == value && vmmu_link_gfn(&s->link[v.index]) == first) {
		s->was[v.index] = own_entry(b);
		return VMMU_FAULT_SPURIOUS;
	}
	if (v.entry && !is_same_page(b, s, &v, value)) {
		vmmu_shadow_drop(b->x, s, v.index, VMMU_CAUSE_REMAP);
		return VMMU_FAULT_AGAIN;
	}
	/* Before W is visible, so that no write can be missed by the log. */
	if (grants_write(b, value))
		vmmu_dirty_mark(b->op, b->vcpu->hit.slot, b->gfn);
	b->was_empty = !v.entry;
	/* The handler's write was emulated, and has spared no fault. */
	if (s->history.handler == VMMU_WRITE_CAME && s->history.at == vmmu_shadow_guest_offset(s, v.index))
		vmmu_shadow_note_mistake(b->x, s);
	if (!v.entry)
		vmmu_shadow_map_leaf(&v, s, value, first, block_for(b), b->op->cause);
	else
		vmmu_shadow_write(&v, value, VMMU_CAUSE_PERMISSION);
	s->was[v.index] = own_entry(b);
	return VMMU_FAULT_FIXED;
}

/* The role of the table below `s` for a part of a large guest page, which has these rights as a whole. */
static union vmmu_role role_of_part(const struct vmmu_build *b, const struct vmmu_shadow *s, unsigned rights)
{
	union vmmu_role role = vmmu_shadow_role_below(s, 0, rights);

	role.direct = 1;
	role.quadrant = 0;
	role.key = vmmu_guest_key(b->mode->format, own_entry(b)) & 15;
	return role;
}

static uint64_t first_of_part(const struct vmmu_build *b, const struct vmmu_shadow *s)
{
	return b->gfn & ~(vmmu_level_pages(s->role.level) - 1);
}

/* Down to `goal` through tables for parts of a large guest page; NULL: again. */
static struct vmmu_shadow *descend_direct(struct vmmu_build *b, struct vmmu_shadow *s, unsigned rights,
                                          unsigned goal)
{
	while (s && s->role.level > goal)
		s = child_of(b, s, own_entry(b), first_of_part(b, s), role_of_part(b, s, rights));
	return s;
}

/* A write that is emulated builds nothing: the way is that of the leaf which refused it. */
static void note_way_of_write(struct vmmu_build *b, struct vmmu_shadow *s)
{
	while (s && s->role.level > VMMU_LEVEL_4K)
		s = linked_child(b, s, first_of_part(b, s), role_of_part(b, s, b->rights));
	if (s)
		vmmu_shadow_note_way(b->vcpu, b->x, b->input, s);
}

/*
 * A supervisor's write while CR0.WP is clear, to a page that refuses it only as
 * long as CR0.WP is set, as it is while the guest runs. A read-only page is made
 * the supervisor's own for as long as no user comes; it may then not be executed
 * under SMEP. False: no entry can say it, the write must be emulated. That is so
 * where U withholds something else from the supervisor (SMAP, protection keys),
 * and where the key itself withholds the write.
 */
static bool write_despite_protection(struct vmmu_build *b)
{
	const uint64_t smep = VMMU_BIT(20), smap_or_keys = VMMU_BIT(21) | VMMU_BIT(22);
	const struct vmmu_paging *r = &b->mode->registers;
	bool user_page = b->rights & VMMU_PAGE_USER;

	if (!(b->f->access & VMMU_W))
		return true;
	if (user_page && b->mode->keys && (r->pkru >> 2 * b->walk.key & 2))
		return false;
	if (b->rights & VMMU_PAGE_WRITE)
		return true;
	if (user_page && (r->cr4 & smap_or_keys))
		return false;
	if (user_page && (r->cr4 & smep))
		b->rights &= ~VMMU_PAGE_EXEC;
	b->rights |= VMMU_PAGE_WRITE;
	b->rights &= ~VMMU_PAGE_USER;
	return true;
}

/* ---- what is mapped ------------------------------------------------------------------- */

/* The guest's page size, the host's, and no shadowed guest table inside. */
static unsigned goal_for(const struct vmmu_build *b)
{
	unsigned level = vmmu_goal_level(b->vcpu, vmmu_inside_of(b->x), b->gfn, &b->backing);

	if (b->walk.level && b->walk.level < level)
		level = b->walk.level;
	if (level > VMMU_LEVEL_4K && vmmu_shadow_holds_near(vmmu_shadow_map_of(b->op), b->gfn))
		level = VMMU_LEVEL_4K;
	return level;
}

/* Is the page one of the tables on the way to itself? */
static bool is_walked_through(const struct vmmu_build *b, uint64_t gfn)
{
	for (unsigned i = b->mode->levels && b->mode->format->top_in_registers; i < b->walk.steps; i++)
		if (vmmu_gpa_gfn(b->walk.step[i].where).v == gfn)
			return true;
	return false;
}

/*
 * This access writes a guest table that is held: VMMU_FAULT_AGAIN, now that the tables for it
 * are out of every CPU's reach; or WRITE_TABLE: it must be emulated.
 */
static enum vmmu_fault_result write_to_table(struct vmmu_build *b)
{
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(b->op);

	/* Without the table the instruction cannot be executed. */
	if (!is_walked_through(b, b->gfn) && !b->parked &&
	    vmmu_shadow_is_worth_parking(all, b->gfn) && vmmu_shadow_park(b->x, b->gfn, false)) {
		b->parked = true;
		return VMMU_FAULT_AGAIN;
	}
	return VMMU_FAULT_WRITE_TABLE;
}

static bool writes_a_table(const struct vmmu_build *b)
{
	return (b->f->access & VMMU_W) && vmmu_shadow_holds(vmmu_shadow_map_of(b->op), b->gfn);
}

/* Is the large page that many pages further on, or back, mapped as a whole, and in the same way? */
static bool is_whole_at(const struct vmmu_build *b, const struct vmmu_shadow *s, uint64_t pages)
{
	const struct vmmu_shadow *other = vmmu_shadow_find(vmmu_shadow_map_of(b->op), s->gfn + pages, s->role);

	return other && other->filled == VMMU_FILLED_WHOLE;
}

/*
 * Of a large page all is wanted once it is touched outside the part that came first, or where
 * it goes on from one of which all was. A page that is touched alone brings little.
 */
static struct vmmu_neighbours part_to_fill(const struct vmmu_build *b, struct vmmu_shadow *s)
{
	if (s->filled || is_whole_at(b, s, VMMU_ENTRIES) || is_whole_at(b, s, -(uint64_t)VMMU_ENTRIES)) {
		s->filled = VMMU_FILLED_WHOLE;
		return (struct vmmu_neighbours){0, VMMU_ENTRIES};
	}
	s->filled = VMMU_FILLED_PART;
	return vmmu_shadow_neighbours(b->op, s, index_at(b, VMMU_LEVEL_4K));
}

/* So many leaves are made at once. */
enum { LEAVES = 64 };

/*
 * The guest has said once for all of its large page what it is. The host has said what its
 * frames are for one run alone, and there is nothing to look for outside.
 */
static void fill_large_page(struct vmmu_build *b, struct vmmu_shadow *s)
{
	struct vmmu_block *block = block_for(b);
	struct vmmu_neighbours n = vmmu_shadow_known_part(b->vcpu, block, part_to_fill(b, s));
	uint64_t values[LEAVES];

	while (n.first < n.end) {
		struct vmmu_neighbours now = {n.first, n.first + LEAVES < n.end ? n.first + LEAVES : n.end};

		if (!vmmu_shadow_known_leaves(b->vcpu, b->x, block, b->mode->format, now, own_entry(b), b->rights, values))
			return;
		vmmu_shadow_map_leaves(b->x, s, values, now.first, now.end - now.first, block, VMMU_CAUSE_PREFETCH);
		n.first = now.end;
	}
}

/* Most of them are wanted soon. */
static void take_neighbours(struct vmmu_build *b, struct vmmu_shadow *s)
{
	struct vmmu_neighbours n;

	/* Nothing new where the table has just been looked at. */
	if (s->role.level != VMMU_LEVEL_4K || s->history.synced == vmmu_shadow_map_of(b->op)->faults)
		return;
	if (s->role.direct) {
		fill_large_page(b, s);
		return;
	}
	n = vmmu_shadow_neighbours(b->op, s, index_at(b, VMMU_LEVEL_4K));
	vmmu_shadow_prefetch(b->vcpu, b->x, s, n.first, n.end);
}

/* CR0.PG = 0: the direct map, as under EPT and NPT. */
static enum vmmu_fault_result map_direct(struct vmmu_build *b)
{
	struct vmmu_map *before;
	struct vmmu_mapping m;

	if (writes_a_table(b))
		return write_to_table(b);
	m = (struct vmmu_mapping){
		.gfn = b->gfn,
		.access = vmmu_fault_wants(b->f),
		.goal = goal_for(b),
		.pfn = b->backing.pfn,
		.leaf = bits_for(b),
		.slot = b->vcpu->hit.slot,
		.cause = b->op->cause,
		.result = VMMU_FAULT_RETRY,
	};
	block_for(b)->unpaged = true;
	before = vmmu_op_on(b->op, vmmu_shadow_map_of(b->op)->unpaged);
	vmmu_direct_map(b->op, vmmu_inside_of(b->x), &m);
	vmmu_op_on(b->op, before);
	b->f->entry = m.entry;
	b->f->level = m.level;
	b->f->pfn = m.pfn;
	return m.result == VMMU_FAULT_RETRY ? VMMU_FAULT_AGAIN : m.result;
}

static enum vmmu_fault_result map_paged(struct vmmu_build *b)
{
	struct vmmu_shadow *s = descend(b);
	enum vmmu_fault_result result;

	if (!s)
		return VMMU_FAULT_AGAIN;
	if (!write_despite_protection(b))
		return VMMU_FAULT_EMULATE_WRITE;
	/* Only now: the page may be one of the tables that have just been found on the way to it. */
	if (writes_a_table(b)) {
		result = write_to_table(b);
		if (result == VMMU_FAULT_WRITE_TABLE)
			note_way_of_write(b, s);
		return result;
	}
	s = descend_direct(b, s, b->rights, goal_for(b));
	if (!s)
		return VMMU_FAULT_AGAIN;
	result = install(b, s, fault_leaf(b, s->role.level));
	if (s->role.level == VMMU_LEVEL_4K)
		vmmu_shadow_note_way(b->vcpu, b->x, b->input, s);
	/* Around an entry that only gets a right nothing is new: its neighbours came with it. */
	if (result == VMMU_FAULT_FIXED && b->was_empty)
		take_neighbours(b, s);
	return result;
}

enum vmmu_fault_result vmmu_shadow_build(struct vmmu_build *b)
{
	struct vmmu_block *block;

	if (vmmu_is_stale(&b->vcpu->vm->memory, vmmu_inside_of(b->x), b->gfn, b->sequence))
		return VMMU_FAULT_RETRY;
	/* Until flushes that are pending are done, a CPU may still write what seems held. */
	if (vmmu_is_flush_pending(b->op))
		return VMMU_FAULT_AGAIN;
	vmmu_shadow_reclaim(b->x, 2 * VMMU_LEVEL_MAX);
	if (b->op->flush.pending)
		return VMMU_FAULT_AGAIN;
	block = block_for(b);
	if (block->changed > b->asked || !vmmu_shadow_agree(b, block))
		return VMMU_FAULT_AGAIN;
	/* Now, so that tables on the way that are filled can use it. */
	vmmu_shadow_note_run(b->vcpu, block, b->gfn, &b->backing, b->sequence);
	return b->mode->levels ? map_paged(b) : map_direct(b);
}
