/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/shadow.h"

#include <vmmu/guest.h>

#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/exit/ahead.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/vm.h"

/* Bits that CR0 has (SDM vol. 3, 2.5); the others of its lower half ignore what is written. */
#define CR0_DEFINED 0xe005003full
#define CR0_CACHE (X86_CR0_CD | X86_CR0_NW)

/* Writes that change one of these load the PDPTEs again (SDM vol. 3, 4.4.1). */
#define CR0_LOADS_PDPTES (X86_CR0_PG | CR0_CACHE)
#define CR4_LOADS_PDPTES (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)

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
static enum vmmu_status load(struct vcpu *v, const struct vmmu_paging *next)
{
	enum vmmu_status status = vmmu_vcpu_set_paging(v->mmu, next);
	struct vmmu_root root;

	if (status == VMMU_OK)
		status = vmmu_vcpu_load(v->mmu, &root);
	/* Outside long mode CR3 has 32 bits. */
	if (status == VMMU_OK && !(next->efer & X86_EFER_LMA) && root.pointer >> 32)
		status = VMMU_ERR_UNSUPPORTED;
	if (status != VMMU_OK)
		return status;
	v->paging = *next;
	v->backend->set_root(v, &root);
	/* Also where CR3's bit 63 asks for nothing: the CPU's TLB knows none of the guest's PCIDs. */
	v->backend->flush(v);
	return VMMU_OK;
}

/* The same on the guest's behalf: it cannot go on without. */
static void switch_to(struct vcpu *v, const struct vmmu_paging *next)
{
	enum vmmu_status status = load(v, next);

	if (status != VMMU_OK)
		vm_fail(v, "no tables for the guest's registers (CR3 %llx): %s", (unsigned long long)next->cr3,
		          vmmu_status_name(status));
}

enum vmmu_status shadow_start(struct vcpu *v)
{
	const struct x86_cpu_state *s = &v->state;
	struct vmmu_paging first = {
		.cr0 = s->cr0, .cr3 = s->cr3, .cr4 = s->cr4, .efer = s->efer, .cpu = v->vm->bus.cpu,
	};

	return load(v, &first);
}

static bool load_pdptes(struct vcpu *v, struct vmmu_paging *next)
{
	if (!(next->cr0 & X86_CR0_PG) || !(next->cr4 & X86_CR4_PAE) || next->efer & X86_EFER_LMA)
		return true;
	return vmmu_guest_load_pdptes(&v->vm->host, v->vm, &next->cpu, next->cr3, next->pdpte);
}

/* Paging is turned on or off, and with it long mode if EFER.LME asks for it (SDM vol. 3, 10.8.5). */
static bool switch_paging(struct vcpu *v, struct vmmu_paging *next, bool on)
{
	if (!on) {
		next->efer &= ~X86_EFER_LMA;
		return !v->backend->in_64bit_code(v);
	}
	if (!(next->efer & X86_EFER_LME))
		return true;
	v->backend->read_state(v);
	next->efer |= X86_EFER_LMA;
	return next->cr4 & X86_CR4_PAE && !(v->state.segment[X86_CS].access & X86_ACCESS_LONG);
}

/* Each of these: false = #GP(0), nothing has changed. */

static bool set_cr0(struct vcpu *v, uint64_t value)
{
	struct vmmu_paging next = v->paging;
	uint64_t changed = value ^ next.cr0;

	if (value >> 32 || (value & X86_CR0_PG && !(value & X86_CR0_PE)) ||
	    (value & CR0_CACHE) == X86_CR0_NW)
		return false;
	next.cr0 = (value & CR0_DEFINED) | X86_CR0_ET;
	if (!(value & X86_CR0_PG) && next.cr4 & X86_CR4_PCIDE)
		return false;
	if (changed & X86_CR0_PG && !switch_paging(v, &next, value & X86_CR0_PG))
		return false;
	if (changed & CR0_LOADS_PDPTES && !load_pdptes(v, &next))
		return false;
	switch_to(v, &next);
	return true;
}

static bool set_cr3(struct vcpu *v, uint64_t value)
{
	struct vmmu_paging next = v->paging;

	if (next.cr4 & X86_CR4_PCIDE)
		value &= ~X86_CR3_NO_FLUSH; /* never part of CR3 (SDM vol. 3, 4.10.4.1) */
	if (next.efer & X86_EFER_LMA && value >> next.cpu.maxphyaddr)
		return false;
	next.cr3 = value;
	if (!load_pdptes(v, &next))
		return false;
	switch_to(v, &next);
	return true;
}

/* CR4 bits of features that CPUID shows in leaf 1, and in leaf 7 (SDM vol. 3, 2.5). */
static uint64_t cr4_of_leaf_1(struct vcpu *v)
{
	uint32_t ecx = cpuid_for_guest(v, 1, 0).ecx;

	return (ecx & 1u << 17 ? X86_CR4_PCIDE : 0) | (ecx & 1u << 26 ? X86_CR4_OSXSAVE : 0);
}

static uint64_t cr4_of_leaf_7(struct vcpu *v)
{
	struct cpuid r = cpuid_for_guest(v, 7, 0);

	return (r.ebx & 1u << 0 ? X86_CR4_FSGSBASE : 0) | (r.ebx & 1u << 7 ? X86_CR4_SMEP : 0) |
	       (r.ebx & 1u << 20 ? X86_CR4_SMAP : 0) | (r.ecx & 1u << 2 ? X86_CR4_UMIP : 0) |
	       (r.ecx & 1u << 3 ? X86_CR4_PKE : 0) | (r.ecx & 1u << 16 ? X86_CR4_LA57 : 0);
}

static bool cr4_valid(struct vcpu *v, uint64_t value)
{
	const uint64_t always = X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE |
	                        X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	uint64_t changed = value ^ v->paging.cr4;

	if (value & ~(always | cr4_of_leaf_1(v) | cr4_of_leaf_7(v)))
		return false;
	if (!(v->paging.efer & X86_EFER_LMA))
		return !(value & X86_CR4_PCIDE);
	/* PCIDs begin with number 0 (SDM vol. 3, 4.10.1). */
	if (changed & value & X86_CR4_PCIDE && v->paging.cr3 & X86_CR3_PCID)
		return false;
	return !(changed & (X86_CR4_PAE | X86_CR4_LA57));
}

static bool set_cr4(struct vcpu *v, uint64_t value)
{
	struct vmmu_paging next = v->paging;
	uint64_t changed = value ^ next.cr4;

	if (!cr4_valid(v, value))
		return false;
	next.cr4 = value;
	if (changed & CR4_LOADS_PDPTES && !load_pdptes(v, &next))
		return false;
	switch_to(v, &next);
	return true;
}

void shadow_write_efer(struct vcpu *v, uint64_t value)
{
	struct vmmu_paging next = v->paging;

	next.efer = value;
	switch_to(v, &next);
}

/* ---- exits ------------------------------------------------------------------------ */

static uint64_t guest_cr(const struct vcpu *v, unsigned cr)
{
	return cr == 0 ? v->paging.cr0 : cr == 3 ? v->paging.cr3 : v->paging.cr4;
}

static bool set_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
	return cr == 0 ? set_cr0(v, value) : cr == 3 ? set_cr3(v, value) : set_cr4(v, value);
}

/* LMSW and SMSW may have a memory operand. */
static void access_machine_status(struct vcpu *v)
{
	v->backend->read_state(v);
	if (exit_emulate(v, UINT64_MAX) && v->state.cr0 != v->paging.cr0 && !set_cr0(v, v->state.cr0))
		exit_raise(v, X86_GP, true, 0);
}

void exit_cr(struct vcpu *v, const struct cr_access *access)
{
	uint64_t *gpr = &v->state.gpr[access->gpr], value;
	bool good = true;

	if (access->cr == 3)
		exit_count(v, access->operation == CR_READ ? EXIT_CR3_READ : EXIT_CR3_WRITE);
	else
		exit_count(v, EXIT_CR_ACCESS);
	switch (access->operation) {
	case CR_READ:
		*gpr = guest_cr(v, access->cr);
		break;
	case CR_WRITE:
		value = v->backend->in_64bit_code(v) ? *gpr : (uint32_t)*gpr;
		good = set_cr(v, access->cr, value);
		break;
	case CR_CLTS:
		good = set_cr0(v, v->paging.cr0 & ~X86_CR0_TS);
		break;
	case CR_OTHER:
		access_machine_status(v);
		return;
	}
	if (good)
		exit_skip_bytes(v, access->length);
	else
		exit_raise(v, X86_GP, true, 0);
}

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
