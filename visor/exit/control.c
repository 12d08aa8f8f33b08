/* SPDX-License-Identifier: BSD-2-Clause */
/* What a load of CR0, CR3 or CR4 refuses, and what it changes (SDM vol. 3, 2.5, 4.4.1, 4.10; APM vol. 2, 3.1). */
#include "visor/exit/control.h"

#include <vmmu/guest.h>

#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/nested.h"
#include "visor/vm/vm.h"

/* Bits that CR0 has (SDM vol. 3, 2.5); the others of its lower half ignore what is written. */
#define CR0_DEFINED 0xe005003full
#define CR0_CACHE (X86_CR0_CD | X86_CR0_NW)

/* Writes that change one of these load the PDPTEs again (SDM vol. 3, 4.4.1). */
#define CR0_LOADS_PDPTES (X86_CR0_PG | CR0_CACHE)
#define CR4_LOADS_PDPTES (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)

static struct vmmu_paging paging_now(struct vcpu *v)
{
	struct vmmu_paging now = {0};

	v->backend->read_paging(v, &now);
	return now;
}

/*
 * False: an entry has reserved bits set, or, for nested_tell_refusal, cannot be read through L1's tables.
 * Where the CPU reads them at each walk (APM vol. 2, 15.25.10) nothing is loaded.
 */
static bool load_pdptes(struct vcpu *v, struct vmmu_paging *next)
{
	if (v->backend->walks_pdptes)
		return true;
	if (!(next->cr0 & X86_CR0_PG) || !(next->cr4 & X86_CR4_PAE) || next->efer & X86_EFER_LMA)
		return true;
	return vmmu_guest_load_pdptes(v->vm->bus.host, v->vm, &next->cpu, next->cr3, next->pdpte) ==
	       VMMU_GUEST_OK;
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
	struct vmmu_paging next = paging_now(v);
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
	v->backend->write_paging(v, &next);
	return true;
}

static bool set_cr3(struct vcpu *v, uint64_t value)
{
	struct vmmu_paging next = paging_now(v);

	if (next.cr4 & X86_CR4_PCIDE)
		value &= ~X86_CR3_NO_FLUSH; /* never part of CR3 (SDM vol. 3, 4.10.4.1) */
	if (next.efer & X86_EFER_LMA && value >> next.cpu.maxphyaddr)
		return false;
	next.cr3 = value;
	if (!load_pdptes(v, &next))
		return false;
	v->backend->write_paging(v, &next);
	return true;
}

/* CR4 bits of features that CPUID shows in leaf 1, and in leaf 7 (SDM vol. 3, 2.5). */
static uint64_t cr4_of_leaf_1(struct vcpu *v)
{
	uint32_t ecx = cpuid_for_guest(v, 1, 0).ecx;

	return (ecx & 1u << 5 ? X86_CR4_VMXE : 0) | (ecx & 1u << 17 ? X86_CR4_PCIDE : 0) | (ecx & 1u << 26 ? X86_CR4_OSXSAVE : 0);
}

static uint64_t cr4_of_leaf_7(struct vcpu *v)
{
	struct cpuid r = cpuid_for_guest(v, 7, 0);

	return (r.ebx & 1u << 0 ? X86_CR4_FSGSBASE : 0) | (r.ebx & 1u << 7 ? X86_CR4_SMEP : 0) |
	       (r.ebx & 1u << 20 ? X86_CR4_SMAP : 0) | (r.ecx & 1u << 2 ? X86_CR4_UMIP : 0) |
	       (r.ecx & 1u << 3 ? X86_CR4_PKE : 0) | (r.ecx & 1u << 16 ? X86_CR4_LA57 : 0);
}

uint64_t control_cr4_bits(struct vcpu *v)
{
	const uint64_t always = X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE |
	                        X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;

	return always | cr4_of_leaf_1(v) | cr4_of_leaf_7(v);
}

static bool cr4_valid(struct vcpu *v, const struct vmmu_paging *now, uint64_t value)
{
	uint64_t changed = value ^ now->cr4;

	if (value & ~control_cr4_bits(v))
		return false;
	if (!(now->efer & X86_EFER_LMA))
		return !(value & X86_CR4_PCIDE);
	/* PCIDs begin with number 0 (SDM vol. 3, 4.10.1). */
	if (changed & value & X86_CR4_PCIDE && now->cr3 & X86_CR3_PCID)
		return false;
	return !(changed & (X86_CR4_PAE | X86_CR4_LA57));
}

static bool set_cr4(struct vcpu *v, uint64_t value)
{
	struct vmmu_paging next = paging_now(v);
	uint64_t changed = value ^ next.cr4;

	if (!cr4_valid(v, &next, value))
		return false;
	next.cr4 = value;
	if (changed & CR4_LOADS_PDPTES && !load_pdptes(v, &next))
		return false;
	v->backend->write_paging(v, &next);
	return true;
}

static uint64_t guest_cr(struct vcpu *v, unsigned cr)
{
	struct vmmu_paging now = paging_now(v);

	return cr == 0 ? now.cr0 : cr == 3 ? now.cr3
	                                   : now.cr4;
}

/* Does the extension for guests of the guest's own allow CR0 or CR4 to become `value`? */
static bool nested_allows(struct vcpu *v, unsigned cr, uint64_t value)
{
	struct vmmu_paging now;

	if (likely(!v->vm->options->nested) || !v->backend->nested->control || cr == 3)
		return true;
	now = paging_now(v);
	return v->backend->nested->control(v, cr == 0 ? value : now.cr0, cr == 4 ? value : now.cr4);
}

static bool set_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
	if (unlikely(v->nested.l2) && v->backend->nested->cr_written)
		value = v->backend->nested->cr_written(v, cr, value);
	if (!nested_allows(v, cr, value))
		return false;
	return cr == 0 ? set_cr0(v, value) : cr == 3 ? set_cr3(v, value)
	                                             : set_cr4(v, value);
}

/* LMSW and SMSW may have a memory operand. */
static void access_machine_status(struct vcpu *v)
{
	bool l2 = v->nested.l2;

	v->backend->read_state(v);
	/* L1 may have got the trap behind it, and runs by now: CR0 is another guest's then. */
	if (exit_emulate(v, UINT64_MAX) && v->nested.l2 == l2 && v->state.cr0 != guest_cr(v, 0) && !set_cr0(v, v->state.cr0))
		exit_raise(v, X86_GP, true, 0);
}

/* The back end has flushed all, as it can do no less: more than the guest's CPU would have forgotten. */
static void note_flush(struct vcpu *v, enum vmmu_guest_flush instruction, uint64_t value)
{
	if (unlikely(v->tracing))
		vmmu_trace_guest_flush(v->mmu, instruction, value, v->state.rip);
}

static bool write_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
	static const enum vmmu_guest_flush of[] = {[0] = VMMU_GUEST_FLUSH_CR0, [3] = VMMU_GUEST_FLUSH_CR3, [4] = VMMU_GUEST_FLUSH_CR4};

	if (!set_cr(v, cr, value))
		return false;
	/* Under shadow paging a load of the root is part of it, and traced as such. */
	if (v->backend->mode != VMMU_MODE_SHADOW)
		note_flush(v, of[cr], value);
	return true;
}

void exit_invlpg(struct vcpu *v, uint64_t gva)
{
	exit_count(v, EXIT_INVLPG);
	v->backend->flush(v);
	note_flush(v, VMMU_GUEST_FLUSH_INVLPG, gva);
	exit_skip(v);
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
		nested_forget_refusal(v);
		good = write_cr(v, access->cr, value);
		break;
	case CR_CLTS:
		good = set_cr0(v, guest_cr(v, 0) & ~X86_CR0_TS);
		break;
	case CR_OTHER:
		access_machine_status(v);
		return;
	}
	if (good)
		exit_skip_bytes(v, access->length);
	else if (!nested_tell_refusal(v))
		exit_raise(v, X86_GP, true, 0);
}

bool control_enter_task(struct vcpu *v)
{
	struct vmmu_paging next = paging_now(v);
	bool good;

	next.cr0 = v->state.cr0;
	next.cr3 = v->state.cr3;
	good = load_pdptes(v, &next);
	v->backend->write_state(v);
	v->backend->write_paging(v, &next);
	return good;
}
