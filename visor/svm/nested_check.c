/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What makes VMRUN fail with VMEXIT_INVALID (APM vol. 2, 15.5.1, in its order; 15.20 for EVENTINJ,
 * 15.25.3 for nested paging). The CPU makes the checks of the segments when it enters L2.
 */
#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"

#define IO_BITMAP_BYTES 0x3000u
#define MSR_BITMAP_BYTES 0x2000u
#define CS_LONG (X86_ACCESS_LONG >> 4)
#define CS_BIG (X86_ACCESS_BIG >> 4)
#define EFER_DEFINED (X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SVME)

static bool fits(const struct vcpu *v, uint64_t address, uint64_t bytes)
{
	uint64_t end = 1ull << v->vm->bus.cpu.maxphyaddr;

	return address <= end && bytes <= end - address;
}

static bool control_registers_valid(struct vcpu *v, const struct vmcb *b)
{
	bool paged_long = b->efer & X86_EFER_LME && b->cr0 & X86_CR0_PG;

	if (!(b->efer & X86_EFER_SVME) || ((b->cr0 & X86_CR0_NW) && !(b->cr0 & X86_CR0_CD)) || b->cr0 >> 32)
		return false;
	if (paged_long && b->cr3 >> v->vm->bus.cpu.maxphyaddr)
		return false;
	if (b->cr4 & ~v->svm.nested->cr4_bits || b->dr6 >> 32 || b->dr7 >> 32 || b->efer & ~EFER_DEFINED)
		return false;
	if (paged_long && (!(b->cr4 & X86_CR4_PAE) || !(b->cr0 & X86_CR0_PE)))
		return false;
	return !(paged_long && b->cs.attributes & CS_LONG && b->cs.attributes & CS_BIG);
}

static bool event_valid(uint64_t event)
{
	unsigned vector = event & 0xff;

	if (!(event & EVENT_VALID))
		return true;
	switch (event & EVENT_TYPE_MASK) {
	case EVENT_EXTERNAL:
	case EVENT_NMI:
	case EVENT_SOFTWARE_INTERRUPT:
		return true;
	case EVENT_EXCEPTION:
		return vector < 32 && vector != X86_NMI;
	default:
		return false;
	}
}

static bool flush_valid(unsigned tlb_control)
{
	return tlb_control == 0 || tlb_control == 1 || tlb_control == 3 || tlb_control == 7;
}

static bool pat_valid(struct svm_nested *n, uint64_t pat)
{
	if (pat != n->pat && !msr_pat_valid(pat))
		return false;
	n->pat = pat;
	return true;
}

void nsvm_find_promises(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;

	if (n->cr4_bits)
		return;
	n->cr4_bits = control_cr4_bits(v);
	svm_describe(&n->cpu);
	n->cpu.maxphyaddr = v->vm->bus.cpu.maxphyaddr;
}

bool nsvm_consistent(struct vcpu *v, const struct vmcb *b)
{
	if (!control_registers_valid(v, b) || !(b->intercept2 & INTERCEPT_VMRUN))
		return false;
	if (!fits(v, b->io_bitmap & ~0xfffull, IO_BITMAP_BYTES) || !fits(v, b->msr_bitmap & ~0xfffull, MSR_BITMAP_BYTES))
		return false;
	if (!event_valid(b->event_injection) || !b->asid || b->asid >= NESTED_ASIDS || !flush_valid(b->tlb_control))
		return false;
	if (!(b->nested_control & NESTED_PAGING))
		return true;
	return v->svm.nested->vmcb01->cr0 & X86_CR0_PG && pat_valid(v->svm.nested, b->pat);
}
