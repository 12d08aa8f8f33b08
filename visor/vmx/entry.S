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
#include "visor/cpu/gpr.h"

#define HOST_RSP 0x6c14

	.text
	.code64
	.globl vmx_loop, vmx_exit_entry
vmx_loop:
	push_host_registers
	push %rdi                      /* what vmx_exit_entry finds at its RSP; aligns the stack */
	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	mov GPR_RAX(%rdi), %rax
	load_guest_registers
	vmlaunch
	jmp entry_failed

vmx_exit_entry:
	push %rax
	mov 8(%rsp), %rax
	save_guest_registers
	pop GPR_RAX(%rax)
	mov %rax, %rbx
	mov %rax, %rdi
	call vmx_exit
	mov %rbx, %rdi
	test %al, %al
	jnz 1f
	mov GPR_RAX(%rdi), %rax
	load_guest_registers
	vmresume
entry_failed:
	xor %eax, %eax
1:	pop %rdi
	pop_host_registers
	ret
	.section .note.GNU-stack, "", @progbits
