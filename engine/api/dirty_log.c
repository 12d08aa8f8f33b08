/* SPDX-License-Identifier: BSD-2-Clause */
/* The host wants to know which pages were written. */
#include "api/api.h"

/*
 * Fetch one word of the log and protect its pages again, as one step: a page
 * written afterwards faults and is in the next round.
 */
static void fetch_word(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_slot *slot, size_t word,
                       uint64_t *out)
{
	uint64_t bits = atomic_load_explicit(&slot->dirty[word], memory_order_relaxed);

	*out = bits;
	if (!bits)
		return;
	atomic_store_explicit(&slot->dirty[word], 0, memory_order_relaxed);
	for (uint64_t rest = bits; rest; rest &= rest - 1) {
		uint64_t gfn = slot->first + word * 64 + (unsigned)__builtin_ctzll(rest);

		vmmu_harvest_range(vm, op, closed, gfn, gfn + 1);
	}
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
	slot = vmmu_slot_by_id(&vm->memory, id);
	total = slot ? vmmu_dirty_words(slot) : 0;
	if (!slot || !slot->dirty || words < total) {
		vmmu_manage_unlock(&vm->tables, managing);
		return slot ? VMMU_ERR_INVALID : VMMU_ERR_SLOT_MISSING;
	}
	for (size_t word = 0; word < total;) {
		size_t stop = word + DIRTY_WORDS_PER_CLOSING;

		closed = vmmu_gate_close(&vm->tables, managing);
		for (; word < total && word < stop; word++)
			fetch_word(vm, &op, closed, slot, word, &bitmap[word]);
		vmmu_gate_open(&vm->tables, closed);
	}
	vmmu_op_flush(&op);
	vmmu_manage_unlock(&vm->tables, managing);
	return VMMU_OK;
}

static void mark(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn)
{
	struct vmmu_slot *slot = vmmu_slot_at(&vm->memory, gfn);

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
		mark(vm, &op, gfn.v);
		vmmu_op_leave(&op, inside);
	} else {
		managing = vmmu_manage_lock(&vm->tables);
		op = vmmu_manage_op(vm);
		mark(vm, &op, gfn.v);
		vmmu_manage_unlock(&vm->tables, managing);
	}
}
