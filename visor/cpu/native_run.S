/* SPDX-License-Identifier: BSD-2-Clause */
/* int native_run(struct native_registers *registers (RDI), const void *code (RSI)): see native.h. */
#define RFLAGS 128

	.text
	.code64
	.globl native_run
native_run:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi
	push %rsi
	pushq RFLAGS(%rdi)
	popfq
	mov 0(%rdi), %rax
	mov 8(%rdi), %rcx
	mov 16(%rdi), %rdx
	mov 24(%rdi), %rbx
	mov 40(%rdi), %rbp
	mov 48(%rdi), %rsi
	mov 64(%rdi), %r8
	mov 72(%rdi), %r9
	mov 80(%rdi), %r10
	mov 88(%rdi), %r11
	mov 96(%rdi), %r12
	mov 104(%rdi), %r13
	mov 112(%rdi), %r14
	mov 120(%rdi), %r15
	mov 56(%rdi), %rdi
	call *(%rsp)
	mov %rdi, (%rsp)                     /* where the code's address was */
	mov 8(%rsp), %rdi
	mov %rax, 0(%rdi)
	mov %rcx, 8(%rdi)
	mov %rdx, 16(%rdi)
	mov %rbx, 24(%rdi)
	mov %rbp, 40(%rdi)
	mov %rsi, 48(%rdi)
	mov %r8, 64(%rdi)
	mov %r9, 72(%rdi)
	mov %r10, 80(%rdi)
	mov %r11, 88(%rdi)
	mov %r12, 96(%rdi)
	mov %r13, 104(%rdi)
	mov %r14, 112(%rdi)
	mov %r15, 120(%rdi)
	pushfq
	popq RFLAGS(%rdi)
	mov (%rsp), %rax
	mov %rax, 56(%rdi)
	mov $-1, %eax
leave:
	cld
	add $16, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.globl native_recover
native_recover:                              /* on the stack: the return address of the code */
	add $8, %rsp
	jmp leave

	.balign 64
	.globl native_code
native_code:
	.skip 64, 0xcc
	.section .note.GNU-stack, "", @progbits
