/* SPDX-License-Identifier: BSD-2-Clause */
/* What this CPU's SVM can do, and turning it on: APM vol. 2, 15.4. */
#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/svm/internal.h"

#define CPUID_7C_UMIP (1u << 2)
#define VM_CR_SVMDIS (1ull << 4)
#define CPUID_TCG_EBX 0x54474354 /* "TCGT" of TCGTCGTCGTCG */

struct svm_cpu svm_cpu;

bool svm_present(void)
{
	return cpuid(0x80000000, 0).eax >= 0x8000000a && cpuid(0x80000001, 0).ecx & 1u << 2;
}

static bool enable_svm(const struct cpuid features, const char **reason)
{
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) {
		*reason = "SVM is switched off by the firmware (VM_CR.SVMDIS): enable it in the firmware's setup";
		return false;
	}
	svm_cpu.has_next_rip = features.edx & 1u << 3;
	svm_cpu.is_tcg = cpuid(1, 0).ecx & 1u << 31 && cpuid(0x40000000, 0).ebx == CPUID_TCG_EBX;
	svm_cpu.may_inject_twice = svm_cpu.leaves_debug_armed = svm_cpu.is_tcg;
	svm_cpu.umip_by_exits = cpuid(0, 0).eax < 7 || !(cpuid(7, 0).ecx & CPUID_7C_UMIP);
	svm_cpu.save_area = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	svm_cpu.host_state = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	if (!svm_cpu.save_area || !svm_cpu.host_state) {
		*reason = "no memory for the host save area";
		return false;
	}
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | X86_EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, svm_cpu.save_area);
	__asm__ volatile("vmsave %%rax"
	                 :
	                 : "a"(svm_cpu.host_state)
	                 : "memory");
	return true;
}

bool svm_shadow_enable(const char **reason)
{
	return enable_svm(cpuid(0x8000000a, 0), reason);
}

bool svm_enable(const char **reason)
{
	struct cpuid features = cpuid(0x8000000a, 0);

	if (!(features.edx & 1u << 0)) {
		*reason = "this CPU has SVM but no nested paging (NPT): try mmu=shadow";
		return false;
	}
	return enable_svm(features, reason);
}

const char *svm_leak(void)
{
	return NULL;
}

const char *svm_shadow_leak(void)
{
	if (!svm_cpu.is_tcg)
		return NULL;
	return "QEMU does not intercept hardware task switches, and a task's CR3 is the host's own under shadow paging";
}

void svm_describe(struct vmmu_cpu *out)
{
	*out = (struct vmmu_cpu){
		.maxphyaddr = (uint8_t)cpuid(0x80000008, 0).eax,
		.page_2m = true,
		.page_1g = cpuid(0x80000001, 0).edx & 1u << 26,
		.ad = true,
		.nx = true, /* boot/entry.S sets EFER.NXE */
	};
}

/* The depth of the walk goes by the CR4 that the guest runs with. */
void svm_shadow_describe(struct vmmu_cpu *out)
{
	svm_describe(out);
	out->levels5 = cpuid_has_la57();
}

/* Nothing needs switching on: what CPUID shows works in a guest. A nested walk knows four levels here. */
bool svm_allows(enum cpu_feature feature)
{
	return feature == CPU_FEATURE_UMIP_BY_EXITS ? svm_cpu.umip_by_exits : feature != CPU_FEATURE_LA57;
}

/* On shadow tables a guest's PCIDs are not the CPU's: INVPCID would be refused. */
bool svm_shadow_allows(enum cpu_feature feature)
{
	return feature == CPU_FEATURE_UMIP_BY_EXITS ? svm_cpu.umip_by_exits : feature != CPU_FEATURE_INVPCID;
}
