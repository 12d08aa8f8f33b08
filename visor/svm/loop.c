/* SPDX-License-Identifier: BSD-2-Clause */
/* From an exit to the next entry. Memory faults come first: most end here (APM vol. 2, 15.25.6). */
#include <vmmu/exit.h>

#include "visor/cpu/gpr.h"
#include "visor/cpu/x86.h"
#include "visor/exit/quick_access.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/msr.h"
#include "visor/vm/watch.h"

_Static_assert(offsetof(struct vcpu, state.gpr[X86_RDI]) == GPR_RDI, "svm/entry.S");
_Static_assert(offsetof(struct vcpu, state.gpr[X86_R15]) == GPR_R15, "svm/entry.S");
_Static_assert(SVM_ENTER == 0 && SVM_LEAVE == 1, "svm/entry.S");

/* Has each exit more to do? All that decides about it changes in slow exits alone. */
static void svm_guard(struct vcpu *v)
{
	v->svm.guard = v->spec_ctrl || v->svm.vmcb->armed_dr7 ? GUARD_ALL
	               : v->tracing                           ? GUARD_TRACE
	                                                      : GUARD_NONE;
}

/* Everything but memory faults that the engine settled. `fault` is NULL for other exits. */
static __attribute__((noinline)) enum svm_next svm_slow_exit(struct vcpu *v, const struct vmmu_fault *fault,
                                                             enum vmmu_fault_result result)
{
	struct vmcb *b = v->svm.vmcb;

	watch_begin(v);
	/* What is pending comes in now: NMIs, and the timer, also while this exit is handled (vm/watch.h). */
	__asm__ volatile("stgi"
	                 :
	                 :
	                 : "memory");
	v->state.gpr[X86_RAX] = b->rax;
	v->state.gpr[X86_RSP] = b->rsp;
	v->state.rip = b->rip;
	v->state.rflags = b->rflags;
	svm_end_step(v);
	svm_recover_event(v);
	if (fault)
		exit_memory_rest(v, fault, result);
	else
		svm_handle(v);
	exit_finish(v);
	if (unlikely(v->nested.l2))
		nsvm_merge_intercepts(v);
	b = v->svm.vmcb; /* L1's or L2's, whichever runs now */
	svm_arm_breakpoints(v);
	svm_commit(v);
	svm_inject_event(v);
	if (unlikely(v->spec_ctrl) && !v->stop) /* this exit may have written it */
		wrmsr(MSR_SPEC_CTRL, v->spec_ctrl);
	svm_guard(v);
	__asm__ volatile("clgi; sti"
	                 :
	                 :
	                 : "memory");
	return v->stop ? SVM_LEAVE : b->armed_dr7 ? SVM_ENTER_ARMED
	                                          : SVM_ENTER;
}

static __attribute__((noinline)) void svm_reinject_event(struct vcpu *v)
{
	svm_recover_event(v);
	svm_inject_event(v);
}

/* The guest has met device memory, or something else that the engine has left to us. A plain read of the local APIC ends here, and a plain write to a table. */
static __attribute__((noinline)) enum svm_next memory_exit_rest(struct vcpu *v, const struct vmmu_fault *fault,
                                                                enum vmmu_fault_result result)
{
	struct vmcb *b = v->svm.vmcb;
	struct quick_access a = {
		.gpa = fault->gpa.v, .rip = b->rip, .cr3 = svm_is_shadow(v) ? v->paging.cr3 : b->cr3, .five_levels = svm_read_cr4(v) & X86_CR4_LA57};
	uint64_t next;

	if (!quick_access_fits(fault, result) || unlikely(b->rflags & X86_FLAG_TF) || unlikely(b->interrupt_shadow & 1) ||
	    unlikely(v->svm.before_iret) || unlikely(!svm_is_64bit_code(v->svm.vmcb)))
		return svm_slow_exit(v, fault, result);
	v->state.gpr[X86_RAX] = b->rax;
	v->state.gpr[X86_RSP] = b->rsp;
	next = quick_access(v, &a, result, &b->rflags);
	if (!next)
		return svm_slow_exit(v, fault, result);
	b->rax = v->state.gpr[X86_RAX];
	b->rsp = v->state.gpr[X86_RSP];
	b->rip = next;
	b->rflags &= ~(uint64_t)X86_FLAG_RF;
	v->svm.injected = false;
	return SVM_ENTER;
}

/* A nested page fault met while an event was delivered. */
static __attribute__((noinline)) enum svm_next memory_exit_in_delivery(struct vcpu *v, struct vmmu_fault *fault)
{
	enum vmmu_fault_result result = vmmu_fault(v->mmu, fault);

	if (result > VMMU_FAULT_RETRY)
		return svm_slow_exit(v, fault, result);
	svm_reinject_event(v);
	return SVM_ENTER;
}

/* svm_trace_word(), where most faults come from: under nested paging long mode implies paging. */
static inline __attribute__((always_inline)) uint64_t svm_word_quickly(struct vcpu *v, const struct vmcb *b)
{
	if (unlikely(!(b->efer & X86_EFER_LMA)) || unlikely(v->nested.l2))
		return svm_trace_word(v);
	return (b->cr3 & ~(uint64_t)VMMU_TRACE_WORD_BITS) | b->cpl | VMMU_TRACE_WORD_PAGING | VMMU_TRACE_WORD_LMA;
}

/* A nested page fault. Most end here: the engine has built what was missing, the guest goes on. */
static inline __attribute__((always_inline)) enum svm_next memory_exit(struct vcpu *v, struct vmcb *b, uint64_t info1,
                                                                       uint64_t info2, uint64_t rip, bool tracing)
{
	struct vmmu_fault fault = vmmu_fault_from_npf(info1, vmmu_gpa_of(info2), rip);
	enum vmmu_fault_result result;

	if (tracing)
		fault.word = svm_word_quickly(v, b);
	v->memory_faults++;
	b->event_injection = 0;
	if (unlikely(b->exit_interrupt_info & EVENT_VALID))
		return memory_exit_in_delivery(v, &fault);
	result = vmmu_fault(v->mmu, &fault);
	return unlikely(result > VMMU_FAULT_RETRY) ? memory_exit_rest(v, &fault, result) : SVM_ENTER;
}

/*
 * A #PF under shadow paging (15.12.15: CR2 is still the guest's own, EXITINFO2
 * has the address). The guest's own faults end here, too. Apart, so that a nested
 * page fault saves no registers for it.
 */
static __attribute__((noinline)) enum svm_next svm_page_fault_exit(struct vcpu *v, struct vmcb *b)
{
	struct vmmu_fault fault =
		vmmu_fault_from_pf(b->exit_info1, vmmu_gva_of(b->exit_info2), b->cpl, b->rflags, b->rip);
	bool delivering = b->exit_interrupt_info & EVENT_VALID;
	enum vmmu_fault_result result;

	if (unlikely(b->cr3 != v->svm.root))
		return svm_slow_exit(v, NULL, 0);
	if (unlikely(v->tracing))
		fault.word = svm_trace_word(v);
	v->memory_faults++;
	result = shadow_fault(v, &fault);
	if (result == VMMU_FAULT_INJECT_PF && !delivering) {
		b->cr2 = fault.gva.v;
		b->rflags |= X86_FLAG_RF;
		b->event_injection = EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR | X86_PF | fault.error_code << 32;
		return SVM_ENTER;
	}
	if (unlikely(result > VMMU_FAULT_RETRY && delivering))
		return svm_slow_exit(v, &fault, result);
	b->event_injection = 0;
	if (result > VMMU_FAULT_RETRY)
		return memory_exit_rest(v, &fault, result);
	if (unlikely(delivering))
		svm_reinject_event(v);
	return SVM_ENTER;
}

/*
 * An exit for an instruction with nothing to it: no trap behind the instruction, no shadow of the one
 * before it (svm/nmi.c makes both, too).
 */
static inline bool svm_is_plain(const struct vcpu *v, const struct vmcb *b)
{
	return likely(!(b->rflags & X86_FLAG_TF) && !(b->interrupt_shadow & 1) && !v->svm.before_iret && !v->nested.l2);
}

/* The guest goes on behind the instruction, as after a memory fault. */
static inline void svm_skip_quickly(struct vcpu *v, struct vmcb *b, unsigned length)
{
	b->rip += length;
	b->rflags &= ~(uint64_t)X86_FLAG_RF;
	b->event_injection = 0;
	v->svm.injected = false;
}

static __attribute__((noinline)) enum svm_next svm_cpuid_exit(struct vcpu *v, struct vmcb *b)
{
	unsigned length = 0;

	if (svm_is_plain(v, b))
		length = svm_quick_length(v);
	if (unlikely(b->rip + length > UINT32_MAX && !svm_is_64bit_code(v->svm.vmcb)))
		length = 0;
	if (unlikely(!length) ||
	    unlikely(!cpuid_answer_quickly(v, (uint32_t)b->rax, (uint32_t)v->state.gpr[X86_RCX], &b->rax)))
		return svm_slow_exit(v, NULL, 0);
	svm_skip_quickly(v, b, length);
	return SVM_ENTER;
}

static __attribute__((noinline)) enum svm_next svm_msr_read_exit(struct vcpu *v, struct vmcb *b)
{
	unsigned length = svm_is_plain(v, b) && svm_is_64bit_code(v->svm.vmcb) ? svm_quick_length(v) : 0;
	uint64_t value;

	if (!length || !msr_read_quickly(v, (uint32_t)v->state.gpr[X86_RCX], &value))
		return svm_slow_exit(v, NULL, 0);
	b->rax = (uint32_t)value;
	v->state.gpr[X86_RDX] = value >> 32;
	svm_skip_quickly(v, b, length);
	return SVM_ENTER;
}

/* VMLOAD, VMSAVE, STGI and CLGI: a hypervisor has two or more of each for each exit of its guest. */
static __attribute__((noinline)) enum svm_next svm_instruction_exit(struct vcpu *v, struct vmcb *b, uint64_t code)
{
	if (!svm_is_plain(v, b) || !svm_is_64bit_code(v->svm.vmcb) || svm_quick_length(v) != SVM_INSTRUCTION_BYTES ||
	    !nsvm_quick_instruction(v, b, code))
		return svm_slow_exit(v, NULL, 0);
	svm_skip_quickly(v, b, SVM_INSTRUCTION_BYTES);
	return SVM_ENTER;
}

static inline __attribute__((always_inline)) enum svm_next svm_dispatch(struct vcpu *v, struct vmcb *b, uint64_t code,
                                                                        uint64_t info1, uint64_t info2, uint64_t rip,
                                                                        bool tracing)
{
	b->tlb_control = 0;
	if (likely(code == SVM_EXIT_NPF))
		return memory_exit(v, b, info1, info2, rip, tracing);
	if (code == SVM_EXIT_EXCEPTION + X86_PF && likely(!v->nested.l2))
		return svm_page_fault_exit(v, b);
	if (code == SVM_EXIT_CPUID)
		return svm_cpuid_exit(v, b);
	if (code == SVM_EXIT_MSR && !(info1 & 1))
		return svm_msr_read_exit(v, b);
	if (code >= SVM_EXIT_VMLOAD && code <= SVM_EXIT_CLGI && v->svm.nested)
		return svm_instruction_exit(v, b, code);
	return svm_slow_exit(v, NULL, 0);
}

/* The visor runs with SPEC_CTRL 0; the guest's breakpoints stay armed until a slow exit says otherwise. */
static __attribute__((noinline)) enum svm_next svm_guarded_exit(struct vcpu *v, struct vmcb *b, uint64_t code,
                                                                uint64_t info1, uint64_t info2, uint64_t rip)
{
	enum svm_next next;

	if (v->spec_ctrl)
		wrmsr(MSR_SPEC_CTRL, 0);
	next = svm_dispatch(v, b, code, info1, info2, rip, v->tracing);
	if (v->spec_ctrl)
		wrmsr(MSR_SPEC_CTRL, next == SVM_LEAVE ? 0 : v->spec_ctrl);
	return next == SVM_ENTER && b->armed_dr7 ? SVM_ENTER_ARMED : next;
}

/* Nothing but the trace has more to do. */
static __attribute__((noinline)) enum svm_next svm_traced_exit(struct vcpu *v, struct vmcb *b, uint64_t code,
                                                               uint64_t info1, uint64_t info2, uint64_t rip)
{
	return svm_dispatch(v, b, code, info1, info2, rip, true);
}

enum svm_next svm_exit(struct vcpu *v, struct vmcb *b, uint64_t code, uint64_t info1, uint64_t info2, uint64_t rip)
{
	if (likely(v->svm.guard == GUARD_NONE))
		return svm_dispatch(v, b, code, info1, info2, rip, false);
	return likely(v->svm.guard == GUARD_TRACE) ? svm_traced_exit(v, b, code, info1, info2, rip)
	                                           : svm_guarded_exit(v, b, code, info1, info2, rip);
}

void svm_run(struct vcpu *v)
{
	svm_guard(v);
	svm_loop(v, (uintptr_t)v->svm.vmcb);
}
