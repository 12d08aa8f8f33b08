/* SPDX-License-Identifier: BSD-2-Clause */
/* What the log is told of a VMCS and its last exit (SDM vol. 3, appendix C). */
#include "visor/cpu/x86.h"
#include "visor/host/log.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"

#define ULL(x) ((unsigned long long)(x))

const char *vmx_exit_name(uint32_t reason)
{
	static const char *const names[] = {
		"exception or NMI",
		"external interrupt",
		"triple fault",
		"INIT",
		"SIPI",
		"I/O SMI",
		"other SMI",
		"interrupt window",
		"NMI window",
		"task switch",
		"CPUID",
		"GETSEC",
		"HLT",
		"INVD",
		"INVLPG",
		"RDPMC",
		"RDTSC",
		"RSM",
		"VMCALL",
		"VMCLEAR",
		"VMLAUNCH",
		"VMPTRLD",
		"VMPTRST",
		"VMREAD",
		"VMRESUME",
		"VMWRITE",
		"VMXOFF",
		"VMXON",
		"control register access",
		"MOV DR",
		"I/O instruction",
		"RDMSR",
		"WRMSR",
		"invalid guest state",
		"MSR loading",
		NULL,
		"MWAIT",
		"monitor trap flag",
		NULL,
		"MONITOR",
		"PAUSE",
		"machine check during entry",
		NULL,
		"TPR below threshold",
		"APIC access",
		"virtualized EOI",
		"GDTR or IDTR access",
		"LDTR or TR access",
		"EPT violation",
		"EPT misconfiguration",
		"INVEPT",
		"RDTSCP",
		"preemption timer",
		"INVVPID",
		"WBINVD",
		"XSETBV",
		"APIC write",
		"RDRAND",
		"INVPCID",
		"VMFUNC",
		"ENCLS",
		"RDSEED",
		"page-modification log full",
		"XSAVES",
		"XRSTORS",
	};
	uint16_t basic = (uint16_t)reason;

	return basic < sizeof(names) / sizeof(names[0]) && names[basic] ? names[basic] : "unknown";
}

void vmx_dump(struct vcpu *v)
{
	(void)v;
	log_line("  exit %llx (%s) qualification %llx gpa %llx event %llx vectoring %llx", ULL(vmread(VMCS_EXIT_REASON)),
	         vmx_exit_name((uint32_t)vmread(VMCS_EXIT_REASON)), ULL(vmread(VMCS_QUALIFICATION)),
	         ULL(vmread(VMCS_GUEST_PHYSICAL_ADDRESS)), ULL(vmread(VMCS_EXIT_EVENT)),
	         ULL(vmread(VMCS_VECTORING_EVENT)));
	log_line("  controls pin %llx cpu %llx cpu2 %llx entry %llx exit %llx eptp %llx", ULL(vmread(VMCS_PIN_CONTROLS)),
	         ULL(vmread(VMCS_CPU_CONTROLS)), ULL(vmread(VMCS_CPU_CONTROLS2)), ULL(vmread(VMCS_ENTRY_CONTROLS)),
	         ULL(vmread(VMCS_EXIT_CONTROLS)), ULL(vmread(VMCS_EPT_POINTER)));
	log_line("  guest cr0 %llx cr4 %llx as the CPU has them, interruptibility %llx activity %llx cr2 %llx dr7 %llx",
	         ULL(vmread(VMCS_GUEST_CR0)), ULL(vmread(VMCS_GUEST_CR4)), ULL(vmread(VMCS_GUEST_INTERRUPTIBILITY)),
	         ULL(vmread(VMCS_GUEST_ACTIVITY)), ULL(read_cr2()), ULL(vmread(VMCS_GUEST_DR7)));
}
