/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A missing entry while somebody watches, from vmmu_fault: the short ways (direct_quick.h,
 * direct_known.h) with one record where that can tell it all, or with several.
 */
#include "map/direct/direct_known.h"
#include "map/fault_record.h"

/* Is it of a run that the host has named before? */
VMMU_INLINE bool know(struct vmmu_vcpu *vcpu, uint64_t gfn)
{
	return VMMU_LIKELY(is_known(vcpu, gfn)) || find_known(vcpu, gfn);
}

/* One record can tell of it, if it is a violation that writes one entry. */
VMMU_INLINE bool is_brief(const struct vmmu_vcpu *vcpu, const struct vmmu_fault *f)
{
	return VMMU_LIKELY(vcpu->actor.room) && VMMU_LIKELY(vmmu_is_fault_brief(f));
}

/* Nothing was told so far. A violation that needs more than one record has them apart, from its begin to its end. */
static VMMU_APART enum vmmu_fault_result told_apart(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                                    struct vmmu_answer answer, struct vmmu_backing *backing)
{
	enum vmmu_fault_result result = 0;

	vmmu_trace_begin_fault(op, f, f->gpa.v);
	f->slot = vcpu->hit.info.id;
	if (know(vcpu, vmmu_fault_gfn(f)))
		result = quick_known(vcpu, f, op, VMMU_BRIEF_NO, VMMU_CAUSE_VIOLATION);
	if (!result && !answer.given)
		result = vmmu_quick_missing(vcpu, f, op, VMMU_BRIEF_NO, &answer, backing);
	else if (!result && answer.result == VMMU_BACKING_OK)
		result = vmmu_quick_place(vcpu, f, op, &answer, backing);
	if (!result)
		result = vmmu_direct_go_on(vcpu, op, f, answer, backing);
	vmmu_trace_end_fault(op, f, result, vcpu->map->ops->handler(vcpu));
	vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}

static VMMU_APART enum vmmu_fault_result begin_told_apart(struct vmmu_vcpu *vcpu, struct vmmu_fault *f,
                                                          struct vmmu_answer answer, struct vmmu_backing *backing)
{
	struct vmmu_op op;

	vmmu_begin_fault(&op, vcpu, f, VMMU_CAUSE_VIOLATION);
	return told_apart(vcpu, f, &op, answer, backing);
}

/* With the test hook, and perhaps a trace. The same ways in the same order. */
static VMMU_APART enum vmmu_fault_result hooked(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.sequence = sequence};
	enum vmmu_fault_result result = 0;
	struct vmmu_op op;

	vmmu_begin_fault(&op, vcpu, f, VMMU_CAUSE_VIOLATION);
	if (!op.tracing || !is_brief(vcpu, f))
		return told_apart(vcpu, f, &op, answer, &backing);
	if (know(vcpu, vmmu_fault_gfn(f)))
		result = quick_known(vcpu, f, &op, VMMU_BRIEF, VMMU_CAUSE_VIOLATION);
	if (!result)
		result = vmmu_quick_missing(vcpu, f, &op, VMMU_BRIEF, &answer, &backing);
	if (!result)
		return told_apart(vcpu, f, &op, answer, &backing);
	vmmu_count(&vcpu->actor.count.faults[result], 1);
	return result;
}

/* With a trace of another clock than the TSC. */
static VMMU_APART enum vmmu_fault_result traced_by_the_host(struct vmmu_vcpu *vcpu, struct vmmu_fault *f,
                                                            uint64_t sequence)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.sequence = sequence};
	enum vmmu_fault_result result = 0;

	if (!is_brief(vcpu, f))
		return begin_told_apart(vcpu, f, answer, &backing);
	if (know(vcpu, vmmu_fault_gfn(f)))
		result = quick_known(vcpu, f, NULL, VMMU_BRIEF, VMMU_CAUSE_VIOLATION);
	if (!result)
		result = quick_missing(vcpu, f, NULL, VMMU_BRIEF, is_quiet(vcpu, sequence, true), VMMU_CAUSE_VIOLATION, &answer,
		                       &backing);
	return result ? result : begin_told_apart(vcpu, f, answer, &backing);
}

enum vmmu_fault_result vmmu_direct_watched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence)
{
	return vcpu->vm->tables.host->point ? hooked(vcpu, f, sequence) : traced_by_the_host(vcpu, f, sequence);
}

/* ---- from vmmu_fault, with a trace by the TSC and no hook ------------------------------------ */

/* What needs more than one record, or does not stand. */
static VMMU_APART enum vmmu_fault_result apart_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {
		.sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_acquire)};

	if (!has_hit(vcpu, vmmu_fault_gfn(f)))
		return vmmu_handle_violation(vcpu, f);
	return begin_told_apart(vcpu, f, answer, &backing);
}

VMMU_INLINE enum vmmu_fault_result missing_by_tsc(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence, bool quiet)
{
	struct vmmu_backing backing = {.order = 0};
	struct vmmu_answer answer = {.sequence = sequence};
	enum vmmu_fault_result result =
		quick_missing(vcpu, f, NULL, VMMU_BRIEF_TSC, quiet, VMMU_CAUSE_VIOLATION, &answer, &backing);

	return VMMU_LIKELY(result) ? result : begin_told_apart(vcpu, f, answer, &backing);
}

static VMMU_APART enum vmmu_fault_result missing_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence)
{
	return missing_by_tsc(vcpu, f, sequence, false);
}

static VMMU_APART enum vmmu_fault_result missing_traced_quiet(struct vmmu_vcpu *vcpu, struct vmmu_fault *f,
                                                              uint64_t sequence)
{
	return missing_by_tsc(vcpu, f, sequence, true);
}

/* The host has to be asked. */
VMMU_INLINE enum vmmu_fault_result ask_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	uint64_t sequence = atomic_load_explicit(&vcpu->vm->memory.sequence, memory_order_acquire);

	if (VMMU_LIKELY(is_quiet(vcpu, sequence, true)) && VMMU_LIKELY(is_in_hit(vcpu, vmmu_fault_gfn(f))))
		return missing_traced_quiet(vcpu, f, sequence);
	/* After the sequence was read: who begins or ends to trace makes answers old. */
	if (VMMU_UNLIKELY(!has_hit(vcpu, vmmu_fault_gfn(f))) ||
	    VMMU_UNLIKELY(!atomic_load_explicit(&vcpu->vm->tables.tracing, memory_order_relaxed)))
		return vmmu_handle_violation(vcpu, f);
	return missing_traced(vcpu, f, sequence);
}

/* Perhaps the hint leads to another table. */
static VMMU_APART enum vmmu_fault_result far_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = quick_known(vcpu, f, NULL, VMMU_BRIEF_TSC, VMMU_CAUSE_VIOLATION);

	return result ? result : apart_traced(vcpu, f);
}

static VMMU_APART enum vmmu_fault_result known_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	enum vmmu_fault_result result = quick_known(vcpu, f, NULL, VMMU_BRIEF_HINTED, VMMU_CAUSE_VIOLATION);

	return VMMU_LIKELY(result) ? result : far_traced(vcpu, f);
}

static VMMU_APART enum vmmu_fault_result known_before_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	return find_known(vcpu, vmmu_fault_gfn(f)) ? known_traced(vcpu, f) : ask_traced(vcpu, f);
}

/* A present entry, or facts that no one record has room for. */
static VMMU_APART enum vmmu_fault_result others_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	return f->access & (VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED) ? vmmu_handle_violation(vcpu, f)
	                                                                : apart_traced(vcpu, f);
}

/*
 * Which way it is. No register is saved for that. What is known was learned with this trace on,
 * or does not stand (vmmu_moment).
 */
enum vmmu_fault_result vmmu_direct_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *f)
{
	if (VMMU_UNLIKELY(f->access & (~VMMU_FAULT_FIXED_ACCESS | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED)) ||
	    VMMU_UNLIKELY(f->error_code & ~VMMU_FAULT_FIXED_ERROR) || VMMU_UNLIKELY(!vcpu->actor.room))
		return others_traced(vcpu, f);
	if (is_known(vcpu, vmmu_fault_gfn(f)))
		return known_traced(vcpu, f);
	if (VMMU_UNLIKELY(vcpu->known[1].pages))
		return known_before_traced(vcpu, f);
	return ask_traced(vcpu, f);
}
