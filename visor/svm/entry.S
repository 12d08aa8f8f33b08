/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run the guest until svm_exit says otherwise (svm/internal.h, with enum svm_next).
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

#define VMCB_EXIT_CODE 0x070
#define VMCB_EXIT_INFO1 0x078
#define VMCB_EXIT_INFO2 0x080
#define VMCB_ARMED_DR7 0x3e8
#define VMCB_HOST_STACK 0x3f0
#define VMCB_HOST_STATE 0x3f8
#define VMCB_RIP 0x578
#define DR7_RESET 0x400
#define NEXT_LEAVE 1

	.text
	.code64
	.globl svm_loop, svm_armed_start, svm_armed_end
svm_loop:
	push_host_registers
	push %rdi                      /* the vCPU */
	push VMCB_HOST_STATE(%rsi)
	push %rsi                      /* the VMCB's address; the stack is aligned */
	mov %rsp, VMCB_HOST_STACK(%rsi)
	mov %rdi, %rbx
	clgi
	sti
1:	mov (%rsp), %rax
	vmload %rax
	load_guest_registers
	vmrun %rax
2:	vmsave %rax                    /* RAX is the VMCB again */
	mov 8(%rsp), %rax
	vmload %rax
	mov 16(%rsp), %rax
	save_guest_registers
	mov (%rsp), %rsi
	mov VMCB_EXIT_CODE(%rsi), %rdx
	mov VMCB_EXIT_INFO1(%rsi), %rcx
	mov VMCB_EXIT_INFO2(%rsi), %r8
	mov VMCB_RIP(%rsi), %r9
	call svm_exit
	test %eax, %eax
	jz 1b
	cmp $NEXT_LEAVE, %eax
	jne 3f
	cli
	stgi
	add $24, %rsp
	pop_host_registers
	ret

/* The guest has breakpoints, and the CPU would leave them armed (svm/debug.c). No memory is touched before they are off. */
3:	mov (%rsp), %rax
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
