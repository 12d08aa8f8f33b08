/* SPDX-License-Identifier: BSD-2-Clause */
/* From L1 to L2: VMLAUNCH and VMRESUME, and VMCS02 as VMCS01 and VMCS12 make it (SDM vol. 3, chapter 27). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define QUALIFICATION_PDPTE 2u /* 27.8 */
#define GET(field) nvmx_get(n, field)

uint64_t nvmx_cr0_shadow(const struct nvmx *n, uint64_t value)
{
	uint64_t mask = GET(VMCS_CR0_MASK);

	return (value & ~mask) | (GET(VMCS_CR0_SHADOW) & mask);
}

uint64_t nvmx_cr4_shadow(const struct nvmx *n, uint64_t value)
{
	uint64_t mask = GET(VMCS_CR4_MASK);

	return (value & ~mask) | (GET(VMCS_CR4_SHADOW) & mask);
}

uint32_t nvmx_secondary(const struct nvmx *n)
{
	return GET(VMCS_CPU_CONTROLS) & CPU_SECONDARY ? (uint32_t)GET(VMCS_CPU_CONTROLS2) : 0;
}

/* What L1 lets its guest have, and what either wants to see. */
static void merge_controls(struct vcpu *v)
{
	const uint32_t instructions = CPU2_RDTSCP | CPU2_INVPCID, windows = CPU_INTERRUPT_WINDOW | CPU_NMI_WINDOW;
	struct nvmx *n = v->vmx.nested;
	uint32_t cpu = (uint32_t)GET(VMCS_CPU_CONTROLS), cpu2 = nvmx_secondary(n);

	v->vmx.kept_windows = cpu & windows;
	v->vmx.cpu_based = vmx_adjusted(vmx_control_msr(MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS),
	                                (n->cpu_based & ~windows) | (cpu & ~(uint32_t)CPU_IO_BITMAPS));
	v->vmx.secondary = (vmx_cpu.secondary & ~(instructions & ~cpu2)) | (cpu2 & (CPU2_DESCRIPTOR_TABLES | CPU2_WBINVD));
	vmwrite(VMCS_CPU_CONTROLS, v->vmx.cpu_based);
	vmwrite(VMCS_CPU_CONTROLS2, v->vmx.secondary);
	vmwrite(VMCS_EXCEPTION_BITMAP, vmx_exception_bitmap() | GET(VMCS_EXCEPTION_BITMAP));
	vmwrite(VMCS_PAGE_FAULT_MASK, GET(VMCS_PAGE_FAULT_MASK));
	vmwrite(VMCS_PAGE_FAULT_MATCH, GET(VMCS_PAGE_FAULT_MATCH));
	vmwrite(VMCS_CR3_TARGET_COUNT, GET(VMCS_CR3_TARGET_COUNT));
	for (unsigned i = 0; i < NVMX_CR3_TARGETS; i++)
		vmwrite(VMCS_CR3_TARGET0 + 2 * i, nvmx_get(n, VMCS_CR3_TARGET0 + 2 * i));
	vmwrite(VMCS_CR0_MASK, CR0_OWNED | GET(VMCS_CR0_MASK));
	vmwrite(VMCS_CR4_MASK, ~CR4_GUEST | GET(VMCS_CR4_MASK));
	nvmx_merge_bitmap(v);
}

/* What L2 gets from L1's registers where VMCS12 does not load them. */
struct inherited {
	uint64_t pat, dr7, efer, tsc_offset;
};

/* 27.3.2.1 */
static uint64_t efer_of_l2(const struct nvmx *n, const struct inherited *l1)
{
	uint64_t wide = GET(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E ? X86_EFER_LMA | X86_EFER_LME : 0, efer = l1->efer;

	if (GET(VMCS_ENTRY_CONTROLS) & ENTRY_LOAD_EFER)
		return GET(VMCS_GUEST_EFER);
	efer &= ~(X86_EFER_LMA | (GET(VMCS_GUEST_CR0) & X86_CR0_PG ? X86_EFER_LME : 0));
	return efer | (GET(VMCS_GUEST_CR0) & X86_CR0_PG ? wide : wide & X86_EFER_LMA);
}

/* L2's top tables of PAE paging: with EPT as L1 says, without as CR3 says (27.3.2.4). False: a bad one. */
static bool find_pdptes(struct vcpu *v, struct vmmu_paging *p)
{
	const struct nvmx *n = v->vmx.nested;

	if (nvmx_secondary(n) & CPU2_EPT) {
		for (unsigned i = 0; i < 4; i++)
			p->pdpte[i] = nvmx_get(n, VMCS_GUEST_PDPTE0 + 2 * i);
		return true;
	}
	if (!(p->cr0 & X86_CR0_PG) || !(p->cr4 & X86_CR4_PAE) || p->efer & X86_EFER_LMA)
		return true;
	return vmmu_guest_load_pdptes(&v->vm->host, v->vm, &v->vm->bus.cpu, p->cr3, p->pdpte) == VMMU_GUEST_OK;
}

static void load_guest_state(struct vcpu *v, const struct inherited *l1, const struct vmmu_paging *p)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t entry = GET(VMCS_ENTRY_CONTROLS);
	unsigned count;
	const struct nvmx_field *same = nvmx_same_fields(&count);

	for (unsigned i = 0; i < count; i++)
		vmwrite(same[i].encoding, n->vmcs12.value[same[i].place]);
	vmx_load_paging(v, p);
	vmwrite(VMCS_GUEST_PAT, entry & ENTRY_LOAD_PAT ? GET(VMCS_GUEST_PAT) : l1->pat);
	vmwrite(VMCS_GUEST_DR7, entry & ENTRY_LOAD_DEBUG ? GET(VMCS_GUEST_DR7) : l1->dr7);
	vmwrite(VMCS_TSC_OFFSET, l1->tsc_offset + v->nested.tsc_offset);
	v->state.gpr[X86_RSP] = GET(VMCS_GUEST_RSP);
	v->state.rip = GET(VMCS_GUEST_RIP);
	v->state.rflags = GET(VMCS_GUEST_RFLAGS);
	n->timer_left = GET(VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER ? GET(VMCS_PREEMPTION_TIMER) : UINT64_MAX;
	nvmx_arm_timer(v);
}

static void take_event(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t event = (uint32_t)GET(VMCS_ENTRY_EVENT);

	v->event = event & EVENT_VALID ? event : 0;
	v->nested.as_given = v->event;
	v->event_error = (uint32_t)GET(VMCS_ENTRY_EVENT_ERROR);
	v->event_length = (uint32_t)GET(VMCS_ENTRY_INSTRUCTION_LENGTH);
}

/* L2's own linear translations: of the visor's one VPID for all of L1's. */
static void flush_l2(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint16_t tag = nvmx_secondary(n) & CPU2_VPID ? (uint16_t)GET(VMCS_VPID) : 0;

	if (vmmu_nested_tag(v->mmu, tag, v->nested.flush, v->nested.flushed))
		vmx_flush(v);
	v->nested.flush = VMMU_NESTED_FLUSH_NONE;
}

/* VMMU_ERR_INVALID: L1's EPTP. */
static enum vmmu_status enter_ept(struct vcpu *v, struct vmmu_root *root)
{
	const struct nvmx *n = v->vmx.nested;
	struct vmmu_nested tables = {.root = GET(VMCS_EPT_POINTER)};
	uint64_t offset = GET(VMCS_CPU_CONTROLS) & CPU_TSC_OFFSET ? GET(VMCS_TSC_OFFSET) : 0;

	nvmx_describe(v, &tables.cpu);
	return nested_enter(v, nvmx_secondary(n) & CPU2_EPT ? &tables : NULL, offset, root);
}

/* The checks of 27.1 and 27.2, as long as L1 runs. */
static enum nvmx_error refusal(struct vcpu *v, bool launch)
{
	const struct nvmx *n = v->vmx.nested;
	enum nvmx_error error;

	if (vmread(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_MOV_SS)
		return NVMX_MOV_SS;
	if (launch == n->vmcs12.launched)
		return launch ? NVMX_LAUNCH_NOT_CLEAR : NVMX_RESUME_NOT_LAUNCHED;
	error = nvmx_check_controls(v);
	return error ? error : nvmx_check_host(v);
}

/* L1 never comes back behind the instruction unless it fails. */
static void step_over(struct vcpu *v)
{
	v->state.rip += vmx_instruction_length(v);
	v->state.rflags &= ~X86_FLAG_RF;
	vmx_clear_shadow(v);
	vmx_commit(v);
}

static void run_l2(struct vcpu *v, const struct vmmu_root *root)
{
	struct nvmx *n = v->vmx.nested;
	struct inherited l1 = {
		.pat = vmread(VMCS_GUEST_PAT), .dr7 = vmread(VMCS_GUEST_DR7), .efer = v->state.efer, .tsc_offset = vmread(VMCS_TSC_OFFSET)};
	struct vmmu_paging p = {.cr0 = GET(VMCS_GUEST_CR0),
	                        .cr3 = GET(VMCS_GUEST_CR3),
	                        .cr4 = GET(VMCS_GUEST_CR4),
	                        .efer = efer_of_l2(n, &l1),
	                        .cpu = v->vm->bus.cpu};
	bool pdptes = find_pdptes(v, &p);
	uint64_t failed;

	n->nmi_blocked = vmx_nmi_blocked(v);
	nvmx_switch(v, true);
	vmx_set_root(v, root);
	merge_controls(v);
	load_guest_state(v, &l1, &p);
	n->was_launched = n->vmcs12.launched;
	n->vmcs12.launched = true;
	if (!pdptes) {
		nvmx_entry_failed(v, VMX_EXIT_BAD_GUEST_STATE, QUALIFICATION_PDPTE);
		return;
	}
	vmx_commit(v);
	failed = nvmx_load_msrs(v, GET(VMCS_ENTRY_MSR_LOAD), GET(VMCS_ENTRY_MSR_LOAD_COUNT));
	if (failed) {
		nvmx_entry_failed(v, VMX_EXIT_BAD_MSR_LOAD, failed);
		return;
	}
	flush_l2(v);
	take_event(v);
	n->halted = GET(VMCS_GUEST_ACTIVITY) == NVMX_HALTED;
}

void nvmx_enter(struct vcpu *v, bool launch)
{
	struct nvmx *n = v->vmx.nested;
	enum nvmx_error error = refusal(v, launch);
	struct vmmu_root root;
	enum vmmu_status status;
	uint64_t qualification;

	if (error) {
		nvmx_fail(v, error);
		return;
	}
	n->was_launched = n->vmcs12.launched;
	if (!nvmx_check_guest(v, &qualification)) {
		nvmx_entry_failed(v, VMX_EXIT_BAD_GUEST_STATE, qualification);
		return;
	}
	status = enter_ept(v, &root);
	if (nested_is_tried_again(v, status)) /* L1 is before its instruction, as it was */
		return;
	if (status == VMMU_ERR_INVALID || status == VMMU_ERR_UNSUPPORTED) {
		nvmx_fail(v, NVMX_CONTROLS);
		return;
	}
	if (status != VMMU_OK) {
		vm_fail(v, "no tables for the guest's guest: %s", vmmu_status_name(status));
		return;
	}
	step_over(v);
	run_l2(v, &root);
}
