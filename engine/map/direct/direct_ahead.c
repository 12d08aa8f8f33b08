/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages that are mapped before they are touched: as many as stand in one table, by one
 * preparation.
 *
 * The host is asked first, for one page after the other or for a run at once. Then the
 * gate is entered, once for all. Whatever is not as usual is left to direct_fault.c, which
 * goes on with the first page alone.
 */
#include "map/direct/direct_quick.h"
#include "map/fault_record.h"

/* So many at once: a gate that is about to close waits for no more than these. */
enum { PAGES_AT_ONCE = 64 };

/* What the host has said of gfn and of the pages behind it. */
struct ahead {
	uint64_t gfn;
	unsigned pages;
	uint64_t leaves[PAGES_AT_ONCE];
};

/* How many pages, from gfn on, an answer speaks for. */
VMMU_INLINE uint64_t run_from(uint64_t gfn, const struct vmmu_backing *backing)
{
	const uint64_t pages = vmmu_run_pages(gfn, backing, VMMU_INDEX_BITS);

	return pages - (gfn & (pages - 1));
}

/* As many pages as may be mapped by one preparation: in one table, and no small run in two parts. */
static unsigned pages_at_once(const struct vmmu_vcpu *vcpu, uint64_t gfn, uint64_t wanted)
{
	uint64_t pages = PAGES_AT_ONCE - gfn % PAGES_AT_ONCE;

	if (pages > wanted)
		pages = wanted;
	return (unsigned)(pages < vcpu->hit.end - gfn ? pages : vcpu->hit.end - gfn);
}

/* The last of `n` leaves begins a run of `run` pages: those of the others, up to `pages` in all. How many there are now. */
VMMU_INLINE unsigned go_on_run(struct ahead *a, unsigned n, unsigned pages, uint64_t run)
{
	uint64_t leaf = a->leaves[n - 1];

	while (--run && n < pages)
		a->leaves[n++] = leaf += VMMU_PAGE_SIZE;
	return n;
}

/*
 * The host has answered for the first page. It is asked for the others, up to `pages`, as long as
 * it grants the same.
 */
VMMU_INLINE void ask_ahead(struct vmmu_vcpu *vcpu, const struct vmmu_fault *f, struct ahead *a,
                           struct vmmu_backing backing, uint64_t bits, unsigned pages)
{
	const struct vmmu_tables *t = &vcpu->vm->tables;
	const struct vmmu_layout *l = &vcpu->map->layout;
	const unsigned access = vmmu_one_access(vmmu_fault_wants(f));
	const uint64_t said = vmmu_grant_said(&backing);
	unsigned n = 0;

	bits |= l->leaf[VMMU_LEVEL_4K];
	for (;;) {
		uint64_t leaf = vmmu_pfn_hpa(backing.pfn).v | bits;

		a->leaves[n++] = leaf;
		if (backing.order)
			n = go_on_run(a, n, pages, run_from(a->gfn + n - 1, &backing));
		if (n == pages)
			break;
		backing = (struct vmmu_backing){.order = 0};
		if (t->host->backing(t->ctx, &vcpu->hit.info, vmmu_gfn_of(a->gfn + n), access, &backing) ||
		    vmmu_grant_said(&backing) != said || (backing.pfn.v & l->no_frame))
			break;
	}
	a->pages = n;
}

/* The bits of leaves for this answer. */
static uint64_t ahead_bits(struct vmmu_vcpu *vcpu, unsigned wants, const struct vmmu_backing *backing)
{
	const struct vmmu_grant *grant = &vcpu->hit.grants[wants];

	if (grant->said != vmmu_grant_said(backing))
		vmmu_grant_remember(vcpu, wants, backing,
		                    vmmu_backing_bits(&vcpu->map->layout, vcpu->hit.info.flags, wants, backing));
	return grant->leaf;
}

/* Inside the gate: put the leaves where nothing is. How many pages, from the first on, are mapped now. */
static unsigned map_ahead(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_inside inside,
                          const struct ahead *a, unsigned *written)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	struct vmmu_leaves leaves = {.first = a->gfn % VMMU_ENTRIES, .count = a->pages, .values = a->leaves};
	vmmu_hpa table;
	uint64_t entry;

	while (leaves.count && vmmu_is_invalidating(&vcpu->vm->memory, a->gfn, a->gfn + leaves.count))
		leaves.count /= 2;
	table = table_of_2m(vcpu, VMMU_BRIEF_NO, a->gfn);
	if (!table.v || !leaves.count)
		return 0;
	entry = vmmu_entry_read(&vcpu->vm->tables, table, a->gfn / VMMU_ENTRIES % VMMU_ENTRIES);
	if (!entry)
		entry = link_at(vcpu, op, table, a->gfn, op->cause);
	if ((entry & l->table_mask) != l->table_mark)
		return 0;
	leaves.table = vmmu_entry_address(l, entry);
	leaves.gfn = vmmu_gfn_of(a->gfn - leaves.first);
	return vmmu_leaves_fill(op, inside, &leaves, op->cause, written);
}

/*
 * How many pages, from the fault's on, are mapped now; 0: a case for direct_fault.c, with the
 * answer for the first page if it has been given.
 */
static unsigned prefault_many(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f, uint64_t wanted,
                              struct vmmu_answer *answer, struct vmmu_backing *backing, unsigned *written)
{
	const unsigned wants = vmmu_fault_wants(f);
	struct ahead a;
	struct vmmu_inside inside;
	unsigned pages = 0;
	uint64_t bits;

	a.gfn = vmmu_fault_gfn(f);
	answer->sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_acquire);
	if (!vmmu_find_slot(vcpu, op, a.gfn))
		return 0;
	f->slot = vcpu->hit.info.id;
	/* Who logs wants each page marked before it can be written. */
	if ((wants & VMMU_W) && (vcpu->hit.info.flags & (VMMU_SLOT_READONLY | VMMU_SLOT_LOG_DIRTY)))
		return 0;
	if (!vmmu_have_spares(op))
		return 0;
	answer->result = vmmu_ask_backing(vcpu, op, f, backing);
	answer->given = true;
	if (vmmu_judge_backing(op, f, answer->result, backing))
		return 0;
	bits = ahead_bits(vcpu, wants, backing);
	ask_ahead(vcpu, f, &a, *backing, bits, pages_at_once(vcpu, a.gfn, wanted));
	inside = vmmu_op_enter(op);
	/* Otherwise the answers are old, and the slot may be gone. */
	if (atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_relaxed) == answer->sequence &&
	    (backing->order < VMMU_INDEX_BITS || vmmu_goal_level(vcpu, inside, a.gfn, backing) == VMMU_LEVEL_4K))
		pages = map_ahead(vcpu, op, inside, &a, written);
	vmmu_op_leave(op, inside);
	if (pages) {
		f->entry = a.leaves[0];
		f->level = VMMU_LEVEL_4K;
		f->pfn = backing->pfn;
	}
	return pages;
}

enum vmmu_fault_result vmmu_direct_prefault(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t wanted,
                                            uint64_t *mapped)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.given = false};
	enum vmmu_fault_result result;
	unsigned written = 0;
	struct vmmu_op op;

	vmmu_begin_fault(&op, vcpu, f, VMMU_CAUSE_PREFAULT);
	vmmu_trace_begin_fault(&op, f, f->gpa.v);
	*mapped = prefault_many(vcpu, &op, f, wanted, &answer, &backing, &written);
	if (*mapped) {
		result = written ? VMMU_FAULT_FIXED : VMMU_FAULT_SPURIOUS;
	} else {
		result = vmmu_direct_go_on(vcpu, &op, f, answer, &backing);
		*mapped = vmmu_pages_to_end(f);
	}
	vmmu_trace_end_fault(&op, f, result, vcpu->map->ops->handler(vcpu));
	vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}
