/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose an exit of L2's is: L1's, by its controls and bitmaps, or the visor's (SDM vol. 3, 26.1 to 26.3). */
#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/exit/exit.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define MSR_RANGE 0x2000u
#define MSR_HIGH 0xc0000000u
#define LMSW_CHANGES 0xeu /* MP, EM, TS; PE can only be set */
#define GET(field) nvmx_get(n, field)

/* ---- MSRs and ports ------------------------------------------------------------------- */

/* 25.6.9 */
static bool wants_msr(struct vcpu *v, uint32_t msr, bool write)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t byte = 0xff, at = GET(VMCS_MSR_BITMAP) + (write ? 2048 : 0);

	if (!(GET(VMCS_CPU_CONTROLS) & CPU_MSR_BITMAPS) || (msr >= MSR_RANGE && msr - MSR_HIGH >= MSR_RANGE))
		return true;
	at += (msr < MSR_RANGE ? 0 : 1024) + msr % MSR_RANGE / 8;
	return !memory_load(v->vm, at, 1, &byte) || byte >> msr % 8 & 1;
}

void nvmx_merge_bitmap(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	const uint64_t *own = (const uint64_t *)(uintptr_t)v->vmx.msr_bitmap, *theirs = NULL;
	uint64_t *merged = (uint64_t *)(uintptr_t)n->msr_bitmap;

	if (GET(VMCS_CPU_CONTROLS) & CPU_MSR_BITMAPS)
		theirs = memory_page(v->vm, GET(VMCS_MSR_BITMAP), false);
	for (unsigned i = 0; i < n->passed_words; i++) {
		unsigned word = n->passed_word[i];

		merged[word] = theirs ? own[word] | theirs[word] : UINT64_MAX;
	}
}

/* 26.1.3: an access exits if one of its ports does, or if they go round. */
static bool wants_io(struct vcpu *v, uint64_t q)
{
	const struct nvmx *n = v->vmx.nested;
	unsigned port = q >> 16 & 0xffff, size = (q & 7) + 1;

	if (!(GET(VMCS_CPU_CONTROLS) & CPU_IO_BITMAPS))
		return GET(VMCS_CPU_CONTROLS) & CPU_UNCONDITIONAL_IO;
	for (unsigned p = port; p < port + size; p++) {
		uint64_t byte = 0xff, bitmap = p & 0x8000 ? GET(VMCS_IO_BITMAP_B) : GET(VMCS_IO_BITMAP_A);

		if (p > 0xffff || !memory_load(v->vm, bitmap + (p & 0x7fff) / 8, 1, &byte) || byte >> p % 8 & 1)
			return true;
	}
	return false;
}

/* ---- control registers ------------------------------------------------------------------ */

static bool wants_cr3(const struct nvmx *n, uint64_t value)
{
	for (unsigned i = 0; i < GET(VMCS_CR3_TARGET_COUNT); i++) {
		if (value == nvmx_get(n, VMCS_CR3_TARGET0 + 2 * i))
			return false;
	}
	return GET(VMCS_CPU_CONTROLS) & CPU_CR3_LOAD;
}

static bool wants_mov_to_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
	const struct nvmx *n = v->vmx.nested;

	if (!vmx_in_64bit_code(v))
		value = (uint32_t)value;
	switch (cr) {
	case 0: return (value ^ GET(VMCS_CR0_SHADOW)) & GET(VMCS_CR0_MASK);
	case 3: return wants_cr3(n, value);
	case 4: return (value ^ GET(VMCS_CR4_SHADOW)) & GET(VMCS_CR4_MASK);
	}
	return GET(VMCS_CPU_CONTROLS) & CPU_CR8_LOAD;
}

/* Qualification: table 28-3. */
static bool wants_cr(struct vcpu *v, uint64_t q)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t mask = GET(VMCS_CR0_MASK), shadow = GET(VMCS_CR0_SHADOW), source = q >> 16 & 0xffff;
	unsigned cr = q & 15;

	switch (q >> 4 & 3) {
	case 0: return wants_mov_to_cr(v, cr, v->state.gpr[q >> 8 & 15]);
	case 1: return GET(VMCS_CPU_CONTROLS) & (cr == 3 ? CPU_CR3_STORE : CPU_CR8_STORE);
	case 2: return mask & shadow & X86_CR0_TS;
	}
	return (mask & LMSW_CHANGES & (source ^ shadow)) || (mask & source & ~shadow & X86_CR0_PE);
}

/* In VMX operation a CPU refuses other values (24.8). */
bool nvmx_control(struct vcpu *v, uint64_t cr0, uint64_t cr4)
{
	const struct nvmx *n = v->vmx.nested;

	return !n->on || (nvmx_cr0_fits(v, cr0, v->nested.l2 && nvmx_secondary(n) & CPU2_UNRESTRICTED) && nvmx_cr4_fits(v, cr4));
}

/* Bits that are L1's stay as they are (26.3). */
uint64_t nvmx_cr_written(struct vcpu *v, unsigned cr, uint64_t value)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t mask;

	if (!v->nested.l2 || (cr != 0 && cr != 4))
		return value;
	mask = cr == 0 ? GET(VMCS_CR0_MASK) : GET(VMCS_CR4_MASK);
	return (value & ~mask) | ((cr == 0 ? vmx_read_cr0(v) : vmx_read_cr4(v)) & mask);
}

/* ---- exceptions -------------------------------------------------------------------------- */

/* 26.2: a #PF by its error code, too. */
static bool wants_exception(const struct nvmx *n, unsigned vector, uint32_t error)
{
	bool bit = GET(VMCS_EXCEPTION_BITMAP) >> (vector & 31) & 1;

	if (vector != X86_PF)
		return bit;
	return bit == ((error & GET(VMCS_PAGE_FAULT_MASK)) == GET(VMCS_PAGE_FAULT_MATCH));
}

bool nvmx_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	struct nvmx_report r = {
		.reason = VMX_EXIT_EXCEPTION_NMI,
		.event = EVENT_VALID | EVENT_EXCEPTION | vector | (has_error ? EVENT_HAS_ERROR : 0),
		.error = has_error ? error : 0,
	};

	if (!wants_exception(v->vmx.nested, vector, error))
		return false;
	if (vector == X86_PF)
		r.qualification = read_cr2();
	if (vector == X86_DB)
		r.qualification = read_dr6() & (X86_DR6_BREAKPOINTS | X86_DR6_BD | X86_DR6_SINGLE_STEP);
	nvmx_exit(v, &r);
	return true;
}

/* One that has exited. NMIs and machine checks are the machine's. True: it is done with. */
static bool take_exception(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT);

	if ((event & EVENT_TYPE_MASK) == EVENT_NMI || (event & 0xff) == X86_MC)
		return false;
	if (wants_exception(n, event & 0xff, (uint32_t)vmread(VMCS_EXIT_EVENT_ERROR))) {
		exit_count(v, EXIT_NESTED_EXIT);
		nvmx_exit(v, &(struct nvmx_report){.reason = VMX_EXIT_EXCEPTION_NMI, .qualification = vmread(VMCS_QUALIFICATION), .as_is = true});
		return true;
	}
	if ((event & 0xff) != X86_UD)
		return false;
	exit_count(v, EXIT_EXCEPTION);
	exit_raise(v, X86_UD, false, 0); /* L2 has no hypercalls of the visor's */
	return true;
}

bool nvmx_shutdown(struct vcpu *v)
{
	v->event = 0;
	nvmx_exit(v, &(struct nvmx_report){.reason = VMX_EXIT_TRIPLE_FAULT});
	return true;
}

void nvmx_reflect(struct vcpu *v, enum vmmu_reflect reflect, uint64_t code, uint64_t l2_gpa)
{
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
	bool met = reason == VMX_EXIT_EPT_VIOLATION || reason == VMX_EXIT_EPT_MISCONFIGURATION;
	bool violation = reflect == VMMU_REFLECT_EPT_VIOLATION;
	struct nvmx_report r = {
		.reason = violation ? VMX_EXIT_EPT_VIOLATION : VMX_EXIT_EPT_MISCONFIGURATION,
		.qualification = violation ? code : 0,
		.gpa = l2_gpa,
		.as_is = met,
	};

	if (met && violation && reason == VMX_EXIT_EPT_VIOLATION)
		r.qualification |= vmread(VMCS_QUALIFICATION) & 1u << 12; /* NMIs unblocked by IRET */
	nvmx_exit(v, &r);
}

/* ---- which exits ------------------------------------------------------------------------- */

static bool wants_exit(struct vcpu *v, uint32_t reason, uint64_t q)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t cpu = (uint32_t)GET(VMCS_CPU_CONTROLS);

	switch (reason) {
	case VMX_EXIT_TRIPLE_FAULT:
	case VMX_EXIT_TASK_SWITCH:
	case VMX_EXIT_CPUID:
	case VMX_EXIT_GETSEC:
	case VMX_EXIT_INVD:
	case VMX_EXIT_VMCALL ... VMX_EXIT_VMXON:
	case VMX_EXIT_INVEPT:
	case VMX_EXIT_INVVPID:
	case VMX_EXIT_XSETBV: return true;
	case VMX_EXIT_INTERRUPT_WINDOW: return cpu & CPU_INTERRUPT_WINDOW;
	case VMX_EXIT_NMI_WINDOW: return cpu & CPU_NMI_WINDOW;
	case VMX_EXIT_HLT: return cpu & CPU_HLT;
	case VMX_EXIT_INVLPG: return cpu & CPU_INVLPG;
	case VMX_EXIT_INVPCID: return cpu & CPU_INVLPG;
	case VMX_EXIT_RDPMC: return cpu & CPU_RDPMC;
	case VMX_EXIT_RDTSC:
	case VMX_EXIT_RDTSCP: return cpu & CPU_RDTSC;
	case VMX_EXIT_CR_ACCESS: return wants_cr(v, q);
	case VMX_EXIT_MOV_DR: return cpu & CPU_MOV_DR;
	case VMX_EXIT_IO: return wants_io(v, q);
	case VMX_EXIT_RDMSR: return wants_msr(v, (uint32_t)v->state.gpr[X86_RCX], false);
	case VMX_EXIT_WRMSR: return wants_msr(v, (uint32_t)v->state.gpr[X86_RCX], true);
	case VMX_EXIT_MWAIT: return cpu & CPU_MWAIT;
	case VMX_EXIT_MONITOR_TRAP: return cpu & CPU_MONITOR_TRAP;
	case VMX_EXIT_MONITOR: return cpu & CPU_MONITOR;
	case VMX_EXIT_PAUSE: return cpu & CPU_PAUSE;
	case VMX_EXIT_GDTR_IDTR:
	case VMX_EXIT_LDTR_TR: return nvmx_secondary(n) & CPU2_DESCRIPTOR_TABLES;
	case VMX_EXIT_WBINVD: return nvmx_secondary(n) & CPU2_WBINVD;
	case VMX_EXIT_PREEMPTION_TIMER: return n->timer_left == 0;
	}
	return false;
}

bool nvmx_take_exit(struct vcpu *v, uint32_t reason)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);

	if (reason & VMX_EXIT_ENTRY_FAILURE) {
		nvmx_entry_failed(v, reason, q);
		return true;
	}
	if (reason == VMX_EXIT_EXCEPTION_NMI)
		return take_exception(v);
	if (!wants_exit(v, reason, q))
		return false;
	exit_count(v, EXIT_NESTED_EXIT);
	nvmx_exit(v, &(struct nvmx_report){.reason = reason, .qualification = q, .as_is = true});
	return true;
}

/* The CPU itself waits in L2, so that the exit which ends it says so (28.3.4); a trap behind HLT comes first. */
bool nvmx_halt(struct vcpu *v)
{
	if (!nvmx_activity_fits(v, NVMX_HALTED))
		return false;
	exit_count(v, EXIT_HLT);
	exit_skip(v);
	v->vmx.nested->halted = v->nested.l2 && !(v->event & EVENT_VALID);
	return true;
}

void nvmx_keep_halted(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	if (v->event & EVENT_VALID)
		n->halted = false;
	if (n->halted)
		vmwrite(VMCS_GUEST_ACTIVITY, NVMX_HALTED);
}

/* ---- interrupts --------------------------------------------------------------------------- */

static enum nested_gate exit_for_interrupt(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	struct nvmx_report r = {.reason = VMX_EXIT_EXTERNAL_INTERRUPT};

	if (GET(VMCS_EXIT_CONTROLS) & EXITING_ACKNOWLEDGE) {
		r.event = exit_take_interrupt(v);
		if (!r.event)
			return NESTED_CLOSED;
	}
	nvmx_exit(v, &r);
	return NESTED_LEFT;
}

/* What L2 is to be given is given with this entry, and the exit comes before L2's first instruction (27.7.4). */
static enum nested_gate exit_after_delivery(struct vcpu *v)
{
	nvmx_stop_timer(v);
	exit_soon(v);
	return NESTED_CLOSED;
}

enum nested_gate nvmx_gate(struct vcpu *v, enum nested_event event)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t control = event == NESTED_NMI ? PIN_NMI : PIN_EXTERNAL_INTERRUPT;

	if (!v->nested.l2 || !(GET(VMCS_PIN_CONTROLS) & control))
		return NESTED_OPEN;
	if (event == NESTED_NMI && n->nmi_blocked)
		return NESTED_CLOSED;
	if (v->event & EVENT_VALID)
		return exit_after_delivery(v);
	if (event == NESTED_INTERRUPT)
		return exit_for_interrupt(v);
	v->nmi_pending = false;
	nvmx_exit(v, &(struct nvmx_report){.reason = VMX_EXIT_EXCEPTION_NMI, .event = EVENT_VALID | EVENT_NMI | X86_NMI});
	return NESTED_LEFT;
}
