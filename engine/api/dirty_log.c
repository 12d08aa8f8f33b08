/* SPDX-License-Identifier: BSD-2-Clause */
/* The host wants to know which pages were written. */
#include "api/api.h"

/* Pages that follow each other and have been reported: they are protected again in one go. */
struct run {
	uint64_t first, end; /* gfns */
};

static void protect_run(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct run *run)
{
	if (run->first < run->end)
		vmmu_harvest_range(vm, op, closed, run->first, run->end);
	run->first = run->end = 0;
}

/* Add the pages of one word. gfn: of its first bit. */
static void add_pages(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct run *run, uint64_t gfn,
                      uint64_t bits)
{
	while (bits) {
		unsigned first = (unsigned)__builtin_ctzll(bits);
		uint64_t rest = ~(bits >> first);
		unsigned pages = rest ? (unsigned)__builtin_ctzll(rest) : 64;

		if (gfn + first != run->end) {
			protect_run(vm, op, closed, run);
			run->first = gfn + first;
		}
		run->end = gfn + first + pages;
		bits = first + pages < 64 ? bits >> (first + pages) << (first + pages) : 0;
	}
}

/*
 * Fetch words [first, end) of the log and protect their pages again, as one step: a page
 * written afterwards faults and is in the next round.
 */
static void fetch_words(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_slot *slot,
                        size_t first, size_t end, uint64_t *out)
{
	struct run run = {0, 0};

	for (size_t word = first; word < end; word++) {
		uint64_t bits = atomic_load_explicit(&slot->dirty[word], memory_order_relaxed);

		out[word] = bits;
		if (VMMU_LIKELY(!bits))
			continue;
		atomic_store_explicit(&slot->dirty[word], 0, memory_order_relaxed);
		add_pages(vm, op, closed, &run, slot->first + word * 64, bits);
	}
	protect_run(vm, op, closed, &run);
}

enum { DIRTY_WORDS_PER_CLOSING = 128 };

enum vmmu_status vmmu_dirty_log(struct vmmu_vm *vm, uint32_t id, uint64_t *bitmap, size_t words)
{
	struct vmmu_slot *slot;
	struct vmmu_op op;
	size_t total;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	slot = vmmu_slot_by_id(&vm->memory, vmmu_reading_managed(managing), id);
	total = slot ? vmmu_dirty_words(slot) : 0;
	if (!slot || !slot->dirty || words < total) {
		vmmu_manage_unlock(&vm->tables, managing);
		return slot ? VMMU_ERR_INVALID : VMMU_ERR_SLOT_MISSING;
	}
	for (size_t word = 0; word < total;) {
		size_t stop = total - word < DIRTY_WORDS_PER_CLOSING ? total : word + DIRTY_WORDS_PER_CLOSING;

		closed = vmmu_gate_close(&vm->tables, managing);
		fetch_words(vm, &op, closed, slot, word, stop, bitmap);
		vmmu_gate_open(&vm->tables, closed);
		word = stop;
	}
	vmmu_op_flush(&op);
	vmmu_manage_unlock(&vm->tables, managing);
	return VMMU_OK;
}

static void mark(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_reading reading, uint64_t gfn)
{
	struct vmmu_slot *slot = vmmu_slot_at(&vm->memory, reading, gfn);

	if (slot)
		vmmu_dirty_mark(op, slot, gfn);
}

void vmmu_mark_dirty(struct vmmu_vm *vm, struct vmmu_vcpu *vcpu, vmmu_gfn gfn)
{
	struct vmmu_managing managing;
	struct vmmu_inside inside;
	struct vmmu_op op;

	if (vcpu) {
		vmmu_vcpu_op(&op, vcpu);
		inside = vmmu_op_enter(&op);
		mark(vm, &op, vmmu_reading_inside(inside), gfn.v);
		vmmu_op_leave(&op, inside);
	} else {
		managing = vmmu_manage_lock(&vm->tables);
		op = vmmu_manage_op(vm);
		mark(vm, &op, vmmu_reading_managed(managing), gfn.v);
		vmmu_manage_unlock(&vm->tables, managing);
	}
}
