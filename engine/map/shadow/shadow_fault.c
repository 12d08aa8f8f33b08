/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A #PF under shadow paging: is it the guest's own, and if not, what is missing?
 *
 * The guest's tables are walked, and the host is asked for the frame, with no
 * lock held. Under the shadow lock each entry that the walk went through is read
 * once more, now from a table that no CPU can write: only what is still the same
 * is built upon. Whatever had to be taken from a CPU's reach on the way is
 * flushed before anything is concluded; so an attempt may end in "again", which
 * costs no exit.
 */
#include "map/shadow/shadow.h"

enum { ATTEMPTS = 16, PATIENCE = 1024 };
/* More than another CPU's work on the same entry can explain. */
enum { REFUSALS = 8 };
/* No result of a fault: once more, with what has been learnt. */
#define AGAIN ((enum vmmu_fault_result)0)
/* Entries around the one that faulted that are filled with it; a power of two. */
enum { PREFETCH = 64 };

struct build {
	struct vmmu_vcpu *vcpu;
	struct vmmu_op *op;
	struct vmmu_exclusive x;   /* of the attempt under way, from its lock to its unlock */
	struct vmmu_fault *f;
	const struct vmmu_guest_mode *mode;
	struct vmmu_guest_walk walk;
	struct vmmu_backing backing;
	uint64_t gfn;              /* that the guest's tables name */
	uint64_t sequence;
	uint64_t asked;            /* frames.clock when the host was asked */
	uint8_t rights;            /* VMMU_PAGE_* that the leaf is to give */
	unsigned tries;
	bool ahead;                /* nothing has faulted yet: change nothing of the guest's */
	bool for_switch;           /* ahead, or as after the last switch to this root */
	bool woken;                /* a table that had been parked is linked again */
	bool linked;               /* any table is linked now that was not */
	bool parked;               /* the tables for the page that is written are */
};

static void lock(struct build *b)
{
	struct vmmu_inside inside = vmmu_op_enter(b->op);

	b->x = vmmu_shadow_lock(b->op, inside);
}

static void unlock(struct build *b)
{
	struct vmmu_inside inside = vmmu_inside_of(b->x);

	vmmu_shadow_unlock(b->x);
	vmmu_op_leave(b->op, inside);
	b->x = (struct vmmu_exclusive){.op = NULL};
}

/* ---- what the guest allows ----------------------------------------------------- */

/* The walk has set accessed and dirty bits: the pages that hold them are dirty now. Inside the gate. */
static void mark_tables_dirty(struct build *b)
{
	bool any = false;

	for (unsigned i = 0; i < b->walk.steps; i++)
		any |= b->walk.step[i].stored;
	if (!any)
		return;
	for (unsigned i = 0; i < b->walk.steps; i++) {
		uint64_t gfn = vmmu_gpa_gfn(b->walk.step[i].where).v;
		struct vmmu_slot *slot =
			b->walk.step[i].stored ? vmmu_slot_at(&b->vcpu->vm->memory, gfn) : NULL;

		if (slot)
			vmmu_dirty_mark(b->op, slot, gfn);
	}
}

static enum vmmu_fault_result inject(struct build *b)
{
	b->f->error_code = b->walk.error_code;
	return VMMU_FAULT_INJECT_PF;
}

/*
 * A supervisor's write while CR0.WP is clear, to a page that refuses it only as
 * long as CR0.WP is set, as it is while the guest runs. A read-only page is made
 * the supervisor's own for as long as no user comes; it may then not be executed
 * under SMEP. False: no entry can say it, the write must be emulated. That is so
 * where U withholds something else from the supervisor (SMAP, protection keys),
 * and where the key itself withholds the write.
 */
static bool write_despite_protection(struct build *b)
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

/* Would the CPU find every A bit on the way set? */
static bool is_accessed(const struct build *b)
{
	for (unsigned i = b->mode->format->top_in_registers; i < b->walk.steps; i++)
		if (!vmmu_guest_is_accessed(b->mode->format, b->walk.step[i].entry))
			return false;
	return true;
}

/* Not while the host takes the table's frame back: nothing follows from it, and what is stored there is lost. */
static bool fault_may_use(const void *memory, vmmu_gpa entry)
{
	uint64_t gfn = vmmu_gpa_gfn(entry).v;

	return !vmmu_is_invalidating(memory, gfn, gfn + 1);
}

/*
 * One walk, with what it stores. Inside the gate: what it reads is the guest's at that
 * moment, and once vmmu_invalidate_begin has returned nothing is read or stored there.
 */
static enum vmmu_guest_result walk_once(struct build *b)
{
	const struct vmmu_memory *memory = &b->vcpu->vm->memory;
	const struct vmmu_guest_guard guard = {fault_may_use, memory};
	struct vmmu_tables *t = b->op->tables;
	enum vmmu_guest_result result;
	struct vmmu_inside inside;

	inside = vmmu_op_enter(b->op);
	result = vmmu_guest_walk_guarded(t->host, t->ctx, b->mode, b->f->gva,
	                                 b->f->access | (b->ahead ? VMMU_ACCESS_PEEK : 0),
	                                 memory->invalidating ? &guard : NULL, &b->walk);
	mark_tables_dirty(b);
	vmmu_op_leave(b->op, inside);
	return result;
}

static enum vmmu_fault_result walk_guest(struct build *b)
{
	enum vmmu_guest_result result = VMMU_GUEST_BUSY;
	struct vmmu_fault *f = b->f;

	for (unsigned i = 0; result == VMMU_GUEST_BUSY && i < ATTEMPTS; i++)
		result = walk_once(b);
	switch (result) {
	case VMMU_GUEST_OK:
		if (b->ahead && !is_accessed(b))
			return VMMU_FAULT_RETRY;
		break;
	case VMMU_GUEST_BUSY:
		return VMMU_FAULT_RETRY;
	case VMMU_GUEST_NONCANONICAL:
		return VMMU_FAULT_BEYOND;
	case VMMU_GUEST_FAULT:
	case VMMU_GUEST_NO_MEMORY:
	default:
		return inject(b);
	}
	f->gpa = b->walk.gpa;
	b->gfn = vmmu_gpa_gfn(b->walk.gpa).v;
	b->rights = b->walk.rights;
	/* The first write must come here, to set D in the guest's entry. */
	if (b->mode->levels && !b->walk.dirty && !(f->access & VMMU_W))
		b->rights &= ~VMMU_PAGE_WRITE;
	return AGAIN;
}

/* ---- tables on the way ------------------------------------------------------------ */

static bool is_unchanged(struct build *b, const struct vmmu_guest_step *step)
{
	const struct vmmu_host *host = b->op->tables->host;
	uint64_t now = 0, gfn = vmmu_gpa_gfn(step->where).v;

	/* While the host takes the table's frame back, nothing may follow from it. */
	return !vmmu_is_invalidating(&b->vcpu->vm->memory, gfn, gfn + 1) &&
	       host->guest_read(b->op->tables->ctx, step->where, b->mode->format->entry_bytes, &now) ==
	               VMMU_GUEST_READ_OK &&
	       vmmu_guest_word(b->mode->format, now) == step->entry;
}

static unsigned index_at(const struct build *b, unsigned level)
{
	return b->f->gva.v >> (VMMU_PAGE_SHIFT + VMMU_INDEX_BITS * (level - 1)) & (VMMU_ENTRIES - 1);
}

/* Held and like the guest's. False: its frame may be written until a flush is done. */
static bool make_ready(struct build *b, struct vmmu_shadow *s)
{
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
static struct vmmu_shadow *child_of(struct build *b, struct vmmu_shadow *s, uint64_t gpte, uint64_t gfn,
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
static struct vmmu_shadow *descend(struct build *b)
{
	const struct vmmu_root_slot *root = vmmu_shadow_vcpu_of(b->vcpu)->root;
	struct vmmu_shadow *s = root->role.registers ? root->part[b->f->gva.v >> 30 & 3] : root->top;
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

/* ---- the leaf ------------------------------------------------------------------------ */

/* What the leaf is to say besides its frame. */
static uint64_t bits_for(struct build *b)
{
	const struct vmmu_layout *l = &b->op->map->layout;
	uint64_t bits = vmmu_shadow_leaf_bits(b->op, b->vcpu->hit.info.flags, b->backing, b->rights, b->f->access);

	/* W comes back when the table is parked. */
	return vmmu_shadow_holds(vmmu_shadow_map_of(b->op), b->gfn) ? vmmu_revoke_write(l, bits) : bits;
}

/* The guest's leaf. */
static uint64_t own_entry(const struct build *b)
{
	return b->walk.step[b->walk.steps - 1].entry;
}

static uint64_t own_key(const struct build *b)
{
	return vmmu_shadow_key_bits(b->mode, own_entry(b));
}

static uint64_t fault_leaf(struct build *b, unsigned level)
{
	return vmmu_make_leaf(&b->op->map->layout, level, b->backing.pfn, bits_for(b)) | own_key(b);
}

static bool grants_write(const struct build *b, uint64_t leaf)
{
	return leaf & b->op->map->layout.format->write;
}

/* May `value` take the place of `was` in one step: the same frame, only other rights? */
static bool is_same_page(const struct build *b, const struct vmmu_shadow *s, const struct vmmu_visit *v,
                         uint64_t value)
{
	const struct vmmu_layout *l = &b->op->map->layout;

	return vmmu_is_leaf(l, v->level, v->entry) &&
	       vmmu_entry_address(l, v->entry).v == vmmu_entry_address(l, value).v &&
	       vmmu_link_gfn(&s->link[v->index]) == (b->gfn & ~(vmmu_level_pages(v->level) - 1));
}

static struct vmmu_block *block_for(struct build *b)
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

static enum vmmu_fault_result install(struct build *b, struct vmmu_shadow *s, uint64_t value)
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
		return AGAIN;
	}
	/* Before W is visible, so that no write can be missed by the log. */
	if (grants_write(b, value))
		vmmu_dirty_mark(b->op, b->vcpu->hit.slot, b->gfn);
	if (!v.entry)
		vmmu_shadow_map_leaf(&v, s, value, first, block_for(b), b->op->cause);
	else
		vmmu_shadow_write(&v, value, VMMU_CAUSE_PERMISSION);
	s->was[v.index] = own_entry(b);
	return VMMU_FAULT_FIXED;
}

/*
 * Down to `goal` through tables for parts of a large guest page, which has these
 * rights as a whole; NULL: again.
 */
static struct vmmu_shadow *descend_direct(struct build *b, struct vmmu_shadow *s, unsigned rights,
                                          unsigned goal)
{
	while (s && s->role.level > goal) {
		union vmmu_role role = vmmu_shadow_role_below(s, 0, rights);

		role.direct = 1;
		role.quadrant = 0;
		role.key = vmmu_guest_key(b->mode->format, own_entry(b)) & 15;
		s = child_of(b, s, own_entry(b), b->gfn & ~(vmmu_level_pages(s->role.level) - 1), role);
	}
	return s;
}

/* ---- under the lock ------------------------------------------------------------------- */

/* The guest's page size, the host's, and no shadowed guest table inside. */
static unsigned goal_for(const struct build *b)
{
	unsigned level = vmmu_goal_level(b->vcpu, vmmu_inside_of(b->x), b->gfn, &b->backing);

	if (b->walk.level && b->walk.level < level)
		level = b->walk.level;
	if (level > VMMU_LEVEL_4K && vmmu_shadow_holds_near(vmmu_shadow_map_of(b->op), b->gfn))
		level = VMMU_LEVEL_4K;
	return level;
}

/* Is the page one of the tables on the way to itself? */
static bool is_walked_through(const struct build *b, uint64_t gfn)
{
	for (unsigned i = b->mode->levels && b->mode->format->top_in_registers; i < b->walk.steps; i++)
		if (vmmu_gpa_gfn(b->walk.step[i].where).v == gfn)
			return true;
	return false;
}

/*
 * This access writes a guest table that is held: AGAIN, now that the tables for it
 * are out of every CPU's reach; or WRITE_TABLE: it must be emulated.
 */
static enum vmmu_fault_result write_to_table(struct build *b)
{
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(b->op);

	/* Without the table the instruction cannot be executed. */
	if (!is_walked_through(b, b->gfn) && !b->parked &&
	    vmmu_shadow_is_worth_parking(all, b->gfn) && vmmu_shadow_park(b->x, b->gfn, false)) {
		b->parked = true;
		return AGAIN;
	}
	return VMMU_FAULT_WRITE_TABLE;
}

static bool writes_a_table(const struct build *b)
{
	return (b->f->access & VMMU_W) && vmmu_shadow_holds(vmmu_shadow_map_of(b->op), b->gfn);
}

/* The rest of a large page: the guest has said once for all of it what it is. */
static void fill_large_page(struct build *b, struct vmmu_shadow *s)
{
	struct vmmu_block *block = block_for(b);

	for (unsigned i = 0; i < VMMU_ENTRIES; i++) {
		struct vmmu_visit v = vmmu_shadow_entry(b->op, s, i);
		uint64_t gfn = s->gfn + i, value;

		if (!v.entry && vmmu_shadow_known_leaf(b->vcpu, b->x, block, gfn, b->rights, &value))
			vmmu_shadow_map_leaf(&v, s, value | own_key(b), gfn, block, VMMU_CAUSE_PREFETCH);
	}
}

/* Most of them are wanted soon. */
static void take_neighbours(struct build *b, struct vmmu_shadow *s)
{
	unsigned first = index_at(b, VMMU_LEVEL_4K) & ~(PREFETCH - 1u);

	/* Nothing new where all of the table has just been looked at. */
	if (s->role.level != VMMU_LEVEL_4K || s->history.synced == vmmu_shadow_map_of(b->op)->faults)
		return;
	if (s->role.direct)
		fill_large_page(b, s);
	else
		vmmu_shadow_prefetch(b->vcpu, b->x, s, first, first + PREFETCH);
}

/* CR0.PG = 0: the direct map, as under EPT and NPT. */
static enum vmmu_fault_result map_direct(struct build *b)
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
	return m.result == VMMU_FAULT_RETRY ? AGAIN : m.result;
}

static enum vmmu_fault_result map_paged(struct build *b)
{
	struct vmmu_shadow *s = descend(b);
	enum vmmu_fault_result result;

	if (!s)
		return AGAIN;
	if (!write_despite_protection(b))
		return VMMU_FAULT_EMULATE_WRITE;
	/* Only now: the page may be one of the tables that have just been found on the way to it. */
	if (writes_a_table(b))
		return write_to_table(b);
	s = descend_direct(b, s, b->rights, goal_for(b));
	if (!s)
		return AGAIN;
	result = install(b, s, fault_leaf(b, s->role.level));
	if (result == VMMU_FAULT_FIXED)
		take_neighbours(b, s);
	return result;
}

/* ---- a frame for a gfn ----------------------------------------------------------------- */

/*
 * A host that copies on write answers with another frame from some write on, and
 * tells nobody. Two things keep the old one out. An answer that was given before the
 * host gave a frame of this block to be written is not used. And what is mapped, or
 * noted, otherwise than the answer says goes first, on every way to it.
 */

/* Where the leaf that hangs in `link` has gfn. */
static uint64_t frame_in(const struct build *b, struct vmmu_link *link, uint64_t gfn)
{
	const struct vmmu_visit v =
		vmmu_shadow_entry(b->op, vmmu_shadow_of(link), vmmu_link_index(link));
	uint64_t first = vmmu_hpa_pfn(vmmu_entry_address(&b->op->map->layout, v.entry)).v;

	return (first & ~(vmmu_level_pages(v.level) - 1)) + (gfn - v.gfn.v);
}

/* All leaves of one gfn have the same frame, so the first one is enough. */
static bool maps_another_frame(const struct build *b, const struct vmmu_block *block)
{
	struct vmmu_link *page = block->page[b->gfn % VMMU_ENTRIES];

	return (page && frame_in(b, page, b->gfn) != b->backing.pfn.v) ||
	       (block->huge && frame_in(b, block->huge, b->gfn) != b->backing.pfn.v);
}

static void drop_all(const struct build *b, struct vmmu_link **head)
{
	while (*head)
		vmmu_shadow_drop(b->x, vmmu_shadow_of(*head), vmmu_link_index(*head),
		                 VMMU_CAUSE_ZAP_REMAP);
}

static bool is_noted(const struct build *b, const struct vmmu_run *run)
{
	return run->backing.order && run->sequence == b->sequence && b->gfn >= run->first &&
	       b->gfn < run->end;
}

static bool notes_another_frame(const struct build *b, const struct vmmu_run *run)
{
	return is_noted(b, run) && run->backing.pfn.v + (b->gfn - run->first) != b->backing.pfn.v;
}

/* False: something else was mapped, and has gone. */
static bool agree(struct build *b, struct vmmu_block *block)
{
	struct vmmu_frames *frames = &vmmu_shadow_map_of(b->op)->frames;
	bool other = maps_another_frame(b, block);

	if (other) {
		drop_all(b, &block->page[b->gfn % VMMU_ENTRIES]);
		drop_all(b, &block->huge);
	}
	if (VMMU_UNLIKELY(block->unpaged) && vmmu_unpaged_drop_other(b->x, b->gfn, b->backing.pfn))
		other = true;
	if (notes_another_frame(b, &block->run))
		block->run = (struct vmmu_run){.sequence = 0};
	if (other || ((b->backing.rights & VMMU_W) &&
	              !(is_noted(b, &block->run) && (block->run.backing.rights & VMMU_W))))
		vmmu_block_changed(frames, block);
	return !other;
}

static enum vmmu_fault_result build(struct build *b)
{
	struct vmmu_block *block;

	if (vmmu_is_stale(&b->vcpu->vm->memory, vmmu_inside_of(b->x), b->gfn, b->sequence))
		return VMMU_FAULT_RETRY;
	/* Until flushes that are pending are done, a CPU may still write what seems held. */
	if (vmmu_is_flush_pending(b->op))
		return AGAIN;
	vmmu_shadow_reclaim(b->x, 2 * VMMU_LEVEL_MAX);
	if (b->op->flush.pending)
		return AGAIN;
	block = block_for(b);
	if (block->changed > b->asked || !agree(b, block))
		return AGAIN;
	/* Now, so that tables on the way that are filled can use it. */
	vmmu_shadow_note_run(b->vcpu, block, b->gfn, &b->backing, b->sequence);
	return b->mode->levels ? map_paged(b) : map_direct(b);
}

/* ---- one attempt -------------------------------------------------------------------------- */

static bool have_block(struct build *b)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);

	if (!sv->spare)
		sv->spare = vmmu_object_alloc(b->vcpu->vm, sizeof(*sv->spare));
	return sv->spare != NULL;
}

static enum vmmu_fault_result find_page(struct build *b)
{
	struct vmmu_fault *f = b->f;

	b->sequence = atomic_load_explicit(&b->vcpu->vm->memory.sequence, memory_order_acquire);
	if (b->gfn >= b->vcpu->vm->memory.limit)
		return VMMU_FAULT_BEYOND;
	if (!vmmu_find_slot(b->vcpu, b->op, b->gfn))
		return VMMU_FAULT_EMULATE_MMIO;
	f->slot = b->vcpu->hit.info.id;
	if ((b->vcpu->hit.info.flags & VMMU_SLOT_READONLY) && (f->access & VMMU_W))
		return VMMU_FAULT_READ_ONLY;
	if (!vmmu_have_spares(b->op) || !have_block(b))
		return VMMU_FAULT_NO_MEMORY;
	/* No field may be left from an answer before. */
	b->backing = (struct vmmu_backing){.order = 0};
	b->asked = atomic_load_explicit(&vmmu_shadow_map_of(b->op)->frames.clock, memory_order_acquire);
	return vmmu_prepare_backing(b->vcpu, b->op, f, &b->backing);
}

static enum vmmu_fault_result attempt(struct build *b)
{
	enum vmmu_fault_result result = walk_guest(b);

	if (result == AGAIN)
		result = find_page(b);
	if (result != AGAIN)
		return result;
	lock(b);
	vmmu_shadow_map_of(b->op)->faults += b->tries++ == 0;
	result = build(b);
	unlock(b);
	return result;
}

/*
 * The guest's handler is about to write the entry at which its #PF ended. Most
 * often the table is not needed before that is done.
 */
static void expect_write(struct build *b)
{
	const struct vmmu_guest_step *last;
	uint64_t gfn;

	if (b->walk.steps <= b->mode->format->top_in_registers)
		return;
	last = &b->walk.step[b->walk.steps - 1];
	gfn = vmmu_gpa_gfn(last->where).v;
	lock(b);
	vmmu_shadow_park(b->x, gfn, true);
	unlock(b);
}

/* Others flush. A wait is cheaper than an exit; but theirs may need this CPU, so there is an end to it. */
static void wait_for_others(struct vmmu_op *op)
{
	unsigned i = 0;

	do
		vmmu_relax(op->tables);
	while (vmmu_is_flush_pending(op) && ++i < PATIENCE);
}

static enum vmmu_fault_result attempts(struct build *b)
{
	enum vmmu_fault_result result = AGAIN;

	for (unsigned i = 0; result == AGAIN && i < ATTEMPTS; i++) {
		result = attempt(b);
		if (b->op->flush.pending)
			vmmu_op_flush(b->op);
		else if (result == AGAIN)
			wait_for_others(b->op);
	}
	return result;
}

/*
 * SMAP: EFLAGS.AC excuses what a supervisor accesses explicitly, but not what the
 * CPU accesses for it (descriptor tables, TSS; SDM vol. 3, 4.6.1). The error code
 * does not tell them apart. If the CPU refuses time and again what the tables
 * allow to an explicit access, it was of the other kind.
 */
static bool is_implicit(const struct build *b, enum vmmu_fault_result result)
{
	const uint32_t data = VMMU_ACCESS_PRESENT | VMMU_ACCESS_AC;
	struct vmmu_refused *refused = &vmmu_shadow_vcpu_of(b->vcpu)->refused;
	const struct vmmu_fault *f = b->f;

	if (result != VMMU_FAULT_SPURIOUS) {
		refused->times = 0;
		return false;
	}
	if (refused->gva.v != f->gva.v || refused->rip != f->rip || refused->access != f->access)
		*refused = (struct vmmu_refused){.gva = f->gva, .rip = f->rip, .access = f->access};
	return ++refused->times >= REFUSALS && (f->access & data) == data &&
	       !(f->access & (VMMU_X | VMMU_ACCESS_USER | VMMU_ACCESS_IMPLICIT)) &&
	       (b->mode->registers.cr4 >> 21 & 1) && (b->walk.rights & VMMU_PAGE_USER);
}

/* Is this the first fault after a switch, and was it the same last time? */
static bool is_as_before(const struct build *b)
{
	const struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);

	return sv->fresh && sv->root && sv->root->wake.seen &&
	       (sv->root->wake.gva.v ^ b->f->gva.v) >> VMMU_PAGE_SHIFT == 0;
}

/* A table was linked again for it: the guest may have switched for its sake. */
static void note_for_switch(struct build *b)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(b->vcpu);
	struct vmmu_root_slot *root = sv->root;

	if (sv->fresh && root && b->woken)
		root->wake = (struct vmmu_wake){
			.gva = b->f->gva,
			.access = (b->f->access & ~(unsigned)(VMMU_RWX | VMMU_ACCESS_PRESENT)) | VMMU_R,
			.seen = b->for_switch ? VMMU_WAKE_SURE : 1,
		};
	sv->fresh = false;
}

void vmmu_shadow_wake(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	struct vmmu_root_slot *root = vmmu_shadow_vcpu_of(vcpu)->root;
	struct build b = {.vcpu = vcpu, .op = op, .mode = &vmmu_shadow_vcpu_of(vcpu)->mode,
	                  .ahead = true, .for_switch = true};
	struct vmmu_fault f = {.slot = UINT32_MAX};

	if (!root || root->wake.seen < VMMU_WAKE_SURE)
		return;
	f.gva = root->wake.gva;
	f.access = root->wake.access;
	b.f = &f;
	op->cause = VMMU_CAUSE_PREFETCH;
	attempts(&b);
	/* Not parked this time: once more like this, and it is the guest who asks. */
	if (!b.woken)
		root->wake.seen--;
}

enum vmmu_fault_result vmmu_shadow_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *f)
{
	struct build b = {
		.vcpu = vcpu,
		.op = op,
		.f = f,
		.mode = &vmmu_shadow_vcpu_of(vcpu)->mode,
	};
	enum vmmu_fault_result result;

	b.for_switch = is_as_before(&b);
	result = attempts(&b);
	/* The entry was right already, but could not be reached. */
	if (result == VMMU_FAULT_SPURIOUS && (b.linked || b.parked))
		result = VMMU_FAULT_FIXED;
	if (is_implicit(&b, result)) {
		f->access |= VMMU_ACCESS_IMPLICIT;
		result = attempts(&b);
	}
	note_for_switch(&b);
	if (result == VMMU_FAULT_INJECT_PF) {
		expect_write(&b);
		if (op->flush.pending)
			vmmu_op_flush(op);
	}
	return result == AGAIN ? VMMU_FAULT_RETRY : result;
}
