/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulator against the CPU that runs this test: every instruction below is
 * executed natively on ordinary memory and emulated on a copy, from the same
 * random registers, flags and memory. Registers, memory and all flags that the
 * manual defines must come out the same.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/unit.h"
#include "visor/emulate/decode.h"
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
    ".set SHIFT, 0x10 | 0x800 | 1\n"  /* counts beyond 1 and beyond the width */
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
    "STRING b\n STRING w\n STRING l\n STRING q\n");

struct test_instruction {
	const uint8_t *bytes;
	uint64_t size;
	const char *text;
	uint64_t undefined;
};
extern const struct test_instruction __start_instruction_table[], __stop_instruction_table[];

/* ---- Native execution ------------------------------------------------------------------- */

struct native_state {
	uint64_t gpr[X86_GPR_COUNT];
	uint64_t rflags;
};

/* Load everything but RSP from the state in RDI; then the instruction; then store it all. */
asm(".pushsection native_code, \"a\"\n"
    "native_begin:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
    "pushq 128(%rdi); popfq\n"
    "mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
    "mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
    "mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
    "mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
    "mov 56(%rdi), %rdi\n"
    "native_middle:\n"
    "push %rax\n"
    "mov 8(%rsp), %rax\n"
    "mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rbp, 40(%rax)\n"
    "mov %rsi, 48(%rax); mov %rdi, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax)\n"
    "mov %r10, 80(%rax); mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax)\n"
    "mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
    "pushfq; popq 128(%rax)\n"
    "cld\n"
    "pop %rcx; mov %rcx, 0(%rax)\n"
    "pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n"
    "native_end:\n"
    ".popsection\n");
extern const uint8_t native_begin[], native_middle[], native_end[];

static uint8_t *code;

static void run_native(const struct test_instruction *t, struct native_state *s)
{
	size_t before = native_middle - native_begin, after = native_end - native_middle;

	memcpy(code, native_begin, before);
	memcpy(code + before, t->bytes, t->size);
	memcpy(code + before + t->size, native_middle, after);
	((void (*)(struct native_state *))(uintptr_t)code)(s);
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
	{.read = memory_read, .write = memory_write},
	{.read = memory_read, .write = memory_write, .page = memory_page, .written = memory_written, .ram_only = true},
};

static uint64_t segment_base_fs(void)
{
	uint64_t base;

	asm("movq %%fs:0, %0" : "=r"(base)); /* the ABI keeps the base there */
	return base;
}

static void emulate(const struct test_instruction *t, const struct guest_memory *memory, struct native_state *s)
{
	struct x86_cpu_state cpu = {.efer = X86_EFER_LMA, .cr0 = X86_CR0_PE, .rflags = s->rflags, .rip = 0x1000};
	struct emulate_info info;
	enum emulate_result result;
	uint16_t cs, ds;

	asm("mov %%cs, %0\n mov %%ds, %1" : "=r"(cs), "=r"(ds));
	cpu.segment[X86_CS] = (struct x86_segment){.selector = cs, .access = 0xa09b};
	cpu.segment[X86_DS] = (struct x86_segment){.selector = ds};
	cpu.segment[X86_FS].base = segment_base_fs();
	memcpy(cpu.gpr, s->gpr, sizeof(cpu.gpr));
	while (cpu.rip < 0x1000 + t->size) { /* behind a jump there is one more */
		uint64_t at = cpu.rip - 0x1000;

		result = emulate_instruction(&cpu, memory, t->bytes + at, t->size - at, UINT64_MAX, &info);
		if (result != EMULATE_DONE)
			fail_msg("%s: %s %s", t->text, emulate_result_name(result), info.reason);
	}
	assert_int_equal(cpu.rip, 0x1000 + t->size);
	memcpy(s->gpr, cpu.gpr, sizeof(cpu.gpr));
	s->rflags = cpu.rflags;
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

static void random_state(struct native_state *s)
{
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		s->gpr[i] = random_value();
	for (unsigned i = 0; i < BUFFER; i += 8) {
		uint64_t v = i < MIDDLE + 64 && i >= MIDDLE - 64 ? random_value() : random64() & 0x0101010101010101;

		memcpy(buffer + i, &v, 8);
	}
	s->gpr[X86_RBX] = (uintptr_t)buffer + MIDDLE;
	s->gpr[X86_RSI] = (uintptr_t)buffer + 1024;
	s->gpr[X86_RDI] = (uintptr_t)buffer + 3072;
	s->gpr[X86_RCX] = random64() % 40;
	s->gpr[X86_RDX] = (random64() % 4096) - 2048;
	s->gpr[X86_R8] = random64() % 8;
	if (random64() % 2) /* let compares succeed */
		memcpy(&s->gpr[X86_RAX], buffer + MIDDLE, 8);
	s->rflags = 0x202 | (random64() & STATUS_FLAGS) | (random64() % 2 ? DIRECTION : 0);
}

static void show(const struct test_instruction *t, const struct native_state *before,
                 const struct native_state *native, const struct native_state *emulated)
{
	print_error("%s\n", t->text);
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		if (native->gpr[i] != emulated->gpr[i])
			print_error("  gpr %u: %llx, native %llx, emulated %llx\n", i,
			            (unsigned long long)before->gpr[i], (unsigned long long)native->gpr[i],
			            (unsigned long long)emulated->gpr[i]);
	print_error("  flags: %llx, native %llx, emulated %llx; rax %llx rcx %llx\n",
	            (unsigned long long)before->rflags, (unsigned long long)native->rflags,
	            (unsigned long long)emulated->rflags, (unsigned long long)before->gpr[X86_RAX],
	            (unsigned long long)before->gpr[X86_RCX]);
}

/* A shift by one leaves only AF undefined, a shift by zero nothing; a random count may be either. */
static uint64_t compared_flags(const struct test_instruction *t)
{
	return (STATUS_FLAGS | DIRECTION) & ~t->undefined;
}

static void check_once(const struct test_instruction *t, const struct guest_memory *memory)
{
	static uint8_t before_bytes[BUFFER], native_bytes[BUFFER];
	struct native_state before, native, emulated;
	uint64_t flags = compared_flags(t);

	random_state(&before);
	native = emulated = before;
	memcpy(before_bytes, buffer, BUFFER);
	run_native(t, &native);
	memcpy(native_bytes, buffer, BUFFER);
	memcpy(buffer, before_bytes, BUFFER);
	emulate(t, memory, &emulated);
	if (memcmp(native.gpr, emulated.gpr, sizeof(native.gpr)) || ((native.rflags ^ emulated.rflags) & flags)) {
		show(t, &before, &native, &emulated);
		fail();
	}
	assert_memory_equal(buffer, native_bytes, BUFFER);
}

static void same_as_the_cpu(void **state)
{
	unsigned count = 0;

	(void)state;
	for (const struct test_instruction *t = __start_instruction_table; t < __stop_instruction_table; t++, count++)
		for (unsigned i = 0; i < ROUNDS; i++)
			check_once(t, &memories[i % 2 && !strstr(t->text, "movbe")]);
	assert_true(count > 300);
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
		cmocka_unit_test(lengths),
	};

	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || code == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
