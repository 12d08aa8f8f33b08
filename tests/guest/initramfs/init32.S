/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first process for i386 kernels, without a C library: it makes a child,
 * both write a page of their own, and powers the machine off.
 *
 * System calls by INT 80h: number in EAX, arguments in EBX, ECX, EDX.
 */
#define SYS_exit 1
#define SYS_fork 2
#define SYS_write 4
#define SYS_waitpid 7
#define SYS_reboot 88

#define REBOOT_MAGIC1 0xfee1dead
#define REBOOT_MAGIC2 672274793
#define REBOOT_POWER_OFF 0x4321fedc

#define PAGES 256
#define CHILD_STATUS 37

	.macro syscall number, first=0, second=0, third=0
	mov $\number, %eax
	mov \first, %ebx
	mov \second, %ecx
	mov \third, %edx
	int $0x80
	.endm

	.text
	.code32
	.globl _start
_start:
	mov $1, %esi
	call fill
	syscall SYS_fork $0 $0 $0
	test %eax, %eax
	jz child
	syscall SYS_waitpid $-1 $status $0
	mov $1, %esi              /* the child's writes went to pages of its own */
	call verify
	cmpl $(CHILD_STATUS << 8), status
	jne failed
	syscall SYS_write $1 $passed $passed_bytes
	jmp end
failed:	syscall SYS_write $1 $failure $failure_bytes
end:	mov $REBOOT_POWER_OFF, %edx
	syscall SYS_reboot $REBOOT_MAGIC1 $REBOOT_MAGIC2 %edx
1:	jmp 1b

child:	mov $2, %esi
	call fill
	call verify
	syscall SYS_exit $CHILD_STATUS $0 $0

/* Store ESI plus its number into each page. */
fill:	xor %ecx, %ecx
1:	mov %ecx, %eax
	shl $12, %eax
	lea (%ecx, %esi), %edx
	mov %edx, pages(%eax)
	inc %ecx
	cmp $PAGES, %ecx
	jb 1b
	ret

verify:	xor %ecx, %ecx
1:	mov %ecx, %eax
	shl $12, %eax
	lea (%ecx, %esi), %edx
	cmp %edx, pages(%eax)
	jne failed
	inc %ecx
	cmp $PAGES, %ecx
	jb 1b
	ret

	.section .rodata
passed:	.ascii "vmmu-workload: PASS 32-bit user space, a child and copies on write\n"
	.set passed_bytes, . - passed
failure: .ascii "vmmu-workload: FAIL 32-bit user space\n"
	.set failure_bytes, . - failure

	.bss
	.balign 4096
pages:	.skip PAGES * 4096
status:	.skip 4
	.section .note.GNU-stack, "", @progbits
