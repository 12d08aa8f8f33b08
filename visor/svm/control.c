/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMCB but for the guest's state: intercepts and bitmaps (APM vol. 2, 15.9 to 15.13). */
#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/lib/string.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"

#define IO_BITMAP_ORDER 2 /* 12 KiB (15.10.1), as a run of four frames */
#define GUEST_ASID 1

/* The MSR permission map has two bits per register, read and write (15.11). */
void svm_set_msr_bits(uint8_t *bitmap, uint32_t msr, unsigned bits)
{
	uint32_t bit = msr < 0x2000 ? msr * 2 : 0x4000 + (msr & 0x1fff) * 2;

	bitmap[bit / 8] = (uint8_t)((bitmap[bit / 8] & ~(3u << bit % 8)) | bits << bit % 8);
}

static void fill_bitmaps(struct vcpu *v)
{
	uint8_t *msrs = (uint8_t *)(uintptr_t)v->svm.msr_bitmap;

	memset((void *)(uintptr_t)v->svm.io_bitmap, 0xff, VMMU_PAGE_SIZE << IO_BITMAP_ORDER);
	memset(msrs, 0xff, VMMU_PAGE_SIZE << MSR_BITMAP_ORDER);
	for (unsigned i = 0; i < msr_passed_count; i++)
		svm_set_msr_bits(msrs, msr_passed[i], 0);
}

/* Without nested paging the visor must see what becomes of the guest's own (15.12.15, 15.8). */
static void intercept_paging(struct vmcb *b)
{
	b->cr_read |= 1u << 3;
	b->cr_write |= 1u << 0 | 1u << 3 | 1u << 4;
	b->exceptions |= 1u << X86_PF;
	b->intercept1 |= INTERCEPT_TASK_SWITCH;
}

/* What only the options ask for. */
static void intercept_for_comparison(const struct vcpu *v, struct vmcb *b)
{
	if (v->vm->options->intercept_cr3)
		b->cr_write |= 1u << 3;
	if (v->vm->options->intercept_invlpg)
		b->intercept1 |= INTERCEPT_INVLPG;
}

void svm_vcpu_free(struct vcpu *v)
{
	nsvm_free(v);
	if (v->svm.vmcb)
		frame_free((uintptr_t)v->svm.vmcb, FRAME_ORDER_4K);
	if (v->svm.io_bitmap)
		frame_free(v->svm.io_bitmap, IO_BITMAP_ORDER);
	if (v->svm.msr_bitmap)
		frame_free(v->svm.msr_bitmap, MSR_BITMAP_ORDER);
	memset(&v->svm, 0, sizeof(v->svm));
}

bool svm_vcpu_init(struct vcpu *v)
{
	struct vmcb *b = (void *)(uintptr_t)frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);

	v->svm.vmcb = b;
	v->svm.io_bitmap = frame_alloc(IO_BITMAP_ORDER, FRAME_VISOR, false);
	v->svm.msr_bitmap = frame_alloc(MSR_BITMAP_ORDER, FRAME_VISOR, false);
	if (!b || !v->svm.io_bitmap || !v->svm.msr_bitmap) {
		svm_vcpu_free(v);
		return false;
	}
	fill_bitmaps(v);
	b->cr_read = b->cr_write = 1u << 8; /* CR8 is the emulated local APIC's */
	b->exceptions = 1u << X86_MC | 1u << X86_UD | ENDLESS_EXCEPTIONS;
	b->intercept1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC | INTERCEPT_CPUID |
	                INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IO | INTERCEPT_MSR |
	                INTERCEPT_FERR | INTERCEPT_SHUTDOWN;
	b->intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
	                INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |
	                INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_XSETBV | INTERCEPT_RDPRU;
	intercept_for_comparison(v, b);
	b->intercept3 = INTERCEPT_INVLPGB | INTERCEPT_INVLPGB_ILLEGAL | INTERCEPT_TLBSYNC;
	b->io_bitmap = v->svm.io_bitmap;
	b->msr_bitmap = v->svm.msr_bitmap;
	b->asid = GUEST_ASID;
	b->tlb_control = TLB_FLUSH_ALL;
	b->virtual_interrupt = VIRTUAL_INTERRUPT_MASKING;
	b->host_state = svm_cpu.host_state;
	b->efer = X86_EFER_SVME;
	b->dr6 = X86_DR6_RESET;
	b->dr7 = X86_DR7_RESET;
	svm_intercept_debug(b);
	b->pat = 0x0007040600070406; /* as after reset (7.8.1) */
	if (svm_is_shadow(v)) {
		intercept_paging(b);
	} else {
		/*
		 * Loads are checked here: CPUID shows less than the CPU may have. TS and MP change without an
		 * exit; but QEMU drops the upper half of CR0, which is reserved (APM vol. 2, 3.1.1), before it
		 * looks whether something else changes.
		 */
		b->cr_write |= 1u << 4 | (svm_cpu.is_tcg ? 1u << 0 : 0);
		b->intercept1 |= INTERCEPT_CR0_SELECTIVE;
		b->nested_control = NESTED_PAGING;
	}
	if (v->vm->options->nested && !nsvm_init(v)) {
		svm_vcpu_free(v);
		return false;
	}
	return true;
}

void svm_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	v->svm.vmcb->nested_cr3 = root->pointer;
}
