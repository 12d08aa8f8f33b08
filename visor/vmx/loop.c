/* SPDX-License-Identifier: BSD-2-Clause */
/* From an exit to the next entry. Memory faults come first: most end here (SDM vol. 3, 28.2.1). */
#include <vmmu/exit.h>

#include "visor/cpu/gpr.h"
#include "visor/cpu/x86.h"
#include "visor/exit/quick_access.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/host/interrupts.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/watch.h"

#define VMX_ERROR_NOT_LAUNCHED 5 /* 31.4 */
#define ULL(x) ((unsigned long long)(x))

_Static_assert(offsetof(struct vcpu, state.gpr[X86_RDI]) == GPR_RDI, "vmx/entry.S");
_Static_assert(offsetof(struct vcpu, state.gpr[X86_R15]) == GPR_R15, "vmx/entry.S");

/* A data segment's selector for VERW, which clears the CPU's buffers where MD_CLEAR says so. */
static const uint16_t data_selector = HOST_DATA_SELECTOR;

static __attribute__((noinline)) void do_entry_work(struct vcpu *v)
{
	uint32_t work = v->vmx.entry_work;

	v->vmx.entry_work = vmx_cpu.each_entry;
	if (work & ENTRY_FLUSH_EPT) {
		if (v->vmx.nested) /* other roots, too, are made of what has changed */
			vmx_invept_all();
		else
			vmx_invept(v->vmx.eptp);
	}
	if (work & ENTRY_FLUSH_L1D)
		wrmsr(MSR_FLUSH_CMD, 1);
	if (work & ENTRY_SPEC_CTRL)
		wrmsr(MSR_SPEC_CTRL, v->spec_ctrl);
	if (work & ENTRY_CLEAR_BUFFERS)
		__asm__ volatile("verw %0"
		                 :
		                 : "m"(data_selector)
		                 : "cc");
}

/* What is owed before the next entry. */
static inline void before_entry(struct vcpu *v)
{
	if (unlikely(v->vmx.entry_work))
		do_entry_work(v);
}

/* Has each exit more to do? All that decides about it changes in slow exits alone. */
static void vmx_guard(struct vcpu *v)
{
	v->vmx.guard = v->spec_ctrl ? GUARD_ALL : v->tracing ? GUARD_TRACE
	                                                     : GUARD_NONE;
}

/* Everything but memory faults that the engine settled. `fault` is NULL for other exits. */
static __attribute__((noinline)) bool vmx_slow_exit(struct vcpu *v, uint32_t reason, const struct vmmu_fault *fault,
                                                    enum vmmu_fault_result result)
{
	watch_begin(v);
	interrupts_on(); /* for the timer (vm/watch.h), which may be what has come */
	v->state.gpr[X86_RSP] = vmread(VMCS_GUEST_RSP);
	v->state.rip = vmread(VMCS_GUEST_RIP);
	v->state.rflags = vmread(VMCS_GUEST_RFLAGS);
	vmx_recover_event(v);
	if (fault)
		exit_memory_rest(v, fault, result);
	else if (!(unlikely(v->nested.l2) && nvmx_take_exit(v, reason)))
		vmx_handle(v, reason);
	exit_finish(v);
	if (unlikely(v->nested.l2))
		nvmx_keep_halted(v);
	vmx_commit(v);
	vmx_inject_event(v);
	if (unlikely(v->spec_ctrl) && !v->stop)
		v->vmx.entry_work |= ENTRY_SPEC_CTRL;
	vmx_guard(v);
	before_entry(v);
	return v->stop || v->vmx.switched;
}

/* IRET ended NMI blocking and then met the fault: it will be executed again (28.2.3). */
static inline void restore_nmi_blocking(uint64_t qualification)
{
	if (unlikely(qualification & 1u << 12) && !(vmread(VMCS_VECTORING_EVENT) & EVENT_VALID))
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
}

static __attribute__((noinline)) void vmx_reinject_event(struct vcpu *v)
{
	vmx_recover_event(v);
	vmx_inject_event(v);
}

/* The guest has met device memory, or writes a table that is held: a plain read of the local APIC ends here, and a plain write. */
static __attribute__((noinline)) bool vmx_quick_access(struct vcpu *v, const struct vmmu_fault *fault, enum vmmu_fault_result result)
{
	const uint64_t shadows = INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS;
	struct quick_access a = {.gpa = fault->gpa.v, .rip = fault->rip};
	uint64_t next, rflags, before;

	if (!quick_access_fits(fault, result) || unlikely(vmread(VMCS_VECTORING_EVENT) & EVENT_VALID) ||
	    unlikely(vmread(VMCS_GUEST_INTERRUPTIBILITY) & shadows) || unlikely(!vmx_in_64bit_code(v)))
		return false;
	rflags = before = vmread(VMCS_GUEST_RFLAGS);
	if (unlikely(rflags & (X86_FLAG_TF | X86_FLAG_RF)))
		return false;
	a.cr3 = vmx_cpu.shadow ? v->paging.cr3 : vmread(VMCS_GUEST_CR3);
	a.five_levels = vmx_read_cr4(v) & X86_CR4_LA57;
	v->state.gpr[X86_RSP] = vmread(VMCS_GUEST_RSP);
	next = quick_access(v, &a, result, &rflags);
	if (!next)
		return false;
	vmwrite(VMCS_GUEST_RSP, v->state.gpr[X86_RSP]);
	vmwrite(VMCS_GUEST_RIP, next);
	if (rflags != before)
		vmwrite(VMCS_GUEST_RFLAGS, rflags);
	return true;
}

/* A #PF under vmx_cpu.shadow paging; CR2 is still the guest's own (28.2.1). The guest's own faults end here, too. */
static bool vmx_page_fault_exit(struct vcpu *v, uint32_t reason, uint32_t event)
{
	unsigned cpl = vmread(VMCS_GUEST_SS_ACCESS) >> 5 & 3;
	struct vmmu_fault fault =
		vmmu_fault_from_pf(vmread(VMCS_EXIT_EVENT_ERROR), vmmu_gva_of(vmread(VMCS_QUALIFICATION)), cpl,
	                           vmread(VMCS_GUEST_RFLAGS), vmread(VMCS_GUEST_RIP));
	bool delivering = vmread(VMCS_VECTORING_EVENT) & EVENT_VALID;
	enum vmmu_fault_result result;

	restore_nmi_blocking(event); /* bit 12, as in a qualification (table 25-19) */
	if (unlikely(v->tracing))
		fault.word = vmx_trace_word(v);
	v->memory_faults++;
	result = shadow_fault(v, &fault);
	if (result == VMMU_FAULT_INJECT_PF && !delivering) {
		write_cr2(fault.gva.v);
		vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | X86_FLAG_RF);
		vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR | X86_PF);
		vmwrite(VMCS_ENTRY_EVENT_ERROR, fault.error_code);
		return false;
	}
	if (result > VMMU_FAULT_RETRY)
		return vmx_quick_access(v, &fault, result) ? false : vmx_slow_exit(v, reason, &fault, result);
	if (unlikely(delivering))
		vmx_reinject_event(v);
	return false;
}

/* A memory fault that is not of the usual kind: device memory by a misconfigured entry, or one while an event was delivered. */
static __attribute__((noinline)) bool rare_memory_exit(struct vcpu *v, uint32_t reason, struct vmmu_fault *fault)
{
	enum vmmu_fault_result result;

	if (v->tracing)
		fault->word = vmx_trace_word(v);
	result = vmmu_fault(v->mmu, fault);
	if (vmx_quick_access(v, fault, result)) {
		before_entry(v);
		return false;
	}
	if (result > VMMU_FAULT_RETRY)
		return vmx_slow_exit(v, reason, fault, result);
	if (vmread(VMCS_VECTORING_EVENT) & EVENT_VALID)
		vmx_reinject_event(v);
	before_entry(v);
	return false;
}

static bool misconfiguration_exit(struct vcpu *v, vmmu_gpa gpa, uint64_t rip)
{
	struct vmmu_fault fault = vmmu_fault_from_ept_misconfig(gpa, rip);

	exit_count(v, EXIT_MISCONFIGURATION);
	return rare_memory_exit(v, VMX_EXIT_EPT_MISCONFIGURATION, &fault);
}

/*
 * CPUID with nothing to it: no trap behind the instruction, no shadow of the one before it,
 * and where it stands RIP needs no cutting to 32 bits. The guest goes on as after a memory fault.
 */
static __attribute__((noinline)) bool vmx_cpuid_exit(struct vcpu *v, uint64_t rip)
{
	uint64_t *gpr = v->state.gpr, next = rip + vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
	const uint64_t shadows = INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS;

	if (unlikely(vmread(VMCS_GUEST_RFLAGS) & (X86_FLAG_TF | X86_FLAG_RF)) ||
	    unlikely(vmread(VMCS_GUEST_INTERRUPTIBILITY) & shadows) || unlikely((rip ^ next) >> 32) ||
	    unlikely(!cpuid_answer_quickly(v, (uint32_t)gpr[X86_RAX], (uint32_t)gpr[X86_RCX], &gpr[X86_RAX])))
		return vmx_slow_exit(v, VMX_EXIT_CPUID, NULL, 0);
	vmwrite(VMCS_GUEST_RIP, next);
	before_entry(v);
	return false;
}

/* What is no memory fault by EPT. */
static __attribute__((noinline)) bool other_exit(struct vcpu *v, uint32_t reason, uint64_t rip, uint64_t gpa)
{
	const uint32_t page_fault = EVENT_VALID | EVENT_EXCEPTION | X86_PF;
	uint32_t event;

	if (reason == VMX_EXIT_CPUID && likely(!v->nested.l2))
		return vmx_cpuid_exit(v, rip);
	if (reason == VMX_EXIT_EPT_MISCONFIGURATION)
		return misconfiguration_exit(v, vmmu_gpa_of(gpa), rip);
	if (v->vmx.nested && !v->nested.l2 && (reason == VMX_EXIT_VMREAD || reason == VMX_EXIT_VMWRITE) && nvmx_quick_access(v, reason)) {
		before_entry(v);
		return false;
	}
	event = reason == VMX_EXIT_EXCEPTION_NMI ? (uint32_t)vmread(VMCS_EXIT_EVENT) : 0;
	if (vmx_cpu.shadow && (event & (EVENT_VALID | EVENT_TYPE_MASK | 0xff)) == page_fault) {
		bool leave = vmx_page_fault_exit(v, reason, event);

		before_entry(v);
		return leave;
	}
	return vmx_slow_exit(v, reason, NULL, 0);
}

/* vmx_trace_word(), where most faults come from: long mode implies paging, and it is not shadow paging here. */
static inline __attribute__((always_inline)) uint64_t vmx_word_quickly(struct vcpu *v)
{
	if (unlikely(!(vmread(VMCS_GUEST_EFER) & X86_EFER_LMA)) || unlikely(v->nested.l2))
		return vmx_trace_word(v);
	return (vmread(VMCS_GUEST_CR3) & ~(uint64_t)VMMU_TRACE_WORD_BITS) |
	       (vmread(VMCS_GUEST_SS_ACCESS) >> 5 & VMMU_TRACE_WORD_CPL) | VMMU_TRACE_WORD_PAGING | VMMU_TRACE_WORD_LMA;
}

static inline __attribute__((always_inline)) bool vmx_dispatch(struct vcpu *v, uint32_t reason, uint64_t rip,
                                                               uint64_t vectoring, uint64_t gpa,
                                                               uint64_t qualification, bool tracing)
{
	enum vmmu_fault_result result;
	struct vmmu_fault fault;

	if (unlikely(reason != VMX_EXIT_EPT_VIOLATION))
		return other_exit(v, reason, rip, gpa);
	v->memory_faults++;
	restore_nmi_blocking(qualification);
	fault = vmmu_fault_from_ept_violation(qualification, vmmu_gpa_of(gpa), rip);
	if (unlikely(vectoring & EVENT_VALID))
		return rare_memory_exit(v, reason, &fault);
	if (tracing)
		fault.word = vmx_word_quickly(v);
	result = vmmu_fault(v->mmu, &fault);
	if (unlikely(result > VMMU_FAULT_RETRY) && !vmx_quick_access(v, &fault, result))
		return vmx_slow_exit(v, reason, &fault, result);
	before_entry(v);
	return false;
}

/* The visor runs with SPEC_CTRL 0. */
static __attribute__((noinline)) bool vmx_guarded_exit(struct vcpu *v, uint32_t reason, uint64_t rip,
                                                       uint64_t vectoring, uint64_t gpa, uint64_t qualification)
{
	if (v->spec_ctrl) {
		wrmsr(MSR_SPEC_CTRL, 0);
		v->vmx.entry_work |= ENTRY_SPEC_CTRL;
	}
	return vmx_dispatch(v, reason, rip, vectoring, gpa, qualification, v->tracing);
}

/* Nothing but the trace has more to do. */
static __attribute__((noinline)) bool vmx_traced_exit(struct vcpu *v, uint32_t reason, uint64_t rip,
                                                      uint64_t vectoring, uint64_t gpa, uint64_t qualification)
{
	return vmx_dispatch(v, reason, rip, vectoring, gpa, qualification, true);
}

bool vmx_exit(struct vcpu *v, uint64_t reason, uint64_t rip, uint64_t vectoring, uint64_t gpa, uint64_t qualification)
{
	if (likely(v->vmx.guard == GUARD_NONE))
		return vmx_dispatch(v, (uint32_t)reason, rip, vectoring, gpa, qualification, false);
	return likely(v->vmx.guard == GUARD_TRACE)
	               ? vmx_traced_exit(v, (uint32_t)reason, rip, vectoring, gpa, qualification)
	               : vmx_guarded_exit(v, (uint32_t)reason, rip, vectoring, gpa, qualification);
}

void vmx_run(struct vcpu *v)
{
	uint64_t error;

	vmx_write_host_state();
	vmx_guard(v);
	do {
		bool launched = v->vmx.launched;

		v->vmx.switched = false;
		v->vmx.launched = true;
		if (vmx_loop(v, launched))
			continue;
		error = vmread(VMCS_INSTRUCTION_ERROR);
		/* An entry that failed by the guest's state has launched nothing (27.8). */
		v->vmx.launched = launched && error != VMX_ERROR_NOT_LAUNCHED;
		if (launched && error == VMX_ERROR_NOT_LAUNCHED) {
			v->vmx.switched = true;
			continue;
		}
		if (!nvmx_refused(v, error))
			vm_fail(v, "VMLAUNCH or VMRESUME failed: VM-instruction error %llu (SDM vol. 3, 31.4)", ULL(error));
	} while (v->vmx.switched && !v->stop);
}
