/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run the guest until vmx_exit says otherwise (vmx/internal.h).
 *
 *   bool vmx_loop(struct vcpu *rdi, bool sil)     false: VMLAUNCH or VMRESUME itself failed
 *
 * sil: the VMCS has been launched already.
 *
 * The VMCS switches RSP, RIP and RFLAGS; the other general registers are
 * switched here. HOST_RSP points at the saved vCPU pointer, HOST_RIP at
 * vmx_exit_entry (SDM vol. 3, 28.5.3). Interrupts are off all the while: an
 * interrupt that ends the guest is taken in vmx_exit.
 */
#include "visor/cpu/gpr.h"

/* VMCS fields (vmx/vmcs.h) */
#define HOST_RSP 0x6c14
#define EXIT_REASON 0x4402
#define GUEST_RIP 0x681e
#define VECTORING_EVENT 0x4408
#define GUEST_PHYSICAL_ADDRESS 0x2400
#define QUALIFICATION 0x6400

	.text
	.code64
	.globl vmx_loop, vmx_exit_entry
vmx_loop:
	push_host_registers
	push %rdi                      /* what vmx_exit_entry finds at its RSP; aligns the stack */
	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	mov %rdi, %rbx
	test %sil, %sil
	jnz resume
	mov GPR_RAX(%rbx), %rax
	load_guest_registers
	vmlaunch
	jmp entry_failed

vmx_exit_entry:
	push %rax
	mov 8(%rsp), %rax
	save_guest_registers
	pop GPR_RAX(%rax)
	mov $EXIT_REASON, %esi
	vmread %rsi, %rsi
	mov $GUEST_RIP, %edx
	vmread %rdx, %rdx
	mov $VECTORING_EVENT, %ecx
	vmread %rcx, %rcx
	mov $GUEST_PHYSICAL_ADDRESS, %r8d
	vmread %r8, %r8
	mov $QUALIFICATION, %r9d
	vmread %r9, %r9
	call vmx_exit
	test %al, %al
	jnz 1f
resume:
	mov GPR_RAX(%rbx), %rax
	load_guest_registers
	vmresume
entry_failed:
	xor %eax, %eax
1:	pop %rdi
	pop_host_registers
	ret
	.section .note.GNU-stack, "", @progbits
