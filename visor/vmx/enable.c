/* SPDX-License-Identifier: BSD-2-Clause */
/* What this CPU's VMX can do, and turning it on: SDM vol. 3, chapter 24 and appendix A. */
#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/vm/speculation.h"
#include "visor/vmx/controls.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"

#define FEATURE_CONTROL_LOCK (1ull << 0)
#define FEATURE_CONTROL_VMX (1ull << 2)
#define BASIC_TRUE_CONTROLS (1ull << 55)

/* IA32_VMX_EPT_VPID_CAP (appendix A.10) */
#define CAP_EXECUTE_ONLY (1ull << 0)
#define CAP_4_LEVELS (1ull << 6)
#define CAP_5_LEVELS (1ull << 7)
#define CAP_WRITE_BACK (1ull << 14)
#define CAP_2M (1ull << 16)
#define CAP_1G (1ull << 17)
#define CAP_INVEPT (1ull << 20)
#define CAP_AD (1ull << 21)
#define CAP_INVEPT_SINGLE (1ull << 25)
#define CAP_INVEPT_ALL (1ull << 26)

struct vmx_cpu vmx_cpu;

/* INVEPT: type 1 one EPTP, type 2 all (SDM vol. 3, 31.3). */
void vmx_invept(uint64_t eptp)
{
	struct {
		uint64_t eptp, reserved;
	} descriptor = {eptp, 0};
	uint64_t type = vmx_cpu.ept_cap & CAP_INVEPT_SINGLE ? 1 : 2;

	__asm__ volatile("invept %0, %1"
	                 :
	                 : "m"(descriptor), "r"(type)
	                 : "cc", "memory");
}

/* Of whichever root. */
void vmx_invept_all(void)
{
	const uint64_t descriptor[2] = {0}, type = 2;

	__asm__ volatile("invept %0, %1"
	                 :
	                 : "m"(descriptor), "r"(type)
	                 : "cc", "memory");
}

bool vmx_present(void)
{
	return cpuid(1, 0).ecx & 1u << 5;
}

uint32_t vmx_adjusted(uint32_t msr, uint32_t wanted)
{
	return vmx_controls_of(rdmsr(msr), wanted);
}

uint32_t vmx_control_msr(uint32_t plain, uint32_t true_form)
{
	return vmx_cpu.basic & BASIC_TRUE_CONTROLS ? true_form : plain;
}

/* What the visor relies on, and so must be settable; windows are turned on and off as it runs. */
#define PIN_REQUIRED (PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI)
#define CPU_REQUIRED \
	(CPU_TSC_OFFSET | CPU_HLT | CPU_MWAIT | CPU_RDPMC | CPU_CR8_LOAD | CPU_CR8_STORE | \
	 CPU_UNCONDITIONAL_IO | CPU_MSR_BITMAPS | CPU_MONITOR | CPU_SECONDARY)
#define CPU_WINDOWS (CPU_INTERRUPT_WINDOW | CPU_NMI_WINDOW)
#define EXIT_REQUIRED \
	(EXITING_SAVE_DEBUG | EXITING_HOST_64 | EXITING_SAVE_PAT | EXITING_LOAD_PAT | EXITING_SAVE_EFER | \
	 EXITING_LOAD_EFER)
#define ENTRY_REQUIRED (ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER)

static uint32_t cpu_required(void)
{
	return CPU_REQUIRED | (vmx_cpu.shadow ? CPU_CR3_LOAD | CPU_CR3_STORE : 0);
}

uint32_t vmx_pin_controls(void)
{
	return vmx_adjusted(vmx_control_msr(MSR_VMX_PINBASED_CTLS, MSR_VMX_TRUE_PINBASED_CTLS),
	                    PIN_REQUIRED | PIN_PREEMPTION_TIMER);
}

uint32_t vmx_cpu_controls(void)
{
	return vmx_adjusted(vmx_control_msr(MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS), cpu_required());
}

uint32_t vmx_exit_controls(void)
{
	/* The timer must be on to be saved (27.2.1.2). */
	return vmx_adjusted(vmx_control_msr(MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS),
	                    EXIT_REQUIRED | (vmx_pin_controls() & PIN_PREEMPTION_TIMER ? EXITING_SAVE_PREEMPTION_TIMER : 0));
}

uint32_t vmx_entry_controls(void)
{
	return vmx_adjusted(vmx_control_msr(MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS), ENTRY_REQUIRED);
}

/* Controls that the CPU does not let be as they must: names the word. NULL = all are. */
static const char *refused_controls(void)
{
	uint32_t cpu = vmx_control_msr(MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS);

	if (!(vmx_cpu_controls() & CPU_SECONDARY))
		return "this CPU has VMX but no secondary controls, so neither EPT nor unrestricted guest";
	if (!vmx_controls_fit(rdmsr(vmx_control_msr(MSR_VMX_PINBASED_CTLS, MSR_VMX_TRUE_PINBASED_CTLS)), PIN_REQUIRED, 0))
		return "this CPU's VMX cannot keep interrupts and NMIs from a guest (pin-based controls)";
	if (!vmx_controls_fit(rdmsr(cpu), cpu_required(), CPU_WINDOWS))
		return "this CPU's VMX cannot intercept all that it must (primary processor-based controls)";
	if (!vmx_controls_fit(rdmsr(vmx_control_msr(MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS)), EXIT_REQUIRED, 0) ||
	    !vmx_controls_fit(rdmsr(vmx_control_msr(MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS)), ENTRY_REQUIRED,
	                      ENTRY_IA32E))
		return "this CPU's VMX cannot switch EFER, PAT and the debug controls";
	return NULL;
}

/* EPT, and with it unrestricted guest. */
static const char *missing_in_ept(void)
{
	if (!(vmx_cpu.secondary & CPU2_EPT))
		return "this CPU has VMX but no EPT: try mmu=shadow";
	if (!(vmx_cpu.secondary & CPU2_UNRESTRICTED))
		return "this CPU has VMX and EPT but no unrestricted guest: try mmu=shadow";
	vmx_cpu.ept_cap = rdmsr(MSR_VMX_EPT_VPID_CAP);
	if (!(vmx_cpu.ept_cap & CAP_4_LEVELS) || !(vmx_cpu.ept_cap & CAP_WRITE_BACK) || !(vmx_cpu.ept_cap & CAP_INVEPT) ||
	    !(vmx_cpu.ept_cap & (CAP_INVEPT_SINGLE | CAP_INVEPT_ALL)))
		return "this CPU's EPT lacks 4-level tables, write-back tables or INVEPT: try mmu=shadow";
	if (vmx_cpu_controls() & (CPU_CR3_LOAD | CPU_CR3_STORE | CPU_INVLPG))
		return "this CPU's VMX always exits on CR3 accesses";
	return NULL;
}

/*
 * What the visor cannot do without; NULL = all there. Without EPT no VPID is
 * used either: each entry then finds an empty TLB (30.3.3.1), as it must after
 * every change of the guest's control registers.
 */
static const char *missing_feature(void)
{
	const uint32_t wanted = CPU2_RDTSCP | CPU2_WBINVD |
	                        (vmx_cpu.shadow ? 0 : CPU2_INVPCID | CPU2_EPT | CPU2_UNRESTRICTED | CPU2_VPID);

	if (refused_controls())
		return refused_controls();
	vmx_cpu.secondary = vmx_adjusted(MSR_VMX_PROCBASED_CTLS2, wanted);
	vmx_cpu.umip_by_exits = !(cpuid(7, 0).ecx & CPUID_7C_UMIP) &&
	                        vmx_adjusted(MSR_VMX_PROCBASED_CTLS2, CPU2_DESCRIPTOR_TABLES) & CPU2_DESCRIPTOR_TABLES;
	if (!vmx_cpu.shadow && missing_in_ept())
		return missing_in_ept();
	return NULL;
}

/* What each entry owes where the CPU leaks by speculation. AMD's CPUs, as these say, do not. */
static uint32_t work_of_each_entry(void)
{
	uint32_t edx7 = cpuid(0, 0).eax >= 7 ? cpuid(7, 0).edx : 0;
	uint64_t arch = speculation_of(edx7, 0).capabilities ? rdmsr(MSR_ARCH_CAPABILITIES) : 0;

	return (speculation_needs_l1d_flush(edx7, arch) ? ENTRY_FLUSH_L1D : 0) |
	       (speculation_needs_clear(edx7, arch) ? ENTRY_CLEAR_BUFFERS : 0);
}

bool vmx_enable(const char **reason)
{
	uint64_t control = rdmsr(MSR_FEATURE_CONTROL), region;

	if (control & FEATURE_CONTROL_LOCK && !(control & FEATURE_CONTROL_VMX)) {
		*reason = "VMX is switched off by the firmware (IA32_FEATURE_CONTROL is locked): enable it in the "
			  "firmware's setup";
		return false;
	}
	if (!(control & FEATURE_CONTROL_LOCK))
		wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	vmx_cpu.basic = rdmsr(MSR_VMX_BASIC);
	vmx_cpu.each_entry = work_of_each_entry();
	*reason = missing_feature();
	if (*reason)
		return false;
	region = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	if (!region) {
		*reason = "no memory for the VMXON region";
		return false;
	}
	*(uint32_t *)(uintptr_t)region = (uint32_t)vmx_cpu.basic & 0x7fffffff;
	write_cr0((read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
	write_cr4((read_cr4() | rdmsr(MSR_VMX_CR4_FIXED0)) & rdmsr(MSR_VMX_CR4_FIXED1));
	if (!vmxon(region)) {
		*reason = "VMXON failed";
		return false;
	}
	if (!vmx_cpu.shadow)
		vmx_invept(0); /* nothing is left over from whoever used the CPU before */
	return true;
}

bool vmx_shadow_enable(const char **reason)
{
	vmx_cpu.shadow = true;
	return vmx_enable(reason);
}

/* Task switches and CR3 loads always exit under VMX (28.1.2), with EPT and without. */
const char *vmx_leak(void)
{
	return NULL;
}

void vmx_shadow_describe(struct vmmu_cpu *out)
{
	*out = (struct vmmu_cpu){
		.maxphyaddr = (uint8_t)cpuid(0x80000008, 0).eax,
		.page_2m = true,
		.page_1g = cpuid(0x80000001, 0).edx & 1u << 26,
		.ad = true,
		.nx = true, /* boot/entry.S sets EFER.NXE */
		.levels5 = cpuid_has_la57(),
	};
}

void vmx_describe(struct vmmu_cpu *out)
{
	*out = (struct vmmu_cpu){
		.maxphyaddr = (uint8_t)cpuid(0x80000008, 0).eax,
		.page_2m = vmx_cpu.ept_cap & CAP_2M,
		.page_1g = vmx_cpu.ept_cap & CAP_1G,
		.exec_only = vmx_cpu.ept_cap & CAP_EXECUTE_ONLY,
		.ad = vmx_cpu.ept_cap & CAP_AD,
		.nx = true,
		.levels5 = vmx_cpu.ept_cap & CAP_5_LEVELS,
	};
}

/*
 * Without their controls the instructions are #UD in a guest (26.1.2). On shadow
 * tables INVPCID could be had only together with exits by INVLPG, of which there
 * are to be none. Under EPT a fifth level of the guest's own is left out: Bochs
 * then walks five levels of EPT as well.
 */
bool vmx_allows(enum cpu_feature feature)
{
	switch (feature) {
	case CPU_FEATURE_RDTSCP: return vmx_cpu.secondary & CPU2_RDTSCP;
	case CPU_FEATURE_INVPCID: return vmx_cpu.secondary & CPU2_INVPCID;
	case CPU_FEATURE_LA57: return vmx_cpu.shadow;
	case CPU_FEATURE_UMIP_BY_EXITS: return vmx_cpu.umip_by_exits;
	}
	__builtin_unreachable();
}
