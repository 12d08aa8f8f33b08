/* SPDX-License-Identifier: BSD-2-Clause */
/* The short ways of a fault (direct_quick.h) without an operation: from vmmu_fault, while nobody watches. */
#include "map/direct/direct_known.h"

static VMMU_APART enum vmmu_fault_result present_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = 0;

	if (VMMU_LIKELY(vmmu_fault_gfn(f) < vcpu->vm->memory.limit))
		result = quick_present(vcpu, f, NULL);
	return result ? result : vmmu_handle_violation(vcpu, f);
}

VMMU_INLINE enum vmmu_fault_result missing(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence, bool quiet)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.sequence = sequence};
	enum vmmu_fault_result result = quick_missing(vcpu, f, NULL, VMMU_BRIEF_NO, quiet, VMMU_CAUSE_VIOLATION, &answer, &backing);

	if (VMMU_LIKELY(result))
		return result;
	return answer.given ? vmmu_direct_answered(vcpu, f, answer, &backing) : vmmu_handle_violation(vcpu, f);
}

static VMMU_APART enum vmmu_fault_result missing_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f,
                                                           uint64_t sequence)
{
	return missing(vcpu, f, sequence, false);
}

static VMMU_APART enum vmmu_fault_result missing_quiet(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence)
{
	return missing(vcpu, f, sequence, true);
}

/* The host has to be asked. */
VMMU_INLINE enum vmmu_fault_result ask_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	uint64_t sequence;

	/* Before it is seen that nobody watches: who begins to makes answers old. */
	sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_acquire);
	if (VMMU_LIKELY(is_quiet(vcpu, sequence, false)) && VMMU_LIKELY(is_in_hit(vcpu, vmmu_fault_gfn(f))))
		return missing_quiet(vcpu, f, sequence);
	if (VMMU_UNLIKELY(!has_hit(vcpu, vmmu_fault_gfn(f))))
		return vmmu_handle_violation(vcpu, f);
	if (VMMU_UNLIKELY(atomic_load_explicit(&vcpu->vm->tables.watched, memory_order_relaxed)))
		return vmmu_direct_watched(vcpu, f, sequence);
	return missing_unwatched(vcpu, f, sequence);
}

/* Nothing has come of what is known, or there was no spare table. */
static VMMU_APART enum vmmu_fault_result unknown_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = 0;

	if (!vcpu->actor.spare && vmmu_spares_fill(&vcpu->vm->tables, &vcpu->actor, vcpu->map->path_tables))
		result = quick_known(vcpu, f, NULL, VMMU_BRIEF_NO, VMMU_CAUSE_VIOLATION);
	return result ? result : ask_unwatched(vcpu, f);
}

static VMMU_APART enum vmmu_fault_result known_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = quick_known(vcpu, f, NULL, VMMU_BRIEF_NO, VMMU_CAUSE_VIOLATION);

	return VMMU_LIKELY(result) ? result : unknown_unwatched(vcpu, f);
}

static VMMU_APART enum vmmu_fault_result known_before_unwatched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	return find_known(vcpu, vmmu_fault_gfn(f)) ? known_unwatched(vcpu, f) : ask_unwatched(vcpu, f);
}

/* ---- from vmmu_fault ------------------------------------------------------------------- */

/* Which way it is. No register is saved for that. */
enum vmmu_fault_result vmmu_direct_quick(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	if (f->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED))
		return present_unwatched(vcpu, f);
	return ask_unwatched(vcpu, f);
}

/* The same, once a vCPU of the map has learned of a run. */
enum vmmu_fault_result vmmu_direct_quick_known(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	if (f->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED))
		return present_unwatched(vcpu, f);
	if (is_known(vcpu, vmmu_fault_gfn(f)))
		return known_unwatched(vcpu, f);
	/* The first of the other runs that are known, if there are any. */
	if (VMMU_UNLIKELY(vcpu->known[1].pages))
		return known_before_unwatched(vcpu, f);
	return ask_unwatched(vcpu, f);
}
