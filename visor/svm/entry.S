/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run the guest until svm_exit says otherwise: bool svm_exit(struct vcpu *).
 *
 *   void svm_loop(struct vcpu *rdi, uint64_t vmcb rsi)
 *
 * VMRUN switches RAX, RSP, RIP and what else the VMCB's save area holds (APM
 * vol. 2, 15.5.1). FS, GS, TR, LDTR and the SYSCALL and SYSENTER registers
 * stay the guest's while the visor runs, who uses none of them: VMLOAD and
 * VMSAVE are not needed here. Global interrupts stay off on this path, and
 * RFLAGS.IF stays on, so that VMRUN lets physical interrupts end the guest
 * (15.21.1): svm_exit opens and closes them where it must.
 */
#include "visor/cpu/gpr_offsets.h"

#define VMCB_HOST_WORD 0x3e0

	.text
	.code64
	.globl svm_loop
svm_loop:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rsi                      /* the VMCB's address; aligns the stack too */
	clgi
	sti
1:	mov (%rsp), %rax
	mov GPR_RCX(%rdi), %rcx
	mov GPR_RDX(%rdi), %rdx
	mov GPR_RBX(%rdi), %rbx
	mov GPR_RBP(%rdi), %rbp
	mov GPR_RSI(%rdi), %rsi
	mov GPR_R8(%rdi), %r8
	mov GPR_R9(%rdi), %r9
	mov GPR_R10(%rdi), %r10
	mov GPR_R11(%rdi), %r11
	mov GPR_R12(%rdi), %r12
	mov GPR_R13(%rdi), %r13
	mov GPR_R14(%rdi), %r14
	mov GPR_R15(%rdi), %r15
	mov GPR_RDI(%rdi), %rdi
	vmrun %rax
	mov VMCB_HOST_WORD(%rax), %rax /* RAX is the VMCB again; it names its vCPU */
	mov %rcx, GPR_RCX(%rax)
	mov %rdx, GPR_RDX(%rax)
	mov %rbx, GPR_RBX(%rax)
	mov %rbp, GPR_RBP(%rax)
	mov %rsi, GPR_RSI(%rax)
	mov %rdi, GPR_RDI(%rax)
	mov %r8, GPR_R8(%rax)
	mov %r9, GPR_R9(%rax)
	mov %r10, GPR_R10(%rax)
	mov %r11, GPR_R11(%rax)
	mov %r12, GPR_R12(%rax)
	mov %r13, GPR_R13(%rax)
	mov %r14, GPR_R14(%rax)
	mov %r15, GPR_R15(%rax)
	mov %rax, %rbx
	mov %rax, %rdi
	call svm_exit
	mov %rbx, %rdi
	test %al, %al
	jz 1b
	cli
	stgi
	pop %rsi
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.section .note.GNU-stack, "", @progbits
