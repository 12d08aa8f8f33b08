/* SPDX-License-Identifier: BSD-2-Clause */
/* From L2 to L1: what a VM exit saves and loads (SDM vol. 3, chapter 28). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/host/log.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define GET(field) nvmx_get(n, field)
#define SET(field, value) nvmx_set(n, field, value)

/* Segments that an exit loads (28.5.2), as struct x86_segment has them. */
#define ACCESS_HOST_DATA 0xc093u
#define ACCESS_HOST_CODE32 0xc09bu
#define ACCESS_HOST_CODE64 0xa09bu
#define ACCESS_HOST_TASK 0x8bu
#define HOST_TASK_LIMIT 0x67u
#define HOST_TABLE_LIMIT 0xffffu

enum abort_reason { ABORT_SAVE_MSR = 1,
	            ABORT_HOST_PDPTE = 2,
	            ABORT_LOAD_MSR = 4 }; /* 28.7 */

/* The CPU would shut down; nothing is known of L1's state. */
static void vmx_abort(struct vcpu *v, enum abort_reason reason)
{
	uint32_t indicator = reason;

	memory_write(v->vm, v->vmx.nested->current + 4, &indicator, sizeof(indicator));
	log_line("visor: VMX abort %u of the guest's own (SDM vol. 3, 28.7)", indicator);
	exit_stop(v, VM_TRIPLE_FAULT);
}

/* ---- what is saved -------------------------------------------------------------------- */

/* What only some controls save. */
static void save_by_controls(struct nvmx *n)
{
	uint64_t controls = GET(VMCS_EXIT_CONTROLS);

	if (controls & EXITING_SAVE_DEBUG) {
		SET(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7));
		SET(VMCS_GUEST_DEBUGCTL, vmread(VMCS_GUEST_DEBUGCTL));
	}
	if (controls & EXITING_SAVE_PAT)
		SET(VMCS_GUEST_PAT, vmread(VMCS_GUEST_PAT));
	if (controls & EXITING_SAVE_EFER)
		SET(VMCS_GUEST_EFER, vmread(VMCS_GUEST_EFER));
	for (unsigned i = 0; nvmx_secondary(n) & CPU2_EPT && i < 4; i++)
		nvmx_set(n, VMCS_GUEST_PDPTE0 + 2 * i, vmread(VMCS_GUEST_PDPTE0 + 2 * i));
}

static void save_guest_state(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t entry = GET(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E;
	unsigned count;
	const struct nvmx_field *same = nvmx_same_fields(&count);

	for (unsigned i = 0; i < count; i++)
		n->vmcs12.value[same[i].place] = vmread(same[i].encoding);
	if (n->halted)
		SET(VMCS_GUEST_ACTIVITY, NVMX_HALTED);
	save_by_controls(n);
	SET(VMCS_GUEST_CR3, vmread(VMCS_GUEST_CR3));
	SET(VMCS_GUEST_CR0, vmx_read_cr0(v));
	SET(VMCS_GUEST_CR4, vmx_read_cr4(v));
	SET(VMCS_GUEST_RSP, v->state.gpr[X86_RSP]);
	SET(VMCS_GUEST_RIP, v->state.rip);
	SET(VMCS_GUEST_RFLAGS, v->state.rflags);
	SET(VMCS_ENTRY_CONTROLS, entry | (vmread(VMCS_GUEST_EFER) & X86_EFER_LMA ? ENTRY_IA32E : 0)); /* appendix A.6, bit 5 */
	SET(VMCS_ENTRY_EVENT, GET(VMCS_ENTRY_EVENT) & ~(uint64_t)EVENT_VALID);
	nvmx_stop_timer(v);
	if (GET(VMCS_EXIT_CONTROLS) & EXITING_SAVE_PREEMPTION_TIMER)
		SET(VMCS_PREEMPTION_TIMER, n->timer_left);
	/* An NMI blocks others from its delivery on, which the exit broke off (28.2.3). */
	if (event_is_nmi(v->event))
		SET(VMCS_GUEST_INTERRUPTIBILITY, GET(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
}

/* 28.2 */
static void save_exit_information(struct vcpu *v, const struct nvmx_report *r)
{
	static const uint16_t fields[] = {VMCS_EXIT_EVENT, VMCS_EXIT_EVENT_ERROR, VMCS_EXIT_INSTRUCTION_LENGTH,
	                                  VMCS_EXIT_INSTRUCTION_INFO, VMCS_GUEST_LINEAR_ADDRESS, VMCS_GUEST_PHYSICAL_ADDRESS};
	struct nvmx *n = v->vmx.nested;

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		nvmx_set(n, fields[i], r->as_is ? vmread(fields[i]) : 0);
	SET(VMCS_EXIT_REASON, r->reason);
	SET(VMCS_QUALIFICATION, r->qualification);
	if (!r->as_is) {
		SET(VMCS_EXIT_EVENT, r->event);
		SET(VMCS_EXIT_EVENT_ERROR, r->error);
		SET(VMCS_GUEST_PHYSICAL_ADDRESS, r->gpa);
		SET(VMCS_EXIT_INSTRUCTION_LENGTH, v->event & EVENT_VALID ? v->event_length : 0);
	}
	SET(VMCS_VECTORING_EVENT, v->event & EVENT_VALID ? v->event : 0);
	SET(VMCS_VECTORING_ERROR, v->event & EVENT_VALID && v->event & EVENT_HAS_ERROR ? v->event_error : 0);
}

/* ---- what is loaded ------------------------------------------------------------------- */

static struct x86_segment host_segment(const struct nvmx *n, unsigned i, bool wide)
{
	uint16_t selector = (uint16_t)nvmx_get(n, VMCS_HOST_ES_SELECTOR + 2 * i);
	struct x86_segment s = {.selector = selector, .limit = UINT32_MAX, .access = ACCESS_HOST_DATA};

	if (i == X86_CS)
		s.access = wide ? ACCESS_HOST_CODE64 : ACCESS_HOST_CODE32;
	else if (!selector)
		s.access |= X86_ACCESS_UNUSABLE;
	if (i == X86_FS || i == X86_GS)
		s.base = nvmx_get(n, i == X86_FS ? VMCS_HOST_FS_BASE : VMCS_HOST_GS_BASE);
	return s;
}

static void load_host_segments(struct vcpu *v, bool wide)
{
	const struct nvmx *n = v->vmx.nested;
	struct x86_cpu_state *s = &v->state;

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		s->segment[i] = host_segment(n, i, wide);
	s->tr = (struct x86_segment){.selector = (uint16_t)GET(VMCS_HOST_TR_SELECTOR),
	                             .base = GET(VMCS_HOST_TR_BASE),
	                             .limit = HOST_TASK_LIMIT,
	                             .access = ACCESS_HOST_TASK};
	s->ldtr = (struct x86_segment){.access = X86_ACCESS_UNUSABLE};
	s->gdtr = (struct x86_table_register){HOST_TABLE_LIMIT, GET(VMCS_HOST_GDTR_BASE)};
	s->idtr = (struct x86_table_register){HOST_TABLE_LIMIT, GET(VMCS_HOST_IDTR_BASE)};
}

/* 28.5.1: what of CR0, CR4 and EFER is L2's, or follows from the exit controls. */
static void load_host_control(struct vcpu *v, struct vmmu_paging *p, const struct vmmu_paging *l2, bool wide)
{
	const uint64_t unaffected = X86_CR0_CD | X86_CR0_NW;
	const struct nvmx *n = v->vmx.nested;
	uint64_t modes = X86_EFER_LME | X86_EFER_LMA;

	p->cr0 = (GET(VMCS_HOST_CR0) & ~unaffected) | (l2->cr0 & unaffected) | X86_CR0_ET;
	p->cr3 = GET(VMCS_HOST_CR3);
	p->cr4 = wide ? GET(VMCS_HOST_CR4) | X86_CR4_PAE : GET(VMCS_HOST_CR4) & ~X86_CR4_PCIDE;
	p->efer = GET(VMCS_EXIT_CONTROLS) & EXITING_LOAD_EFER ? GET(VMCS_HOST_EFER) : (l2->efer & ~modes) | (wide ? modes : 0);
	p->cpu = v->vm->bus.cpu;
}

/* VMCS01 runs already; `l2` is what L2 has left behind. */
static void load_host_state(struct vcpu *v, const struct vmmu_paging *l2, uint64_t l2_pat, bool by_nmi)
{
	struct nvmx *n = v->vmx.nested;
	bool wide = GET(VMCS_EXIT_CONTROLS) & EXITING_HOST_64;
	struct vmmu_paging p = {0};
	bool good = true;

	load_host_control(v, &p, l2, wide);
	if (!wide && p.cr0 & X86_CR0_PG && p.cr4 & X86_CR4_PAE)
		good = vmmu_guest_load_pdptes(&v->vm->host, v->vm, &p.cpu, p.cr3, p.pdpte) == VMMU_GUEST_OK;
	load_host_segments(v, wide);
	v->state.cr0 = p.cr0;
	v->state.cr3 = p.cr3;
	v->state.cr4 = p.cr4;
	v->state.efer = p.efer;
	v->state.gpr[X86_RSP] = GET(VMCS_HOST_RSP);
	v->state.rip = GET(VMCS_HOST_RIP);
	v->state.rflags = X86_FLAG_FIXED;
	vmx_write_state(v);
	vmx_load_paging(v, &p);
	vmwrite(VMCS_GUEST_SYSENTER_CS, GET(VMCS_HOST_SYSENTER_CS));
	vmwrite(VMCS_GUEST_SYSENTER_ESP, GET(VMCS_HOST_SYSENTER_ESP));
	vmwrite(VMCS_GUEST_SYSENTER_EIP, GET(VMCS_HOST_SYSENTER_EIP));
	vmwrite(VMCS_GUEST_DR7, X86_DR7_RESET);
	vmwrite(VMCS_GUEST_PAT, GET(VMCS_EXIT_CONTROLS) & EXITING_LOAD_PAT ? GET(VMCS_HOST_PAT) : l2_pat);
	vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
	vmx_clear_shadow(v);
	if (by_nmi)
		vmx_block_nmi(v, true);
	if (!good)
		vmx_abort(v, ABORT_HOST_PDPTE);
	else if (nvmx_load_msrs(v, GET(VMCS_EXIT_MSR_LOAD), GET(VMCS_EXIT_MSR_LOAD_COUNT)))
		vmx_abort(v, ABORT_LOAD_MSR);
}

/* L1's translations of its own are as they were, where it gave L2 a tag of its own; else an exit empties them (29.4.3.1). */
static void flush_l1(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;

	if (!(nvmx_secondary(n) & CPU2_VPID))
		vmx_flush(v);
}

/* From VMCS02 to VMCS01. */
static void leave_l2(struct vcpu *v, bool by_nmi)
{
	struct nvmx *n = v->vmx.nested;
	struct vmmu_paging l2 = {.cr0 = vmx_read_cr0(v), .efer = vmx_read_efer(v)};
	uint64_t pat = vmread(VMCS_GUEST_PAT), tsc_offset = vmread(VMCS_TSC_OFFSET) - v->nested.tsc_offset;
	bool nmi_blocked = vmread(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_NMI;
	struct vmmu_root root;

	n->halted = false;
	nvmx_switch(v, false);
	nested_leave(v, &root);
	vmx_set_root(v, &root);
	vmwrite(VMCS_TSC_OFFSET, tsc_offset);
	if (!(GET(VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMI)) /* L2's blocking was the CPU's own */
		vmx_block_nmi(v, nmi_blocked);
	v->event = 0;
	v->nested.as_given = false;
	load_host_state(v, &l2, pat, by_nmi);
	flush_l1(v);
}

void nvmx_exit(struct vcpu *v, const struct nvmx_report *r)
{
	struct nvmx *n = v->vmx.nested;
	bool stored;

	save_guest_state(v);
	save_exit_information(v, r);
	stored = nvmx_store_msrs(v, GET(VMCS_EXIT_MSR_STORE), GET(VMCS_EXIT_MSR_STORE_COUNT));
	leave_l2(v, r->reason == VMX_EXIT_EXCEPTION_NMI && event_is_nmi((uint32_t)GET(VMCS_EXIT_EVENT)));
	if (!stored)
		vmx_abort(v, ABORT_SAVE_MSR);
}

/* 27.8: of the exit's information nothing but this, and of the guest's state nothing is saved. */
void nvmx_entry_failed(struct vcpu *v, uint32_t reason, uint64_t qualification)
{
	struct nvmx *n = v->vmx.nested;

	SET(VMCS_EXIT_REASON, VMX_EXIT_ENTRY_FAILURE | reason);
	SET(VMCS_QUALIFICATION, qualification);
	n->vmcs12.launched = n->was_launched;
	if (v->nested.l2) {
		leave_l2(v, false);
	} else {
		struct vmmu_paging l1 = {.cr0 = v->state.cr0, .efer = v->state.efer};

		v->event = 0;
		load_host_state(v, &l1, vmread(VMCS_GUEST_PAT), false);
		flush_l1(v);
	}
}

bool nvmx_refused(struct vcpu *v, uint64_t error)
{
	struct nvmx *n = v->vmx.nested;
	struct vmmu_root root;

	if (!n || !v->nested.l2)
		return false;
	log_line("visor: the CPU refuses what the guest has made of its guest: VM-instruction error %llu",
	         (unsigned long long)error);
	nvmx_switch(v, false);
	nested_leave(v, &root);
	vmx_set_root(v, &root);
	SET(VMCS_INSTRUCTION_ERROR, error);
	n->vmcs12.launched = n->was_launched;
	vmwrite(VMCS_GUEST_RFLAGS, (vmread(VMCS_GUEST_RFLAGS) & ~NVMX_RESULT_FLAGS) | X86_FLAG_ZF);
	return true;
}
