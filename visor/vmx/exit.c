/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel VT-x with EPT and unrestricted guest, or without either: SDM vol. 3, chapters 24 to 29. */
#include "visor/vmx/vmx.h"

#include <vmmu/exit.h>

#include "visor/cpu/gpr_offsets.h"
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/host/frame.h"
#include "visor/host/interrupts.h"
#include "visor/host/log.h"
#include "visor/lib/string.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/vmcs.h"

_Static_assert(offsetof(struct vcpu, state.gpr[X86_RDI]) == GPR_RDI, "vmx/entry.S");
_Static_assert(offsetof(struct vcpu, state.gpr[X86_R15]) == GPR_R15, "vmx/entry.S");

#define FEATURE_CONTROL_LOCK (1ull << 0)
#define FEATURE_CONTROL_VMX (1ull << 2)
#define BASIC_TRUE_CONTROLS (1ull << 55)
#define GUEST_VPID 1
#define ULL(x) ((unsigned long long)(x))

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

/* CR0: NE is fixed to 1 in VMX operation, the caching bits stay the visor's. */
#define CR0_OWNED (X86_CR0_NE | X86_CR0_CD | X86_CR0_NW)
/* CR4: what the guest may change by itself; everything else is hidden from it or fixed. */
#define CR4_GUEST                                                                                    \
	(0x7full /* VME PVI TSD DE PSE PAE MCE */ | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR |        \
	 X86_CR4_OSXMMEXCPT | X86_CR4_UMIP | X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_OSXSAVE |      \
	 X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE)

bool vmx_loop(struct vcpu *vcpu);
bool vmx_exit(struct vcpu *v);
void vmx_exit_entry(void);

static uint64_t vmx_basic, ept_cap;
static uint32_t secondary; /* secondary controls, as written */

/* ---- instructions ------------------------------------------------------------------ */

static inline uint64_t vmread(enum vmcs_field field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0" : "=rm"(value) : "r"((uint64_t)field) : "cc");
	return value;
}

/* A field that this CPU lacks is an error of the visor's: the control that wants it was checked. */
static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
	__asm__ volatile("vmwrite %1, %0" : : "r"((uint64_t)field), "rm"(value) : "cc", "memory");
}

static bool vmxon(uint64_t region)
{
	uint8_t failed;

	__asm__ volatile("vmxon %1; setbe %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
	return !failed;
}

static bool vmclear(uint64_t vmcs)
{
	uint8_t failed;

	__asm__ volatile("vmclear %1; setbe %0" : "=qm"(failed) : "m"(vmcs) : "cc", "memory");
	return !failed;
}

static bool vmptrld(uint64_t vmcs)
{
	uint8_t failed;

	__asm__ volatile("vmptrld %1; setbe %0" : "=qm"(failed) : "m"(vmcs) : "cc", "memory");
	return !failed;
}

/* INVEPT: type 1 one EPTP, type 2 all (SDM vol. 3, 31.3). */
static void invept(uint64_t eptp)
{
	struct {
		uint64_t eptp, reserved;
	} descriptor = {eptp, 0};
	uint64_t type = ept_cap & CAP_INVEPT_SINGLE ? 1 : 2;

	__asm__ volatile("invept %0, %1" : : "m"(descriptor), "r"(type) : "cc", "memory");
}

/* ---- turning it on ------------------------------------------------------------------ */

static bool vmx_present(void)
{
	return cpuid(1, 0).ecx & 1u << 5;
}

/* Bits that must be 1 (low half of the capability MSR) and may be 1 (high half): appendix A.2. */
static uint32_t adjusted(uint32_t msr, uint32_t wanted)
{
	uint64_t capability = rdmsr(msr);

	return (wanted | (uint32_t)capability) & (uint32_t)(capability >> 32);
}

static uint32_t control_msr(uint32_t plain, uint32_t true_form)
{
	return vmx_basic & BASIC_TRUE_CONTROLS ? true_form : plain;
}

/* Shadow paging is chosen once, for the visor's whole life. */
static bool shadow;

static uint32_t cpu_controls(void)
{
	const uint32_t wanted = CPU_TSC_OFFSET | CPU_HLT | CPU_MWAIT | CPU_RDPMC | CPU_CR8_LOAD | CPU_CR8_STORE |
	                        CPU_UNCONDITIONAL_IO | CPU_MSR_BITMAPS | CPU_MONITOR | CPU_SECONDARY |
	                        (shadow ? CPU_CR3_LOAD | CPU_CR3_STORE : 0);

	return adjusted(control_msr(MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS), wanted);
}

/* EPT, and with it unrestricted guest. */
static const char *missing_in_ept(void)
{
	if (!(secondary & CPU2_EPT))
		return "this CPU has VMX but no EPT: try mmu=shadow";
	if (!(secondary & CPU2_UNRESTRICTED))
		return "this CPU has VMX and EPT but no unrestricted guest: try mmu=shadow";
	ept_cap = rdmsr(MSR_VMX_EPT_VPID_CAP);
	if (!(ept_cap & CAP_4_LEVELS) || !(ept_cap & CAP_WRITE_BACK) || !(ept_cap & CAP_INVEPT) ||
	    !(ept_cap & (CAP_INVEPT_SINGLE | CAP_INVEPT_ALL)))
		return "this CPU's EPT lacks 4-level tables, write-back tables or INVEPT: try mmu=shadow";
	if (cpu_controls() & (CPU_CR3_LOAD | CPU_CR3_STORE | CPU_INVLPG))
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
	                        (shadow ? 0 : CPU2_INVPCID | CPU2_EPT | CPU2_UNRESTRICTED | CPU2_VPID);
	const uint32_t exit_needed = EXITING_HOST_64 | EXITING_SAVE_PAT | EXITING_LOAD_PAT | EXITING_SAVE_EFER |
	                             EXITING_LOAD_EFER;
	const uint32_t entry_needed = ENTRY_LOAD_PAT | ENTRY_LOAD_EFER;

	if (!(cpu_controls() & CPU_SECONDARY))
		return "this CPU has VMX but no secondary controls, so neither EPT nor unrestricted guest";
	secondary = adjusted(MSR_VMX_PROCBASED_CTLS2, wanted);
	if (!shadow && missing_in_ept())
		return missing_in_ept();
	if (~adjusted(control_msr(MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS), exit_needed) & exit_needed ||
	    ~adjusted(control_msr(MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS), entry_needed) & entry_needed)
		return "this CPU's VMX cannot switch EFER and PAT";
	return NULL;
}

static bool vmx_enable(const char **reason)
{
	uint64_t control = rdmsr(MSR_FEATURE_CONTROL), region;

	if (control & FEATURE_CONTROL_LOCK && !(control & FEATURE_CONTROL_VMX)) {
		*reason = "VMX is switched off by the firmware (IA32_FEATURE_CONTROL is locked): enable it in the "
		          "firmware's setup";
		return false;
	}
	if (!(control & FEATURE_CONTROL_LOCK))
		wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	vmx_basic = rdmsr(MSR_VMX_BASIC);
	*reason = missing_feature();
	if (*reason)
		return false;
	region = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	if (!region) {
		*reason = "no memory for the VMXON region";
		return false;
	}
	*(uint32_t *)(uintptr_t)region = (uint32_t)vmx_basic & 0x7fffffff;
	write_cr0((read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
	write_cr4((read_cr4() | rdmsr(MSR_VMX_CR4_FIXED0)) & rdmsr(MSR_VMX_CR4_FIXED1));
	if (!vmxon(region)) {
		*reason = "VMXON failed";
		return false;
	}
	if (!shadow)
		invept(0); /* nothing is left over from whoever used the CPU before */
	return true;
}

static bool vmx_shadow_enable(const char **reason)
{
	shadow = true;
	return vmx_enable(reason);
}

static void vmx_shadow_describe(struct vmmu_cpu *out)
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

static void vmx_describe(struct vmmu_cpu *out)
{
	*out = (struct vmmu_cpu){
		.maxphyaddr = (uint8_t)cpuid(0x80000008, 0).eax,
		.page_2m = ept_cap & CAP_2M,
		.page_1g = ept_cap & CAP_1G,
		.exec_only = ept_cap & CAP_EXECUTE_ONLY,
		.ad = ept_cap & CAP_AD,
		.nx = true,
		.levels5 = ept_cap & CAP_5_LEVELS,
	};
}

/*
 * Without their controls the instructions are #UD in a guest (26.1.2). On shadow
 * tables INVPCID could be had only together with exits by INVLPG, of which there
 * are to be none. Under EPT a fifth level of the guest's own is left out: Bochs
 * then walks five levels of EPT as well.
 */
static bool vmx_allows(enum cpu_feature feature)
{
	switch (feature) {
	case CPU_FEATURE_RDTSCP: return secondary & CPU2_RDTSCP;
	case CPU_FEATURE_INVPCID: return secondary & CPU2_INVPCID;
	case CPU_FEATURE_LA57: return shadow;
	}
	__builtin_unreachable();
}

/* ---- control block ----------------------------------------------------------------- */

/*
 * The bitmap has four parts of 1 KiB: reads of low and of high MSRs, writes of
 * low and of high ones (25.6.9). All ones but for the guest's own registers.
 */
static void pass_msr(uint8_t *bitmap, uint32_t msr)
{
	uint32_t part = msr < 0x2000 ? 0 : 1024, bit = msr & 0x1fff;

	bitmap[part + bit / 8] &= (uint8_t)~(1u << bit % 8);
	bitmap[part + 2048 + bit / 8] &= (uint8_t)~(1u << bit % 8);
}

static void fill_msr_bitmap(uint8_t *bitmap)
{
	/* In the VMCS, or left in the CPU because the visor does not use them. */
	static const uint32_t own[] = {
		MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK,
		MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
	};

	memset(bitmap, 0xff, VMMU_PAGE_SIZE);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		pass_msr(bitmap, own[i]);
}

static void write_host_state(void)
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
		VMCS_PAGE_FAULT_MASK, VMCS_PAGE_FAULT_MATCH, VMCS_CR3_TARGET_COUNT, VMCS_EXIT_MSR_STORE_COUNT,
		VMCS_EXIT_MSR_LOAD_COUNT, VMCS_ENTRY_MSR_LOAD_COUNT, VMCS_ENTRY_EVENT, VMCS_ENTRY_EVENT_ERROR,
		VMCS_ENTRY_INSTRUCTION_LENGTH, VMCS_GUEST_INTERRUPTIBILITY, VMCS_GUEST_ACTIVITY,
		VMCS_GUEST_PENDING_DEBUG, VMCS_GUEST_SYSENTER_CS, VMCS_GUEST_SYSENTER_ESP,
		VMCS_GUEST_SYSENTER_EIP, VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE0 + 2, VMCS_GUEST_PDPTE0 + 4,
		VMCS_GUEST_PDPTE0 + 6, VMCS_TSC_OFFSET, VMCS_GUEST_DEBUGCTL,
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		vmwrite(fields[i], 0);
}

static void write_controls(struct vcpu *v)
{
	clear_fields();
	v->vmx.cpu_based = cpu_controls();
	vmwrite(VMCS_PIN_CONTROLS, adjusted(control_msr(MSR_VMX_PINBASED_CTLS, MSR_VMX_TRUE_PINBASED_CTLS),
	                                    PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI));
	vmwrite(VMCS_CPU_CONTROLS, v->vmx.cpu_based);
	vmwrite(VMCS_CPU_CONTROLS2, secondary);
	vmwrite(VMCS_EXIT_CONTROLS,
	        adjusted(control_msr(MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS),
	                 EXITING_SAVE_DEBUG | EXITING_HOST_64 | EXITING_SAVE_PAT | EXITING_LOAD_PAT |
	                         EXITING_SAVE_EFER | EXITING_LOAD_EFER));
	vmwrite(VMCS_ENTRY_CONTROLS, adjusted(control_msr(MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS),
	                                      ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER));
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << X86_MC | ENDLESS_EXCEPTIONS | (shadow ? 1u << X86_PF : 0));
	vmwrite(VMCS_MSR_BITMAP, v->vmx.msr_bitmap);
	if (secondary & CPU2_VPID)
		vmwrite(VMCS_VPID, GUEST_VPID);
	vmwrite(VMCS_LINK_POINTER, UINT64_MAX);
	vmwrite(VMCS_CR0_MASK, shadow ? UINT64_MAX : CR0_OWNED);
	vmwrite(VMCS_CR4_MASK, shadow ? UINT64_MAX : ~CR4_GUEST);
	vmwrite(VMCS_GUEST_PAT, 0x0007040600070406); /* as after reset (12.12.4) */
	vmwrite(VMCS_GUEST_DR7, 0x400);
}

static void vmx_vcpu_free(struct vcpu *v)
{
	if (v->vmx.vmcs) {
		vmclear(v->vmx.vmcs);
		frame_free(v->vmx.vmcs, FRAME_ORDER_4K);
	}
	if (v->vmx.msr_bitmap)
		frame_free(v->vmx.msr_bitmap, FRAME_ORDER_4K);
	memset(&v->vmx, 0, sizeof(v->vmx));
}

static bool vmx_vcpu_init(struct vcpu *v)
{
	v->vmx.vmcs = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	v->vmx.msr_bitmap = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, false);
	if (!v->vmx.vmcs || !v->vmx.msr_bitmap) {
		vmx_vcpu_free(v);
		return false;
	}
	*(uint32_t *)(uintptr_t)v->vmx.vmcs = (uint32_t)vmx_basic & 0x7fffffff;
	fill_msr_bitmap((uint8_t *)(uintptr_t)v->vmx.msr_bitmap);
	if (!vmclear(v->vmx.vmcs) || !vmptrld(v->vmx.vmcs)) {
		log_line("visor: VMCLEAR or VMPTRLD failed");
		return false;
	}
	write_controls(v);
	return true;
}

static void vmx_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	v->vmx.eptp = root->pointer;
	vmwrite(VMCS_EPT_POINTER, root->pointer);
}

/* ---- state ---------------------------------------------------------------------------- */

/* `index` counts as the VMCS does: ES CS SS DS FS GS LDTR TR. */
static struct x86_segment read_segment(unsigned index)
{
	return (struct x86_segment){
		.selector = (uint16_t)vmread(VMCS_GUEST_ES_SELECTOR + 2 * index),
		.access = (uint32_t)vmread(VMCS_GUEST_ES_ACCESS + 2 * index),
		.limit = (uint32_t)vmread(VMCS_GUEST_ES_LIMIT + 2 * index),
		.base = vmread(VMCS_GUEST_ES_BASE + 2 * index),
	};
}

static void write_segment(unsigned index, const struct x86_segment *s)
{
	vmwrite(VMCS_GUEST_ES_SELECTOR + 2 * index, s->selector);
	vmwrite(VMCS_GUEST_ES_ACCESS + 2 * index, s->access);
	vmwrite(VMCS_GUEST_ES_LIMIT + 2 * index, s->limit);
	vmwrite(VMCS_GUEST_ES_BASE + 2 * index, s->base);
}

static uint64_t vmx_read_cr0(struct vcpu *v)
{
	if (shadow)
		return v->paging.cr0;
	return (vmread(VMCS_GUEST_CR0) & ~CR0_OWNED) | (vmread(VMCS_CR0_SHADOW) & CR0_OWNED);
}

static uint64_t vmx_read_cr4(struct vcpu *v)
{
	if (shadow)
		return v->paging.cr4;
	return (vmread(VMCS_GUEST_CR4) & CR4_GUEST) | (vmread(VMCS_CR4_SHADOW) & ~CR4_GUEST);
}

static void write_cr0_of_guest(uint64_t value)
{
	uint64_t fixed = rdmsr(MSR_VMX_CR0_FIXED0) & ~(X86_CR0_PE | X86_CR0_PG); /* 24.8, unrestricted guest */

	vmwrite(VMCS_CR0_SHADOW, value);
	vmwrite(VMCS_GUEST_CR0, (value & ~(X86_CR0_CD | X86_CR0_NW)) | fixed | X86_CR0_NE | X86_CR0_ET);
}

static void write_cr4_of_guest(uint64_t value)
{
	vmwrite(VMCS_CR4_SHADOW, value);
	vmwrite(VMCS_GUEST_CR4, value | rdmsr(MSR_VMX_CR4_FIXED0));
}

static uint64_t vmx_read_efer(struct vcpu *v)
{
	return shadow ? v->paging.efer : vmread(VMCS_GUEST_EFER);
}

/* The entry control for 64-bit mode must agree with LMA (27.3.1.1). */
static void write_real_efer(uint64_t value)
{
	uint64_t entry = vmread(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E;

	vmwrite(VMCS_ENTRY_CONTROLS, value & X86_EFER_LMA ? entry | ENTRY_IA32E : entry);
	vmwrite(VMCS_GUEST_EFER, value);
}

static void vmx_write_efer(struct vcpu *v, uint64_t value)
{
	if (shadow)
		shadow_write_efer(v, value);
	else
		write_real_efer(value);
}

/* All of CR0 and CR4 is the visor's: reads give the read shadows, writes that differ from them exit. */
static void vmx_shadow_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	const struct vmmu_paging *p = &v->paging;
	uint64_t cache = X86_CR0_CD | X86_CR0_NW;

	if (!(p->cr0 & X86_CR0_PE)) {
		vm_fail(v, "the guest turns to real mode, where VMX without unrestricted guest cannot follow");
		return;
	}
	vmwrite(VMCS_GUEST_CR3, root->pointer);
	vmwrite(VMCS_CR0_SHADOW, p->cr0);
	vmwrite(VMCS_GUEST_CR0, (shadow_real_cr0(p) & ~cache) | rdmsr(MSR_VMX_CR0_FIXED0));
	vmwrite(VMCS_CR4_SHADOW, p->cr4);
	vmwrite(VMCS_GUEST_CR4, shadow_real_cr4(p) | rdmsr(MSR_VMX_CR4_FIXED0));
	write_real_efer(shadow_real_efer(p));
}

static void vmx_read_state(struct vcpu *v)
{
	struct x86_cpu_state *s = &v->state;

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		s->segment[i] = read_segment(i);
	s->ldtr = read_segment(X86_SEGMENT_COUNT);
	s->tr = read_segment(X86_SEGMENT_COUNT + 1);
	s->gdtr = (struct x86_table_register){(uint16_t)vmread(VMCS_GUEST_GDTR_LIMIT), vmread(VMCS_GUEST_GDTR_BASE)};
	s->idtr = (struct x86_table_register){(uint16_t)vmread(VMCS_GUEST_IDTR_LIMIT), vmread(VMCS_GUEST_IDTR_BASE)};
	s->gpr[X86_RSP] = vmread(VMCS_GUEST_RSP);
	s->rip = vmread(VMCS_GUEST_RIP);
	s->rflags = vmread(VMCS_GUEST_RFLAGS);
	s->cr0 = vmx_read_cr0(v);
	s->cr3 = shadow ? v->paging.cr3 : vmread(VMCS_GUEST_CR3);
	s->cr4 = vmx_read_cr4(v);
	s->efer = vmx_read_efer(v);
	for (unsigned i = 0; i < 4; i++)
		s->pdpte[i] = shadow ? v->paging.pdpte[i] : vmread(VMCS_GUEST_PDPTE0 + 2 * i);
	s->cpl = s->segment[X86_SS].access >> 5 & 3; /* SS.DPL is the CPL (25.4.1) */
	s->pkru = s->cr4 & X86_CR4_PKE ? rdpkru() : 0;
}

static void commit(struct vcpu *v)
{
	vmwrite(VMCS_GUEST_RSP, v->state.gpr[X86_RSP]);
	vmwrite(VMCS_GUEST_RIP, v->state.rip);
	vmwrite(VMCS_GUEST_RFLAGS, v->state.rflags);
}

static void vmx_write_state(struct vcpu *v)
{
	const struct x86_cpu_state *s = &v->state;

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		write_segment(i, &s->segment[i]);
	write_segment(X86_SEGMENT_COUNT, &s->ldtr);
	write_segment(X86_SEGMENT_COUNT + 1, &s->tr);
	vmwrite(VMCS_GUEST_GDTR_LIMIT, s->gdtr.limit);
	vmwrite(VMCS_GUEST_GDTR_BASE, s->gdtr.base);
	vmwrite(VMCS_GUEST_IDTR_LIMIT, s->idtr.limit);
	vmwrite(VMCS_GUEST_IDTR_BASE, s->idtr.base);
	if (!shadow) { /* else they are changed one by one, by exit/shadow.c */
		write_cr0_of_guest(s->cr0);
		vmwrite(VMCS_GUEST_CR3, s->cr3);
		write_cr4_of_guest(s->cr4);
		vmx_write_efer(v, s->efer);
	}
	commit(v);
}

/* CR2 and DR6 are not switched: the guest's stay in the CPU. */
static uint64_t vmx_read_special(struct vcpu *v, enum cpu_special which)
{
	(void)v;
	switch (which) {
	case CPU_SPECIAL_PAT: return vmread(VMCS_GUEST_PAT);
	case CPU_SPECIAL_TSC_OFFSET: return vmread(VMCS_TSC_OFFSET);
	case CPU_SPECIAL_CR2: return read_cr2();
	case CPU_SPECIAL_DR6: return read_dr6();
	case CPU_SPECIAL_DR7: return vmread(VMCS_GUEST_DR7);
	}
	__builtin_unreachable();
}

static void vmx_write_special(struct vcpu *v, enum cpu_special which, uint64_t value)
{
	(void)v;
	switch (which) {
	case CPU_SPECIAL_PAT:
		vmwrite(VMCS_GUEST_PAT, value);
		break;
	case CPU_SPECIAL_TSC_OFFSET:
		vmwrite(VMCS_TSC_OFFSET, value);
		break;
	case CPU_SPECIAL_CR2:
		write_cr2(value);
		break;
	case CPU_SPECIAL_DR6:
		write_dr6(value);
		break;
	case CPU_SPECIAL_DR7:
		vmwrite(VMCS_GUEST_DR7, value);
		break;
	}
}

static bool vmx_in_64bit_code(struct vcpu *v)
{
	(void)v;
	return vmread(VMCS_GUEST_EFER) & X86_EFER_LMA && vmread(VMCS_GUEST_CS_ACCESS) & X86_ACCESS_LONG;
}

static bool vmx_interrupts_shadowed(struct vcpu *v)
{
	(void)v;
	return vmread(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
}

static void vmx_clear_shadow(struct vcpu *v)
{
	uint64_t old = vmread(VMCS_GUEST_INTERRUPTIBILITY);

	(void)v;
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, old & ~(uint64_t)(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

static void vmx_want_window(struct vcpu *v, bool on)
{
	if (on)
		v->vmx.cpu_based |= CPU_INTERRUPT_WINDOW;
	else
		v->vmx.cpu_based &= ~(uint32_t)CPU_INTERRUPT_WINDOW;
	vmwrite(VMCS_CPU_CONTROLS, v->vmx.cpu_based);
}

static unsigned vmx_instruction_length(struct vcpu *v)
{
	(void)v;
	return (unsigned)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
}

static void vmx_flush(struct vcpu *v)
{
	v->vmx.flush_wanted = !shadow; /* without VPID every entry does it */
}

static uint64_t vmx_trace_word(struct vcpu *v)
{
	uint64_t cr3 = shadow ? v->paging.cr3 : vmread(VMCS_GUEST_CR3);

	return (cr3 & ~(uint64_t)VMMU_TRACE_WORD_BITS) |
	       (vmread(VMCS_GUEST_SS_ACCESS) >> 5 & VMMU_TRACE_WORD_CPL) |
	       (vmx_read_cr0(v) & X86_CR0_PG ? VMMU_TRACE_WORD_PAGING : 0) |
	       (vmread(VMCS_GUEST_EFER) & X86_EFER_LMA ? VMMU_TRACE_WORD_LMA : 0);
}

/* ---- exits -------------------------------------------------------------------------------- */

static const char *reason_name(uint32_t reason)
{
	static const char *const names[] = {
		"exception or NMI", "external interrupt", "triple fault", "INIT", "SIPI", "I/O SMI", "other SMI",
		"interrupt window", "NMI window", "task switch", "CPUID", "GETSEC", "HLT", "INVD", "INVLPG", "RDPMC",
		"RDTSC", "RSM", "VMCALL", "VMCLEAR", "VMLAUNCH", "VMPTRLD", "VMPTRST", "VMREAD", "VMRESUME",
		"VMWRITE", "VMXOFF", "VMXON", "control register access", "MOV DR", "I/O instruction", "RDMSR",
		"WRMSR", "invalid guest state", "MSR loading", NULL, "MWAIT", "monitor trap flag", NULL, "MONITOR",
		"PAUSE", "machine check during entry", NULL, "TPR below threshold", "APIC access", "virtualized EOI",
		"GDTR or IDTR access", "LDTR or TR access", "EPT violation", "EPT misconfiguration", "INVEPT",
		"RDTSCP", "preemption timer", "INVVPID", "WBINVD", "XSETBV", "APIC write", "RDRAND", "INVPCID",
		"VMFUNC", "ENCLS", "RDSEED", "page-modification log full", "XSAVES", "XRSTORS",
	};
	uint16_t basic = (uint16_t)reason;

	return basic < sizeof(names) / sizeof(names[0]) && names[basic] ? names[basic] : "unknown";
}

static void vmx_dump(struct vcpu *v)
{
	(void)v;
	log_line("  exit %llx (%s) qualification %llx gpa %llx event %llx vectoring %llx", ULL(vmread(VMCS_EXIT_REASON)),
	         reason_name((uint32_t)vmread(VMCS_EXIT_REASON)), ULL(vmread(VMCS_QUALIFICATION)),
	         ULL(vmread(VMCS_GUEST_PHYSICAL_ADDRESS)), ULL(vmread(VMCS_EXIT_EVENT)),
	         ULL(vmread(VMCS_VECTORING_EVENT)));
	log_line("  controls pin %llx cpu %llx cpu2 %llx entry %llx exit %llx eptp %llx", ULL(vmread(VMCS_PIN_CONTROLS)),
	         ULL(vmread(VMCS_CPU_CONTROLS)), ULL(vmread(VMCS_CPU_CONTROLS2)), ULL(vmread(VMCS_ENTRY_CONTROLS)),
	         ULL(vmread(VMCS_EXIT_CONTROLS)), ULL(vmread(VMCS_EPT_POINTER)));
	log_line("  guest cr0 %llx cr4 %llx as the CPU has them, interruptibility %llx activity %llx cr2 %llx dr7 %llx",
	         ULL(vmread(VMCS_GUEST_CR0)), ULL(vmread(VMCS_GUEST_CR4)), ULL(vmread(VMCS_GUEST_INTERRUPTIBILITY)),
	         ULL(vmread(VMCS_GUEST_ACTIVITY)), ULL(read_cr2()), ULL(vmread(VMCS_GUEST_DR7)));
}

/* Events whose delivery this exit broke off, for the next entry (28.2.4). */
static void recover_event(struct vcpu *v)
{
	uint32_t event = (uint32_t)vmread(VMCS_VECTORING_EVENT);

	v->event = 0;
	if (!(event & EVENT_VALID))
		return;
	v->event = event & (EVENT_VALID | EVENT_HAS_ERROR | EVENT_TYPE_MASK | 0xff);
	v->event_error = event & EVENT_HAS_ERROR ? (uint32_t)vmread(VMCS_VECTORING_ERROR) : 0;
	v->event_length = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
	/* An NMI blocks others from its delivery on; it is to be delivered now (28.2.3). */
	if ((event & EVENT_TYPE_MASK) == EVENT_NMI)
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
		        vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)INTERRUPTIBILITY_NMI);
}

static void inject_event(struct vcpu *v)
{
	uint32_t type = v->event & EVENT_TYPE_MASK;

	if (!(v->event & EVENT_VALID))
		return; /* the CPU clears the field's valid bit at each exit (25.8.3) */
	vmwrite(VMCS_ENTRY_EVENT, v->event);
	if (v->event & EVENT_HAS_ERROR)
		vmwrite(VMCS_ENTRY_EVENT_ERROR, v->event_error);
	if (type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_PRIVILEGED_SOFTWARE || type == EVENT_SOFTWARE_EXCEPTION)
		vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, v->event_length);
	v->event = 0;
}

/* Qualification of I/O instructions: table 28-5. Address size and segment: table 28-8. */
static void handle_io(struct vcpu *v)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);
	struct io_access io = {
		.port = (uint16_t)(q >> 16),
		.size = (q & 7) + 1,
		.in = q & 8,
		.string = q & 16,
		.rep = q & 32,
	};

	if (io.string) {
		uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);

		io.address_size = (uint8_t)(2u << (info >> 7 & 7));
		io.segment = info >> 15 & 7;
	}
	exit_io(v, &io);
}

/*
 * PAE paging keeps four entries of the guest's top table in the CPU; what MOV
 * to CR0 would load there, VM entry takes from the VMCS (27.3.2.4). False: #GP.
 */
static bool load_pdptes(struct vcpu *v)
{
	uint64_t entries[4], reserved = 0x1e6 | ~0ull << (cpuid(0x80000008, 0).eax & 0xff);

	if (!memory_read(v->vm, vmread(VMCS_GUEST_CR3) & 0xffffffe0, entries, sizeof(entries)))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		if (entries[i] & 1 && entries[i] & reserved)
			return false;
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, entries[i]);
	}
	return true;
}

/* CR0.PG goes on or off: LMA follows LME (SDM vol. 3, 4.1.2). False: the guest gets #GP. */
static bool switch_paging(struct vcpu *v, bool on)
{
	uint64_t efer = vmx_read_efer(v), cr4 = vmx_read_cr4(v);

	if (!on && cr4 & X86_CR4_PCIDE)
		return false;
	if (efer & X86_EFER_LME) {
		if (on && (!(cr4 & X86_CR4_PAE) || vmread(VMCS_GUEST_CS_ACCESS) & X86_ACCESS_LONG))
			return false;
		if (!on && vmx_in_64bit_code(v))
			return false;
		vmx_write_efer(v, on ? efer | X86_EFER_LMA : efer & ~X86_EFER_LMA);
	} else if (on && cr4 & X86_CR4_PAE && !load_pdptes(v)) {
		return false;
	}
	vmx_flush(v); /* the instruction would have emptied the TLB (4.10.4.1) */
	return true;
}

/* MOV to CR0 that changes a bit the visor owns; it may change others with it. */
static void write_cr0_by_guest(struct vcpu *v, uint64_t value)
{
	uint64_t changed = vmx_read_cr0(v) ^ value;

	value |= X86_CR0_ET;
	/* What the instruction refuses (SDM vol. 2, MOV - Move to/from Control Registers). */
	if (value >> 32 || (value & X86_CR0_PG && !(value & X86_CR0_PE)) ||
	    (value & X86_CR0_NW && !(value & X86_CR0_CD)) ||
	    (changed & X86_CR0_PG && !switch_paging(v, value & X86_CR0_PG))) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	write_cr0_of_guest(value);
	exit_skip(v);
}

/* Qualification of control-register accesses: table 28-3. */
static void handle_cr(struct vcpu *v)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);
	unsigned number = q & 15, type = q >> 4 & 3, gpr = q >> 8 & 15;
	enum { MOV_TO = 0, MOV_FROM = 1 };

	if (number == 8) {
		exit_cr8(v, type == MOV_TO, gpr);
		return;
	}
	if (shadow) {
		static const enum cr_operation operation[] = {CR_WRITE, CR_READ, CR_CLTS, CR_OTHER};
		struct cr_access access = {.operation = operation[type], .cr = (uint8_t)number, .gpr = (uint8_t)gpr,
		                           .length = (uint8_t)vmx_instruction_length(v)};

		exit_cr(v, &access);
		return;
	}
	if (number == 3)
		exit_count(v, type == MOV_TO ? EXIT_CR3_WRITE : EXIT_CR3_READ);
	else
		exit_count(v, EXIT_CR_ACCESS);
	if (number == 0 && type == MOV_TO)
		write_cr0_by_guest(v, v->state.gpr[gpr]);
	else if (number == 4 && type == MOV_TO)
		exit_raise(v, X86_GP, true, 0); /* only bits that the guest does not have lead here */
	else
		vm_fail(v, "unexpected access to CR%u (qualification %llx)", number, ULL(q));
}

/* What the delivery of #DB would have done, and the exit has not (28.1): DR6 and DR7.GD. */
static void note_debug_status(void)
{
	const uint64_t caused = X86_DR6_BREAKPOINTS | X86_DR6_ACCESS | X86_DR6_SINGLE_STEP;

	write_dr6((read_dr6() & ~X86_DR6_BREAKPOINTS) | (vmread(VMCS_QUALIFICATION) & caused));
	vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~X86_DR7_DETECT);
}

/* Give the guest the exception that it has raised. */
static void reflect(struct vcpu *v, uint32_t event)
{
	unsigned vector = event & 0xff;

	if (vector == X86_DB)
		note_debug_status();
	/* INT1: RIP is still its own, and its trap is to return behind it (28.3.3). */
	if ((event & EVENT_TYPE_MASK) == EVENT_PRIVILEGED_SOFTWARE)
		v->state.rip += vmx_instruction_length(v);
	vmx_clear_shadow(v); /* the delivery ends it; an entry with TF and a shadow would be refused (27.3.1.5) */
	exit_raise(v, vector, event & EVENT_HAS_ERROR, (uint32_t)vmread(VMCS_EXIT_EVENT_ERROR));
}

static void handle_exception(struct vcpu *v)
{
	uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT);

	if ((event & EVENT_TYPE_MASK) == EVENT_NMI) {
		exit_count(v, EXIT_NMI);
		/* It was meant for the visor. The handler's IRET unblocks the next one. */
		__asm__ volatile("int $2" : : : "memory");
		return;
	}
	exit_count(v, EXIT_EXCEPTION);
	if (1u << (event & 31) & ENDLESS_EXCEPTIONS)
		reflect(v, event);
	else
		vm_fail(v, "exception %u in the guest ends it", event & 0xff);
}

static void undefined_instruction(struct vcpu *v)
{
	exit_count(v, EXIT_UNDEFINED);
	exit_raise(v, X86_UD, false, 0);
}

static void handle(struct vcpu *v, uint32_t reason)
{
	if (reason & VMX_EXIT_ENTRY_FAILURE) {
		exit_count(v, EXIT_OTHER);
		vm_fail(v, "VM entry failed: %s", reason_name(reason));
		return;
	}
	switch (reason) {
	case VMX_EXIT_EXCEPTION_NMI:
		handle_exception(v);
		break;
	case VMX_EXIT_EXTERNAL_INTERRUPT:
		exit_external_interrupt(v);
		break;
	case VMX_EXIT_TRIPLE_FAULT:
		exit_triple_fault(v);
		break;
	case VMX_EXIT_INIT:
	case VMX_EXIT_SIPI:
		exit_count(v, EXIT_INIT);
		break;
	case VMX_EXIT_INTERRUPT_WINDOW:
		exit_count(v, EXIT_INTERRUPT_WINDOW);
		break;
	case VMX_EXIT_TASK_SWITCH:
		exit_task_switch(v);
		break;
	case VMX_EXIT_CPUID:
		exit_cpuid(v);
		break;
	case VMX_EXIT_HLT:
		exit_hlt(v);
		break;
	case VMX_EXIT_INVD: /* all guest memory is coherent: nothing to do */
	case VMX_EXIT_WBINVD:
		exit_count(v, EXIT_CACHE);
		exit_skip(v);
		break;
	case VMX_EXIT_RDPMC:
		exit_count(v, EXIT_RDPMC);
		exit_raise(v, X86_GP, true, 0);
		break;
	case VMX_EXIT_CR_ACCESS:
		handle_cr(v);
		break;
	case VMX_EXIT_IO:
		handle_io(v);
		break;
	case VMX_EXIT_RDMSR:
	case VMX_EXIT_WRMSR:
		exit_msr(v, reason == VMX_EXIT_WRMSR);
		break;
	case VMX_EXIT_XSETBV:
		exit_xsetbv(v);
		break;
	case VMX_EXIT_GETSEC:
	case VMX_EXIT_VMCALL ... VMX_EXIT_VMXON:
	case VMX_EXIT_MWAIT:
	case VMX_EXIT_MONITOR:
	case VMX_EXIT_INVEPT:
	case VMX_EXIT_INVVPID:
	case VMX_EXIT_VMFUNC:
	case VMX_EXIT_ENCLS:
		undefined_instruction(v);
		break;
	default:
		exit_count(v, reason == VMX_EXIT_INVLPG ? EXIT_INVLPG : EXIT_OTHER);
		vm_fail(v, "unexpected exit %u (%s)", reason, reason_name(reason));
	}
}

/* What is owed before the next entry. */
static inline void before_entry(struct vcpu *v)
{
	if (unlikely(v->vmx.flush_wanted)) {
		invept(v->vmx.eptp);
		v->vmx.flush_wanted = false;
	}
}

/* Everything but memory faults that the engine settled. `fault` is NULL for other exits. */
static __attribute__((noinline)) bool slow_exit(struct vcpu *v, uint32_t reason, const struct vmmu_fault *fault,
                                                enum vmmu_fault_result result)
{
	v->state.gpr[X86_RSP] = vmread(VMCS_GUEST_RSP);
	v->state.rip = vmread(VMCS_GUEST_RIP);
	v->state.rflags = vmread(VMCS_GUEST_RFLAGS);
	recover_event(v);
	if (fault)
		exit_memory_rest(v, fault, result);
	else
		handle(v, reason);
	exit_finish(v);
	commit(v);
	inject_event(v);
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

static __attribute__((noinline)) void reinject_event(struct vcpu *v)
{
	recover_event(v);
	inject_event(v);
}

/* A #PF under shadow paging; CR2 is still the guest's own (28.2.1). The guest's own faults end here, too. */
static bool page_fault_exit(struct vcpu *v, uint32_t reason, uint32_t event)
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
		vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR | X86_PF);
		vmwrite(VMCS_ENTRY_EVENT_ERROR, fault.error_code);
		return false;
	}
	if (unlikely(result > VMMU_FAULT_RETRY))
		return slow_exit(v, reason, &fault, result);
	if (unlikely(delivering))
		reinject_event(v);
	return false;
}

/* What is no memory fault by EPT. */
static __attribute__((noinline)) bool other_exit(struct vcpu *v, uint32_t reason)
{
	const uint32_t page_fault = EVENT_VALID | EVENT_EXCEPTION | X86_PF;
	uint32_t event = reason == VMX_EXIT_EXCEPTION_NMI ? (uint32_t)vmread(VMCS_EXIT_EVENT) : 0;

	if (shadow && (event & (EVENT_VALID | EVENT_TYPE_MASK | 0xff)) == page_fault)
		return page_fault_exit(v, reason, event);
	return slow_exit(v, reason, NULL, 0);
}

/* Called by vmx/entry.S. True: leave the loop. */
bool vmx_exit(struct vcpu *v)
{
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
	enum vmmu_fault_result result;
	struct vmmu_fault fault;

	if (unlikely(reason != VMX_EXIT_EPT_VIOLATION && reason != VMX_EXIT_EPT_MISCONFIGURATION))
		return other_exit(v, reason);
	fault = read_fault(v, reason);
	if (unlikely(v->tracing))
		fault.word = vmx_trace_word(v);
	result = vmmu_fault(v->mmu, &fault);
	if (unlikely(result > VMMU_FAULT_RETRY))
		return slow_exit(v, reason, &fault, result);
	if (unlikely(vmread(VMCS_VECTORING_EVENT) & EVENT_VALID))
		reinject_event(v);
	before_entry(v);
	return false;
}

static void vmx_run(struct vcpu *v)
{
	write_host_state();
	if (!vmx_loop(v))
		vm_fail(v, "VMLAUNCH or VMRESUME failed: VM-instruction error %llu (SDM vol. 3, 31.4)",
		          ULL(vmread(VMCS_INSTRUCTION_ERROR)));
}

#define VMX_COMMON                                      \
	.intel = true,                                  \
	.present = vmx_present,                         \
	.allows = vmx_allows,                           \
	.vcpu_init = vmx_vcpu_init,                     \
	.vcpu_free = vmx_vcpu_free,                     \
	.run = vmx_run,                                 \
	.read_state = vmx_read_state,                   \
	.write_state = vmx_write_state,                 \
	.write_registers = commit,                      \
	.read_special = vmx_read_special,               \
	.write_special = vmx_write_special,             \
	.read_cr0 = vmx_read_cr0,                       \
	.read_cr4 = vmx_read_cr4,                       \
	.read_efer = vmx_read_efer,                     \
	.write_efer = vmx_write_efer,                   \
	.in_64bit_code = vmx_in_64bit_code,             \
	.interrupts_shadowed = vmx_interrupts_shadowed, \
	.clear_shadow = vmx_clear_shadow,               \
	.want_window = vmx_want_window,                 \
	.instruction_length = vmx_instruction_length,   \
	.flush = vmx_flush,                             \
	.trace_word = vmx_trace_word,                   \
	.dump = vmx_dump,

const struct cpu_backend cpu_vmx = {
	.name = "ept",
	.machine = "VMX with EPT",
	.fault_exit = "ept-violation",
	.mode = VMMU_MODE_EPT,
	.enable = vmx_enable,
	.describe = vmx_describe,
	.set_root = vmx_set_root,
	VMX_COMMON
};

const struct cpu_backend cpu_vmx_shadow = {
	.name = "shadow",
	.machine = "VMX with shadow paging",
	.fault_exit = "page-fault",
	.mode = VMMU_MODE_SHADOW,
	.enable = vmx_shadow_enable,
	.describe = vmx_shadow_describe,
	.set_root = vmx_shadow_set_root,
	VMX_COMMON
};
