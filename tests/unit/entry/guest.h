/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the visor's entry code in user space: macros stand for the instructions that only the
 * visor may run. A guest leaves one word in each of its registers.
 */
/* clang-format off */
#define GUEST_WORD 0x6775657374212121

	.macro guest_runs
	mov $GUEST_WORD, %rcx
	mov %rcx, %rdx
	mov %rcx, %rbx
	mov %rcx, %rbp
	mov %rcx, %rsi
	mov %rcx, %rdi
	mov %rcx, %r8
	mov %rcx, %r9
	mov %rcx, %r10
	mov %rcx, %r11
	mov %rcx, %r12
	mov %rcx, %r13
	mov %rcx, %r14
	mov %rcx, %r15
	.endm

/* What the visor's C code finds in the general registers when it is called, in order. */
	.macro keep_registers
	mov %rax, entry_registers(%rip)
	mov %rcx, entry_registers+0x08(%rip)
	mov %rdx, entry_registers+0x10(%rip)
	mov %rbx, entry_registers+0x18(%rip)
	mov %rsp, entry_registers+0x20(%rip)
	mov %rbp, entry_registers+0x28(%rip)
	mov %rsi, entry_registers+0x30(%rip)
	mov %rdi, entry_registers+0x38(%rip)
	mov %r8, entry_registers+0x40(%rip)
	mov %r9, entry_registers+0x48(%rip)
	mov %r10, entry_registers+0x50(%rip)
	mov %r11, entry_registers+0x58(%rip)
	mov %r12, entry_registers+0x60(%rip)
	mov %r13, entry_registers+0x68(%rip)
	mov %r14, entry_registers+0x70(%rip)
	mov %r15, entry_registers+0x78(%rip)
	.endm
/* clang-format on */
