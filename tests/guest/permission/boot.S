/* SPDX-License-Identifier: BSD-2-Clause */
/* From the multiboot1 entry (32-bit protected mode, paging off) to permission_main. */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000003 /* modules on page boundaries, memory map */

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.section .stack, "aw", @nobits
	.balign 4096
	.skip 16384
stack_top:

	.text
	.globl start
start:
	cli
	cld
	mov $stack_top, %esp
	push %ebx                            /* multiboot information */
	push %eax                            /* multiboot magic */
	call permission_main
1:	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
