/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What L1's VMX can do, as CPUID and the capability MSRs tell it (SDM vol. 3, appendix A): what
 * nested_*.c carries out, as far as this CPU has it. VMCS shadowing, virtual APICs, posted
 * interrupts, PML, VM functions and TSC scaling are not among it.
 */
#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define CPUID_1C_VMX (1u << 5)
#define CPUID_1C_SMX (1u << 6)
#define FEATURE_CONTROL (1ull << 0 /* locked */ | 1ull << 2 /* VMX outside of SMX */)
#define BASIC_SIZE ((uint64_t)VMMU_PAGE_SIZE << 32)
#define BASIC_WRITE_BACK (6ull << 50)
#define BASIC_IO_INFORMATION (1ull << 54)
#define BASIC_TRUE (1ull << 55)
#define MISC_TIMER 0x1full
#define MISC_SAVES_LMA (1ull << 5)
/* The other two states need what no L1 has: a CPU that waits for SIPI, and one that is shut down until INIT. */
#define MISC_HALTED (1ull << 6)

#define DEFAULT1_PIN 0x16u
#define DEFAULT1_CPU 0x0401e172u
#define DEFAULT1_EXIT 0x00036dffu
#define DEFAULT1_ENTRY 0x000011ffu
/* Of these default1 bits the TRUE registers say that they may be 0. */
#define TRUE_CPU (CPU_CR3_LOAD | CPU_CR3_STORE)
#define TRUE_EXIT EXITING_SAVE_DEBUG
#define TRUE_ENTRY ENTRY_LOAD_DEBUG

#define OFFERED_PIN (PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI | PIN_PREEMPTION_TIMER)
#define OFFERED_CPU \
	(CPU_INTERRUPT_WINDOW | CPU_TSC_OFFSET | CPU_HLT | CPU_INVLPG | CPU_MWAIT | CPU_RDPMC | CPU_RDTSC | CPU_CR3_LOAD | \
	 CPU_CR3_STORE | CPU_CR8_LOAD | CPU_CR8_STORE | CPU_NMI_WINDOW | CPU_MOV_DR | CPU_UNCONDITIONAL_IO | CPU_IO_BITMAPS | \
	 CPU_MONITOR_TRAP | CPU_MSR_BITMAPS | CPU_MONITOR | CPU_PAUSE | CPU_SECONDARY)
#define OFFERED_CPU2 \
	(CPU2_EPT | CPU2_DESCRIPTOR_TABLES | CPU2_RDTSCP | CPU2_VPID | CPU2_WBINVD | CPU2_UNRESTRICTED | CPU2_INVPCID)
#define OFFERED_EXIT \
	(EXITING_SAVE_DEBUG | EXITING_HOST_64 | EXITING_ACKNOWLEDGE | EXITING_SAVE_PAT | EXITING_LOAD_PAT | EXITING_SAVE_EFER | \
	 EXITING_LOAD_EFER | EXITING_SAVE_PREEMPTION_TIMER)
#define OFFERED_ENTRY (ENTRY_LOAD_DEBUG | ENTRY_IA32E | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER)

/* IA32_VMX_EPT_VPID_CAP: execute-only, 4 levels, write-back, 2 MiB, 1 GiB, INVEPT, A and D, INVEPT's types. */
#define OFFERED_EPT (1ull << 0 | 1ull << 6 | 1ull << 14 | 1ull << 16 | 1ull << 17 | 1ull << 20 | 1ull << 21 | 3ull << 25)
#define OFFERED_VPID (1ull << 32 | 0xfull << 40) /* INVVPID, its four types */

/* Bits that must be 1, and those that may, as far as the CPU lets them be. */
static uint64_t control_capability(uint32_t plain, uint32_t true_form, uint32_t must, uint32_t offered)
{
	uint32_t may = (uint32_t)(rdmsr(vmx_control_msr(plain, true_form)) >> 32) & offered;

	return (uint64_t)(may | must) << 32 | must;
}

static uint64_t cpu2_capability(struct vcpu *v)
{
	uint32_t may = (uint32_t)(rdmsr(MSR_VMX_PROCBASED_CTLS2) >> 32) & OFFERED_CPU2;

	if (!vmx_allows(CPU_FEATURE_RDTSCP))
		may &= ~(uint32_t)CPU2_RDTSCP;
	if (!vmx_allows(CPU_FEATURE_INVPCID))
		may &= ~(uint32_t)CPU2_INVPCID;
	(void)v;
	return (uint64_t)may << 32;
}

static uint64_t find_capability(struct vcpu *v, uint32_t msr)
{
	switch (msr) {
	case MSR_VMX_BASIC:
		return NVMX_REVISION | BASIC_SIZE | BASIC_WRITE_BACK | BASIC_IO_INFORMATION | BASIC_TRUE;
	case MSR_VMX_PINBASED_CTLS:
	case MSR_VMX_TRUE_PINBASED_CTLS:
		return control_capability(MSR_VMX_PINBASED_CTLS, MSR_VMX_TRUE_PINBASED_CTLS, DEFAULT1_PIN, OFFERED_PIN);
	case MSR_VMX_PROCBASED_CTLS:
		return control_capability(MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS, DEFAULT1_CPU, OFFERED_CPU);
	case MSR_VMX_TRUE_PROCBASED_CTLS:
		return control_capability(MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS, DEFAULT1_CPU & ~TRUE_CPU, OFFERED_CPU);
	case MSR_VMX_EXIT_CTLS:
		return control_capability(MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS, DEFAULT1_EXIT, OFFERED_EXIT);
	case MSR_VMX_TRUE_EXIT_CTLS:
		return control_capability(MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS, DEFAULT1_EXIT & ~TRUE_EXIT, OFFERED_EXIT);
	case MSR_VMX_ENTRY_CTLS:
		return control_capability(MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS, DEFAULT1_ENTRY, OFFERED_ENTRY);
	case MSR_VMX_TRUE_ENTRY_CTLS:
		return control_capability(MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS, DEFAULT1_ENTRY & ~TRUE_ENTRY, OFFERED_ENTRY);
	case MSR_VMX_MISC:
		return (rdmsr(MSR_VMX_MISC) & (MISC_TIMER | MISC_HALTED)) | MISC_SAVES_LMA | NVMX_CR3_TARGETS << 16;
	case MSR_VMX_CR0_FIXED0:
		return X86_CR0_PE | X86_CR0_NE | X86_CR0_PG;
	case MSR_VMX_CR0_FIXED1:
		return UINT32_MAX;
	case MSR_VMX_CR4_FIXED0:
		return X86_CR4_VMXE;
	case MSR_VMX_CR4_FIXED1:
		return control_cr4_bits(v);
	case MSR_VMX_VMCS_ENUM:
		return nvmx_fields_highest() << 1;
	case MSR_VMX_PROCBASED_CTLS2:
		return cpu2_capability(v);
	case MSR_VMX_EPT_VPID_CAP:
		return (vmx_cpu.ept_cap & OFFERED_EPT) | OFFERED_VPID;
	}
	return 0;
}

uint64_t nvmx_capability(struct vcpu *v, uint32_t msr)
{
	const struct nvmx *n = v->vmx.nested;

	return n->capability_known ? n->capability[msr - MSR_VMX_BASIC] : find_capability(v, msr);
}

void nvmx_keep_capabilities(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	for (uint32_t i = 0; !n->capability_known && i < NVMX_CAPABILITIES; i++)
		n->capability[i] = find_capability(v, MSR_VMX_BASIC + i);
	n->capability_known = true;
}

bool nvmx_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	if (msr == MSR_FEATURE_CONTROL) {
		*value = FEATURE_CONTROL;
		return true;
	}
	if (msr < MSR_VMX_BASIC || msr > MSR_VMX_TRUE_ENTRY_CTLS)
		return false;
	*value = nvmx_capability(v, msr);
	return true;
}

/* They are read-only, and IA32_FEATURE_CONTROL is locked. */
bool nvmx_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	(void)v;
	(void)msr;
	(void)value;
	return false;
}

void nvmx_cpuid(struct vcpu *v, uint32_t leaf, struct cpuid *answer)
{
	(void)v;
	if (leaf == 1)
		answer->ecx = (answer->ecx | CPUID_1C_VMX) & ~CPUID_1C_SMX;
}

uint64_t nvmx_efer_bits(struct vcpu *v)
{
	(void)v;
	return 0;
}

void nvmx_describe(struct vcpu *v, struct vmmu_cpu *out)
{
	vmx_describe(out);
	out->maxphyaddr = v->vm->bus.cpu.maxphyaddr;
	out->levels5 = false;
}

bool nvmx_activity_fits(struct vcpu *v, uint64_t activity)
{
	return !activity || (activity == NVMX_HALTED && nvmx_capability(v, MSR_VMX_MISC) & MISC_HALTED);
}

bool nvmx_cr0_fits(struct vcpu *v, uint64_t cr0, bool unrestricted)
{
	uint64_t must = nvmx_capability(v, MSR_VMX_CR0_FIXED0) & ~(unrestricted ? X86_CR0_PE | X86_CR0_PG : 0);

	return (cr0 & must) == must && !(cr0 >> 32);
}

bool nvmx_cr4_fits(struct vcpu *v, uint64_t cr4)
{
	return cr4 & X86_CR4_VMXE && !(cr4 & ~nvmx_capability(v, MSR_VMX_CR4_FIXED1));
}
