/* SPDX-License-Identifier: BSD-2-Clause */
/* What exits from L2, and to whom: intercepts and bitmaps of L1 and the visor (APM vol. 2, 15.9 to 15.13, 15.21). */
#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/exit/exit.h"
#include "visor/lib/string.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/vm/memory.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"

#define CR8_READ (1u << 8)
#define CR8_WRITE (1u << 24)
#define WORD_1 3u /* intercept1's */
#define MSR_RANGE 0x2000u
#define MSR_RANGE_BYTES 0x800u

void nsvm_merge_intercepts(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;
	uint32_t *words = (uint32_t *)n->vmcb02;

	for (unsigned i = 0; i < INTERCEPT_WORDS; i++)
		words[i] |= n->base[i] | n->asked[i];
	/* L2's task priority is V_TPR, and no exit is needed, where L1 masks its interrupts apart (15.21.1). */
	if (n->vmcb12->virtual_interrupt & VIRTUAL_INTERRUPT_MASKING)
		words[0] &= ~(CR8_READ | CR8_WRITE) | n->asked[0];
}

/* L1's two bits for a register: read, write (15.11). What cannot be read there exits. */
static unsigned bits_of(struct vcpu *v, uint32_t msr)
{
	const struct svm_nested *n = v->svm.nested;
	uint32_t range = msr < MSR_RANGE ? 0 : msr - 0xc0000000 < MSR_RANGE ? 1
	                               : msr - 0xc0010000 < MSR_RANGE       ? 2
	                                                                    : 3;
	uint64_t byte = 0xff;

	if (!(n->asked[WORD_1] & INTERCEPT_MSR))
		return 0;
	if (range == 3)
		return 3;
	memory_load(v->vm, (n->vmcb12->msr_bitmap & ~0xfffull) + range * MSR_RANGE_BYTES + msr % MSR_RANGE / 4, 1, &byte);
	return byte >> msr % 4 * 2 & 3;
}

void nsvm_merge_bitmap(struct vcpu *v)
{
	const struct svm_nested *n = v->svm.nested;
	const unsigned a_page = VMMU_PAGE_SIZE / sizeof(uint64_t);
	const uint64_t *own = (const uint64_t *)(uintptr_t)v->svm.msr_bitmap;
	uint64_t *merged = (uint64_t *)(uintptr_t)n->msr_bitmap, at = n->vmcb12->msr_bitmap & ~0xfffull;
	const uint64_t *theirs[1 << MSR_BITMAP_ORDER];
	bool asked = n->asked[WORD_1] & INTERCEPT_MSR;

	for (unsigned i = 0; asked && i < 1u << MSR_BITMAP_ORDER; i++)
		theirs[i] = memory_page(v->vm, at + i * VMMU_PAGE_SIZE, false);
	for (unsigned i = 0; i < n->passed_words; i++) {
		unsigned word = n->passed_word[i];

		merged[word] = own[word];
		if (asked)
			merged[word] |= theirs[word / a_page] ? theirs[word / a_page][word % a_page] : UINT64_MAX;
	}
}

/* EXITINFO1: port 31:16, size 6:4 (15.10.2). An access exits if one of its ports does. */
static bool wants_port(struct vcpu *v, uint64_t info)
{
	const struct svm_nested *n = v->svm.nested;
	unsigned port = info >> 16 & 0xffff, size = info >> 4 & 7;
	uint8_t bytes[2] = {0xff, 0xff};

	if (!(n->asked[WORD_1] & INTERCEPT_IO))
		return false;
	memory_read(v->vm, (n->vmcb12->io_bitmap & ~0xfffull) + port / 8, bytes, sizeof(bytes));
	return (bytes[0] | bytes[1] << 8) >> port % 8 & ((1u << size) - 1);
}

static bool asks_for(const struct svm_nested *n, uint64_t code)
{
	return code / 32 < INTERCEPT_WORDS && n->asked[code / 32] >> code % 32 & 1;
}

/* A write of CR0 that has exited for the visor: the intercept for changes beyond TS and MP (15.9). */
static bool wants_selective(struct vcpu *v)
{
	const struct svm_nested *n = v->svm.nested;
	uint64_t old = n->vmcb02->cr0, value;

	return n->asked[WORD_1] & INTERCEPT_CR0_SELECTIVE && svm_decode_cr0_write(v, &value) &&
	       (old ^ value) & ~(X86_CR0_TS | X86_CR0_MP);
}

bool nsvm_wants_exit(struct vcpu *v, uint64_t *code)
{
	const struct svm_nested *n = v->svm.nested;
	const struct vmcb *b = n->vmcb02;

	*code = b->exit_code;
	if ((uint32_t)b->exit_code == SVM_EXIT_INVALID) {
		*code = UINT64_MAX;
		return true;
	}
	switch (b->exit_code) {
	case SVM_EXIT_INTR: /* the machine's own: L1's come by the gate */
	case SVM_EXIT_NMI:
	case SVM_EXIT_INIT:
		return false;
	case SVM_EXIT_VINTR:
		return !v->window_wanted;
	case SVM_EXIT_EXCEPTION + X86_DB:
		return !v->svm.step_done && asks_for(n, b->exit_code);
	case SVM_EXIT_IO:
		return wants_port(v, b->exit_info1);
	case SVM_EXIT_MSR:
		return bits_of(v, (uint32_t)v->state.gpr[X86_RCX]) >> (b->exit_info1 & 1) & 1;
	case SVM_EXIT_CR_WRITE + 0:
		if (asks_for(n, b->exit_code))
			return true;
		*code = SVM_EXIT_CR0_SELECTIVE;
		return wants_selective(v);
	default:
		return asks_for(n, b->exit_code);
	}
}

/* The CPU's flag of interrupts, while L2 runs: L1's own, or L2's (15.21.1). */
static bool accepts_interrupts(struct vcpu *v, bool masking)
{
	if (masking)
		return v->svm.nested->vmcb01->rflags & X86_FLAG_IF;
	return v->state.rflags & X86_FLAG_IF && !svm_interrupts_shadowed(v);
}

enum nested_gate nsvm_gate(struct vcpu *v, enum nested_event event)
{
	const struct svm_nested *n = v->svm.nested;
	bool masking = n->vmcb12->virtual_interrupt & VIRTUAL_INTERRUPT_MASKING;

	if (!v->nested.l2)
		return n->gif ? NESTED_OPEN : NESTED_CLOSED;
	if (event == NESTED_INTERRUPT && !accepts_interrupts(v, masking))
		return masking ? NESTED_CLOSED : NESTED_OPEN;
	if (!asks_for(n, event == NESTED_NMI ? SVM_EXIT_NMI : SVM_EXIT_INTR))
		return NESTED_OPEN;
	if (v->event & EVENT_VALID) {
		/* It is delivered with this entry, and before the interrupt: the next exit comes at once. */
		exit_soon(v);
		return NESTED_CLOSED;
	}
	nsvm_exit(v, event == NESTED_NMI ? SVM_EXIT_NMI : SVM_EXIT_INTR, 0, 0);
	return NESTED_LEFT;
}
