/* SPDX-License-Identifier: BSD-2-Clause */
/* The 32-bit guest: from the multiboot1 entry to guest_main with paging off, and the interrupt entries. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000003 /* modules on page boundaries, memory map */

#define CODE32 0x08
#define DATA   0x10

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.data
	.balign 16
boot_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff             /* code */
	.quad 0x00cf93000000ffff             /* data */
boot_gdt_end:
boot_gdtr:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt

	.section .stack, "aw", @nobits
	.balign 4096
	.skip 32768
stack_top:

	.text
	.globl start
start:
	cli
	cld
	mov $stack_top, %esp
	mov %eax, %esi                       /* multiboot magic */
	lgdt boot_gdtr
	ljmp $CODE32, $1f
1:	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov %cr0, %eax
	or $(1 << 1), %eax                   /* MP */
	and $~(1 << 2), %eax                 /* EM */
	mov %eax, %cr0
	mov %cr4, %eax
	or $(1 << 9 | 1 << 10), %eax         /* OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	sub $8, %esp                         /* the stack is aligned at the call */
	push %ebx                            /* multiboot information */
	push %esi
	call guest_main
1:	hlt
	jmp 1b

/* ---- Interrupts --------------------------------------------------------- */

	.balign 16
	.globl interrupt_entries
interrupt_entries:                           /* 16 bytes each */
	.set vector, 0
	.rept 256
	.balign 16
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
	.else
	push $0                              /* where the CPU pushes no error code */
	.endif
	push $vector
	jmp interrupt_common
	.set vector, vector + 1
	.endr

interrupt_common:
	pusha
	mov %ds, %esi                        /* CPL 3 has others */
	mov %es, %edi
	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %esp, %ebx
	and $-16, %esp
	sub $12, %esp
	push %ebx
	cld
	call interrupt_arrived
	mov %ebx, %esp
	mov %esi, %ds
	mov %edi, %es
	popa
	add $8, %esp
	iret

/* bool run_guarded(void (*function)(void *), void *argument): as in boot.S. */
	.globl run_guarded
	.globl run_guarded_caught
run_guarded:
	push %ebx
	push %ebp
	push %esi
	push %edi
	mov 20(%esp), %eax
	mov 24(%esp), %edx
	sub $8, %esp
	mov %esp, guarded_stack
	push %edx
	call *%eax
	mov $1, %eax
run_guarded_leave:
	mov guarded_stack, %esp
	movl $0, guarded_stack
	add $8, %esp
	pop %edi
	pop %esi
	pop %ebp
	pop %ebx
	ret
run_guarded_caught:
	xor %eax, %eax
	jmp run_guarded_leave

	.data
	.balign 4
	.globl guarded_stack
guarded_stack:
	.long 0

	.section .note.GNU-stack, "", @progbits
