/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run the guest until svm_exit says otherwise: bool svm_exit(struct vcpu *).
 *
 *   void svm_loop(struct vcpu *rdi, uint64_t vmcb rsi)
 *
 * VMRUN switches RAX, RSP, RIP and what else the VMCB's save area holds (APM
 * vol. 2, 15.5.1). VMLOAD and VMSAVE switch FS, GS, TR, LDTR and the SYSCALL and
 * SYSENTER registers: the visor's exceptions need its own TR, and a guest's TR would
 * let the guest choose their stacks. Global interrupts stay off on this path, and
 * RFLAGS.IF stays on, so that VMRUN lets physical interrupts end the guest
 * (15.21.1): svm_exit opens and closes them where it must.
 */
#include "visor/cpu/gpr.h"

#define VMCB_HOST_WORD 0x3e0
#define VMCB_ARMED_DR7 0x3e8
#define VMCB_HOST_STACK 0x3f0
#define VMCB_HOST_STATE 0x3f8
#define DR7_RESET 0x400

	.text
	.code64
	.globl svm_loop, svm_armed_start, svm_armed_end
svm_loop:
	push_host_registers
	push %rsi                      /* the VMCB's address; aligns the stack too */
	mov %rsp, VMCB_HOST_STACK(%rsi)
	clgi
	sti
1:	mov (%rsp), %rax
	cmpq $0, VMCB_ARMED_DR7(%rax)
	jne 3f
	vmload %rax
	load_guest_registers
	vmrun %rax
2:	vmsave %rax                    /* RAX is the VMCB again */
	mov VMCB_HOST_STATE(%rax), %rax
	vmload %rax
	mov (%rsp), %rax
	mov VMCB_HOST_WORD(%rax), %rax /* it names its vCPU */
	save_guest_registers
	mov %rax, %rbx
	mov %rax, %rdi
	call svm_exit
	mov %rbx, %rdi
	test %al, %al
	jz 1b
	cli
	stgi
	pop %rsi
	pop_host_registers
	ret

/* The guest has breakpoints, and the CPU would leave them armed (svm/debug.c). No memory is touched before they are off. */
3:
svm_armed_start:
	mov VMCB_ARMED_DR7(%rax), %rcx
	mov %rcx, %dr7
	vmload %rax
	load_guest_registers
	vmrun %rax
	mov $DR7_RESET, %eax
	mov %rax, %dr7
svm_armed_end:
	mov (%rsp), %rax
	jmp 2b
	.section .note.GNU-stack, "", @progbits
