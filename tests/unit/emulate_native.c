/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulator against the CPU that runs this test: every instruction below is
 * executed natively on ordinary memory and emulated on a copy, from the same
 * random registers, flags and memory. Registers, memory and all flags that the
 * manual defines must come out the same.
 */
#define _GNU_SOURCE /* REG_RIP */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/unit/unit.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/decoded.h"
#include "visor/emulate/emulate.h"

/* ---- The instructions ---------------------------------------------------------------- */

/*
 * "I undefined text": one instruction, and the flags that it leaves undefined.
 * RBX points into the middle of the buffer, RSI and RDI further down and up;
 * RCX is a count or a shift, RDX a bit offset, R8 a small index.
 */
asm(".macro I undefined text:vararg\n"
    ".pushsection instruction_bytes, \"a\"\n"
    "771: \\text\n"
    "772:\n"
    ".popsection\n"
    ".pushsection instruction_texts, \"a\"\n"
    "773: .asciz \"\\text\"\n"
    ".popsection\n"
    ".pushsection instruction_table, \"aw\"\n"
    ".quad 771b, 772b - 771b, 773b, \\undefined\n"
    ".popsection\n"
    ".endm\n"
    ".set AF, 0x10\n"
    ".set SHIFT, 0x10 | 0x800 | 1\n" /* counts beyond 1 and beyond the width */
    ".set ROTATE, 0x800\n"
    ".set BITS, 0x800 | 0x80 | 0x10 | 4\n"

    /* MOV: every form with a memory operand */
    "I 0 movb %al, (%rbx)\n I 0 movb %ah, (%rbx)\n I 0 movb %sil, 3(%rbx)\n I 0 movb %r9b, (%rbx,%r8,2)\n"
    "I 0 movw %dx, (%rbx)\n I 0 movl %edx, (%rbx)\n I 0 movq %rdx, (%rbx)\n I 0 movq %r10, -8(%rbx,%r8,8)\n"
    "I 0 movb (%rbx), %al\n I 0 movb (%rbx), %bh\n I 0 movb (%rbx), %r12b\n I 0 movw (%rbx), %ax\n"
    "I 0 movl (%rbx), %eax\n I 0 movl (%rbx), %r15d\n I 0 movq (%rbx), %rax\n I 0 movq 7(%rbx), %rbp\n"
    "I 0 movb $0x5a, (%rbx)\n I 0 movw $0x8765, (%rbx)\n I 0 movl $0x87654321, (%rbx)\n"
    "I 0 movq $-2, (%rbx)\n I 0 movw %ds, (%rbx)\n I 0 movw %cs, (%rbx)\n"
    "I 0 movl %fs:0(,%r8,1), %eax\n"
    "I 0 movnti %eax, (%rbx)\n I 0 movnti %rax, (%rbx)\n"
    "I 0 movzbw (%rbx), %ax\n I 0 movzbl (%rbx), %eax\n I 0 movzbq (%rbx), %rax\n"
    "I 0 movzwl (%rbx), %ecx\n I 0 movzwq (%rbx), %rcx\n"
    "I 0 movsbw (%rbx), %ax\n I 0 movsbl (%rbx), %eax\n I 0 movsbq (%rbx), %rax\n"
    "I 0 movswl (%rbx), %ecx\n I 0 movswq (%rbx), %rcx\n I 0 movslq (%rbx), %r11\n"
    "I 0 movbe (%rbx), %ax\n I 0 movbe (%rbx), %eax\n I 0 movbe (%rbx), %rax\n"
    "I 0 movbe %cx, (%rbx)\n I 0 movbe %ecx, (%rbx)\n I 0 movbe %rcx, (%rbx)\n"

    /* Arithmetic and logic: memory as destination and as source, all widths and immediates */
    ".macro ALU undefined op\n"
    "I \\undefined \\op\\()b %al, (%rbx)\n I \\undefined \\op\\()w %ax, (%rbx)\n"
    "I \\undefined \\op\\()l %eax, (%rbx)\n I \\undefined \\op\\()q %rax, (%rbx)\n"
    "I \\undefined \\op\\()b (%rbx), %ch\n I \\undefined \\op\\()w (%rbx), %cx\n"
    "I \\undefined \\op\\()l (%rbx), %ecx\n I \\undefined \\op\\()q (%rbx), %r13\n"
    "I \\undefined \\op\\()b $0x81, (%rbx)\n I \\undefined \\op\\()w $0x7ffe, (%rbx)\n"
    "I \\undefined \\op\\()l $0x80000001, (%rbx)\n I \\undefined \\op\\()q $-3, (%rbx)\n"
    "I \\undefined \\op\\()w $-3, (%rbx)\n I \\undefined \\op\\()l $-3, (%rbx)\n"
    "I \\undefined \\op\\()q $0x12345678, (%rbx)\n"
    ".endm\n"
    "ALU 0 add\n ALU 0 adc\n ALU 0 sub\n ALU 0 sbb\n ALU 0 cmp\n ALU AF and\n ALU AF or\n ALU AF xor\n"
    "I AF testb %al, (%rbx)\n I AF testw %ax, (%rbx)\n I AF testl %eax, (%rbx)\n I AF testq %rax, (%rbx)\n"
    "I AF testb $0x80, (%rbx)\n I AF testw $0x8001, (%rbx)\n I AF testl $0x80000000, (%rbx)\n"
    "I AF testq $-2147483648, (%rbx)\n"
    ".macro UNARY op\n"
    "I 0 \\op\\()b (%rbx)\n I 0 \\op\\()w (%rbx)\n I 0 \\op\\()l (%rbx)\n I 0 \\op\\()q (%rbx)\n"
    ".endm\n"
    "UNARY inc\n UNARY dec\n UNARY neg\n UNARY not\n"
    ".macro LOCKED op\n"
    "I 0 lock \\op\\()b %cl, (%rbx)\n I 0 lock \\op\\()w %cx, (%rbx)\n"
    "I 0 lock \\op\\()l %ecx, (%rbx)\n I 0 lock \\op\\()q %rcx, (%rbx)\n"
    ".endm\n"
    "LOCKED add\n LOCKED sub\n LOCKED xadd\n LOCKED cmpxchg\n"
    "I 0 xchgb %cl, (%rbx)\n I 0 xchgw %cx, (%rbx)\n I 0 xchgl %ecx, (%rbx)\n I 0 xchgq %rcx, (%rbx)\n"
    "I 0 xaddl %edx, (%rbx)\n I 0 xaddq %rax, (%rbx)\n I 0 cmpxchgl %ebp, (%rbx)\n"
    "I 0 cmpxchgq %r14, (%rbx)\n I 0 cmpxchg8b (%rbx)\n I 0 lock cmpxchg8b (%rbx)\n"

    /* IMUL with two and three operands */
    ".set PRODUCT, 0x80 | 0x40 | 0x10 | 4\n"
    "I PRODUCT imulw (%rbx), %ax\n I PRODUCT imull (%rbx), %eax\n I PRODUCT imulq (%rbx), %r9\n"
    "I PRODUCT imulw $-3, (%rbx), %ax\n I PRODUCT imulw $0x1234, (%rbx), %ax\n"
    "I PRODUCT imull $5, (%rbx), %edx\n I PRODUCT imull $0x12345678, (%rbx), %edx\n"
    "I PRODUCT imulq $-1, (%rbx), %r14\n I PRODUCT imulq $0x7fffffff, (%rbx), %rax\n"

    /* Shifts and rotates */
    ".macro SHIFTS undefined once op\n"
    "I \\once \\op\\()b (%rbx)\n I \\once \\op\\()w (%rbx)\n I \\once \\op\\()l (%rbx)\n"
    "I \\once \\op\\()q (%rbx)\n"
    "I \\undefined \\op\\()b $3, (%rbx)\n I \\undefined \\op\\()w $15, (%rbx)\n"
    "I \\undefined \\op\\()l $31, (%rbx)\n I \\undefined \\op\\()q $63, (%rbx)\n"
    "I \\undefined \\op\\()b %cl, (%rbx)\n I \\undefined \\op\\()w %cl, (%rbx)\n"
    "I \\undefined \\op\\()l %cl, (%rbx)\n I \\undefined \\op\\()q %cl, (%rbx)\n"
    ".endm\n"
    "SHIFTS SHIFT AF shl\n SHIFTS SHIFT AF shr\n SHIFTS SHIFT AF sar\n"
    "SHIFTS ROTATE 0 rol\n SHIFTS ROTATE 0 ror\n"

    /* Bits; a register offset reaches beyond the operand */
    ".macro BIT op\n"
    "I BITS \\op\\()w %dx, (%rbx)\n I BITS \\op\\()l %edx, (%rbx)\n I BITS \\op\\()q %rdx, (%rbx)\n"
    "I BITS \\op\\()w $17, (%rbx)\n I BITS \\op\\()l $31, (%rbx)\n I BITS \\op\\()q $63, (%rbx)\n"
    ".endm\n"
    "BIT bt\n BIT bts\n BIT btr\n BIT btc\n I BITS lock btsl %edx, (%rbx)\n"

    /* Conditions */
    ".macro CONDITION cc\n"
    "I 0 set\\cc (%rbx)\n I 0 cmov\\cc (%rbx), %eax\n I 0 cmov\\cc (%rbx), %rax\n I 0 cmov\\cc (%rbx), %ax\n"
    ".endm\n"
    ".irp cc, o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g\n CONDITION \\cc\n .endr\n"

    /* Without memory; a jump skips `inc %rax`, or does not */
    "I 0 leaq 4096(%rax,%r8,8), %rcx\n I 0 leal -7(%rdx), %eax\n I 0 leaw (%rsi,%rdi), %ax\n "
    "I 0 leal (%eax,%edx,2), %r10d\n I 0 addq $4096, %rax\n I 0 cmpq %rdx, %rax\n I AF testl %eax, %eax\n"
    "I 0 movl %eax, %ecx\n I 0 movq $-1, %r15\n I 0 movabsq $0x123456789abcdef0, %r14\n I 0 decl %r9d\n"
    "I 0 clc\n I 0 stc\n I 0 cmc\n I 0 cld\n I 0 std\n"
    "I 0 cbtw\n I 0 cwtl\n I 0 cltq\n I 0 cwtd\n I 0 cltd\n I 0 cqto\n"
    "I 0 xaddq %rbx, (%rbx)\n I 0 xchgq %rbx, (%rbx)\n I 0 lock cmpxchgq %rbx, (%rbx)\n"
    "I 0 nop\n I 0 nopw 0x100(%rax,%rax)\n I 0 nopl (%rax)\n I 0 endbr64\n"
    "I 0 .byte 0xeb, 3, 0x48, 0xff, 0xc0\n I 0 .byte 0xe9, 3, 0, 0, 0, 0x48, 0xff, 0xc0\n"
    ".irp op, 0xe0, 0xe1, 0xe2, 0xe3\n"
    "I 0 .byte \\op, 3, 0x48, 0xff, 0xc0\n I 0 .byte 0x67, \\op, 3, 0x48, 0xff, 0xc0\n"
    ".endr\n"
    ".irp cc, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
    "I 0 .byte 0x70 + \\cc, 3, 0x48, 0xff, 0xc0\n I 0 .byte 0x0f, 0x80 + \\cc, 3, 0, 0, 0, 0x48, 0xff, 0xc0\n"
    ".endr\n"

    /* Strings, forwards and backwards by the random direction flag */
    ".macro STRING size\n"
    "I 0 movs\\size\n I 0 stos\\size\n I 0 lods\\size\n I 0 cmps\\size\n I 0 scas\\size\n"
    "I 0 rep movs\\size\n I 0 rep stos\\size\n I 0 rep lods\\size\n I 0 repe cmps\\size\n"
    "I 0 repne cmps\\size\n I 0 repe scas\\size\n I 0 repne scas\\size\n"
    ".endm\n"
    "STRING b\n STRING w\n STRING l\n STRING q\n"
    /* From here on: what the CPU carries out on a copy of the operand (emulate/native.c) */
    ".pushsection instruction_table, \"aw\"\n .globl native_table\n native_table:\n .popsection\n"
    ".irp op, mul, imul, div, idiv\n"
    "I 0 \\op\\()b (%rbx)\n I 0 \\op\\()w (%rbx)\n I 0 \\op\\()l (%rbx)\n I 0 \\op\\()q (%rbx)\n"
    ".endr\n"
    ".irp op, bsf, bsr, popcnt, lzcnt, tzcnt\n"
    "I 0 \\op\\()w (%rbx), %ax\n I 0 \\op\\()l (%rbx), %ecx\n I 0 \\op\\()q (%rbx), %r11\n"
    ".endr\n"
    ".irp op, shld, shrd\n"
    "I 0 \\op\\()w $3, %ax, (%rbx)\n I 0 \\op\\()l $31, %ebp, (%rbx)\n I 0 \\op\\()q $63, %r15, (%rbx)\n"
    "I 0 \\op\\()l %cl, %eax, (%rbx)\n I 0 \\op\\()q %cl, %rsi, (%rbx)\n"
    ".endr\n"
    ".irp op, rcl, rcr\n"
    "I 0 \\op\\()b (%rbx)\n I 0 \\op\\()w $7, (%rbx)\n I 0 \\op\\()l %cl, (%rbx)\n I 0 \\op\\()q $33, (%rbx)\n"
    ".endr\n"
    "I 0 adcx (%rbx), %eax\n I 0 adox (%rbx), %r9\n I 0 crc32b (%rbx), %eax\n I 0 crc32w (%rbx), %ecx\n"
    "I 0 crc32l (%rbx), %ebp\n I 0 crc32q (%rbx), %rdi\n I 0 lock cmpxchg16b (%rbx)\n I 0 cmpxchg16b (%rbx)\n"
    "I 0 andn (%rbx), %eax, %ecx\n I 0 andn (%rbx), %r9, %r10\n I 0 bextr %eax, (%rbx), %edx\n"
    "I 0 blsr (%rbx), %r12\n I 0 blsi (%rbx), %eax\n I 0 blsmsk (%rbx), %ecx\n I 0 bzhi %eax, (%rbx), %ecx\n"
    "I 0 mulx (%rbx), %eax, %ecx\n I 0 mulx (%rbx), %rax, %r13\n I 0 pdep (%rbx), %rcx, %rax\n"
    "I 0 pext (%rbx), %ecx, %eax\n I 0 rorx $7, (%rbx), %eax\n I 0 sarx %ecx, (%rbx), %eax\n"
    "I 0 shlx %r8, (%rbx), %r9\n I 0 shrx %ecx, (%rbx), %edx\n"
    "I 0 bsfl 4(%rsi,%r8,4), %eax\n I 0 mull %ds:4(%rbx)\n I 0 shldq $5, %rsi, (%rdi)\n"

    /* SSE: moves, with and without alignment, arithmetic, conversions, stores of parts */
    ".irp op, movups, movupd, movaps, movapd, movdqu, movdqa\n"
    "I 0 \\op (%rbx), %xmm0\n I 0 \\op (%rbx), %xmm15\n I 0 \\op %xmm3, (%rbx)\n I 0 \\op %xmm8, (%rbx)\n"
    ".endr\n"
    "I 0 movdqu 5(%rbx), %xmm2\n I 0 movdqu %xmm2, 11(%rbx)\n I 0 lddqu 3(%rbx), %xmm9\n I 0 movntdqa (%rbx), %xmm1\n"
    "I 0 movntps %xmm1, (%rbx)\n I 0 movntpd %xmm9, (%rbx)\n I 0 movntdq %xmm2, (%rbx)\n"
    "I 0 movlps (%rbx), %xmm1\n I 0 movhps (%rbx), %xmm10\n I 0 movlpd (%rbx), %xmm1\n I 0 movhpd (%rbx), %xmm1\n"
    "I 0 movlps %xmm1, (%rbx)\n I 0 movhps %xmm10, (%rbx)\n I 0 movlpd %xmm1, (%rbx)\n I 0 movhpd %xmm1, (%rbx)\n"
    "I 0 movss (%rbx), %xmm4\n I 0 movsd (%rbx), %xmm4\n I 0 movss %xmm14, (%rbx)\n I 0 movsd %xmm4, (%rbx)\n"
    "I 0 movd (%rbx), %xmm5\n I 0 movd %xmm5, (%rbx)\n I 0 movq (%rbx), %xmm5\n I 0 movq %xmm13, (%rbx)\n"
    "I 0 movddup (%rbx), %xmm0\n I 0 movshdup (%rbx), %xmm0\n I 0 movsldup (%rbx), %xmm0\n"
    ".irp op, addps, addpd, addss, addsd, subps, mulpd, divss, sqrtsd, maxps, minpd, andps, andnpd, orps, xorpd, cvtdq2ps,"
    "cvtps2pd, cvttps2dq, rcpps, rsqrtss, unpcklps, unpckhpd, haddps, addsubpd, ucomiss, comisd\n"
    "I 0 \\op (%rbx), %xmm3\n"
    ".endr\n"
    "I 0 cmpps $2, (%rbx), %xmm3\n I 0 cmpsd $5, (%rbx), %xmm11\n I 0 shufps $0x1b, (%rbx), %xmm3\n"
    "I 0 cvtsi2ss (%rbx), %xmm1\n I 0 cvtsi2sdq (%rbx), %xmm9\n I 0 cvtss2si (%rbx), %eax\n I 0 cvttsd2si (%rbx), %r9\n"
    "I 0 roundps $3, (%rbx), %xmm1\n I 0 dppd $0x31, (%rbx), %xmm1\n I 0 blendvps %xmm0, (%rbx), %xmm1\n"
    "I 0 insertps $0x10, (%rbx), %xmm1\n I 0 extractps $2, %xmm1, (%rbx)\n I 0 pinsrb $3, (%rbx), %xmm1\n"
    "I 0 pinsrw $3, (%rbx), %xmm1\n I 0 pinsrq $1, (%rbx), %xmm1\n I 0 pextrb $7, %xmm9, (%rbx)\n"
    "I 0 pextrw $5, %xmm1, (%rbx)\n I 0 pextrd $2, %xmm1, (%rbx)\n I 0 pextrq $1, %xmm1, (%rbx)\n"
    ".irp op, paddb, psubw, pmulld, pmaddwd, pand, por, pxor, pcmpeqb, pcmpgtd, pshufb, psadbw, packuswb, punpcklbw,"
    "pminsw, pavgb, pabsd, psrlw, psllq, pmovzxbw, pmovsxdq, ptest, phaddw, pmuludq\n"
    "I 0 \\op (%rbx), %xmm6\n"
    ".endr\n"
    "I 0 pshufd $0x4e, (%rbx), %xmm1\n I 0 palignr $5, (%rbx), %xmm1\n I 0 pcmpistri $0x0c, (%rbx), %xmm1\n"
    "I 0 pcmpestrm $0x40, (%rbx), %xmm1\n I 0 aesenc (%rbx), %xmm1\n I 0 aeskeygenassist $1, (%rbx), %xmm1\n"
    "I 0 pclmulqdq $1, (%rbx), %xmm1\n I 0 sha256msg1 (%rbx), %xmm1\n I 0 sha1rnds4 $2, (%rbx), %xmm1\n"
    "I 0 stmxcsr (%rbx)\n"
    /* State areas (emulate/state_area.c), at the buffer's begin */
    ".irp op, fxsave, fxsave64, fxrstor, fxrstor64, xsave, xsave64, xsaveopt, xsaveopt64, xsavec, xsavec64, xrstor, xrstor64\n"
    "I 0 \\op -2048(%rbx)\n"
    ".endr\n"

    /* MMX and x87 */
    "I 0 movq (%rbx), %mm1\n I 0 movq %mm1, (%rbx)\n I 0 movd (%rbx), %mm2\n I 0 movd %mm2, (%rbx)\n"
    "I 0 movntq %mm3, (%rbx)\n I 0 paddb (%rbx), %mm4\n I 0 pmaddwd (%rbx), %mm5\n I 0 pshufw $0x1b, (%rbx), %mm6\n"
    "I 0 psrlq (%rbx), %mm0\n I 0 pinsrw $1, (%rbx), %mm0\n I 0 cvtpi2ps (%rbx), %xmm1\n"
    ".irp op, fld, fst, fstp, fadd, fmul, fsub, fsubr, fdiv, fdivr, fcom, fcomp\n"
    "I 0 \\op\\()s (%rbx)\n I 0 \\op\\()l (%rbx)\n"
    ".endr\n"
    ".irp op, fild, fist, fistp, fiadd, fimul, fisub, fidiv, ficom\n"
    "I 0 \\op\\()s (%rbx)\n I 0 \\op\\()l (%rbx)\n"
    ".endr\n"
    "I 0 fildll (%rbx)\n I 0 fistpll (%rbx)\n I 0 fisttps (%rbx)\n I 0 fisttpll (%rbx)\n I 0 fldt (%rbx)\n"
    "I 0 fstpt (%rbx)\n I 0 fbld (%rbx)\n I 0 fbstp (%rbx)\n I 0 fnstcw (%rbx)\n I 0 fnstsw (%rbx)\n"

    /* AVX, AVX2, FMA, F16C */
    ".irp op, vmovups, vmovupd, vmovaps, vmovapd, vmovdqu, vmovdqa\n"
    "I 0 \\op (%rbx), %xmm0\n I 0 \\op (%rbx), %ymm15\n I 0 \\op %xmm9, (%rbx)\n I 0 \\op %ymm3, (%rbx)\n"
    ".endr\n"
    "I 0 vmovdqu 9(%rbx), %ymm7\n I 0 vmovdqu %ymm7, 27(%rbx)\n I 0 vlddqu 1(%rbx), %ymm7\n"
    "I 0 vmovntdq %ymm2, (%rbx)\n I 0 vmovntps %ymm2, (%rbx)\n I 0 vmovss (%rbx), %xmm1\n I 0 vmovsd %xmm1, (%rbx)\n"
    "I 0 vmovd (%rbx), %xmm1\n I 0 vmovq %xmm9, (%rbx)\n I 0 vmovhps (%rbx), %xmm2, %xmm1\n"
    "I 0 vaddps (%rbx), %ymm1, %ymm2\n I 0 vmulpd (%rbx), %ymm9, %ymm10\n I 0 vsqrtss (%rbx), %xmm1, %xmm2\n"
    "I 0 vcmpps $17, (%rbx), %ymm1, %ymm2\n I 0 vcvtsi2sdl (%rbx), %xmm1, %xmm2\n I 0 vcvtsi2sdq (%rbx), %xmm1, %xmm2\n"
    "I 0 vbroadcastss (%rbx), %ymm1\n I 0 vbroadcastf128 (%rbx), %ymm1\n I 0 vinsertf128 $1, (%rbx), %ymm1, %ymm2\n"
    "I 0 vextractf128 $1, %ymm3, (%rbx)\n I 0 vperm2f128 $0x21, (%rbx), %ymm1, %ymm2\n I 0 vpermilps $0x1b, (%rbx), %ymm1\n"
    "I 0 vblendvps %ymm3, (%rbx), %ymm1, %ymm2\n I 0 vtestps (%rbx), %ymm1\n I 0 vptest (%rbx), %ymm1\n"
    "I 0 vpaddd (%rbx), %ymm1, %ymm2\n I 0 vpshufb (%rbx), %ymm1, %ymm2\n I 0 vpermq $0x1b, (%rbx), %ymm1\n"
    "I 0 vpsllvd (%rbx), %ymm1, %ymm2\n I 0 vpbroadcastb (%rbx), %ymm1\n I 0 vextracti128 $1, %ymm12, (%rbx)\n"
    "I 0 vpinsrd $1, (%rbx), %xmm1, %xmm2\n I 0 vpextrd $1, %xmm1, (%rbx)\n I 0 vpextrq $1, %xmm1, (%rbx)\n"
    "I 0 vfmadd213ps (%rbx), %ymm1, %ymm2\n I 0 vfmadd231sd (%rbx), %xmm1, %xmm2\n I 0 vfnmsub132pd (%rbx), %ymm1, %ymm2\n"
    "I 0 vcvtph2ps (%rbx), %ymm1\n I 0 vcvtps2ph $0, %ymm1, (%rbx)\n I 0 vaesenc (%rbx), %xmm1, %xmm2\n"
    "I 0 vstmxcsr (%rbx)\n I 0 vpdpbusd (%rbx), %ymm1, %ymm2\n"

    /* AVX-512, without masks */
    ".irp op, vmovups, vmovapd, vmovdqu8, vmovdqu64, vmovdqa32\n"
    "I 0 \\op (%rbx), %zmm3\n I 0 \\op (%rbx), %zmm29\n I 0 \\op %zmm17, (%rbx)\n I 0 \\op 1*64(%rbx), %ymm18\n"
    "I 0 \\op %xmm22, -64(%rbx)\n"
    ".endr\n"
    "I 0 vpaddd (%rbx), %zmm1, %zmm2\n I 0 vpaddd (%rbx){1to16}, %zmm1, %zmm20\n I 0 vaddpd (%rbx){1to8}, %zmm31, %zmm2\n"
    "I 0 vpternlogd $0x1e, (%rbx), %zmm1, %zmm2\n I 0 vbroadcasti64x4 (%rbx), %zmm9\n I 0 vpermw (%rbx), %zmm1, %zmm2\n"
    "I 0 vextracti64x4 $1, %zmm3, (%rbx)\n I 0 vpmovqb %zmm3, (%rbx)\n I 0 vcvtps2ph $0, %zmm1, (%rbx)\n"
    "I 0 vpcmpub $1, (%rbx), %zmm1, %k1\n I 0 vpopcntq (%rbx), %zmm1\n I 0 vpconflictd (%rbx), %zmm1\n"
    "I 0 kmovw (%rbx), %k1\n I 0 kmovq %k2, (%rbx)\n I 0 vpinsrd $1, (%rbx), %xmm17, %xmm2\n"
    "I 0 vcvtsi2sdl (%rbx), %xmm17, %xmm2\n I 0 vfmadd213ph (%rbx), %zmm1, %zmm2\n I 0 xlatb\n");

struct test_instruction {
	const uint8_t *bytes;
	uint64_t size;
	const char *text;
	uint64_t undefined;
};
extern const struct test_instruction __start_instruction_table[], __stop_instruction_table[];
/* Where those begin that the CPU itself carries out. */
extern const struct test_instruction native_table[];

/* ---- Native execution ------------------------------------------------------------------- */

/*
 * The vector and x87 registers, as XSAVE lays them out: they are loaded and stored around each instruction, as the
 * test itself uses them in between.
 */
#define EXTENDED_BYTES 2752
#define EXTENDED_COMPONENTS 0xe7u /* x87, SSE, AVX, AVX-512; what the CPU lacks is left out */
#define EXTENDED_POINTERS 6, 18   /* opcode and addresses of the last x87 instruction: offset and bytes */

struct native_state {
	struct native_registers r;
	uint8_t extended[EXTENDED_BYTES] __attribute__((aligned(64)));
	int vector;
};

static uint8_t *code;

static void load_extended(const struct native_state *s)
{
	asm volatile("xrstor64 %0"
	             :
	             : "m"(s->extended), "a"(EXTENDED_COMPONENTS), "d"(0));
}

static void store_extended(struct native_state *s)
{
	asm volatile("xsave64 %0"
	             : "+m"(s->extended)
	             : "a"(EXTENDED_COMPONENTS), "d"(0));
}

/* Not to be inlined: nothing may come between the instruction and the registers that it uses. */
static __attribute__((noinline, no_sanitize("address", "undefined"))) int run(struct native_state *s,
                                                                              struct native_registers *r)
{
	int vector;

	load_extended(s);
	vector = native_run(r, code);
	store_extended(s);
	return vector;
}

/* What the CPU makes of the image when it loads it. */
static __attribute__((noinline, no_sanitize("address", "undefined"))) void settle_extended(struct native_state *s)
{
	load_extended(s);
	store_extended(s);
}

/* An exception of the instruction's ends it, as in the visor. */
static void on_signal(int number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t rip = (uint64_t)r[REG_RIP];

	if (rip - (uintptr_t)code >= 4096)
		abort();
	r[REG_RAX] = number == SIGILL ? 6 : number == SIGSEGV     ? 13
	                            : info->si_code == FPE_INTDIV ? 0
	                                                          : 19;
	r[REG_RIP] = (greg_t)(uintptr_t)native_recover;
}

/* In each test: the library sets its own before. */
static void take_signals(void)
{
	static const int signals[] = {SIGFPE, SIGILL, SIGSEGV};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	for (unsigned i = 0; i < 3; i++)
		sigaction(signals[i], &action, NULL);
}

static void run_native(const struct test_instruction *t, struct native_state *s)
{
	memcpy(code, t->bytes, t->size);
	code[t->size] = 0xc3;
	s->vector = run(s, &s->r);
}

/* What the emulator has the CPU do. */
static struct native_state *guest_state;

static int execute(void *ctx, const uint8_t *bytes, unsigned count, struct native_registers *r, uint64_t *where)
{
	(void)ctx;
	assert_true(count <= NATIVE_CODE_BYTES && bytes[count - 1] == 0xc3);
	memcpy(code, bytes, count);
	*where = (uintptr_t)code;
	return run(guest_state, r);
}

/* ---- Emulation on the same addresses: paging is off, addresses are the process's own -------- */

static bool memory_read(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	(void)ctx;
	*value = 0;
	memcpy(value, (const void *)(uintptr_t)gpa, size);
	return true;
}

static bool memory_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	(void)ctx;
	memcpy((void *)(uintptr_t)gpa, &value, size);
	return true;
}

static void *memory_page(void *ctx, uint64_t gpa, bool write)
{
	(void)ctx;
	(void)write;
	return (void *)(uintptr_t)gpa;
}

static void memory_written(void *ctx, uint64_t gpa, uint64_t bytes)
{
	(void)ctx;
	(void)gpa;
	(void)bytes;
}

/* As devices are reached, and as RAM is. */
static const struct guest_memory memories[] = {
	{.read = memory_read, .write = memory_write, .execute = execute},
	{.read = memory_read, .write = memory_write, .page = memory_page, .written = memory_written, .ram_only = true},
};

static uint64_t segment_base_fs(void)
{
	uint64_t base;

	asm("movq %%fs:0, %0"
	    : "=r"(base)); /* the ABI keeps the base there */
	return base;
}

/* The access that the CPU has seen. Without it vector registers are not used. */
static uint64_t access_of(const struct test_instruction *t, const struct native_state *s)
{
	return strstr(t->text, "(%rbx)") ? s->r.gpr[X86_RBX] : UINT64_MAX;
}

static struct x86_cpu_state cpu_of(const struct native_state *s, bool wide)
{
	struct x86_cpu_state cpu = {
		.efer = wide ? X86_EFER_LMA : 0,
		.cr0 = X86_CR0_PE,
		.cr4 = 1 << 9 | 1 << 10, /* OSFXSR, OSXMMEXCPT */
		.rflags = s->r.rflags,
		.rip = 0x1000,
	};
	uint16_t cs, ds;

	asm("mov %%cs, %0\n mov %%ds, %1"
	    : "=r"(cs), "=r"(ds));
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu.segment[i] = (struct x86_segment){.selector = ds, .access = 0xc093, .limit = UINT32_MAX};
	cpu.segment[X86_CS] = (struct x86_segment){
		.selector = cs,
		.access = wide ? 0xa09b : 0xc09b,
		.limit = UINT32_MAX,
	};
	cpu.segment[X86_FS].base = wide ? segment_base_fs() : 0;
	memcpy(cpu.gpr, s->r.gpr, sizeof(cpu.gpr));
	return cpu;
}

static void emulate(const struct test_instruction *t, const struct guest_memory *memory, struct native_state *s,
                    bool wide)
{
	struct x86_cpu_state cpu = cpu_of(s, wide);
	struct emulate_info info;

	guest_state = s;
	s->vector = NATIVE_DONE;
	while (cpu.rip < 0x1000 + t->size) { /* behind a jump there is one more */
		uint64_t at = cpu.rip - 0x1000, access = access_of(t, s);
		enum emulate_result result = emulate_instruction(&cpu, memory, t->bytes + at, t->size - at, access, &info);

		if (result == EMULATE_EXCEPTION) {
			s->vector = info.vector;
			return;
		}
		if (result != EMULATE_DONE)
			fail_msg("%s: %s %s", t->text, emulate_result_name(result), info.reason);
	}
	assert_int_equal(cpu.rip, 0x1000 + t->size);
	memcpy(s->r.gpr, cpu.gpr, sizeof(cpu.gpr));
	s->r.rflags = cpu.rflags;
}

/* ---- Random cases -------------------------------------------------------------------------- */

#define BUFFER 4096
#define MIDDLE 2048
#define ROUNDS 300
#define STATUS_FLAGS 0x8d5u
#define DIRECTION 0x400u

static uint8_t *buffer;

static uint64_t random64(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Corner values come up often: that is where flags go wrong. */
static uint64_t random_value(void)
{
	static const uint64_t corner[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
	                                  0x80000000, 0xffffffff, INT64_MAX, 1ull << 63, UINT64_MAX};
	uint64_t r = random64();

	return r % 3 ? random64() : corner[r / 3 % (sizeof(corner) / sizeof(corner[0]))];
}

/* Numbers of every kind in every register, all exceptions masked, an x87 stack that is neither empty nor full. */
static void random_extended(struct native_state *s)
{
	static const uint16_t x87_control = 0x37f;
	static const uint32_t mxcsr = 0x1f80;

	memset(s->extended, 0, sizeof(s->extended));
	for (unsigned i = 32; i < 416; i += 8) {
		uint64_t v = random_value();

		memcpy(s->extended + i, &v, 8);
	}
	for (unsigned i = 576; i < 832; i += 8) {
		uint64_t v = random_value();

		memcpy(s->extended + i, &v, 8);
	}
	for (unsigned i = 0; i < 8; i++) /* ten bytes each */
		memset(s->extended + 32 + 16 * i + 10, 0, 6);
	memcpy(s->extended, &x87_control, 2);
	s->extended[3] = 4 << 3; /* top of the stack */
	s->extended[4] = 0xf0;   /* four are in use */
	memcpy(s->extended + 24, &mxcsr, 4);
	s->extended[512] = EXTENDED_COMPONENTS & 7;
	settle_extended(s);
}

static void random_state(struct native_state *s)
{
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		s->r.gpr[i] = random_value();
	for (unsigned i = 0; i < BUFFER; i += 8) {
		uint64_t v = i < MIDDLE + 64 && i >= MIDDLE - 64 ? random_value() : random64() & 0x0101010101010101;

		memcpy(buffer + i, &v, 8);
	}
	s->r.gpr[X86_RBX] = (uintptr_t)buffer + MIDDLE;
	s->r.gpr[X86_RSI] = (uintptr_t)buffer + 1024;
	s->r.gpr[X86_RDI] = (uintptr_t)buffer + 3072;
	s->r.gpr[X86_RCX] = random64() % 40;
	s->r.gpr[X86_RDX] = (random64() % 4096) - 2048;
	s->r.gpr[X86_R8] = random64() % 8;
	if (random64() % 2) /* let compares succeed */
		memcpy(&s->r.gpr[X86_RAX], buffer + MIDDLE, 8);
	random_extended(s);
	s->r.rflags = 0x202 | (random64() & STATUS_FLAGS) | (random64() % 2 ? DIRECTION : 0);
}

static void show(const struct test_instruction *t, const struct native_state *before,
                 const struct native_state *native, const struct native_state *emulated)
{
	print_error("%s\n", t->text);
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		if (native->r.gpr[i] != emulated->r.gpr[i])
			print_error("  gpr %u: %llx, native %llx, emulated %llx\n", i,
			            (unsigned long long)before->r.gpr[i], (unsigned long long)native->r.gpr[i],
			            (unsigned long long)emulated->r.gpr[i]);
	print_error("  flags: %llx, native %llx, emulated %llx; rax %llx rcx %llx\n",
	            (unsigned long long)before->r.rflags, (unsigned long long)native->r.rflags,
	            (unsigned long long)emulated->r.rflags, (unsigned long long)before->r.gpr[X86_RAX],
	            (unsigned long long)before->r.gpr[X86_RCX]);
}

/* A shift by one leaves only AF undefined, a shift by zero nothing; a random count may be either. */
static uint64_t compared_flags(const struct test_instruction *t)
{
	return (STATUS_FLAGS | DIRECTION) & ~t->undefined;
}

static bool extended_differ(const struct native_state *native, const struct native_state *emulated)
{
	static const unsigned pointers[] = {EXTENDED_POINTERS};
	uint8_t a[EXTENDED_BYTES], b[EXTENDED_BYTES];

	memcpy(a, native->extended, EXTENDED_BYTES);
	memcpy(b, emulated->extended, EXTENDED_BYTES);
	memset(a + pointers[0], 0, pointers[1]);
	memset(b + pointers[0], 0, pointers[1]);
	return memcmp(a, b, 416) || memcmp(a + 576, b + 576, EXTENDED_BYTES - 576);
}

/* A mask of components that the buffer has room for; a header and an MXCSR that are right half of the time. */
static void prepare_area(struct native_state *s)
{
	s->r.gpr[X86_RAX] = random64() & EXTENDED_COMPONENTS;
	s->r.gpr[X86_RDX] = 0;
	if (random64() % 2)
		return;
	memset(buffer + 512, 0, 64);
	buffer[512] = random64() & 7;
	memset(buffer + 26, 0, 2);
}

static void check_once(const struct test_instruction *t, const struct guest_memory *memory, bool wide)
{
	static uint8_t before_bytes[BUFFER], native_bytes[BUFFER];
	struct native_state before, native, emulated;
	uint64_t flags = compared_flags(t);

	random_state(&before);
	if (strstr(t->text, "xsave") || strstr(t->text, "xrstor")) /* fxsave and fxrstor, too */
		prepare_area(&before);
	for (unsigned i = 0; !wide && i < X86_GPR_COUNT; i++)
		before.r.gpr[i] &= i < 8 ? UINT32_MAX : 0;
	native = emulated = before;
	memcpy(before_bytes, buffer, BUFFER);
	run_native(t, &native);
	memcpy(native_bytes, buffer, BUFFER);
	memcpy(buffer, before_bytes, BUFFER);
	emulate(t, memory, &emulated, wide);
	if (native.vector != emulated.vector)
		fail_msg("%s: vector %d, emulated %d", t->text, native.vector, emulated.vector);
	if (memcmp(native.r.gpr, emulated.r.gpr, sizeof(native.r.gpr)) ||
	    ((native.r.rflags ^ emulated.r.rflags) & flags)) {
		show(t, &before, &native, &emulated);
		fail();
	}
	if (!memory->ram_only && extended_differ(&native, &emulated))
		fail_msg("%s: vector or x87 registers differ", t->text);
	assert_memory_equal(buffer, native_bytes, BUFFER);
}

/* What the CPU itself carries out needs the CPU to have come to it: not where RAM alone may be touched. */
static bool is_for_ram(const struct test_instruction *t)
{
	return t < native_table && !strstr(t->text, "movbe");
}

static void same_as_the_cpu(void **state)
{
	unsigned count = 0;

	(void)state;
	take_signals();
	for (const struct test_instruction *t = __start_instruction_table; t < __stop_instruction_table; t++, count++)
		for (unsigned i = 0; i < ROUNDS; i++)
			check_once(t, &memories[i % 2 && is_for_ram(t)], true);
	assert_true(count > 300);
}

static bool is_state_area(const struct test_instruction *t)
{
	return strstr(t->text, "xsave") || strstr(t->text, "xrstor");
}

#define XMM_8_END 288u /* of an area that 32-bit code saves */

/* 32-bit code has eight XMM registers: what is behind them in the area stays as it is. */
static void state_area_in_32bit_code(void **state)
{
	static uint8_t before[BUFFER], native_bytes[BUFFER];
	unsigned tried = 0;

	(void)state;
	take_signals();
	for (const struct test_instruction *t = native_table; t < __stop_instruction_table; t++) {
		struct native_state s, native;

		if (strcmp(t->text, "fxsave -2048(%rbx)"))
			continue;
		random_state(&s);
		native = s;
		memcpy(before, buffer, BUFFER);
		run_native(t, &native);
		memcpy(native_bytes, buffer, BUFFER);
		memcpy(buffer, before, BUFFER);
		emulate(t, &memories[0], &s, false);
		assert_memory_equal(buffer, native_bytes, XMM_8_END);
		assert_memory_equal(buffer + XMM_8_END, before + XMM_8_END, BUFFER - XMM_8_END);
		tried++;
	}
	assert_int_equal(tried, 1);
}

/* Does it mean the same in 32-bit code? Without REX, if it names the same operands. */
static bool same_in_32bit(const struct test_instruction *t)
{
	struct x86_cpu_state cpu = {.efer = X86_EFER_LMA};
	const struct decoded *d;
	struct decoded wide, narrow;

	if (is_state_area(t)) /* eight registers, and no XSAVE: a test of its own */
		return false;
	cpu.segment[X86_CS].access = 0xa09b;
	if (decode(&cpu, t->bytes, (unsigned)t->size, &d) != EMULATE_DONE)
		return false;
	wide = *d;
	cpu.efer = 0;
	cpu.segment[X86_CS].access = 0xc09b;
	if (wide.instruction.length != t->size || decode(&cpu, t->bytes, (unsigned)t->size, &d) != EMULATE_DONE)
		return false;
	narrow = *d;
	if (wide.instruction.attributes & ZYDIS_ATTRIB_HAS_REX || wide.instruction.mnemonic != narrow.instruction.mnemonic ||
	    wide.instruction.length != narrow.instruction.length || strstr(t->text, "%fs") ||
	    wide.instruction.address_width != 64)
		return false;
	for (unsigned i = 0; i < wide.instruction.operand_count_visible; i++) {
		const ZydisDecodedOperand *a = &wide.operand[i], *b = &narrow.operand[i];

		if (a->type != b->type || a->size != b->size)
			return false;
		if (a->type == ZYDIS_OPERAND_TYPE_REGISTER && a->reg.value != b->reg.value)
			return false; /* VEX.R and vvvv reach eight registers only */
	}
	return true;
}

static void same_in_32bit_code(void **state)
{
	unsigned count = 0;

	(void)state;
	take_signals();
	for (const struct test_instruction *t = __start_instruction_table; t < __stop_instruction_table; t++) {
		if (!same_in_32bit(t))
			continue;
		for (unsigned i = 0; i < ROUNDS / 4; i++)
			check_once(t, &memories[0], false);
		count++;
	}
	assert_true(count > 400);
}

/* The length alone, for exits that do not report it; and what a cut instruction gives. */
static void lengths(void **state)
{
	struct x86_cpu_state cpu = {.efer = X86_EFER_LMA};

	(void)state;
	cpu.segment[X86_CS].access = 0xa09b;
	for (const struct test_instruction *t = __start_instruction_table; t < __stop_instruction_table; t++) {
		uint64_t last = 0, length = 0;

		for (uint64_t at = 0; at < t->size; at += length) {
			last = at;
			length = instruction_length(&cpu, t->bytes + at, t->size - at);
			assert_int_not_equal(length, 0);
		}
		assert_int_equal(last + length, t->size);
		assert_int_equal(instruction_length(&cpu, t->bytes + last, length - 1), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_the_cpu),
		cmocka_unit_test(same_in_32bit_code),
		cmocka_unit_test(state_area_in_32bit_code),
		cmocka_unit_test(lengths),
	};

	/* below 4 GiB, for 32-bit code */
	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || code == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
