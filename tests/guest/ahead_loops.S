/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * User programs that touch one page after the other. Each is copied to a page of
 * the user's, and ends with UD2. They begin with:
 *
 *   DI   the pages, and SI other ones; CX how many bytes of them
 *   DX   the end of those at DI
 *   AX   a value, BX zero, BP a page of the user's that is there, SP its stack
 */
#ifdef __x86_64__
#define R(name) %r##name
#define WIDTH 8
	.code64
#else
#define R(name) %e##name
#define WIDTH 4
	.code32
#endif
#define PAGE 4096

	.macro PROGRAM name
	.globl ahead_\name, ahead_\name\()_end
	.balign 16
ahead_\name:
	.endm
	.macro DONE name
	ud2
ahead_\name\()_end:
	.endm

	.section .rodata

	PROGRAM store
1:	movb %al, (R(di))
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE store

	PROGRAM load
1:	movzbl 0x123(R(di)), %eax
	add R(ax), R(bx)
	rol $7, R(bx)
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jb 1b
	DONE load

/* Two faults a page where the handler lets it be read first. */
	PROGRAM load_store
1:	mov (R(di)), %eax
	lea 1(R(ax),R(bx)), R(bx)
	mov R(bx), 8(R(di))
	add $PAGE, R(di)
	cmp R(di), R(dx)
	ja 1b
	DONE load_store

/* Each of them writes, whatever it finds: error codes with W. */
	PROGRAM modify
1:	addl $3, (R(di))
	lock xaddl %eax, 4(R(di))
	incw PAGE(R(di))
	lock cmpxchg R(bx), 16+PAGE(R(di))
	xchg R(bx), 24+PAGE*2(R(di))
	lock btsl $5, 32+PAGE*2(R(di))
	sbbl %eax, 40+PAGE*3(R(di))
	negb 44+PAGE*3(R(di))
	add $4*PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE modify

	PROGRAM call
	push R(bp)
	mov R(sp), R(bp)
	jmp 2f
1:	push R(ax)
	push $0x1234
	movb %al, (R(di))
	pop R(bx)
	pop R(ax)
	add R(bx), R(ax)
	ret
3:	lea 0x77(R(ax)), R(cx)
	push R(cx)
	incw (R(sp))
	pop R(cx)
	movw %cx, 2(R(di))
	ret $WIDTH
2:	call 1b
	push R(di)
	call 3b
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jne 2b
	leave
	DONE call

/* 4 bytes across the border of two pages that are both new; the second is the next round's first. */
	PROGRAM across
1:	movl %eax, PAGE-2(R(di))
	addl $0x01010101, %eax
	add $PAGE, R(di)
	lea PAGE(R(di)), R(bx)
	cmp R(dx), R(bx)
	jne 1b
	DONE across

	PROGRAM across_down
1:	sub $PAGE, R(dx)
	xadd R(ax), -3(R(dx))
	lea -PAGE(R(dx)), R(bx)
	cmp R(di), R(bx)
	jne 1b
	DONE across_down

	PROGRAM stosb
	add $5, R(di)
	sub $5, R(cx)
	rep stosb
	DONE stosb

	PROGRAM stos_wide
	add $3, R(di)
	shr $2, R(cx)
	dec R(cx)
	rep stosl
	DONE stos_wide

	PROGRAM stosb_down
	lea -1(R(dx)), R(di)
	std
	rep stosb
	cld
	DONE stosb_down

	PROGRAM movsb
	add $0x800, R(si)
	sub $0x800, R(cx)
	rep movsb
	DONE movsb

	PROGRAM movs_wide
	inc R(si)
	add $2, R(di)
	shr $2, R(cx)
	dec R(cx)
	rep movsl
	DONE movs_wide

/* A copy onto itself, 16 bytes on: what was written is read again. */
	PROGRAM movs_overlapping
	movb %al, (R(di))
	mov R(di), R(si)
	add $16, R(di)
	sub $16, R(cx)
	rep movsb
	DONE movs_overlapping

	PROGRAM scasb
	xor %eax, %eax
	repe scasb
	setz %bl
	DONE scasb

/* One string instruction a round, without REP. */
	PROGRAM lods_stos
1:	lodsl
	not %eax
	stosl
	add $PAGE-4, R(si)
	add $PAGE-4, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE lods_stos

	PROGRAM counted
	shr $12, R(cx)
1:	mov %cx, (R(di))
	lea PAGE(R(di)), R(di)
	test $1, %cl
	jz 2f
	imul $0x1003, R(bx), R(bx)
	stc
2:	adc R(cx), R(bx)
	cmovs R(ax), R(bx)
	setp %al
	movsbl %al, %eax
	cltd
	xor %edx, %eax
	loop 1b
	DONE counted

/* A different instruction for each page. */
	PROGRAM unrolled
1:	movb $1, (R(di))
	movw $2, PAGE(R(di))
	movl $3, 2*PAGE(R(di))
	andl $4, 3*PAGE(R(di))
	add $4*PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE unrolled

/* Too far from one page to the next to be run ahead; and each byte of a page. */
	PROGRAM far
1:	movb %al, (R(di))
	.rept 60
	inc R(bx)
	.endr
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE far

	PROGRAM each_byte
1:	incb (R(di))
	add $32, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE each_byte

/* What the next round stores is written into the instruction by this one. */
	PROGRAM own_code
#ifdef __x86_64__
	lea 1f(%rip), %rbx
#else
	call 2f
2:	pop %ebx
	add $1f-2b, %ebx
#endif
1:	movb $1, (R(di))
	incb 2(R(bx))
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE own_code

/* BP: a device; what it says goes with the pages. */
	PROGRAM device
1:	mov (R(bp)), %eax
	mov %eax, (R(di))
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	DONE device

/*
 * BP: the entry for the first page in the page table itself, SI an entry's size, BX
 * the entry for the second page: the program maps every other page itself, between
 * pages that the handler maps.
 */
	PROGRAM own_table
	mov R(di), R(cx)
1:	mov %al, (R(cx))
	mov R(bx), (R(bp),R(si))
	lea (R(bp),R(si),2), R(bp)
	add $PAGE, R(bx)
	mov %al, PAGE+8(R(cx))
	add $2*PAGE, R(cx)
	cmp R(dx), R(cx)
	jne 1b
	DONE own_table

/* Instructions that only the CPU can do. */
	PROGRAM cpuid
1:	movb %al, (R(di))
	mov R(dx), R(si)
	xor %eax, %eax
	cpuid
	mov R(si), R(dx)
	add $PAGE, R(di)
	cmp R(dx), R(di)
	jne 1b
	xor %ebx, %ebx
	xor %ecx, %ecx
	DONE cpuid

	.section .note.GNU-stack, "", @progbits
