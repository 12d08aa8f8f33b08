/* SPDX-License-Identifier: BSD-2-Clause */
/* L1's SVM instructions but for VMRUN, its SVM registers and what CPUID says of them (APM vol. 2, 15.5.2, 15.16, 15.17, 15.30). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

#define CPUID_81C_SVM (1u << 2)
#define CPUID_8A_NESTED_PAGING (1u << 0)
#define CPUID_8A_FLUSH_BY_ASID (1u << 6)
#define SVM_REVISION 1u

/* The physical address in rAX, of the size that the instruction has. */
static uint64_t physical_in_rax(struct vcpu *v)
{
	uint64_t rax = v->state.gpr[X86_RAX];

	return svm_address_size(v) == 8 ? rax : svm_address_size(v) == 4 ? (uint32_t)rax
	                                                                 : (uint16_t)rax;
}

/* One that VMRUN, VMLOAD and VMSAVE take. NULL: #GP. */
static const struct vmcb *vmcb_at(struct vcpu *v, uint64_t gpa)
{
	return nested_page_fits(v, gpa) ? memory_page(v->vm, gpa, false) : NULL;
}

void nsvm_written(struct vcpu *v, uint64_t gpa)
{
	vmmu_guest_written(v->mmu, vmmu_gpa_of(gpa), offsetof(struct vmcb, reserved12));
}

void nsvm_copy_loaded(struct vmcb *to, const struct vmcb *from)
{
	to->fs = from->fs;
	to->gs = from->gs;
	to->tr = from->tr;
	to->ldtr = from->ldtr;
	to->kernel_gs_base = from->kernel_gs_base;
	to->star = from->star;
	to->lstar = from->lstar;
	to->cstar = from->cstar;
	to->sfmask = from->sfmask;
	to->sysenter_cs = from->sysenter_cs;
	to->sysenter_esp = from->sysenter_esp;
	to->sysenter_eip = from->sysenter_eip;
}

/* Field by field: the rest of the page is L1's. */
static void vmsave(struct vcpu *v, uint64_t gpa)
{
	struct vmcb *to = memory_page(v->vm, gpa, true);

	if (!to) /* what is written to a read-only slot is lost */
		return;
	nsvm_copy_loaded(to, v->svm.vmcb);
	nsvm_written(v, gpa);
}

/* ASID in ECX; 0 is L1's own (15.16.1). */
static void invlpga(struct vcpu *v)
{
	uint32_t asid = (uint32_t)v->state.gpr[X86_RCX];

	if (asid == 0)
		svm_flush(v);
	else if (asid < NESTED_ASIDS)
		nested_ask_flush(v, VMMU_NESTED_FLUSH_ADDRESS, (uint16_t)asid);
}

bool nsvm_quick_instruction(struct vcpu *v, const struct vmcb *b, uint64_t exit_code)
{
	struct svm_nested *n = v->svm.nested;
	bool takes_vmcb = exit_code == SVM_EXIT_VMLOAD || exit_code == SVM_EXIT_VMSAVE;
	const struct vmcb *given = takes_vmcb ? vmcb_at(v, b->rax) : NULL;

	/* What waits for L1 must wait longer from CLGI on, and no longer from STGI on. */
	if (!v->svm.svme || v->window_wanted || v->nmi_window_wanted || b->virtual_interrupt & VIRTUAL_INTERRUPT_REQUEST ||
	    (takes_vmcb && !given) || (exit_code == SVM_EXIT_STGI && exit_event_waits(v)) ||
	    ++v->quick_exits % QUICK_EXITS_MAX == 0)
		return false;
	switch (exit_code) {
	case SVM_EXIT_VMLOAD: nsvm_copy_loaded(v->svm.vmcb, given); break;
	case SVM_EXIT_VMSAVE: vmsave(v, b->rax); break;
	case SVM_EXIT_STGI: n->gif = true; break;
	case SVM_EXIT_CLGI: n->gif = false; break;
	default: return false;
	}
	v->vm->exits[EXIT_NESTED_INSTRUCTION]++;
	return true;
}

bool nsvm_instruction(struct vcpu *v, uint64_t exit_code)
{
	struct svm_nested *n = v->svm.nested;
	bool takes_vmcb = exit_code == SVM_EXIT_VMRUN || exit_code == SVM_EXIT_VMLOAD || exit_code == SVM_EXIT_VMSAVE;
	unsigned length = svm_is_64bit_code(v->svm.vmcb) ? svm_quick_length(v) : 0;
	const struct vmcb *given = NULL;
	uint64_t gpa = 0;

	if (!n || !v->svm.svme)
		return false;
	if (takes_vmcb) {
		gpa = length == SVM_INSTRUCTION_BYTES ? v->state.gpr[X86_RAX] : physical_in_rax(v);
		given = vmcb_at(v, gpa);
	}
	if (takes_vmcb && !given) {
		exit_raise(v, X86_GP, true, 0);
		return true;
	}
	switch (exit_code) {
	case SVM_EXIT_VMRUN:
		nsvm_vmrun(v, gpa, given, length ? length : svm_instruction_length(v));
		return true;
	case SVM_EXIT_VMLOAD: nsvm_copy_loaded(v->svm.vmcb, given); break;
	case SVM_EXIT_VMSAVE: vmsave(v, gpa); break;
	case SVM_EXIT_STGI: n->gif = true; break;
	case SVM_EXIT_CLGI: n->gif = false; break;
	case SVM_EXIT_INVLPGA: invlpga(v); break;
	default: return false;
	}
	exit_count(v, EXIT_NESTED_INSTRUCTION);
	exit_skip(v);
	return true;
}

bool nsvm_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	const struct svm_nested *n = v->svm.nested;

	if (msr != MSR_VM_CR && msr != MSR_VM_HSAVE_PA)
		return false;
	*value = msr == MSR_VM_CR ? n->vm_cr : n->hsave_pa;
	return true;
}

/* VM_CR: the lock needs a feature that CPUID does not show, and nothing here follows the bits for INIT and A20 (15.30.1). */
bool nsvm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct svm_nested *n = v->svm.nested;

	switch (msr) {
	case MSR_VM_CR:
		if (value & ~VM_CR_SVMDIS || (value && v->svm.svme))
			return false;
		n->vm_cr = value;
		return true;
	case MSR_VM_HSAVE_PA:
		if (!nested_page_fits(v, value))
			return false;
		n->hsave_pa = value;
		return true;
	default:
		return false;
	}
}

uint64_t nsvm_efer_bits(struct vcpu *v)
{
	return v->svm.nested->vm_cr & VM_CR_SVMDIS ? 0 : X86_EFER_SVME;
}

void nsvm_cpuid(struct vcpu *v, uint32_t leaf, struct cpuid *answer)
{
	(void)v;
	if (leaf == 0x80000000)
		answer->eax = answer->eax > 0x8000000a ? answer->eax : 0x8000000a;
	else if (leaf == 0x80000001)
		answer->ecx |= CPUID_81C_SVM;
	else if (leaf == 0x8000000a)
		*answer = (struct cpuid){
			.eax = SVM_REVISION,
			.ebx = NESTED_ASIDS,
			.edx = CPUID_8A_NESTED_PAGING | CPUID_8A_FLUSH_BY_ASID,
		};
}
