/* SPDX-License-Identifier: BSD-2-Clause */
/* SVM's entry code with a guest in place of VMRUN, which restores RAX (APM vol. 2, 15.5.1). */
#include "tests/unit/entry/guest.inc"

	.macro vmload address
	.endm
	.macro vmsave address
	.endm
	.macro clgi
	.endm
	.macro stgi
	.endm
	.macro cli
	.endm
	.macro sti
	.endm
	.macro vmrun address
	guest_runs
	.endm

#include "visor/svm/entry.S"

	.text
	.globl svm_exit
svm_exit:
	keep_registers
	mov $NEXT_LEAVE, %eax
	ret
