/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMCS but for the guest's state: host state, controls and the MSR bitmap (SDM vol. 3, 25.5 to 25.8). */
#include "visor/cpu/x86.h"
#include "visor/host/clock.h"
#include "visor/host/frame.h"
#include "visor/host/interrupts.h"
#include "visor/host/log.h"
#include "visor/lib/string.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define GUEST_VPID 1

/*
 * The bitmap has four parts of 1 KiB: reads of low and of high MSRs, writes of
 * low and of high ones (25.6.9). All ones but for the guest's own registers.
 */
void vmx_pass_msr(uint8_t *bitmap, uint32_t msr, bool read, bool write)
{
	uint32_t part = msr < 0x2000 ? 0 : 1024, bit = msr & 0x1fff;

	if (read)
		bitmap[part + bit / 8] &= (uint8_t) ~(1u << bit % 8);
	if (write)
		bitmap[part + 2048 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

static void fill_msr_bitmap(uint8_t *bitmap)
{
	memset(bitmap, 0xff, VMMU_PAGE_SIZE);
	for (unsigned i = 0; i < msr_passed_count; i++)
		vmx_pass_msr(bitmap, msr_passed[i], true, true);
}

void vmx_write_host_state(void)
{
	struct host_tables t = host_tables();

	vmwrite(VMCS_HOST_CR0, read_cr0());
	vmwrite(VMCS_HOST_CR3, read_cr3());
	vmwrite(VMCS_HOST_CR4, read_cr4());
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		vmwrite(VMCS_HOST_ES_SELECTOR + 2 * i, i == X86_CS ? HOST_CODE_SELECTOR : HOST_DATA_SELECTOR);
	vmwrite(VMCS_HOST_TR_SELECTOR, HOST_TASK_SELECTOR);
	vmwrite(VMCS_HOST_FS_BASE, 0);
	vmwrite(VMCS_HOST_GS_BASE, 0);
	vmwrite(VMCS_HOST_TR_BASE, t.tss_base);
	vmwrite(VMCS_HOST_GDTR_BASE, t.gdt_base);
	vmwrite(VMCS_HOST_IDTR_BASE, t.idt_base);
	vmwrite(VMCS_HOST_SYSENTER_CS, 0);
	vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
	vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
	vmwrite(VMCS_HOST_PAT, rdmsr(MSR_PAT));
	vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
	vmwrite(VMCS_HOST_RIP, (uintptr_t)vmx_exit_entry);
}

/* VMCLEAR promises nothing about fields that were never written. */
static void clear_fields(void)
{
	static const uint16_t fields[] = {
		VMCS_PAGE_FAULT_MASK,
		VMCS_PAGE_FAULT_MATCH,
		VMCS_CR3_TARGET_COUNT,
		VMCS_EXIT_MSR_STORE_COUNT,
		VMCS_EXIT_MSR_LOAD_COUNT,
		VMCS_ENTRY_MSR_LOAD_COUNT,
		VMCS_ENTRY_EVENT,
		VMCS_ENTRY_EVENT_ERROR,
		VMCS_ENTRY_INSTRUCTION_LENGTH,
		VMCS_GUEST_INTERRUPTIBILITY,
		VMCS_GUEST_ACTIVITY,
		VMCS_GUEST_PENDING_DEBUG,
		VMCS_GUEST_SYSENTER_CS,
		VMCS_GUEST_SYSENTER_ESP,
		VMCS_GUEST_SYSENTER_EIP,
		VMCS_GUEST_PDPTE0,
		VMCS_GUEST_PDPTE0 + 2,
		VMCS_GUEST_PDPTE0 + 4,
		VMCS_GUEST_PDPTE0 + 6,
		VMCS_TSC_OFFSET,
		VMCS_GUEST_DEBUGCTL,
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		vmwrite(fields[i], 0);
}

/*
 * The preemption timer (25.5.1, 26.5.1) bounds how long a guest runs. The visor's own timer
 * does so, too, by an interrupt, and comes first; but Bochs keeps that interrupt back from
 * a guest that has interrupts off. The count is kept over exits, so that faults without end
 * do not hold it off.
 */
#define PREEMPTION_NS 20000000ull
#define MISC_TIMER_SHIFT 0x1f /* IA32_VMX_MISC: one count is so many TSC ticks, as a power of two */

static void set_up_preemption(uint32_t pin_controls)
{
	uint64_t counts = clock_ns_to_ticks(PREEMPTION_NS) >> (rdmsr(MSR_VMX_MISC) & MISC_TIMER_SHIFT);

	if (!(pin_controls & PIN_PREEMPTION_TIMER))
		return;
	vmx_cpu.preemption = counts > UINT32_MAX ? UINT32_MAX : counts ? (uint32_t)counts
	                                                               : 1;
	vmx_arm_preemption();
}

void vmx_arm_preemption(void)
{
	if (vmx_cpu.preemption)
		vmwrite(VMCS_PREEMPTION_TIMER, vmx_cpu.preemption);
}

/* What only the options ask for: each of these may be 1 (appendix A.3.2). With exits by INVLPG come those by INVPCID. */
static uint32_t controls_for_comparison(const struct vcpu *v)
{
	if (v->vm->options->intercept_invlpg)
		vmx_cpu.secondary &= ~CPU2_INVPCID;
	return (v->vm->options->intercept_cr3 ? CPU_CR3_LOAD : 0) | (v->vm->options->intercept_invlpg ? CPU_INVLPG : 0);
}

uint32_t vmx_exception_bitmap(void)
{
	return 1u << X86_MC | 1u << X86_UD | ENDLESS_EXCEPTIONS | (vmx_cpu.shadow ? 1u << X86_PF : 0);
}

void vmx_write_controls(struct vcpu *v)
{
	clear_fields();
	v->vmx.cpu_based = vmx_cpu_controls() | controls_for_comparison(v);
	v->vmx.entry_work = vmx_cpu.each_entry;
	v->vmx.secondary = vmx_cpu.secondary;
	vmwrite(VMCS_PIN_CONTROLS, vmx_pin_controls());
	set_up_preemption(vmx_pin_controls());
	vmwrite(VMCS_CPU_CONTROLS, v->vmx.cpu_based);
	vmwrite(VMCS_CPU_CONTROLS2, vmx_cpu.secondary);
	vmwrite(VMCS_EXIT_CONTROLS, vmx_exit_controls());
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_entry_controls());
	vmwrite(VMCS_EXCEPTION_BITMAP, vmx_exception_bitmap());
	vmwrite(VMCS_MSR_BITMAP, v->vmx.msr_bitmap);
	if (vmx_cpu.secondary & CPU2_VPID)
		vmwrite(VMCS_VPID, GUEST_VPID);
	vmwrite(VMCS_LINK_POINTER, UINT64_MAX);
	vmwrite(VMCS_CR0_MASK, vmx_cpu.shadow ? UINT64_MAX : CR0_OWNED);
	vmwrite(VMCS_CR4_MASK, vmx_cpu.shadow ? UINT64_MAX : ~CR4_GUEST);
	vmwrite(VMCS_GUEST_PAT, 0x0007040600070406); /* as after reset (12.12.4) */
	vmwrite(VMCS_GUEST_DR7, 0x400);
}

void vmx_vcpu_free(struct vcpu *v)
{
	nvmx_free(v);
	if (v->vmx.vmcs) {
		vmclear(v->vmx.vmcs);
		frame_free(v->vmx.vmcs, FRAME_ORDER_4K);
	}
	if (v->vmx.msr_bitmap)
		frame_free(v->vmx.msr_bitmap, FRAME_ORDER_4K);
	memset(&v->vmx, 0, sizeof(v->vmx));
}

bool vmx_vcpu_init(struct vcpu *v)
{
	v->vmx.vmcs = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	v->vmx.msr_bitmap = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, false);
	if (!v->vmx.vmcs || !v->vmx.msr_bitmap) {
		vmx_vcpu_free(v);
		return false;
	}
	*(uint32_t *)(uintptr_t)v->vmx.vmcs = (uint32_t)vmx_cpu.basic & 0x7fffffff;
	fill_msr_bitmap((uint8_t *)(uintptr_t)v->vmx.msr_bitmap);
	if (!vmclear(v->vmx.vmcs) || !vmptrld(v->vmx.vmcs)) {
		log_line("visor: VMCLEAR or VMPTRLD failed");
		return false;
	}
	vmx_write_controls(v);
	return !v->vm->options->nested || nvmx_init(v);
}

void vmx_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	v->vmx.eptp = root->pointer;
	vmwrite(VMCS_EPT_POINTER, root->pointer);
}
