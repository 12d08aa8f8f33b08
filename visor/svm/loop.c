/* SPDX-License-Identifier: BSD-2-Clause */
/* From an exit to the next entry. Memory faults come first: most end here (APM vol. 2, 15.25.6). */
#include <vmmu/exit.h>

#include "visor/cpu/gpr.h"
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/svm/internal.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/watch.h"

_Static_assert(offsetof(struct vcpu, state.gpr[X86_RDI]) == GPR_RDI, "svm/entry.S");
_Static_assert(offsetof(struct vcpu, state.gpr[X86_R15]) == GPR_R15, "svm/entry.S");

/* Everything but memory faults that the engine settled. `fault` is NULL for other exits. */
static __attribute__((noinline)) bool svm_slow_exit(struct vcpu *v, const struct vmmu_fault *fault,
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
	svm_arm_breakpoints(v);
	svm_commit(v);
	svm_inject_event(v);
	if (unlikely(v->spec_ctrl) && !v->stop) /* this exit may have written it */
		wrmsr(MSR_SPEC_CTRL, v->spec_ctrl);
	__asm__ volatile("clgi; sti"
	                 :
	                 :
	                 : "memory");
	return v->stop;
}

static __attribute__((noinline)) void svm_reinject_event(struct vcpu *v)
{
	svm_recover_event(v);
	svm_inject_event(v);
}

/* A nested page fault. Most end here: the engine has built what was missing, the guest goes on. */
static inline __attribute__((always_inline)) bool memory_exit(struct vcpu *v, struct vmcb *b)
{
	struct vmmu_fault fault = vmmu_fault_from_npf(b->exit_info1, vmmu_gpa_of(b->exit_info2), b->rip);
	enum vmmu_fault_result result;

	if (unlikely(v->tracing))
		fault.word = svm_trace_word(v);
	v->memory_faults++;
	result = vmmu_fault(v->mmu, &fault);
	if (unlikely(result > VMMU_FAULT_RETRY))
		return svm_slow_exit(v, &fault, result);
	b->event_injection = 0;
	if (unlikely(b->exit_interrupt_info & EVENT_VALID))
		svm_reinject_event(v);
	return false;
}

/*
 * A #PF under shadow paging (15.12.15: CR2 is still the guest's own, EXITINFO2
 * has the address). The guest's own faults end here, too. Apart, so that a nested
 * page fault saves no registers for it.
 */
static __attribute__((noinline)) bool svm_page_fault_exit(struct vcpu *v, struct vmcb *b)
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
		return false;
	}
	if (unlikely(result > VMMU_FAULT_RETRY))
		return svm_slow_exit(v, &fault, result);
	b->event_injection = 0;
	if (unlikely(delivering))
		svm_reinject_event(v);
	return false;
}

static inline __attribute__((always_inline)) bool dispatch(struct vcpu *v, struct vmcb *b)
{
	b->tlb_control = 0;
	if (likely(b->exit_code == SVM_EXIT_NPF))
		return memory_exit(v, b);
	if (b->exit_code == SVM_EXIT_EXCEPTION + X86_PF)
		return svm_page_fault_exit(v, b);
	return svm_slow_exit(v, NULL, 0);
}

/* The visor runs with SPEC_CTRL 0. */
static __attribute__((noinline)) bool guarded_exit(struct vcpu *v, struct vmcb *b)
{
	bool leave;

	wrmsr(MSR_SPEC_CTRL, 0);
	leave = dispatch(v, b);
	wrmsr(MSR_SPEC_CTRL, leave ? 0 : v->spec_ctrl);
	return leave;
}

/* Called by svm/entry.S. True: leave the loop. */
bool svm_exit(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;

	return unlikely(v->spec_ctrl) ? guarded_exit(v, b) : dispatch(v, b);
}

void svm_run(struct vcpu *v)
{
	svm_loop(v, (uintptr_t)v->svm.vmcb);
}
