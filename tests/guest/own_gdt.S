/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel as small teaching systems are (xv6): it loads a GDT of its own and never
 * jumps, so that CS and the stack's selectors stay as the boot loader has left them;
 * takes an interrupt and returns; finds its CPUs in the MP table or the RSDP; asks
 * a VGA where its cursor stands; and looks for a keyboard. The value at the
 * debug-exit port says how far it came: 0 is all of it.
 */
#define NO_MP 1
#define NO_RSDP 2
#define NO_CURSOR 3
#define NO_KEYBOARD_ANSWER 4
#define NO_NAME 5

	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.bss
	.balign 16
stack:
	.skip 4096
stack_top:

	.data
	.balign 16
gdt:
	.quad 0
	.quad 0x00cf9a000000ffff             /* 08h: code */
	.quad 0x00cf92000000ffff             /* 10h: data */
gdt_end:
gdtr:
	.word gdt_end - gdt - 1
	.long gdt
	.balign 8
idt:
	.skip 8 * 0x31
idt_end:
idtr:
	.word idt_end - idt - 1
	.long idt

	.text
	.code32
	.globl start
start:
	cli
	mov $stack_top, %esp
	lgdt gdtr                            /* and nothing is loaded anew */
	mov %ebx, %ebp

	mov $handler, %eax
	mov %ax, idt + 8 * 0x30
	movw $0x08, idt + 8 * 0x30 + 2
	movw $0x8e00, idt + 8 * 0x30 + 4
	shr $16, %eax
	mov %ax, idt + 8 * 0x30 + 6
	lidt idtr
	int $0x30                            /* IRET wants a code segment at CS, and data where SS points */
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss

	mov $'_' | 'M' << 8 | 'P' << 16 | '_' << 24, %edx
	mov $NO_MP, %bl
	call find_in_rom
	mov $'R' | 'S' << 8 | 'D' << 16 | ' ' << 24, %edx
	mov $NO_RSDP, %bl
	call find_in_rom

	mov $0x3d4, %edx                     /* the cursor's place, low byte: 80 */
	mov $0x0f, %al
	out %al, %dx
	inc %edx
	mov $80, %al
	out %al, %dx
	in %dx, %al
	mov $NO_CURSOR, %bl
	cmp $80, %al
	jne finish
	movl $0x07410741, 0xb8000            /* "AA" on the screen */

	mov $0xff, %al                       /* the keyboard's reset */
	out %al, $0x60
	mov $1000, %ecx
	mov $NO_KEYBOARD_ANSWER, %bl
1:	in $0x64, %al
	test $1, %al
	jnz 2f
	loop 1b
	jmp finish
2:	in $0x60, %al

	mov 16(%ebp), %esi                   /* multiboot: the command line */
	mov $NO_NAME, %bl
	cmpl $'o' | 'w' << 8 | 'n' << 16 | '_' << 24, (%esi)
	jne finish
	mov $0, %bl
finish:
	mov %bl, %al
	out %al, $0xf4
1:	hlt
	jmp 1b

/* EDX: four letters, on 16 bytes between E0000h and FFFFFh; BL: what it says when they are not there. */
find_in_rom:
	mov $0xe0000, %esi
1:	cmp %edx, (%esi)
	je 2f
	add $16, %esi
	cmp $0x100000, %esi
	jb 1b
	jmp finish
2:	ret

handler:
	iret

	.section .note.GNU-stack, "", @progbits
