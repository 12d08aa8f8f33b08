/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The faults of every day, the short way: a page of 4 KiB or 2 MiB that was never
 * touched, a first write under the dirty log, an MMIO entry met again, and an entry
 * that is there already.
 *
 * What is asked of the world is what direct_fault.c asks, in the same order; only the
 * walker, the visitors and the operation are left out. Whatever is not as usual is left
 * to direct_fault.c, with the host's answer when there is one.
 *
 * Each way is written once and compiled several times. Those without an operation (op is
 * NULL) are entered straight from vmmu_fault: in direct_unwatched.c while nobody watches, in
 * direct_watched.c with a trace and no test hook. The other ones (direct_quick.c) are the
 * first thing that direct_fault.c tries. They have an operation, make records and call the
 * test points, so that all that judges the engine judges these ways too.
 *
 * `brief`: nothing has been told of the fault yet, and there is room for a record. The one
 * that its write makes tells all of it (table/trace_fault.h). What would need more records than
 * that one gives 0.
 */
#ifndef VMMU_DIRECT_QUICK_H
#define VMMU_DIRECT_QUICK_H

#include "map/direct/direct.h"
#include "map/prepare.h"
#include "table/table_hash.h"
#include "table/write_fast.h"

/* ---- inside the gate ------------------------------------------------------------ */

/*
 * NULL operation: by one try. False: not inside. Inside, the sequence tells whether
 * somebody has begun to watch: it steps then.
 */
VMMU_INLINE bool quick_enter(struct vmmu_tables *t, struct vmmu_actor *who, struct vmmu_op *op)
{
	if (!op)
		return vmmu_gate_try(t, who);
	(void)vmmu_op_enter(op);
	return true;
}

VMMU_INLINE void quick_leave(struct vmmu_actor *who, struct vmmu_op *op)
{
	if (op)
		vmmu_op_leave(op, vmmu_inside_by(who));
	else
		atomic_store_explicit(&who->inside, false, memory_order_release);
}

/*
 * From the root down to the table of `lowest` entries. Each entry on the way is looked at
 * as the CPU would. 0: there is none, or one is damaged.
 */
static VMMU_APART vmmu_hpa walk_down(const struct vmmu_vcpu *vcpu, uint64_t gfn, unsigned lowest)
{
	const struct vmmu_tables *t = &vcpu->vm->tables;
	const struct vmmu_layout *l = &vcpu->map->layout;
	unsigned level = vcpu->map->root->level;
	vmmu_hpa table = vcpu->map->root->hpa;

	for (unsigned shift = VMMU_INDEX_BITS * (level - 1); level > lowest; level--, shift -= VMMU_INDEX_BITS) {
		uint64_t entry = vmmu_entry_read(t, table, (gfn >> shift) % VMMU_ENTRIES);

		if (!vmmu_is_table(l, level, entry) || (entry & l->reserved_table[level]))
			return vmmu_hpa_of(0);
		table = vmmu_entry_address(l, entry);
	}
	return table;
}

/* The hint does not know gfn's table of 2 MiB entries: it does from now on. */
static VMMU_RARE vmmu_hpa learn_table(struct vmmu_vcpu *vcpu, uint64_t gfn)
{
	vmmu_hpa table = walk_down(vcpu, gfn, VMMU_HINT_LEVEL);

	if (table.v)
		vcpu->actor.hint = vmmu_hint_to(vcpu->map, gfn, table);
	return table;
}

VMMU_INLINE vmmu_hpa table_of_2m(struct vmmu_vcpu *vcpu, enum vmmu_brief brief, uint64_t gfn)
{
	const struct vmmu_hint *hint = &vcpu->actor.hint;

	if (VMMU_LIKELY(vmmu_hint_leads_to(hint, vcpu->map, gfn)))
		return hint->table;
	return brief == VMMU_BRIEF_HINTED ? vmmu_hpa_of(0) : learn_table(vcpu, gfn);
}

/* The vCPU's copy is that of the slot around gfn, and the slot is as it was. */
VMMU_INLINE bool has_hit(const struct vmmu_vcpu *vcpu, uint64_t gfn)
{
	const struct vmmu_slot_hit *hit = &vcpu->hit;

	return gfn >= hit->first && gfn < hit->end &&
	       hit->generation == atomic_load_explicit(&vcpu->vm->memory.generation, memory_order_acquire);
}

/*
 * The copy was used at this moment before, and all was as usual: nobody watched who does not now, no range
 * was under invalidation, the slot has no flags. The sequence steps whenever one of these changes. Not asked:
 * whether gfn is in the slot.
 */
VMMU_INLINE bool is_quiet(const struct vmmu_vcpu *vcpu, uint64_t sequence, bool watched)
{
	return vcpu->hit.quiet == vmmu_moment(sequence, watched);
}

VMMU_INLINE bool is_in_hit(const struct vmmu_vcpu *vcpu, uint64_t gfn)
{
	return gfn - vcpu->hit.first < vcpu->hit.end - vcpu->hit.first;
}

/* ... or is made so. */
VMMU_INLINE bool get_hit(struct vmmu_vcpu *vcpu, uint64_t gfn)
{
	return VMMU_LIKELY(has_hit(vcpu, gfn)) || vmmu_take_slot(vcpu, vmmu_inside_by(&vcpu->actor), gfn);
}

/* What the caller of vmmu_fault learns. With an operation, and where a record has it, its number has been given. */
VMMU_INLINE enum vmmu_fault_result quick_end(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                             enum vmmu_brief brief, enum vmmu_fault_result result, uint32_t slot, uint64_t pfn,
                                             uint64_t entry, unsigned level)
{
	f->slot = slot;
	f->pfn = vmmu_pfn_of(pfn);
	f->entry = entry;
	f->level = (uint8_t)level;
	if (!op && !brief)
		f->id = ++vcpu->actor.faults;
	if (!op)
		vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}

/* ---- the entry is missing ---------------------------------------------------------- */

VMMU_INLINE struct vmmu_place place_of(unsigned level, vmmu_hpa table, uint64_t gfn)
{
	const uint64_t pages = vmmu_level_pages(level);

	return (struct vmmu_place){table, gfn / pages % VMMU_ENTRIES, level, vmmu_gfn_of(gfn & ~(pages - 1))};
}

/*
 * A table, from the vCPU's spares, where the table of 2 MiB entries has none for gfn; the entry
 * afterwards. 0: another vCPU was first, or there is no spare.
 */
static VMMU_APART uint64_t link_at(struct vmmu_vcpu *vcpu, struct vmmu_op *op, vmmu_hpa table,
                                   uint64_t gfn, enum vmmu_cause cause)
{
	const struct vmmu_place at = place_of(VMMU_LEVEL_2M, table, gfn);
	const struct vmmu_layout *l = &vcpu->map->layout;
	struct vmmu_tables *t = &vcpu->vm->tables;
	struct vmmu_actor *who = &vcpu->actor;
	struct vmmu_table *below;
	uint64_t value, was = 0;

	if (VMMU_UNLIKELY(!who->spare))
		return 0;
	below = vmmu_spare_pop(who);
	vmmu_table_begin(who, below, VMMU_LEVEL_4K, at.gfn);
	if (op)
		vmmu_trace_table(op, VMMU_TRACE_GET_PAGE, below, VMMU_CAUSE_NONE, true);
	value = vmmu_make_table(l, below->hpa);
	if (VMMU_UNLIKELY(!vmmu_entry_link(t, l, who, op, at, &was, value, cause))) {
		vmmu_table_return(who, op, below);
		return 0;
	}
	vmmu_table_hash_add(&t->hash, below);
	return value;
}

/*
 * Inside the gate: put the leaf where nothing is. 0: a case for direct_fault.c. `quiet`: the slot
 * has no flags.
 */
VMMU_INLINE enum vmmu_fault_result
quick_fill(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, bool quiet, enum vmmu_cause cause,
           struct vmmu_place at, uint64_t value, vmmu_pfn pfn)
{
	struct vmmu_vm *vm = vcpu->vm;
	uint64_t was = vmmu_entry_read(&vm->tables, at.table, at.index);

	if (VMMU_LIKELY(!was)) {
		/* Another frame may have stood here a moment ago, and a CPU still use it. */
		if (VMMU_UNLIKELY(atomic_load_explicit(&vm->tables.flushes_pending, memory_order_acquire)))
			return 0;
		/* Before W is visible, so that no write can be missed by the log. */
		if (!quiet && VMMU_UNLIKELY(vcpu->hit.info.flags & VMMU_SLOT_LOG_DIRTY) && (value & vcpu->map->layout.format->write))
			vmmu_dirty_mark(op, vcpu->hit.slot, vmmu_fault_gfn(f));
		if (VMMU_LIKELY(vmmu_entry_put(&vm->tables, vcpu->map, &vcpu->actor, op, f, brief, at, &was, value, cause)))
			return quick_end(vcpu, f, op, brief, VMMU_FAULT_FIXED, vcpu->hit.info.id, pfn.v, value, at.level);
	}
	if (brief || was != value)
		return 0;
	return quick_end(vcpu, f, op, brief, VMMU_FAULT_SPURIOUS, vcpu->hit.info.id, pfn.v, value, at.level);
}

/*
 * The host names a run that may make a larger page: quick_fill for that. 4 KiB it may be
 * all the same; then *small is set.
 */
VMMU_INLINE enum vmmu_fault_result
quick_large(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, enum vmmu_cause cause,
            const struct vmmu_backing *backing, uint64_t bits, bool *small)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const uint64_t gfn = vmmu_fault_gfn(f);
	unsigned level = vmmu_goal_level(vcpu, vmmu_inside_by(&vcpu->actor), gfn, backing);
	vmmu_hpa table;

	*small = level == VMMU_LEVEL_4K;
	if (*small)
		return 0;
	table = level == VMMU_LEVEL_2M ? table_of_2m(vcpu, brief, gfn) : walk_down(vcpu, gfn, VMMU_LEVEL_1G);
	if (!table.v)
		return 0;
	return quick_fill(vcpu, f, op, brief, false, cause, place_of(level, table, gfn), vmmu_make_leaf(l, level, backing->pfn, bits),
	                  backing->pfn);
}

/* Inside the gate: where gfn's leaf of 4 KiB goes. A table is linked where there is none. False: a case for direct_fault.c. */
VMMU_INLINE bool place_small(struct vmmu_vcpu *vcpu, struct vmmu_op *op, enum vmmu_brief brief, enum vmmu_cause cause, uint64_t gfn,
                             struct vmmu_place *at)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	vmmu_hpa table = table_of_2m(vcpu, brief, gfn);
	uint64_t entry;

	if (VMMU_UNLIKELY(!table.v))
		return false;
	entry = vmmu_entry_read(&vcpu->vm->tables, table, gfn / VMMU_ENTRIES % VMMU_ENTRIES);
	if (VMMU_UNLIKELY(!entry) && !brief) /* a new table has records of its own */
		entry = link_at(vcpu, op, table, gfn, cause);
	if (VMMU_UNLIKELY((entry & l->table_mask) != l->table_mark))
		return false;
	*at = place_of(VMMU_LEVEL_4K, vmmu_entry_address(l, entry), gfn);
	return true;
}

/* Put the leaf of 4 KiB where it goes. *at: there. 0: a case for direct_fault.c. */
VMMU_INLINE enum vmmu_fault_result
quick_small(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, bool quiet, enum vmmu_cause cause,
            const struct vmmu_backing *backing, uint64_t bits, struct vmmu_place *at)
{
	const uint64_t value = vmmu_pfn_hpa(backing->pfn).v | vcpu->map->layout.leaf[VMMU_LEVEL_4K] | bits;

	if (VMMU_UNLIKELY(!place_small(vcpu, op, brief, cause, vmmu_fault_gfn(f), at)))
		return 0;
	return quick_fill(vcpu, f, op, brief, quiet, cause, *at, value, backing->pfn);
}

/*
 * The page at `at` has been mapped by an answer that speaks for its neighbours, too. What the
 * log wants to see first they do not get.
 */
static VMMU_APART void quick_around(struct vmmu_vcpu *vcpu, struct vmmu_op *op, const struct vmmu_backing *backing,
                                    struct vmmu_place at, unsigned wants)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const uint64_t gfn = at.gfn.v, pages = vmmu_run_pages(gfn, backing, vcpu->map->around);
	uint64_t first = gfn & ~(pages - 1), end = first + pages, values[1 << VMMU_AROUND_MAX];
	struct vmmu_leaves leaves = {.table = at.table, .gfn = {gfn - at.index}, .values = values, .pass = true};
	struct vmmu_op unwatched;
	unsigned written;
	uint64_t leaf;

	if (first < vcpu->hit.first)
		first = vcpu->hit.first;
	if (end > vcpu->hit.end)
		end = vcpu->hit.end;
	leaf = vmmu_pfn_hpa(backing->pfn).v - (gfn - first) * VMMU_PAGE_SIZE;
	leaf |= l->leaf[VMMU_LEVEL_4K] | vmmu_backing_bits(l, vcpu->hit.info.flags, wants & ~(unsigned)VMMU_W, backing);
	leaves.first = (unsigned)(first % VMMU_ENTRIES);
	leaves.count = (unsigned)(end - first);
	for (unsigned i = 0; i < leaves.count; i++, leaf += VMMU_PAGE_SIZE)
		values[i] = leaf;
	if (!op)
		vmmu_vcpu_op(&unwatched, vcpu);
	vmmu_leaves_fill(op ? op : &unwatched, vmmu_inside_by(&vcpu->actor), &leaves, VMMU_CAUSE_PREFETCH, &written);
}

/*
 * The answer speaks for the pages around gfn as well, and a page of 4 KiB has been made of it: the next
 * ones need no question. Of a run that could be a larger page elsewhere only what is around this one.
 */
static VMMU_APART void quick_learn(struct vmmu_vcpu *vcpu, bool watched, uint64_t sequence, uint64_t gfn,
                                   const struct vmmu_backing *backing, uint64_t bits)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const unsigned most = vcpu->map->leaf_level_max > VMMU_LEVEL_4K ? VMMU_INDEX_BITS : VMMU_KNOWN_ORDER_MAX;
	const uint64_t pages = vmmu_run_pages(gfn, backing, most);
	uint64_t first = gfn & ~(pages - 1), end = first + pages;
	struct vmmu_known *run;

	/* Without W a copy on write may follow, and who logs wants each page marked before it can be written. */
	if (backing->rights != VMMU_RWX || vcpu->hit.info.flags)
		return;
	if (first < vcpu->hit.first)
		first = vcpu->hit.first;
	if (end > vcpu->hit.end)
		end = vcpu->hit.end;
	/* While there is a trace, what it has put there stays. */
	if (atomic_load_explicit(&vcpu->map->handle, memory_order_relaxed) != vcpu->map->ops->traced)
		atomic_store_explicit(&vcpu->map->handle, vcpu->map->ops->quick_known, memory_order_relaxed);
	run = &vcpu->known[vcpu->known_next++ % VMMU_KNOWN_RUNS];
	vcpu->known_last = run;
	run->moment = vmmu_moment(sequence, watched);
	run->first = first;
	run->pages = end - first;
	run->leaf = (vmmu_pfn_hpa(backing->pfn).v | l->leaf[VMMU_LEVEL_4K] | bits) - gfn * VMMU_PAGE_SIZE;
	run->apart = backing->pfn.v - gfn;
	run->slot = vcpu->hit.info.id;
}

/* The answer is for a run: a larger page, or neighbours, now or when they are touched. 0: a case for direct_fault.c. */
static VMMU_APART enum vmmu_fault_result
quick_run(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, enum vmmu_cause cause,
          uint64_t sequence, const struct vmmu_backing *backing, uint64_t bits)
{
	enum vmmu_fault_result result;
	struct vmmu_place at;

	if (backing->order >= VMMU_INDEX_BITS && vcpu->map->leaf_level_max > VMMU_LEVEL_4K) {
		bool small;

		result = quick_large(vcpu, f, op, brief, cause, backing, bits, &small);
		if (!small)
			return result;
	}
	/* The neighbours' records stand before the fault's end. */
	if (brief && vcpu->map->around)
		return 0;
	result = quick_small(vcpu, f, op, brief, false, cause, backing, bits, &at);
	if (result != VMMU_FAULT_FIXED || cause != VMMU_CAUSE_VIOLATION)
		return result;
	if (vcpu->map->around)
		quick_around(vcpu, op, backing, at, vmmu_fault_wants(f));
	else
		quick_learn(vcpu, op || brief, sequence, at.gfn.v, backing, bits);
	return result;
}

/* Inside the gate: is the answer still good, and where does the leaf go? 0: a case for direct_fault.c. */
VMMU_INLINE enum vmmu_fault_result
quick_map(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, bool quiet, enum vmmu_cause cause,
          uint64_t sequence, const struct vmmu_backing *backing, uint64_t bits)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_place at;

	if (VMMU_UNLIKELY(atomic_load_explicit(&vm->memory.sequence, memory_order_relaxed) != sequence ||
	                  (!quiet && vm->memory.invalidating)))
		return 0;
	VMMU_ASSERT(!quiet || (!vm->memory.invalidating && !vcpu->hit.info.flags));
	if (!quiet && !vcpu->hit.info.flags)
		vcpu->hit.quiet = vmmu_moment(sequence, op || brief);
	if (VMMU_UNLIKELY(backing->order))
		return quick_run(vcpu, f, op, brief, cause, sequence, backing, bits);
	return quick_small(vcpu, f, op, brief, quiet, cause, backing, bits, &at);
}

/* The host has said what backs the page. 0: a case for direct_fault.c. */
VMMU_INLINE enum vmmu_fault_result
quick_place(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, bool quiet, enum vmmu_cause cause,
            const struct vmmu_answer *answer, const struct vmmu_backing *backing)
{
	struct vmmu_vm *const vm = vcpu->vm;
	struct vmmu_map *const map = vcpu->map;
	struct vmmu_tables *t = &vm->tables;
	struct vmmu_actor *who = &vcpu->actor;
	const struct vmmu_layout *l = &map->layout;
	const unsigned wants = vmmu_fault_wants(f);
	const struct vmmu_grant *grant = &vcpu->hit.grants[wants];
	enum vmmu_fault_result result;

	if (VMMU_UNLIKELY(grant->said != vmmu_grant_said(backing) || (backing->pfn.v & l->no_frame)))
		return 0;
	VMMU_ASSERT(grant->leaf == vmmu_backing_bits(l, vcpu->hit.info.flags, wants, backing));
	if (VMMU_UNLIKELY(!quick_enter(t, who, op)))
		return 0;
	VMMU_SAME(vcpu->vm == vm);
	VMMU_SAME(vcpu->map == map);
	result = quick_map(vcpu, f, op, brief, quiet, cause, answer->sequence, backing, grant->leaf);
	quick_leave(who, op);
	return result;
}

/*
 * The slot is that of vcpu->hit, answer->sequence has been read before that was seen. 0:
 * a case for direct_fault.c; `answer` says whether the host has been asked. `quiet`: is_quiet, at
 * that sequence.
 */
VMMU_INLINE enum vmmu_fault_result
quick_missing(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief, bool quiet, enum vmmu_cause cause,
              struct vmmu_answer *answer, struct vmmu_backing *backing)
{
	static const uint8_t one_access[VMMU_RWX + 1] = {
		VMMU_R, VMMU_R, VMMU_W, VMMU_W, VMMU_X, VMMU_X, VMMU_W, VMMU_W};
	struct vmmu_vm *const vm = vcpu->vm;
	struct vmmu_map *const map = vcpu->map;
	struct vmmu_tables *t = &vm->tables;
	struct vmmu_actor *who = &vcpu->actor;
	const unsigned wants = vmmu_fault_wants(f);
	enum vmmu_backing_result said;

	if (!quiet && (vcpu->hit.info.flags & VMMU_SLOT_READONLY) && (wants & VMMU_W))
		return 0;
	if (VMMU_UNLIKELY(!who->spare) && !vmmu_spares_fill(t, who, vcpu->map->path_tables))
		return 0;
	said = t->host->backing(t->ctx, &vcpu->hit.info, vmmu_gfn_of(vmmu_fault_gfn(f)), one_access[wants], backing);
	answer->given = true;
	answer->result = said;
	if (VMMU_UNLIKELY(said != VMMU_BACKING_OK))
		return 0;
	answer->result = VMMU_BACKING_OK;
	VMMU_SAME(vcpu->vm == vm);
	VMMU_SAME(vcpu->map == map);
	return quick_place(vcpu, f, op, brief, quiet, cause, answer, backing);
}

/* ---- the entry is there ---------------------------------------------------------------- */

/* W was taken only for the log to see the first write. */
VMMU_INLINE enum vmmu_fault_result quick_first_write(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                                     struct vmmu_place at, uint64_t entry)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const uint64_t gfn = vmmu_fault_gfn(f), value = entry | l->format->write | l->dirty;

	if (VMMU_UNLIKELY(!get_hit(vcpu, gfn)))
		return 0;
	vmmu_dirty_mark(op, vcpu->hit.slot, gfn);
	if (VMMU_UNLIKELY(!vmmu_entry_put(&vcpu->vm->tables, vcpu->map, &vcpu->actor, op, f, VMMU_BRIEF_NO, at, &entry, value, VMMU_CAUSE_PERMISSION)))
		return 0;
	return quick_end(vcpu, f, op, VMMU_BRIEF_NO, VMMU_FAULT_FIXED, vcpu->hit.info.id,
	                 vmmu_hpa_pfn(vmmu_entry_address(l, value)).v, value, VMMU_LEVEL_4K);
}

VMMU_INLINE enum vmmu_fault_result quick_mmio(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                              uint64_t entry)
{
	uint64_t generation = atomic_load_explicit(&vcpu->vm->memory.generation, memory_order_relaxed);

	if (vmmu_mmio_generation(entry) != (generation & VMMU_MMIO_GEN_MASK))
		return 0;
	vmmu_count(&vcpu->actor.count.mmio_hits, 1);
	if (op)
		vmmu_trace_mmio(op, f, VMMU_TRACE_HANDLE_MMIO, entry, generation);
	return quick_end(vcpu, f, op, VMMU_BRIEF_NO, VMMU_FAULT_EMULATE_MMIO, UINT32_MAX, 0, entry, VMMU_LEVEL_4K);
}

VMMU_INLINE enum vmmu_fault_result quick_spurious(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                                  uint64_t entry)
{
	const struct vmmu_layout *l = &vcpu->map->layout;

	if (!vmmu_is_present(l, entry) || (vmmu_fault_wants(f) & ~vmmu_entry_rights(l, entry)) ||
	    !get_hit(vcpu, vmmu_fault_gfn(f)) || vmmu_is_bad(l, VMMU_LEVEL_4K, entry))
		return 0;
	return quick_end(vcpu, f, op, VMMU_BRIEF_NO, VMMU_FAULT_SPURIOUS, vcpu->hit.info.id,
	                 vmmu_hpa_pfn(vmmu_entry_address(l, entry)).v, entry, VMMU_LEVEL_4K);
}

/* Inside the gate. 0: a case for direct_fault.c. */
VMMU_INLINE enum vmmu_fault_result quick_entry(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const struct vmmu_tables *t = &vcpu->vm->tables;
	const uint64_t gfn = vmmu_fault_gfn(f);
	const bool refused = f->access & VMMU_ACCESS_RESERVED;
	vmmu_hpa table;
	struct vmmu_place at;
	uint64_t entry;

	/* Which entry was refused is not said: it may be one that the hint leaves out. */
	table = refused ? walk_down(vcpu, gfn, VMMU_LEVEL_2M) : table_of_2m(vcpu, VMMU_BRIEF_NO, gfn);
	if (VMMU_UNLIKELY(!table.v))
		return 0;
	entry = vmmu_entry_read(t, table, gfn / VMMU_ENTRIES % VMMU_ENTRIES);
	if (VMMU_UNLIKELY((entry & l->table_mask) != l->table_mark || (entry & l->reserved_table[VMMU_LEVEL_2M])))
		return 0;
	at = place_of(VMMU_LEVEL_4K, vmmu_entry_address(l, entry), gfn);
	entry = vmmu_entry_read(t, at.table, at.index);
	if (refused)
		return vmmu_is_mmio(l, entry) ? quick_mmio(vcpu, f, op, entry) : 0;
	if ((entry & l->protected_mask) == l->protected_mark && (f->access & (VMMU_W | VMMU_X)) == VMMU_W)
		return quick_first_write(vcpu, f, op, at, entry);
	return vmmu_is_mmio(l, entry) ? quick_mmio(vcpu, f, op, entry) : quick_spurious(vcpu, f, op, entry);
}

VMMU_INLINE enum vmmu_fault_result quick_present(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op)
{
	enum vmmu_fault_result result = 0;

	if (VMMU_UNLIKELY(!quick_enter(&vcpu->vm->tables, &vcpu->actor, op)))
		return 0;
	/* What is switched with the gate closed stands still here. */
	if (op || !atomic_load_explicit(&vcpu->vm->tables.watched, memory_order_relaxed))
		result = quick_entry(vcpu, f, op);
	quick_leave(&vcpu->actor, op);
	return result;
}

#endif
