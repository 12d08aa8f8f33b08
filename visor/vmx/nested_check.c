/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What VM entry checks of VMCS12 (SDM vol. 3, 27.2 and 27.3.1), in the manual's order. Of the guest's
 * state only what VMCS02 does not have as L1 wrote it: the rest the CPU checks itself, at its own entry.
 */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/vm/memory.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"
#include "visor/vmx/controls.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define EFER_DEFINED (X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE)
#define EVENT_OTHER (7u << 8) /* a pending MTF exit */
#define EVENT_RESERVED (1u << 8)
#define EVENT_RESERVED_BITS 0x7ffff000u
#define EXCEPTIONS_WITH_ERROR (1u << X86_DF | 1u << 10 | 1u << 11 | 1u << 12 | 1u << X86_GP | 1u << X86_PF | 1u << X86_AC)
#define INSTRUCTION_BYTES 15u
#define EPTP_TYPE_AND_LEVELS 0x3full
#define EPTP_WB_4_LEVELS (6ull | 3ull << 3)
#define EPTP_AD (1ull << 6)
#define EPTP_RESERVED 0xf80ull
#define QUALIFICATION_PDPTE 2u /* 27.8 */
#define QUALIFICATION_LINK 4u

#define GET(field) nvmx_get(n, field)

static bool controls_as_told(struct vcpu *v, uint32_t capability, uint64_t value)
{
	uint64_t may = nvmx_capability(v, capability);

	return vmx_controls_of(may, (uint32_t)value) == (uint32_t)value;
}

static bool beyond_memory(struct vcpu *v, uint64_t gpa)
{
	return gpa >> v->vm->bus.cpu.maxphyaddr;
}

static bool area_fits(struct vcpu *v, uint64_t gpa, uint64_t count)
{
	return !count || (!(gpa & 15) && !beyond_memory(v, gpa) && !beyond_memory(v, gpa + count * 16 - 1));
}

bool nvmx_eptp_fits(struct vcpu *v, uint64_t eptp)
{
	return (eptp & EPTP_TYPE_AND_LEVELS) == EPTP_WB_4_LEVELS && !(eptp & EPTP_RESERVED) && !beyond_memory(v, eptp) &&
	       (!(eptp & EPTP_AD) || nvmx_capability(v, MSR_VMX_EPT_VPID_CAP) & 1ull << 21);
}

/* 27.2.1.1 */
static bool execution_controls_fit(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t pin = (uint32_t)GET(VMCS_PIN_CONTROLS), cpu = (uint32_t)GET(VMCS_CPU_CONTROLS);
	uint32_t cpu2 = nvmx_secondary(n);

	if (!controls_as_told(v, MSR_VMX_TRUE_PINBASED_CTLS, pin) || !controls_as_told(v, MSR_VMX_TRUE_PROCBASED_CTLS, cpu) ||
	    !controls_as_told(v, MSR_VMX_PROCBASED_CTLS2, cpu2))
		return false;
	if (GET(VMCS_CR3_TARGET_COUNT) > NVMX_CR3_TARGETS)
		return false;
	if (cpu & CPU_IO_BITMAPS && (!nested_page_fits(v, GET(VMCS_IO_BITMAP_A)) || !nested_page_fits(v, GET(VMCS_IO_BITMAP_B))))
		return false;
	if (cpu & CPU_MSR_BITMAPS && !nested_page_fits(v, GET(VMCS_MSR_BITMAP)))
		return false;
	if (!(pin & PIN_NMI) && pin & PIN_VIRTUAL_NMI)
		return false;
	if (!(pin & PIN_VIRTUAL_NMI) && cpu & CPU_NMI_WINDOW)
		return false;
	if (cpu2 & CPU2_VPID && !GET(VMCS_VPID))
		return false;
	if (cpu2 & CPU2_EPT && !nvmx_eptp_fits(v, GET(VMCS_EPT_POINTER)))
		return false;
	return !(cpu2 & CPU2_UNRESTRICTED) || cpu2 & CPU2_EPT;
}

/* 27.2.1.2 */
static bool exit_controls_fit(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t controls = GET(VMCS_EXIT_CONTROLS);

	if (!controls_as_told(v, MSR_VMX_TRUE_EXIT_CTLS, controls))
		return false;
	if (controls & EXITING_SAVE_PREEMPTION_TIMER && !(GET(VMCS_PIN_CONTROLS) & PIN_PREEMPTION_TIMER))
		return false;
	return area_fits(v, GET(VMCS_EXIT_MSR_STORE), GET(VMCS_EXIT_MSR_STORE_COUNT)) &&
	       area_fits(v, GET(VMCS_EXIT_MSR_LOAD), GET(VMCS_EXIT_MSR_LOAD_COUNT));
}

/* Does an exception with this vector push an error code, in this guest? */
static bool delivers_error(const struct nvmx *n, uint32_t event)
{
	bool exception = (event & EVENT_TYPE_MASK) == EVENT_EXCEPTION && (event & 0xff) < 32;
	bool unrestricted = nvmx_secondary(n) & CPU2_UNRESTRICTED;

	if (unrestricted && !(GET(VMCS_GUEST_CR0) & X86_CR0_PE))
		return false;
	return exception && EXCEPTIONS_WITH_ERROR >> (event & 31) & 1;
}

static bool vector_fits(uint32_t event)
{
	unsigned vector = event & 0xff;

	switch (event & EVENT_TYPE_MASK) {
	case EVENT_RESERVED: return false;
	case EVENT_NMI: return vector == X86_NMI;
	case EVENT_EXCEPTION: return vector < 32;
	case EVENT_OTHER: return vector == 0;
	default: return true;
	}
}

/* 27.2.1.3: an event to be injected. */
static bool event_fits(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t event = (uint32_t)GET(VMCS_ENTRY_EVENT), type = event & EVENT_TYPE_MASK;
	bool software = type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_PRIVILEGED_SOFTWARE || type == EVENT_SOFTWARE_EXCEPTION;
	uint64_t length = GET(VMCS_ENTRY_INSTRUCTION_LENGTH);

	if (!(event & EVENT_VALID))
		return true;
	if (!vector_fits(event) || event & EVENT_RESERVED_BITS ||
	    (type == EVENT_OTHER && !(nvmx_capability(v, MSR_VMX_TRUE_PROCBASED_CTLS) >> 32 & CPU_MONITOR_TRAP)))
		return false;
	if (!(event & EVENT_HAS_ERROR) != !delivers_error(n, event) ||
	    (event & EVENT_HAS_ERROR && GET(VMCS_ENTRY_EVENT_ERROR) >> 16))
		return false;
	return !software || (length && length <= INSTRUCTION_BYTES);
}

enum nvmx_error nvmx_check_controls(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	bool good = execution_controls_fit(v) && exit_controls_fit(v) &&
	            controls_as_told(v, MSR_VMX_TRUE_ENTRY_CTLS, GET(VMCS_ENTRY_CONTROLS)) && event_fits(v) &&
	            area_fits(v, GET(VMCS_ENTRY_MSR_LOAD), GET(VMCS_ENTRY_MSR_LOAD_COUNT));

	return good ? NVMX_OK : NVMX_CONTROLS;
}

/* 27.2.2 */
static bool host_registers_fit(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t controls = GET(VMCS_EXIT_CONTROLS), efer = GET(VMCS_HOST_EFER);
	uint64_t wide = controls & EXITING_HOST_64 ? X86_EFER_LME | X86_EFER_LMA : 0;

	return nvmx_cr0_fits(v, GET(VMCS_HOST_CR0), false) && nvmx_cr4_fits(v, GET(VMCS_HOST_CR4)) &&
	       !beyond_memory(v, GET(VMCS_HOST_CR3)) && x86_is_canonical(GET(VMCS_HOST_SYSENTER_ESP)) &&
	       x86_is_canonical(GET(VMCS_HOST_SYSENTER_EIP)) &&
	       (!(controls & EXITING_LOAD_PAT) || msr_pat_valid(GET(VMCS_HOST_PAT))) &&
	       (!(controls & EXITING_LOAD_EFER) ||
	        (!(efer & ~EFER_DEFINED) && (efer & (X86_EFER_LME | X86_EFER_LMA)) == wide));
}

/* 27.2.3 */
static bool host_segments_fit(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	static const uint16_t bases[] = {VMCS_HOST_FS_BASE, VMCS_HOST_GS_BASE, VMCS_HOST_TR_BASE, VMCS_HOST_GDTR_BASE,
	                                 VMCS_HOST_IDTR_BASE};

	for (unsigned i = 0; i < X86_SEGMENT_COUNT + 1; i++) { /* TR behind them */
		if (nvmx_get(n, VMCS_HOST_ES_SELECTOR + 2 * i) & 7)
			return false;
	}
	for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		if (!x86_is_canonical(nvmx_get(n, bases[i])))
			return false;
	}
	return GET(VMCS_HOST_CS_SELECTOR) && GET(VMCS_HOST_TR_SELECTOR) &&
	       (GET(VMCS_EXIT_CONTROLS) & EXITING_HOST_64 || nvmx_get(n, VMCS_HOST_ES_SELECTOR + 2 * X86_SS));
}

/* 27.2.4 */
static bool host_width_fits(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	bool long_mode = v->state.efer & X86_EFER_LMA, wide = GET(VMCS_EXIT_CONTROLS) & EXITING_HOST_64;

	if (long_mode != wide)
		return false; /* L1 may go from long mode to it alone, as VMLAUNCH needs 64-bit code there */
	if (!wide)
		return !(GET(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E) && !(GET(VMCS_HOST_CR4) & X86_CR4_PCIDE) &&
		       !(GET(VMCS_HOST_RIP) >> 32);
	return GET(VMCS_HOST_CR4) & X86_CR4_PAE && x86_is_canonical(GET(VMCS_HOST_RIP));
}

enum nvmx_error nvmx_check_host(struct vcpu *v)
{
	return host_registers_fit(v) && host_segments_fit(v) && host_width_fits(v) ? NVMX_OK : NVMX_HOST_STATE;
}

/* 27.3.1.1 */
static bool guest_registers_fit(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t entry = GET(VMCS_ENTRY_CONTROLS), cr0 = GET(VMCS_GUEST_CR0), cr4 = GET(VMCS_GUEST_CR4), efer = GET(VMCS_GUEST_EFER);
	bool unrestricted = nvmx_secondary(n) & CPU2_UNRESTRICTED;
	bool ia32e = entry & ENTRY_IA32E;

	if (!nvmx_cr0_fits(v, cr0, unrestricted) || (cr0 & X86_CR0_PG && !(cr0 & X86_CR0_PE)) || !nvmx_cr4_fits(v, cr4))
		return false;
	if (entry & ENTRY_LOAD_DEBUG && (GET(VMCS_GUEST_DEBUGCTL) || GET(VMCS_GUEST_DR7) >> 32)) /* the register has no bits here */
		return false;
	if (ia32e ? !(cr0 & X86_CR0_PG) || !(cr4 & X86_CR4_PAE) : (cr4 & X86_CR4_PCIDE) != 0)
		return false;
	if (beyond_memory(v, GET(VMCS_GUEST_CR3)) || !x86_is_canonical(GET(VMCS_GUEST_SYSENTER_ESP)) ||
	    !x86_is_canonical(GET(VMCS_GUEST_SYSENTER_EIP)))
		return false;
	if (entry & ENTRY_LOAD_PAT && !msr_pat_valid(GET(VMCS_GUEST_PAT)))
		return false;
	if (!(entry & ENTRY_LOAD_EFER))
		return true;
	return !(efer & ~EFER_DEFINED) && !(efer & X86_EFER_LMA) == !ia32e &&
	       (!(cr0 & X86_CR0_PG) || !(efer & X86_EFER_LMA) == !(efer & X86_EFER_LME));
}

/* 27.3.1.5 */
static bool link_fits(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint64_t link = GET(VMCS_LINK_POINTER);
	uint32_t revision = 0;

	if (link == UINT64_MAX)
		return true;
	return nested_page_fits(v, link) && link != n->current && memory_read(v->vm, link, &revision, sizeof(revision)) &&
	       revision == NVMX_REVISION;
}

/*
 * 27.3.1.5: what of the activity state the CPU might pass over, as Bochs does: a halted CPU is woken by interrupts, #DB
 * and #MC alone, and by a pending MTF exit.
 */
static bool activity_fits(struct vcpu *v)
{
	const struct nvmx *n = v->vmx.nested;
	uint32_t event = (uint32_t)GET(VMCS_ENTRY_EVENT), vector = event & 0xff;

	if (!nvmx_activity_fits(v, GET(VMCS_GUEST_ACTIVITY)))
		return false;
	if (!GET(VMCS_GUEST_ACTIVITY) || !(event & EVENT_VALID))
		return true;
	switch (event & EVENT_TYPE_MASK) {
	case EVENT_EXTERNAL:
	case EVENT_NMI:
	case EVENT_OTHER: return true;
	case EVENT_EXCEPTION: return vector == X86_DB || vector == X86_MC;
	}
	return false;
}

bool nvmx_check_guest(struct vcpu *v, uint64_t *qualification)
{
	*qualification = 0;
	if (!guest_registers_fit(v) || !activity_fits(v))
		return false;
	*qualification = QUALIFICATION_LINK;
	return link_fits(v);
}
