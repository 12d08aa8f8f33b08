/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the boot loader's 32-bit protected mode to C in long mode.
 *
 * The visor's own page tables stand here as constants, accessed and dirty bits
 * set, in read-only data: nobody stores to them at run time, the CPU included.
 */

#define MULTIBOOT1_MAGIC 0x1badb002
#define MULTIBOOT1_FLAGS 0x3           /* modules on page boundaries, memory information */
#define MULTIBOOT2_MAGIC 0xe85250d6

#define COM2 0x2f8
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CR0_PG_WP 0x80010000
#define CR4_PAE 0x20

#define ENTRY_TABLE 0x23               /* present, writable, accessed */
#define ENTRY_HUGE 0xe3                /* present, writable, accessed, dirty, page size */

	.section .multiboot, "a"
	.balign 8
multiboot2_header:
	.long MULTIBOOT2_MAGIC, 0, multiboot2_header_end - multiboot2_header
	.long -(MULTIBOOT2_MAGIC + multiboot2_header_end - multiboot2_header)
	.word 1, 0                     /* information request: command line, modules, memory map */
	.long 20, 1, 3, 6
	.balign 8
	.word 6, 0                     /* modules on page boundaries */
	.long 8
	.word 0, 0                     /* end */
	.long 8
multiboot2_header_end:
	.balign 4
	.long MULTIBOOT1_MAGIC, MULTIBOOT1_FLAGS, -(MULTIBOOT1_MAGIC + MULTIBOOT1_FLAGS)

	.text
	.code32
	.globl visor_entry
visor_entry:
	cli
	cld
	mov $boot_stack_end, %esp
	mov %eax, %edi                 /* the loader's magic and information: C's arguments */
	mov %ebx, %esi

	mov $0x80000000, %eax
	cpuid
	cmp $0x80000001, %eax
	jb no_long_mode
	mov $0x80000001, %eax
	cpuid
	bt $29, %edx                   /* long mode */
	jnc no_long_mode
	mov $host_pml4_2m, %eax
	bt $26, %edx                   /* 1 GiB pages */
	jnc 1f
	mov $host_pml4_1g, %eax
1:	mov %eax, %cr3

	mov %cr4, %eax
	or $CR4_PAE, %eax
	mov %eax, %cr4
	mov $MSR_EFER, %ecx
	rdmsr
	or $EFER_LME_NXE, %eax
	wrmsr
	mov %cr0, %eax
	or $CR0_PG_WP, %eax
	mov %eax, %cr0
	lgdt host_gdt_pointer
	ljmp $0x08, $in_long_mode

no_long_mode:
	mov $no_long_mode_text, %esi
1:	mov $COM2 + 5, %dx
2:	in %dx, %al
	test $0x20, %al
	jz 2b
	lodsb
	test %al, %al
	jz 3f
	mov $COM2, %dx
	out %al, %dx
	jmp 1b
3:	hlt
	jmp 3b

	.code64
in_long_mode:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov $boot_stack_end, %esp
	xor %ebp, %ebp
	call visor_main
1:	hlt
	jmp 1b

	.section .rodata
no_long_mode_text:
	.ascii "visor: this CPU has no 64-bit mode\r\n"
	.asciz "@vmmu {\"event\":\"end\",\"status\":\"refused\",\"code\":0,\"reason\":\"this CPU has no 64-bit mode\"}\r\n"

	.data
	.balign 16
	.globl host_gdt, host_gdt_end
host_gdt:
	.quad 0
	.quad 0x00af9b000000ffff       /* 08: 64-bit code */
	.quad 0x00cf93000000ffff       /* 10: data */
	.quad 0, 0                     /* 18: TSS, filled in by interrupts_init */
host_gdt_end:
host_gdt_pointer:
	.word host_gdt_end - host_gdt - 1
	.quad host_gdt

/* host/stacks.h */
	.section .rodata
	.balign 8
	.globl host_stacks
host_stacks:
	.quad boot_stack_guard, boot_stack_end
	.quad double_fault_guard, double_fault_stack_end
	.quad nmi_guard, nmi_stack_end
	.quad machine_check_guard, machine_check_stack_end
	.quad 0, 0

	.macro stack name, end, bytes
	.balign 4096
\name\()_guard:
	.skip 4096
	.skip \bytes
	.globl \end
\end:
	.endm

	.bss
	stack boot_stack, boot_stack_end, 32768
	stack double_fault, double_fault_stack_end, 8192
	stack nmi, nmi_stack_end, 8192
	stack machine_check, machine_check_stack_end, 8192

	.section .host_page_tables, "a"
	.globl host_pml4_1g, host_pml4_2m
	.balign 4096
host_pml4_1g:
	.quad host_pdpt_1g + ENTRY_TABLE
	.fill 511, 8, 0
host_pdpt_1g:
	.set address, 0
	.rept 512
	.quad address + ENTRY_HUGE
	.set address, address + 0x40000000
	.endr
host_pml4_2m:
	.quad host_pdpt_2m + ENTRY_TABLE
	.fill 511, 8, 0
host_pdpt_2m:
	.set table, 0
	.rept 16
	.quad host_pd_2m + table + ENTRY_TABLE
	.set table, table + 4096
	.endr
	.fill 512 - 16, 8, 0
host_pd_2m:
	.set address, 0
	.rept 16 * 512
	.quad address + ENTRY_HUGE
	.set address, address + 0x200000
	.endr
	.section .note.GNU-stack, "", @progbits
