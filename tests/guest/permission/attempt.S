/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One access, and how it ends.
 *
 * attempt32 and attempt64 make the access that `attempt` describes, at CPL 0 or
 * 3, in 32-bit or 64-bit code. Whether it faults or not, it ends with an
 * exception: an access that is carried out is followed by INT 80h. The handlers
 * write to `outcome` what they find and go back behind the call.
 */
#include "layout.h"

/* ---- the accesses: linear address in EDX or RDX ---------------------------- */

/*
 * In a page of their own, which only users may execute for user_accesses. The
 * bytes mean the same in 32-bit and in 64-bit code.
 */
	.macro accesses name
	.globl \name\()_read, \name\()_write, \name\()_fetch, \name\()_load_segment
\name\()_read:
	mov (%edx), %eax
	int $VECTOR_DONE
\name\()_write:
	mov %eax, (%edx)
	int $VECTOR_DONE
\name\()_fetch:
	jmp *%edx                            /* the page holds INT 80h */
\name\()_load_segment:
	mov %eax, %es
	int $VECTOR_DONE
	.endm

	.code32
	.text
	accesses supervisor
	.section .user, "ax"
	.balign 4096
	.globl user_page
user_page:
	accesses user
	.balign 4096

/* ---- LDT and TSS -------------------------------------------------------------- */

	.text
	.globl load_system_segments32
load_system_segments32:
	mov $SELECTOR_LDT, %eax
	lldt %ax
	mov $SELECTOR_TSS, %eax
	ltr %ax
	ret

/* In 64-bit code, as only there bases have 64 bits on every CPU. */
	.globl load_system_segments64
load_system_segments64:
	ljmp $SELECTOR_CODE64, $1f
	.code64
1:	mov $SELECTOR_LDT, %eax
	lldt %ax
	mov $SELECTOR_TSS, %eax
	ltr %ax
	mov %esp, %esp
	mov $2f, %eax
	pushq $SELECTOR_CODE32
	pushq %rax
	lretq
	.code32
2:	ret

/* ---- 32-bit ------------------------------------------------------------------ */

	.text
	.globl attempt32
attempt32:
	push %ebp
	push %ebx
	push %esi
	push %edi
	mov %esp, runner_stack
	mov attempt + ATTEMPT_LINEAR, %edx
	mov attempt + ATTEMPT_OPERAND, %eax
	invlpg (%edx)
	cmpl $0, attempt + ATTEMPT_USER
	jne 1f
	pushl attempt + ATTEMPT_FLAGS
	popf
	jmp *attempt + ATTEMPT_CODE
1:	pushl $SELECTOR_USER_DATA
	pushl $0                             /* what runs there needs no stack */
	pushl attempt + ATTEMPT_FLAGS
	pushl $SELECTOR_USER_CODE32
	pushl attempt + ATTEMPT_CODE
	iret

	.macro has_error_code vector
	.set error_code, 0
	.irp v, 8, 10, 11, 12, 13, 14, 17, 21
	.if \vector == \v
	.set error_code, 1
	.endif
	.endr
	.endm

	.macro entries name, common
	.balign ENTRY_BYTES
	.globl \name
\name:
	.set vector, 0
	.rept VECTOR_COUNT
	.balign ENTRY_BYTES
	has_error_code vector
	.if !error_code
	push $0
	.endif
	push $vector
	jmp \common
	.set vector, vector + 1
	.endr
	.endm

	entries entries32, arrived32

arrived32:                                   /* on the stack: vector, error, EIP, CS, ... */
	mov %eax, outcome + OUTCOME_OPERAND
	pop outcome + OUTCOME_VECTOR
	pop outcome + OUTCOME_ERROR
	pop outcome + OUTCOME_PC
	movl $0, outcome + OUTCOME_PC + 4
	mov %cr2, %eax
	mov %eax, outcome + OUTCOME_CR2
	movl $0, outcome + OUTCOME_CR2 + 4
resume:
	mov runner_stack, %esp
	test %esp, %esp
	jz unexpected
	movl $0, runner_stack
	mov $SELECTOR_USER_DATA, %eax
	mov %eax, %es
	push $2                              /* EFLAGS with nothing set */
	popf
	pop %edi
	pop %esi
	pop %ebx
	pop %ebp
	ret
unexpected:
	mov $handler_stack_top, %esp
	call unexpected_exception

/* ---- 64-bit ------------------------------------------------------------------ */

	.globl attempt64
attempt64:
	push %ebp
	push %ebx
	push %esi
	push %edi
	mov %esp, runner_stack
	ljmp $SELECTOR_CODE64, $1f
	.code64
1:	mov %esp, %esp                       /* the upper half is anything after a change of mode */
	mov $attempt, %ebx
	mov ATTEMPT_LINEAR(%rbx), %rdx
	mov ATTEMPT_OPERAND(%rbx), %eax
	mov ATTEMPT_CODE(%rbx), %ecx
	invlpg (%rdx)
	cmpl $0, ATTEMPT_USER(%rbx)
	jne 2f
	pushq ATTEMPT_FLAGS(%rbx)
	popfq
	jmp *%rcx
2:	pushq $SELECTOR_USER_DATA
	pushq $0
	pushq ATTEMPT_FLAGS(%rbx)
	pushq $SELECTOR_USER_CODE64
	pushq %rcx
	iretq

	entries entries64, arrived64

arrived64:
	mov $outcome, %ebx
	mov %eax, OUTCOME_OPERAND(%rbx)
	pop %rcx
	mov %ecx, OUTCOME_VECTOR(%rbx)
	popq OUTCOME_ERROR(%rbx)
	popq OUTCOME_PC(%rbx)
	mov %cr2, %rax
	mov %rax, OUTCOME_CR2(%rbx)
	mov $SELECTOR_DATA, %eax             /* null after a change from CPL 3 */
	mov %eax, %ss
	mov $resume, %eax
	pushq $SELECTOR_CODE32
	pushq %rax
	lretq

/* ---- stack of the handlers, when they come from CPL 3 -------------------------- */

	.section .stack, "aw", @nobits
	.balign 4096
	.skip 4096
	.globl handler_stack_top
handler_stack_top:

	.bss
	.balign 8
runner_stack:
	.skip 4

	.section .note.GNU-stack, "", @progbits
