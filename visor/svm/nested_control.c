/* SPDX-License-Identifier: BSD-2-Clause */
/* What a vCPU has for a guest with guests of its own, and what the parts of the visor call. */
#include "visor/host/frame.h"
#include "visor/lib/string.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"

#define L2_ASID 2u /* L1's is 1 (svm/control.c) */

static void *control_block(void)
{
	return (void *)(uintptr_t)frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
}

static void free_frame(uint64_t frame, unsigned order)
{
	if (frame)
		frame_free(frame, order);
}

void nsvm_free(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;

	if (!n)
		return;
	free_frame((uintptr_t)n->vmcb02, FRAME_ORDER_4K);
	free_frame((uintptr_t)n->vmcb12, FRAME_ORDER_4K);
	free_frame(n->msr_bitmap, MSR_BITMAP_ORDER);
	object_free(n, sizeof(*n));
	v->svm.vmcb = n->vmcb01;
	v->svm.nested = NULL;
}

/* Where the visor lets a guest have a register without an exit: L2 has no more. */
static bool svm_find_passed_words(struct vcpu *v)
{
	const uint64_t *own = (const uint64_t *)(uintptr_t)v->svm.msr_bitmap;
	struct svm_nested *n = v->svm.nested;

	memset((void *)(uintptr_t)n->msr_bitmap, 0xff, VMMU_PAGE_SIZE << MSR_BITMAP_ORDER);
	for (unsigned i = 0; i < (VMMU_PAGE_SIZE << MSR_BITMAP_ORDER) / sizeof(*own); i++) {
		if (own[i] == UINT64_MAX)
			continue;
		if (n->passed_words == NSVM_PASSED_WORDS)
			return false;
		n->passed_word[n->passed_words++] = (uint16_t)i;
	}
	return true;
}

bool nsvm_init(struct vcpu *v)
{
	struct svm_nested *n = object_alloc(sizeof(*n));

	if (!n)
		return false;
	*n = (struct svm_nested){
		.vmcb01 = v->svm.vmcb,
		.vmcb02 = control_block(),
		.vmcb12 = control_block(),
		.msr_bitmap = frame_alloc(MSR_BITMAP_ORDER, FRAME_VISOR, false),
		.gif = true,
	};
	v->svm.nested = n;
	if (!n->vmcb02 || !n->vmcb12 || !n->msr_bitmap || !svm_find_passed_words(v)) {
		nsvm_free(v);
		return false;
	}
	memcpy(n->base, n->vmcb01, sizeof(n->base));
	n->vmcb02->io_bitmap = v->svm.io_bitmap; /* every port exits: L1's bitmap is looked at then */
	n->vmcb02->msr_bitmap = n->msr_bitmap;
	n->vmcb02->asid = L2_ASID;
	n->vmcb02->nested_control = NESTED_PAGING;
	n->vmcb02->host_state = n->vmcb01->host_state;
	return true;
}

const struct cpu_nested nsvm_ops = {
	.gate = nsvm_gate,
	.exception = nsvm_exception,
	.reflect = nsvm_reflect,
	.shutdown = nsvm_shutdown,
	.cpuid = nsvm_cpuid,
	.msr_read = nsvm_msr_read,
	.msr_write = nsvm_msr_write,
	.efer_bits = nsvm_efer_bits,
};
