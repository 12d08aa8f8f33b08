/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the entry code: where struct vcpu (cpu/vcpu.h) keeps each general register,
 * in the order of enum x86_gpr, and the switch of those that neither VMX nor SVM
 * switches. RAX is the entry code's own affair, as SVM keeps it in the VMCB.
 */
#ifndef VISOR_CPU_GPR_H
#define VISOR_CPU_GPR_H

#define GPR_RAX 0x00
#define GPR_RCX 0x08
#define GPR_RDX 0x10
#define GPR_RBX 0x18
#define GPR_RSP 0x20
#define GPR_RBP 0x28
#define GPR_RSI 0x30
#define GPR_RDI 0x38
#define GPR_R8 0x40
#define GPR_R9 0x48
#define GPR_R10 0x50
#define GPR_R11 0x58
#define GPR_R12 0x60
#define GPR_R13 0x68
#define GPR_R14 0x70
#define GPR_R15 0x78

#ifdef __ASSEMBLER__
/* clang-format off */

/* The guest's registers from the vCPU at %rbx, which the C ABI keeps over a call. */
	.macro load_guest_registers
	mov GPR_RCX(%rbx), %rcx
	mov GPR_RDX(%rbx), %rdx
	mov GPR_RBP(%rbx), %rbp
	mov GPR_RSI(%rbx), %rsi
	mov GPR_RDI(%rbx), %rdi
	mov GPR_R8(%rbx), %r8
	mov GPR_R9(%rbx), %r9
	mov GPR_R10(%rbx), %r10
	mov GPR_R11(%rbx), %r11
	mov GPR_R12(%rbx), %r12
	mov GPR_R13(%rbx), %r13
	mov GPR_R14(%rbx), %r14
	mov GPR_R15(%rbx), %r15
	mov GPR_RBX(%rbx), %rbx
	.endm

/*
 * The guest's registers to the vCPU at %rax, which then is in %rbx and %rdi, too. The
 * caller loads %rcx, %rdx, %rsi, %r8 and %r9 with what C code is called with. So none of
 * them holds a value of the guest's behind the entry code, and the visor cannot be led
 * to speculate with one.
 */
	.macro save_guest_registers
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
	xor %ebp, %ebp
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	.endm

/* What the C ABI has the entry code keep, and back. */
	.macro push_host_registers
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	.endm

	.macro pop_host_registers
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	.endm

/* clang-format on */
#endif

#endif
