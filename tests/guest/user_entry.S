/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * void user_enter(const struct user_registers *);
 *
 * Returns when something makes the CPU go on at user_left in the kernel's own
 * segments, with whatever registers and stack.
 */
/* As in cpu.c and cpu_legacy.c. */
#ifdef __x86_64__
#define USER_DATA 0x33
#define USER_CODE 0x3b
#else
#define USER_DATA 0x23
#define USER_CODE 0x1b
#endif
#define KERNEL_DATA 0x10

	.text
	.globl user_enter
	.globl user_left
#ifdef __x86_64__

user_enter:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, kernel_stack(%rip)
	mov $USER_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	push $USER_DATA
	push 56(%rdi)
	push 72(%rdi)
	push $USER_CODE
	push 64(%rdi)
	mov (%rdi), %rax
	mov 8(%rdi), %rbx
	mov 16(%rdi), %rcx
	mov 24(%rdi), %rdx
	mov 32(%rdi), %rsi
	mov 48(%rdi), %rbp
	mov 40(%rdi), %rdi
	iretq
user_left:
	mov $KERNEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	cld
	mov kernel_stack(%rip), %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

#else

user_enter:
	push %ebx
	push %ebp
	push %esi
	push %edi
	mov 20(%esp), %edi
	mov %esp, kernel_stack
	mov $USER_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	push $USER_DATA
	push 28(%edi)
	push 36(%edi)
	push $USER_CODE
	push 32(%edi)
	mov (%edi), %eax
	mov 4(%edi), %ebx
	mov 8(%edi), %ecx
	mov 12(%edi), %edx
	mov 16(%edi), %esi
	mov 24(%edi), %ebp
	mov 20(%edi), %edi
	iret
user_left:
	mov $KERNEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	mov kernel_stack, %esp
	pop %edi
	pop %esi
	pop %ebp
	pop %ebx
	ret

#endif

	.bss
	.balign 8
kernel_stack:
	.skip 8

	.section .note.GNU-stack, "", @progbits
