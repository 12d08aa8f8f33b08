/* SPDX-License-Identifier: BSD-2-Clause */
/* The host takes frames back, or wants to know which were written. */
#include "api/api.h"

/* The gfns that [base, base + bytes) touches, clipped to what a guest can name. */
static bool gfns_of(const struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes, uint64_t *first,
                    uint64_t *end)
{
	uint64_t last = base.v + bytes - 1;

	if (!bytes || last < base.v)
		return false;
	*first = vmmu_gpa_gfn(base).v;
	*end = (last >> VMMU_PAGE_SHIFT) + 1;
	if (*end > vm->memory.limit)
		*end = vm->memory.limit;
	return *first < *end;
}

enum vmmu_status vmmu_invalidate_begin(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes)
{
	struct vmmu_pending *pending;
	uint64_t first, end;
	struct vmmu_op op;

	if (!gfns_of(vm, base, bytes, &first, &end))
		return VMMU_ERR_INVALID;
	pending = vmmu_object_alloc(vm, sizeof(*pending));
	if (!pending)
		return VMMU_ERR_NO_MEMORY;
	pending->first = first;
	pending->end = end;

	vmmu_turn_take(&vm->tables);
	op = vmmu_manage_op(vm);
	vmmu_gate_close(&vm->tables);
	vmmu_pending_add(&vm->memory, pending);
	vmmu_gate_open(&vm->tables);
	vmmu_zap_range(vm, &op, first, end, 0, VMMU_CAUSE_ZAP_RANGE);
	vmmu_turn_give(&vm->tables);
	return VMMU_OK;
}

enum vmmu_status vmmu_invalidate_end(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes)
{
	struct vmmu_pending *pending;
	uint64_t first, end;

	if (!gfns_of(vm, base, bytes, &first, &end))
		return VMMU_ERR_INVALID;
	vmmu_turn_take(&vm->tables);
	vmmu_gate_close(&vm->tables);
	pending = vmmu_pending_take(&vm->memory, first, end);
	vmmu_gate_open(&vm->tables);
	vmmu_turn_give(&vm->tables);
	vmmu_object_free(vm, pending, sizeof(*pending));
	return pending ? VMMU_OK : VMMU_ERR_INVALID;
}

void vmmu_pending_free_all(struct vmmu_vm *vm)
{
	while (vm->memory.pending) {
		struct vmmu_pending *next = vm->memory.pending->next;

		vmmu_object_free(vm, vm->memory.pending, sizeof(*next));
		vm->memory.pending = next;
	}
}

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

		vmmu_protect_closed(vm, op, gfn, gfn + 1);
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

	if (vcpu)
		vmmu_gate_enter(&vm->tables, &vcpu->actor);
	else
		vmmu_turn_take(&vm->tables);
	slot = vmmu_slot_at(&vm->memory, gfn.v);
	if (slot)
		vmmu_dirty_mark(slot, gfn.v);
	if (vcpu)
		vmmu_gate_leave(&vm->tables, &vcpu->actor);
	else
		vmmu_turn_give(&vm->tables);
}
