/* SPDX-License-Identifier: BSD-2-Clause */
/* The host wants to know which pages were written. */
#include "api/api.h"

/*
 * Fetch one word of the log and protect its pages again, as one step: a page
 * written afterwards faults and is in the next round.
 */
static void fetch_word(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_slot *slot, size_t word,
                       uint64_t *out)
{
	uint64_t bits = atomic_load_explicit(&slot->dirty[word], memory_order_relaxed);

	*out = bits;
	if (!bits)
		return;
	atomic_store_explicit(&slot->dirty[word], 0, memory_order_relaxed);
	for (uint64_t rest = bits; rest; rest &= rest - 1) {
		uint64_t gfn = slot->first + word * 64 + (unsigned)__builtin_ctzll(rest);

		vmmu_harvest_range(vm, op, gfn, gfn + 1);
	}
}

enum { DIRTY_WORDS_PER_CLOSING = 128 };

enum vmmu_status vmmu_dirty_log(struct vmmu_vm *vm, uint32_t id, uint64_t *bitmap, size_t words)
{
	struct vmmu_slot *slot;
	struct vmmu_op op;
	size_t total;

	vmmu_turn_take(&vm->tables);
	op = vmmu_manage_op(vm);
	slot = vmmu_slot_by_id(&vm->memory, id);
	total = slot ? vmmu_dirty_words(slot) : 0;
	if (!slot || !slot->dirty || words < total) {
		vmmu_turn_give(&vm->tables);
		return slot ? VMMU_ERR_INVALID : VMMU_ERR_SLOT_MISSING;
	}
	for (size_t word = 0; word < total;) {
		size_t stop = word + DIRTY_WORDS_PER_CLOSING;

		vmmu_gate_close(&vm->tables);
		for (; word < total && word < stop; word++)
			fetch_word(vm, &op, slot, word, &bitmap[word]);
		vmmu_gate_open(&vm->tables);
	}
	vmmu_settle(&op);
	vmmu_turn_give(&vm->tables);
	return VMMU_OK;
}

void vmmu_mark_dirty(struct vmmu_vm *vm, struct vmmu_vcpu *vcpu, vmmu_gfn gfn)
{
	struct vmmu_slot *slot;
	struct vmmu_op op;

	if (vcpu) {
		vmmu_vcpu_op(&op, vcpu);
		vmmu_gate_enter(&vm->tables, &vcpu->actor);
	} else {
		vmmu_turn_take(&vm->tables);
		op = vmmu_manage_op(vm);
	}
	slot = vmmu_slot_at(&vm->memory, gfn.v);
	if (slot)
		vmmu_dirty_mark(&op, slot, gfn.v);
	if (vcpu)
		vmmu_gate_leave(&vm->tables, &vcpu->actor);
	else
		vmmu_turn_give(&vm->tables);
}
