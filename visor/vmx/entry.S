/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run the guest until vmx_exit says otherwise: bool vmx_exit(struct vcpu *).
 *
 *   bool vmx_loop(struct vcpu *rdi)     false: VMLAUNCH or VMRESUME itself failed
 *
 * The VMCS switches RSP, RIP and RFLAGS; the other general registers are
 * switched here. HOST_RSP points at the saved vCPU pointer, HOST_RIP at
 * vmx_exit_entry (SDM vol. 3, 28.5.3). Interrupts are off all the while: an
 * interrupt that ends the guest is taken in vmx_exit.
 */
#include "visor/cpu/gpr_offsets.h"

#define HOST_RSP 0x6c14

	.text
	.code64
	.globl vmx_loop, vmx_exit_entry
vmx_loop:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi                      /* what vmx_exit_entry finds at its RSP; aligns the stack */
	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	call load_guest_registers
	vmlaunch
	jmp entry_failed

vmx_exit_entry:
	push %rax
	mov 8(%rsp), %rax
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
	pop GPR_RAX(%rax)
	mov %rax, %rbx
	mov %rax, %rdi
	call vmx_exit
	mov %rbx, %rdi
	test %al, %al
	jnz 1f
	call load_guest_registers
	vmresume
entry_failed:
	xor %eax, %eax
1:	pop %rdi
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

load_guest_registers:
	mov GPR_RAX(%rdi), %rax
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
	ret
	.section .note.GNU-stack, "", @progbits
