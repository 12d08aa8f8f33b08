/* SPDX-License-Identifier: BSD-2-Clause */
/* From an exit to the next entry. Memory faults come first: most end here (SDM vol. 3, 28.2.1). */
#include <vmmu/exit.h>

#include "visor/cpu/gpr.h"
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/host/interrupts.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vm/watch.h"

#define ULL(x) ((unsigned long long)(x))

_Static_assert(offsetof(struct vcpu, state.gpr[X86_RDI]) == GPR_RDI, "vmx/entry.S");
_Static_assert(offsetof(struct vcpu, state.gpr[X86_R15]) == GPR_R15, "vmx/entry.S");

/* A data segment's selector for VERW, which clears the CPU's buffers where MD_CLEAR says so. */
static const uint16_t data_selector = HOST_DATA_SELECTOR;

static __attribute__((noinline)) void do_entry_work(struct vcpu *v)
{
	uint32_t work = v->vmx.entry_work;

	v->vmx.entry_work = vmx_cpu.each_entry;
	if (work & ENTRY_FLUSH_EPT)
		vmx_invept(v->vmx.eptp);
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

/* The visor runs with SPEC_CTRL 0. */
static inline void leave_guest(struct vcpu *v)
{
	if (unlikely(v->spec_ctrl)) {
		wrmsr(MSR_SPEC_CTRL, 0);
		v->vmx.entry_work |= ENTRY_SPEC_CTRL;
	}
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
	else
		vmx_handle(v, reason);
	exit_finish(v);
	vmx_commit(v);
	vmx_inject_event(v);
	if (unlikely(v->spec_ctrl) && !v->stop)
		v->vmx.entry_work |= ENTRY_SPEC_CTRL;
	before_entry(v);
	return v->stop;
}

/* IRET ended NMI blocking and then met the fault: it will be executed again (28.2.3). */
static inline void restore_nmi_blocking(uint64_t qualification)
{
	if (unlikely(qualification & 1u << 12) && !(vmread(VMCS_VECTORING_EVENT) & EVENT_VALID))
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
}

static inline __attribute__((always_inline)) struct vmmu_fault read_fault(struct vcpu *v, uint32_t reason)
{
	vmmu_gpa gpa = vmmu_gpa_of(vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	uint64_t rip = vmread(VMCS_GUEST_RIP), qualification;

	if (unlikely(reason == VMX_EXIT_EPT_MISCONFIGURATION)) {
		exit_count(v, EXIT_MISCONFIGURATION);
		return vmmu_fault_from_ept_misconfig(gpa, rip);
	}
	v->memory_faults++;
	qualification = vmread(VMCS_QUALIFICATION);
	restore_nmi_blocking(qualification);
	return vmmu_fault_from_ept_violation(qualification, gpa, rip);
}

static __attribute__((noinline)) void vmx_reinject_event(struct vcpu *v)
{
	vmx_recover_event(v);
	vmx_inject_event(v);
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
	if (unlikely(result > VMMU_FAULT_RETRY))
		return vmx_slow_exit(v, reason, &fault, result);
	if (unlikely(delivering))
		vmx_reinject_event(v);
	return false;
}

/* What is no memory fault by EPT. */
static __attribute__((noinline)) bool other_exit(struct vcpu *v, uint32_t reason)
{
	const uint32_t page_fault = EVENT_VALID | EVENT_EXCEPTION | X86_PF;
	uint32_t event = reason == VMX_EXIT_EXCEPTION_NMI ? (uint32_t)vmread(VMCS_EXIT_EVENT) : 0;

	if (vmx_cpu.shadow && (event & (EVENT_VALID | EVENT_TYPE_MASK | 0xff)) == page_fault) {
		bool leave = vmx_page_fault_exit(v, reason, event);

		before_entry(v);
		return leave;
	}
	return vmx_slow_exit(v, reason, NULL, 0);
}

/* Called by vmx/entry.S. True: leave the loop. */
bool vmx_exit(struct vcpu *v)
{
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
	enum vmmu_fault_result result;
	struct vmmu_fault fault;

	leave_guest(v);
	if (unlikely(reason != VMX_EXIT_EPT_VIOLATION && reason != VMX_EXIT_EPT_MISCONFIGURATION))
		return other_exit(v, reason);
	fault = read_fault(v, reason);
	if (unlikely(v->tracing))
		fault.word = vmx_trace_word(v);
	result = vmmu_fault(v->mmu, &fault);
	if (unlikely(result > VMMU_FAULT_RETRY))
		return vmx_slow_exit(v, reason, &fault, result);
	if (unlikely(vmread(VMCS_VECTORING_EVENT) & EVENT_VALID))
		vmx_reinject_event(v);
	before_entry(v);
	return false;
}

void vmx_run(struct vcpu *v)
{
	vmx_write_host_state();
	if (!vmx_loop(v))
		vm_fail(v, "VMLAUNCH or VMRESUME failed: VM-instruction error %llu (SDM vol. 3, 31.4)",
		        ULL(vmread(VMCS_INSTRUCTION_ERROR)));
}
