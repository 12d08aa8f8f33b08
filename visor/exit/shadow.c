/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/shadow.h"

#include <vmmu/guest.h>

#include "visor/cpu/x86.h"
#include "visor/exit/ahead.h"
#include "visor/vm/vm.h"

#define LONG_MODE (X86_EFER_LME | X86_EFER_LMA)

/* ---- the CPU's own registers --------------------------------------------------- */

uint64_t shadow_real_cr0(const struct vmmu_paging *guest)
{
	return guest->cr0 | X86_CR0_PG | X86_CR0_WP;
}

/* What CR4 says of paging counts only while the guest has paging on. */
uint64_t shadow_real_cr4(const struct vmmu_paging *guest)
{
	uint64_t cr4 = (guest->cr4 | X86_CR4_PAE) & ~X86_CR4_PCIDE;

	if (!(guest->cr0 & X86_CR0_PG))
		cr4 &= ~(X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE);
	return guest->efer & X86_EFER_LMA ? cr4 : cr4 & ~X86_CR4_LA57;
}

/* LME alone would put the CPU into long mode, whose CR0.PG is always set. */
uint64_t shadow_real_efer(const struct vmmu_paging *guest)
{
	uint64_t efer = guest->efer & X86_EFER_LMA ? guest->efer : guest->efer & ~LONG_MODE;

	return efer | X86_EFER_NXE;
}

/* ---- the guest's registers ------------------------------------------------------ */

/* From now on the guest has these registers. */
static enum vmmu_status shadow_load(struct vcpu *v, const struct vmmu_paging *next)
{
	enum vmmu_status status = vmmu_vcpu_set_paging(v->mmu, next);
	struct vmmu_root root;

	if (status == VMMU_OK)
		status = vmmu_vcpu_load(v->mmu, &root);
	if (status != VMMU_OK)
		return status;
	v->paging = *next;
	v->backend->set_root(v, &root);
	/* Also where CR3's bit 63 asks for nothing: the CPU's TLB knows none of the guest's PCIDs. */
	v->backend->flush(v);
	return VMMU_OK;
}

void shadow_read_paging(struct vcpu *v, struct vmmu_paging *out)
{
	*out = v->paging;
}

/* shadow_load() on the guest's behalf: it cannot go on without. */
void shadow_write_paging(struct vcpu *v, const struct vmmu_paging *next)
{
	enum vmmu_status status = shadow_load(v, next);

	if (status != VMMU_OK)
		vm_fail(v, "no tables for the guest's registers (CR3 %llx): %s", (unsigned long long)next->cr3,
		        vmmu_status_name(status));
}

enum vmmu_status shadow_start(struct vcpu *v)
{
	const struct x86_cpu_state *s = &v->state;
	struct vmmu_paging first = {
		.cr0 = s->cr0,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.efer = s->efer,
		.cpu = v->vm->bus.cpu,
	};

	return shadow_load(v, &first);
}

/* ---- faults ----------------------------------------------------------------------- */

/* WRPKRU causes no exit: what the guest's keys say now is looked up when it matters. */
static enum vmmu_status note_pkru(struct vcpu *v)
{
	struct vmmu_paging now = v->paging;
	enum vmmu_status status = VMMU_OK;

	now.pkru = rdpkru();
	if (now.pkru != v->paging.pkru)
		status = vmmu_vcpu_set_paging(v->mmu, &now);
	if (status == VMMU_OK)
		v->paging.pkru = now.pkru;
	return status;
}

/* So many faults in a row at one place, about which the tables say that there should be none. */
#define REFUSED_MAX 100000u

/*
 * The CPU has refused an access that its tables allow. A stale entry of its TLB does that once. A CPU that does not
 * keep to the manual does it for ever (protection keys of Bochs 2.7 bind the supervisor's own pages), with no exit
 * but this one. True: the VM has failed of it.
 */
static bool refused_for_good(struct vcpu *v, const struct vmmu_fault *fault)
{
	if (v->refused_rip != fault->rip || v->refused_gva != fault->gva.v) {
		v->refused_rip = fault->rip;
		v->refused_gva = fault->gva.v;
		v->refused = 0;
	}
	if (++v->refused < REFUSED_MAX)
		return false;
	vm_fail(v, "the CPU keeps refusing an access to %llx (error code %llx) that its tables allow: it does not do "
	           "as the manual says",
	        (unsigned long long)fault->gva.v, (unsigned long long)fault->error_code);
	return true;
}

enum vmmu_fault_result shadow_fault(struct vcpu *v, struct vmmu_fault *fault)
{
	enum ahead_result ahead = AHEAD_STAYED;
	enum vmmu_fault_result result;

	if (unlikely(v->paging.cr4 & X86_CR4_PKE) && note_pkru(v) != VMMU_OK)
		return VMMU_FAULT_NO_MEMORY;
	if (ahead_is_due(v, fault))
		ahead = ahead_run(v, fault);
	if (ahead == AHEAD_MET)
		return VMMU_FAULT_INJECT_PF;
	result = vmmu_fault(v->mmu, fault);
	if (unlikely(result == VMMU_FAULT_SPURIOUS) && refused_for_good(v, fault))
		return VMMU_FAULT_BAD_ENTRY;
	/* What the access needs beside the engine has been done. */
	if (ahead == AHEAD_MOVED && result > VMMU_FAULT_RETRY)
		return VMMU_FAULT_RETRY;
	if (result == VMMU_FAULT_INJECT_PF)
		ahead_note_injection(v, fault);
	return result;
}

void shadow_inject(struct vcpu *v, const struct vmmu_fault *fault)
{
	v->backend->write_special(v, CPU_SPECIAL_CR2, fault->gva.v);
	exit_raise(v, X86_PF, true, (uint32_t)fault->error_code);
}

bool shadow_release(struct vcpu *v, uint64_t gpa)
{
	return vmmu_guest_release(v->mmu, vmmu_gpa_of(gpa));
}
