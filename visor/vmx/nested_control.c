/* SPDX-License-Identifier: BSD-2-Clause */
/* What a vCPU has for a guest with guests of its own, and the switch between its two VMCSs. */
#include "visor/host/frame.h"
#include "visor/lib/string.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define L2_VPID 2u /* L1's is 1 (vmx/control.c) */

static void free_page(uint64_t frame)
{
	if (frame)
		frame_free(frame, FRAME_ORDER_4K);
}

void nvmx_free(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	if (!n)
		return;
	if (n->vmcs02)
		vmclear(n->vmcs02);
	free_page(n->vmcs02);
	free_page(n->msr_bitmap);
	object_free(n, sizeof(*n));
	v->vmx.nested = NULL;
}

/* VMCS02 as VMCS01 is at first: what follows from VMCS12 is written at each entry. */
static bool set_up_vmcs02(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint32_t entry_work = v->vmx.entry_work;

	*(uint32_t *)(uintptr_t)n->vmcs02 = (uint32_t)vmx_cpu.basic & 0x7fffffff;
	if (!vmclear(n->vmcs02) || !vmptrld(n->vmcs02))
		return false;
	vmx_write_controls(v);
	v->vmx.entry_work = entry_work;
	vmwrite(VMCS_MSR_BITMAP, n->msr_bitmap);
	if (vmx_cpu.secondary & CPU2_VPID)
		vmwrite(VMCS_VPID, L2_VPID);
	n->cpu_based = v->vmx.cpu_based;
	n->secondary = v->vmx.secondary;
	return vmptrld(n->vmcs01);
}

/* Where the visor lets a guest have a register without an exit: L2 has no more. */
static bool find_passed_words(struct vcpu *v)
{
	const uint64_t *own = (const uint64_t *)(uintptr_t)v->vmx.msr_bitmap;
	struct nvmx *n = v->vmx.nested;

	memset((void *)(uintptr_t)n->msr_bitmap, 0xff, VMMU_PAGE_SIZE);
	for (unsigned i = 0; i < VMMU_PAGE_SIZE / sizeof(*own); i++) {
		if (own[i] == UINT64_MAX)
			continue;
		if (n->passed_words == NVMX_PASSED_WORDS)
			return false;
		n->passed_word[n->passed_words++] = (uint16_t)i;
	}
	return true;
}

bool nvmx_init(struct vcpu *v)
{
	struct nvmx *n = object_alloc(sizeof(*n));

	if (!n)
		return false;
	*n = (struct nvmx){
		.vmxon = NVMX_NONE,
		.current = NVMX_NONE,
		.vmcs01 = v->vmx.vmcs,
		.vmcs02 = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true),
		.msr_bitmap = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, false),
	};
	v->vmx.nested = n;
	if (!n->vmcs02 || !n->msr_bitmap || !nvmx_fields_init() || !find_passed_words(v) || !set_up_vmcs02(v)) {
		nvmx_free(v);
		return false;
	}
	return true;
}

/* Windows that the visor has opened for the guest it leaves. */
static void close_windows(struct vcpu *v)
{
	if (v->window_wanted)
		vmx_want_window(v, false);
	if (v->nmi_window_wanted)
		vmx_want_nmi_window(v, false);
	v->window_wanted = v->nmi_window_wanted = false;
}

void nvmx_switch(struct vcpu *v, bool to_l2)
{
	struct nvmx *n = v->vmx.nested;
	uint32_t cpu_based = v->vmx.cpu_based, secondary = v->vmx.secondary;
	bool launched = v->vmx.launched;

	close_windows(v);
	vmptrld(to_l2 ? n->vmcs02 : n->vmcs01);
	v->vmx.kept_windows = 0;
	v->vmx.cpu_based = n->cpu_based;
	v->vmx.secondary = n->secondary;
	v->vmx.launched = n->launched;
	n->cpu_based = cpu_based & ~(uint32_t)(CPU_INTERRUPT_WINDOW | CPU_NMI_WINDOW);
	n->secondary = secondary;
	n->launched = launched;
	v->vmx.switched = true;
	if (to_l2 && !n->host_written) {
		vmx_write_host_state();
		n->host_written = true;
	}
	if (!to_l2)
		vmx_arm_preemption();
}

/* ---- the preemption timer ----------------------------------------------------------------- */

void nvmx_arm_timer(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t count = vmx_cpu.preemption ? vmx_cpu.preemption : UINT32_MAX;

	if (count > n->timer_left)
		count = n->timer_left;
	if (n->timer_left != UINT64_MAX)
		n->timer_left -= count;
	if (vmx_cpu.preemption)
		vmwrite(VMCS_PREEMPTION_TIMER, count);
}

void nvmx_stop_timer(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	if (!vmx_cpu.preemption)
		return;
	if (n->timer_left != UINT64_MAX)
		n->timer_left += vmread(VMCS_PREEMPTION_TIMER);
	vmwrite(VMCS_PREEMPTION_TIMER, 0);
}

const struct cpu_nested nvmx_ops = {
	.gate = nvmx_gate,
	.exception = nvmx_exception,
	.reflect = nvmx_reflect,
	.shutdown = nvmx_shutdown,
	.cpuid = nvmx_cpuid,
	.msr_read = nvmx_msr_read,
	.msr_write = nvmx_msr_write,
	.efer_bits = nvmx_efer_bits,
	.control = nvmx_control,
	.cr_written = nvmx_cr_written,
};
