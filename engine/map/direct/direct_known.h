/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page of 4 KiB that was never touched, of a run that the host has named before: the short way
 * without the question. Compiled twice, as those of direct_quick.h are.
 */
#ifndef VMMU_DIRECT_KNOWN_H
#define VMMU_DIRECT_KNOWN_H

#include "map/direct/direct_quick.h"

VMMU_INLINE bool is_in(const struct vmmu_known *run, uint64_t gfn)
{
	return gfn - run->first < run->pages;
}

/* In the run that was used last: */
VMMU_INLINE bool is_known(const struct vmmu_vcpu *vcpu, uint64_t gfn)
{
	return is_in(vcpu->known_last, gfn);
}

/* ... or in one from before. It is the last one then. */
VMMU_INLINE bool find_known(struct vmmu_vcpu *vcpu, uint64_t gfn)
{
#pragma GCC unroll 4
	for (unsigned i = 0; i < VMMU_KNOWN_RUNS; i++) {
		if (is_in(&vcpu->known[i], gfn)) {
			vcpu->known_last = &vcpu->known[i];
			return true;
		}
	}
	return false;
}

/* Inside the gate, where nothing steps the sequence: is what was learned still so? */
VMMU_INLINE bool known_stands(struct vmmu_vcpu *vcpu, bool watched)
{
	struct vmmu_known *run = vcpu->known_last;
	uint64_t sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_relaxed);

	if (VMMU_LIKELY(run->moment == vmmu_moment(sequence, watched)))
		return true;
	if (!vmmu_same_moment(run->moment, sequence))
		run->pages = 0;
	return false;
}

/* Inside the gate: put the leaf where nothing is. 0: a case for those who ask. */
VMMU_INLINE enum vmmu_fault_result known_fill(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                              enum vmmu_brief brief, enum vmmu_cause cause)
{
	const struct vmmu_known *k = vcpu->known_last;
	const uint64_t gfn = vmmu_fault_gfn(f), value = k->leaf + gfn * VMMU_PAGE_SIZE;
	struct vmmu_tables *t = &vcpu->vm->tables;
	struct vmmu_place at;
	uint64_t was;

	if (VMMU_UNLIKELY(!place_small(vcpu, op, brief, cause, gfn, &at)))
		return 0;
	was = vmmu_entry_read(t, at.table, at.index);
	/* Another frame may have stood here a moment ago, and a CPU still use it. */
	if (VMMU_UNLIKELY(was) || VMMU_UNLIKELY(atomic_load_explicit(&t->flushes_pending, memory_order_acquire)) ||
	    VMMU_UNLIKELY(!vmmu_entry_put(t, vcpu->map, &vcpu->actor, op, f, brief, at, &was, value, cause)))
		return 0;
	return quick_end(vcpu, f, op, brief, VMMU_FAULT_FIXED, k->slot, gfn + k->apart, value, VMMU_LEVEL_4K);
}

/* From outside the gate. The entry is missing, and its page is_known. 0: a case for those who ask. */
VMMU_INLINE enum vmmu_fault_result quick_known(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                               enum vmmu_brief brief, enum vmmu_cause cause)
{
	struct vmmu_vm *const vm = vcpu->vm;
	struct vmmu_map *const map = vcpu->map;
	enum vmmu_fault_result result = 0;

	if (VMMU_UNLIKELY(!quick_enter(&vm->tables, &vcpu->actor, op)))
		return 0;
	VMMU_SAME(vcpu->vm == vm);
	VMMU_SAME(vcpu->map == map);
	if (known_stands(vcpu, op || brief))
		result = known_fill(vcpu, f, op, brief, cause);
	quick_leave(&vcpu->actor, op);
	return result;
}

#endif
