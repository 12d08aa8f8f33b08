/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the multiboot1 entry (32-bit protected mode, paging off) to guest_main
 * in long mode, and the interrupt entries.
 *
 * The guest's page tables are static data and map linear to physical one to
 * one with 1 GiB pages, so that a test's accesses are the only new gpas there
 * are: two table pages, walked once, stay mapped.
 */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000003 /* modules on page boundaries, memory map */

#define PRESENT_WRITE 0x003
#define LEAF_1G       0x083        /* present, write, page size */

#define CODE32 0x08
#define CODE64 0x18
#define DATA   0x10

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

/* ---- Page tables -------------------------------------------------------- */

	.macro pdpt_of first_gib
	.set gib, \first_gib
	.rept 512
	.quad (gib << 30) | LEAF_1G
	.set gib, gib + 1
	.endr
	.endm

	.section .guest_tables, "aw"
	.balign 4096
pml4:
	.quad pdpt_low + PRESENT_WRITE       /* 0 .. 512 GiB */
	.quad pdpt_40 + PRESENT_WRITE        /* 512 GiB .. 1 TiB: the last GiB of 40 bits */
	.fill 125, 8, 0
	.quad pdpt_46 + PRESENT_WRITE        /* up to 64 TiB: the last GiB of 46 bits */
	.fill 128, 8, 0
	.quad pdpt_48 + PRESENT_WRITE        /* at linear ffff8000..: the last 512 GiB of 48 bits */
	.fill 255, 8, 0
pdpt_low:
	pdpt_of 0
pdpt_40:
	pdpt_of 512
pdpt_46:
	pdpt_of 127*512
pdpt_48:
	pdpt_of 511*512

/* ---- Descriptors and stack ---------------------------------------------- */

	.data
	.balign 16
boot_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff             /* 32-bit code */
	.quad 0x00cf93000000ffff             /* data */
	.quad 0x00af9b000000ffff             /* 64-bit code */
boot_gdt_end:
boot_gdtr:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt

	.section .stack, "aw", @nobits
	.balign 4096
	.skip 32768
stack_top:

/* ---- Entry -------------------------------------------------------------- */

	.text
	.code32
	.globl start
start:
	cli
	cld
	mov $stack_top, %esp
	mov %eax, %ebp                       /* multiboot magic */
	mov %ebx, %esi                       /* multiboot information */

	mov $0x80000001, %eax
	cpuid
	and $(1 << 29 | 1 << 26), %edx       /* long mode, 1 GiB pages */
	cmp $(1 << 29 | 1 << 26), %edx
	jne no_long_mode

	lgdt boot_gdtr
	mov $pml4, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $(1 << 5 | 1 << 9 | 1 << 10), %eax /* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	rdmsr
	or $(1 << 8), %eax                   /* EFER.LME */
	wrmsr
	mov %cr0, %eax
	or $(1 << 31 | 1 << 1), %eax         /* PG, MP */
	and $~(1 << 2), %eax                 /* EM */
	mov %eax, %cr0
	ljmp $CODE64, $long_mode

no_long_mode:
	mov $0x3f8, %dx
	mov $no_long_mode_text, %esi
	mov $(no_long_mode_end - no_long_mode_text), %ecx
	rep outsb
	mov $98, %al                         /* GUEST_UNFIT */
	out %al, $0xf4
1:	hlt
	jmp 1b

	.code64
long_mode:
	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $stack_top, %rsp
	mov %ebp, %edi
	mov %esi, %esi                       /* zero-extends */
	xor %ebp, %ebp
	call guest_main
1:	hlt
	jmp 1b

/*
 * void paging_reload(uint32_t cr3, uint32_t cr4): out of long mode, which must be
 * left to change CR4.LA57, and back into it. Only registers that the caller may
 * not lose are kept: the others are undefined behind 32-bit code.
 */
	.globl paging_reload
paging_reload:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push $CODE32
	lea 1f(%rip), %rax
	push %rax
	lretq
	.code32
1:	mov %cr0, %eax
	and $~(1 << 31), %eax
	mov %eax, %cr0
	mov %esi, %cr4
	mov %edi, %cr3
	mov %cr0, %eax
	or $(1 << 31), %eax
	mov %eax, %cr0
	ljmp $CODE64, $2f
	.code64
2:	mov %esp, %esp                       /* zero-extends */
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.section .rodata
no_long_mode_text:
	.ascii "FAIL boot: this CPU has no long mode or no 1 GiB pages\n"
no_long_mode_end:

/* ---- Interrupts --------------------------------------------------------- */

	.text
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
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	mov %rsp, %rbx
	and $-16, %rsp
	cld
	call interrupt_arrived
	mov %rbx, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq

/*
 * bool run_guarded(void (*function)(void *), void *argument)
 *
 * True when the function returned. When it raises an exception instead,
 * interrupt_arrived continues at run_guarded_caught and the answer is false.
 */
	.globl run_guarded
	.globl run_guarded_caught
run_guarded:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	sub $8, %rsp
	mov %rsp, guarded_stack(%rip)
	mov %rdi, %rax
	mov %rsi, %rdi
	call *%rax
	mov $1, %eax
run_guarded_leave:
	movq $0, guarded_stack(%rip)
	add $8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
run_guarded_caught:
	mov guarded_stack(%rip), %rsp
	xor %eax, %eax
	jmp run_guarded_leave

	.data
	.balign 8
	.globl guarded_stack
guarded_stack:
	.quad 0

	.section .note.GNU-stack, "", @progbits
