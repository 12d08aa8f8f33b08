/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses that end outside memory, in every common instruction form: where
 * nothing is, and at the local and the I/O APIC.
 */
#include "space.h"

#define UNBACKED UINT64_C(0xd0000000)

typedef volatile uint8_t *m8;
typedef volatile uint16_t *m16;
typedef volatile uint32_t *m32;
typedef volatile uint64_t *m64;

static uint64_t ones; /* what a 64-bit read of nothing gives */

/* ---- Reads ------------------------------------------------------------------------- */

/* One instruction with an output register and a memory operand %1. */
#define READ(instruction, type, want) \
	do { \
		uint64_t r_ = 0x0123456789abcdef; \
		__asm__ volatile(instruction \
		                 : "+a"(r_) \
		                 : "m"(*(type)(UNBACKED + 0x128)) \
		                 : "cc"); \
		check_equal(r_, want, instruction); \
	} while (0)

static void plain_reads(void)
{
	uint64_t old = 0x0123456789abcdef;

	READ("movb %1, %b0", m8, (old & ~0xffull) | (ones & 0xff));
	READ("movb %1, %h0", m8, (old & ~0xff00ull) | (ones & 0xff00));
	READ("movw %1, %w0", m16, (old & ~0xffffull) | (ones & 0xffff));
	READ("movl %1, %k0", m32, ones & 0xffffffff);
	READ("movq %1, %q0", m64, ones);
	READ("movzbl %1, %k0", m8, ones & 0xff);
	READ("movzbq %1, %q0", m8, ones & 0xff);
	READ("movzwl %1, %k0", m16, ones & 0xffff);
	READ("movsbw %1, %w0", m8, (old & ~0xffffull) | (ones & 0xffff));
	READ("movsbl %1, %k0", m8, ones & 0xffffffff);
	READ("movsbq %1, %q0", m8, ones);
	READ("movswq %1, %q0", m16, ones);
	READ("movslq %1, %q0", m32, ones);
}

static void arithmetic_reads(void)
{
	uint64_t old = 0x0123456789abcdef;

	READ("addl %1, %k0", m32, (old + ones) & 0xffffffff);
	READ("subq %1, %q0", m64, old - ones);
	READ("andw %1, %w0", m16, (old & ~0xffffull) | (old & ones & 0xffff));
	READ("orb %1, %b0", m8, old | (ones & 0xff));
	READ("xorq %1, %q0", m64, old ^ ones);
	READ("imull %1, %k0", m32, (uint32_t)((uint32_t)old * (uint32_t)ones));
	READ("stc; adcl %1, %k0", m32, (old + ones + 1) & 0xffffffff);
	READ("clc; sbbl %1, %k0", m32, (old - ones) & 0xffffffff);
	READ("stc; cmovcq %1, %q0", m64, ones);
	READ("clc; cmovcq %1, %q0", m64, old);
}

static void flag_reads(void)
{
	bool zero, carry, sign;
	m32 p = (m32)UNBACKED;

	__asm__ volatile("cmpl %2, %1"
	                 : "=@ccz"(zero)
	                 : "m"(*p), "r"((uint32_t)ones));
	check(zero, "CMP m32, r32 with an equal value does not set ZF");
	__asm__ volatile("cmpl %1, %2"
	                 : "=@ccz"(zero)
	                 : "m"(*p), "r"((uint32_t)ones));
	check(zero, "CMP r32, m32 with an equal value does not set ZF");
	__asm__ volatile("cmpb $0x12, %1"
	                 : "=@ccz"(zero)
	                 : "m"(*(m8)p));
	check(!zero, "CMP m8, imm8 with another value sets ZF");
	__asm__ volatile("testl $0x80000000, %1"
	                 : "=@ccs"(sign)
	                 : "m"(*p));
	check_equal(sign, ones >> 63, "SF after TEST m32, imm32");
	__asm__ volatile("btl $5, %1"
	                 : "=@ccc"(carry)
	                 : "m"(*p));
	check_equal(carry, ones & 1, "CF after BT m32, imm8");
}

static void addressing_modes(void)
{
	uint64_t base = UNBACKED, index = 0x40, value;

	__asm__ volatile("movl 0x10(%1,%2,4), %k0"
	                 : "=r"(value)
	                 : "r"(base), "r"(index));
	check_equal(value, ones & 0xffffffff, "MOV with base, index and displacement");
	__asm__ volatile("movl 0x7ffffff0(%1), %k0"
	                 : "=r"(value)
	                 : "r"(base - 0x7ffffff0));
	check_equal(value, ones & 0xffffffff, "MOV with a 32-bit displacement");
	__asm__ volatile("movl (%k1), %k0"
	                 : "=r"(value)
	                 : "r"(base));
	check_equal(value, ones & 0xffffffff, "MOV with an address-size prefix");
	__asm__ volatile("movabsl 0xd0000200, %%eax"
	                 : "=a"(value));
	check_equal(value & 0xffffffff, ones & 0xffffffff, "MOV EAX, moffs");
	__asm__ volatile("movabsq 0xd0000200, %%rax"
	                 : "=a"(value));
	check_equal(value, ones, "MOV RAX, moffs");
	__asm__ volatile("mov %1, %%r13; movq (%%r13), %%r15; mov %%r15, %0"
	                 : "=r"(value)
	                 : "r"(base)
	                 : "r13", "r15");
	check_equal(value, ones, "MOV R15, [R13]");
	for (unsigned offset = 1; offset < 8; offset++) {
		check_equal(*(m64)(UNBACKED + offset), ones, "8 bytes, misaligned");
		check_equal(*(m32)(UNBACKED + offset), ones & 0xffffffff, "4 bytes, misaligned");
		check_equal(*(m64)(UNBACKED + PAGE - offset), ones, "8 bytes across two pages of nothing");
	}
}

/* ---- Writes and read-modify-write ------------------------------------------------------ */

static void plain_writes(void)
{
	m64 p = (m64)(UNBACKED + 0x300);
	uint64_t value = 0x1122334455667788;

	__asm__ volatile("movb $0x12, %0"
	                 : "=m"(*(m8)p));
	__asm__ volatile("movw $0x1234, %0"
	                 : "=m"(*(m16)p));
	__asm__ volatile("movl $0x12345678, %0"
	                 : "=m"(*(m32)p));
	__asm__ volatile("movq $0x12345678, %0"
	                 : "=m"(*p));
	__asm__ volatile("movb %b1, %0"
	                 : "=m"(*(m8)p)
	                 : "q"(value));
	__asm__ volatile("movb %h1, %0"
	                 : "=m"(*(m8)p)
	                 : "Q"(value));
	__asm__ volatile("movw %w1, %0"
	                 : "=m"(*(m16)p)
	                 : "r"(value));
	__asm__ volatile("movl %k1, %0"
	                 : "=m"(*(m32)p)
	                 : "r"(value));
	__asm__ volatile("movq %1, %0"
	                 : "=m"(*p)
	                 : "r"(value));
	__asm__ volatile("movnti %1, %0"
	                 : "=m"(*p)
	                 : "r"(value));
	__asm__ volatile("movabsl %%eax, 0xd0000300"
	                 :
	                 : "a"(value)
	                 : "memory");
	__asm__ volatile("setc %0"
	                 : "=m"(*(m8)p));
	*(m64)(UNBACKED + PAGE - 3) = value;
	check_equal(*p, ones, "nothing, after writes to it");
}

#define CHANGE(instruction, type) \
	do { \
		__asm__ volatile(instruction \
		                 : "+m"(*(type)(UNBACKED + 0x440)) \
		                 : "r"(0x5ull) \
		                 : "cc"); \
		check_equal(*(m64)(UNBACKED + 0x440), ones, "nothing, after " instruction); \
	} while (0)

static void changes(void)
{
	uint64_t value = 0x77;
	bool zero;

	CHANGE("addl $1, %0", m32);
	CHANGE("orb $1, %0", m8);
	CHANGE("andw $0x1234, %0", m16);
	CHANGE("xorq %1, %0", m64);
	CHANGE("subl %k1, %0", m32);
	CHANGE("incl %0", m32);
	CHANGE("decq %0", m64);
	CHANGE("notl %0", m32);
	CHANGE("negw %0", m16);
	CHANGE("shll $3, %0", m32);
	CHANGE("btsl $3, %0", m32);
	CHANGE("btrl $3, %0", m32);
	CHANGE("lock; addl %k1, %0", m32);
	CHANGE("lock; decl %0", m32);

	__asm__ volatile("xchgl %k0, %1"
	                 : "+r"(value), "+m"(*(m32)(UNBACKED + 8)));
	check_equal(value, ones & 0xffffffff, "value that XCHG took out of nothing");
	value = 3;
	__asm__ volatile("lock; xaddl %k0, %1"
	                 : "+r"(value), "+m"(*(m32)(UNBACKED + 8)));
	check_equal(value, ones & 0xffffffff, "value that XADD took out of nothing");
	value = ones & 0xffffffff;
	__asm__ volatile("lock; cmpxchgl %k3, %1"
	                 : "+a"(value), "+m"(*(m32)(UNBACKED + 8)), "=@ccz"(zero)
	                 : "r"(9));
	check(zero, "CMPXCHG with an equal value does not set ZF");
	value = 0x1234;
	__asm__ volatile("lock; cmpxchgl %k3, %1"
	                 : "+a"(value), "+m"(*(m32)(UNBACKED + 8)), "=@ccz"(zero)
	                 : "r"(9));
	check(!zero && value == (ones & 0xffffffff), "CMPXCHG with another value: EAX 0x%lx", value);
	__asm__ volatile("addl $1, %1"
	                 : "=@ccz"(zero)
	                 : "m"(*(m32)(UNBACKED + 8)));
	check_equal(zero, ones & 1, "ZF after ADD m32, 1");
}

/* ---- Strings and the stack ----------------------------------------------------------------- */

static void strings(uint64_t ram)
{
	const void *s = (const void *)UNBACKED;
	void *d = (void *)(uintptr_t)ram;
	uint64_t n = 40, value;
	bool equal;

	memset(d, 0x33, 512);
	__asm__ volatile("rep movsb"
	                 : "+S"(s), "+D"(d), "+c"(n)
	                 :
	                 : "memory");
	check(n == 0 && load(ram + 32) == ones && load(ram + 40) == 0x3333333333333333, "REP MOVSB out of nothing");
	n = 5;
	__asm__ volatile("rep movsq"
	                 : "+S"(s), "+D"(d), "+c"(n)
	                 :
	                 : "memory");
	check(n == 0 && load(ram + 72) == ones && load(ram + 80) == 0x3333333333333333, "REP MOVSQ out of nothing");
	check_equal((uintptr_t)s, UNBACKED + 80, "RSI after the string moves");

	s = (const void *)(uintptr_t)ram;
	d = (void *)(UNBACKED + PAGE - 16);
	n = 8;
	__asm__ volatile("rep movsl"
	                 : "+S"(s), "+D"(d), "+c"(n)
	                 :
	                 : "memory");
	check((uintptr_t)d == UNBACKED + PAGE + 16 && n == 0, "RDI after REP MOVSD across pages of nothing");
	n = 8;
	__asm__ volatile("rep stosw"
	                 : "+D"(d), "+c"(n)
	                 : "a"(1)
	                 : "memory");
	check((uintptr_t)d == UNBACKED + PAGE + 32 && n == 0, "RDI after REP STOSW");
	__asm__ volatile("std; stosl; cld"
	                 : "+D"(d)
	                 : "a"(1)
	                 : "memory");
	check_equal((uintptr_t)d, UNBACKED + PAGE + 28, "RDI after a backward STOSD");

	s = (const void *)UNBACKED;
	__asm__ volatile("lodsq"
	                 : "+S"(s), "=a"(value));
	check(value == ones && (uintptr_t)s == UNBACKED + 8, "LODSQ from nothing");
	d = (void *)UNBACKED;
	__asm__ volatile("scasl"
	                 : "+D"(d), "=@ccz"(equal)
	                 : "a"((uint32_t)ones));
	check(equal && (uintptr_t)d == UNBACKED + 4, "SCASD at nothing");
}

static void stack_forms(uint64_t ram)
{
	uint64_t value;

	__asm__ volatile("pushq %1; popq %0"
	                 : "=r"(value)
	                 : "m"(*(m64)UNBACKED));
	check_equal(value, ones, "PUSH m64 from nothing");
	store(ram, 0x99);
	__asm__ volatile("pushq %1; popq %0"
	                 : "=m"(*(m64)UNBACKED)
	                 : "m"(*(m64)ram));
	check_equal(*(m64)UNBACKED, ones, "nothing, after POP m64");
}

/* ---- Where memory ends ------------------------------------------------------------------------ */

static void edge_of_memory(void)
{
	uint64_t end = ram_end();

	if (!device_present()) {
		skip("mmio: edge of memory, a bare machine keeps firmware tables there");
		return;
	}
	store(end - 8, 0x1122334455667788);
	check_equal(load(end - 4), ones << 32 | 0x11223344, "8 bytes of which 4 lie beyond memory");
	store(end - 4, 0xaabbccdd99887766);
	check_equal(load(end - 8), 0x9988776655667788, "the bytes below the edge after a write across it");
	check_equal(load(end), ones, "the bytes beyond the edge");
}

/* ---- APICs -------------------------------------------------------------------------------------- */

static void local_apic(void)
{
	m32 tpr = (m32)(APIC_BASE + APIC_TPR);
	uint32_t value = 0x30;

	check(apic_read(APIC_VERSION) != 0 && apic_read(APIC_VERSION) != 0xffffffff, "local APIC version 0x%x",
	      apic_read(APIC_VERSION));
	__asm__ volatile("movl $0x20, %0"
	                 : "=m"(*tpr));
	check_equal(*tpr, 0x20, "TPR after MOV m32, imm32");
	__asm__ volatile("movl %1, %0"
	                 : "=m"(*tpr)
	                 : "r"(value));
	check_equal(*tpr, 0x30, "TPR after MOV m32, r32");
	__asm__ volatile("orl $0x40, %0"
	                 : "+m"(*tpr));
	check_equal(*tpr, 0x70, "TPR after OR m32, imm");
	__asm__ volatile("andl %1, %0"
	                 : "+m"(*tpr)
	                 : "r"(0x50));
	check_equal(*tpr, 0x50, "TPR after AND m32, r32");
	__asm__ volatile("addl $0x10, %0"
	                 : "+m"(*tpr));
	check_equal(*tpr, 0x60, "TPR after ADD m32, imm");
	__asm__ volatile("xorl $0x20, %0"
	                 : "+m"(*tpr));
	check_equal(*tpr, 0x40, "TPR after XOR m32, imm");
	value = 0x80;
	__asm__ volatile("xchgl %0, %1"
	                 : "+r"(value), "+m"(*tpr));
	check(value == 0x40 && *tpr == 0x80, "XCHG with the TPR: took 0x%x, left 0x%x", value, *tpr);
	__asm__ volatile("movl $0, %0"
	                 : "=m"(*tpr));
	check_equal(*tpr, 0, "TPR after 0");
	apic_write(APIC_LDR, 0x5a000000);
	check_equal(apic_read(APIC_LDR), 0x5a000000, "logical destination register");
	apic_write(APIC_LDR, 0);
}

/* ---- The reads that the visor carries out the short way (visor/exit/quick_access.h) ------------- */

#define APIC_LOAD(form, ...) \
	({ \
		uint32_t r_; \
		__asm__ volatile("movl " form ", %0" \
		                 : "=r"(r_) \
		                 : __VA_ARGS__); \
		r_; \
	})

static void plain_loads(void)
{
	const uint64_t base = APIC_BASE;
	uint64_t wide = UINT64_MAX, stack;

	check_equal(APIC_LOAD("(%1)", "r"(base + APIC_VERSION)), apic_read(APIC_VERSION), "local APIC by a register");
	check_equal(APIC_LOAD("0x30(%1)", "r"(base)), apic_read(APIC_VERSION), "... and 8 bits");
	check_equal(APIC_LOAD("0x80030(%1)", "r"(base - 0x80000)), apic_read(APIC_VERSION), "... and 32 bits");
	check_equal(APIC_LOAD("(%1,%2,8)", "r"(base), "r"(UINT64_C(6))), apic_read(APIC_VERSION), "... and an index");
	check_equal(APIC_LOAD("0x10(%1,%2,1)", "r"(base + PAGE), "r"(0x20 - PAGE)), apic_read(APIC_VERSION), "... from above");
	__asm__ volatile("movl (%1), %k0"
	                 : "+r"(wide)
	                 : "r"(base + APIC_VERSION));
	check_equal(wide, apic_read(APIC_VERSION), "64 bits after a load of 32");
	__asm__ volatile("mov %%rsp, %1; movl (%2), %%esp; mov %%rsp, %0; mov %1, %%rsp"
	                 : "=&r"(wide), "=&r"(stack)
	                 : "r"(base + APIC_VERSION)
	                 : "memory");
	check_equal(wide, apic_read(APIC_VERSION), "RSP after a load of ESP");
	__asm__ volatile("mov %%rsp, %1; mov %2, %%rsp; movl 0x30(%%rsp), %k0; mov %1, %%rsp"
	                 : "=&r"(wide), "=&r"(stack)
	                 : "r"(base)
	                 : "memory");
	check_equal(wide, apic_read(APIC_VERSION), "local APIC by RSP");
	wide = base + APIC_VERSION;
	__asm__ volatile("movl %%ds:(%%rax), %%eax"
	                 : "+a"(wide));
	check_equal(wide, apic_read(APIC_VERSION), "EAX by RAX");
	check_equal(*(m32)(base + APIC_VERSION + 4), 0, "what lies behind a register");
	check_equal(*(m16)(base + APIC_VERSION), apic_read(APIC_VERSION) & 0xffff, "half a register");
}

/* An instruction that begins on one page and ends on the next. */
static void load_across_pages(uint64_t ram)
{
	static const uint8_t code[] = {0x8b, 0x87, 0x30, 0, 0, 0, 0xc3}; /* mov 0x30(%rdi), %eax; ret */

	for (unsigned at = 1; at < sizeof(code); at++) {
		uint8_t *begin = (uint8_t *)(uintptr_t)ram + PAGE - at;

		memcpy(begin, code, sizeof(code));
		check_equal(((uint32_t(*)(uint64_t))(uintptr_t)begin)(APIC_BASE), apic_read(APIC_VERSION),
		            "local APIC by code on two pages");
	}
}

/* Code that changes is seen to change, also where it was met before. */
static void changing_load(uint64_t ram)
{
	uint8_t code[] = {0x8b, 0x47, 0x30, 0xc3};
	uint32_t (*run)(uint64_t) = (uint32_t(*)(uint64_t))(uintptr_t)ram;

	for (unsigned i = 0; i < 100; i++) {
		code[2] = i % 2 ? APIC_VERSION : APIC_ID;
		memcpy((void *)(uintptr_t)ram, code, sizeof(code));
		check_equal(run(APIC_BASE), i % 2 ? apic_read(APIC_VERSION) : apic_read(APIC_ID), "local APIC by code that changes");
	}
}

static unsigned timer_interrupts;

static void timer_interrupt(struct frame *f)
{
	(void)f;
	timer_interrupts++;
	apic_write(APIC_EOI, 0);
}

/* Nothing but reads: what happens in time is seen all the same, whoever reads. */
static void count_down(void)
{
	uint32_t before = UINT32_MAX, now = 0, reads;

	apic_enable();
	apic_write(APIC_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR_APIC); /* interrupts are off */
	apic_write(APIC_INITIAL_COUNT, 40000000);
	for (reads = 0; reads < 20000000; reads++) {
		now = apic_read(APIC_CURRENT_COUNT);
		if (now > before || !now)
			break;
		before = now;
	}
	check(!now && reads > 100, "the timer's count after %u reads is %u, before that %u", reads, now, before);
	check(apic_read(0x200 + VECTOR_APIC / 32 * 0x10) >> VECTOR_APIC % 32 & 1, "the timer has run down, and the IRR does not say so");
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	on_interrupt(VECTOR_APIC, timer_interrupt);
	interrupts_on();
	for (reads = 0; reads < 1000; reads++)
		(void)apic_read(APIC_ID);
	interrupts_off();
	check_equal(timer_interrupts, 1, "interrupts of the timer while the local APIC is read");
}

static void missing_register(void)
{
	apic_write(0x280, 0);
	apic_write(0x280, 0);
	check_equal(apic_read(0x280), 0, "error status of the local APIC");
	check_equal(apic_read(0x40), 0, "a register that is not there");
	apic_write(0x280, 0);
	check_equal(apic_read(0x280), 0x80, "error status after a read of a register that is not there");
	apic_write(0x280, 0);
}

/* ---- What the visor has the CPU carry out on a copy ------------------------------------------- */

static void divide_by_tpr(void *unused)
{
	(void)unused;
	__asm__ volatile("divl %0"
	                 :
	                 : "m"(*(m32)(APIC_BASE + APIC_TPR)), "a"(100), "d"(0)
	                 : "cc");
}

static void whole_arithmetic(void)
{
	m32 tpr = (m32)(APIC_BASE + APIC_TPR);
	uint32_t low, high = 0;
	bool zero;

	*tpr = 0x60;
	__asm__ volatile("bsfl %1, %0"
	                 : "=r"(low)
	                 : "m"(*tpr)
	                 : "cc");
	check_equal(low, 5, "BSF r32, m32");
	__asm__ volatile("bsrl %1, %0"
	                 : "=r"(low)
	                 : "m"(*tpr)
	                 : "cc");
	check_equal(low, 6, "BSR r32, m32");
	__asm__ volatile("mull %3"
	                 : "=a"(low), "=d"(high)
	                 : "a"(0x80000000), "m"(*tpr)
	                 : "cc");
	check(low == 0 && high == 0x30, "MUL m32: 0x%x, 0x%x", high, low);
	__asm__ volatile("imull %3"
	                 : "=a"(low), "=d"(high)
	                 : "a"(-2), "m"(*tpr)
	                 : "cc");
	check(low == (uint32_t)-0xc0 && high == UINT32_MAX, "IMUL m32: 0x%x, 0x%x", high, low);
	__asm__ volatile("divl %3"
	                 : "=a"(low), "=d"(high)
	                 : "a"(1000), "m"(*tpr), "d"(0)
	                 : "cc");
	check(low == 1000 / 0x60 && high == 1000 % 0x60, "DIV m32: %u, rest %u", low, high);
	__asm__ volatile("idivl %3"
	                 : "=a"(low), "=d"(high)
	                 : "a"(-1000), "m"(*tpr), "d"(-1)
	                 : "cc");
	check(low == (uint32_t)(-1000 / 0x60) && high == (uint32_t)(-1000 % 0x60), "IDIV m32: 0x%x, 0x%x", low, high);
	__asm__ volatile("shldl $4, %1, %0"
	                 : "+m"(*tpr)
	                 : "r"(0x50000000)
	                 : "cc");
	check_equal(*tpr, 0x05, "TPR after SHLD m32, r32, imm8"); /* 60h << 4 | 5, of which eight bits are there */
	*tpr = 0x60;
	__asm__ volatile("shrdl %%cl, %1, %0"
	                 : "+m"(*tpr)
	                 : "r"(0), "c"(1)
	                 : "cc");
	check_equal(*tpr, 0x30, "TPR after SHRD m32, r32, CL");
	__asm__ volatile("clc; rcrl $1, %0"
	                 : "+m"(*tpr)
	                 :
	                 : "cc");
	check_equal(*tpr, 0x18, "TPR after RCR m32, 1");
	*tpr = 0;
	__asm__ volatile("bsfl %1, %k2"
	                 : "=@ccz"(zero)
	                 : "m"(*tpr), "r"(0)
	                 : "cc");
	check(zero, "BSF of 0 leaves ZF clear");
	check_equal(vector_of(divide_by_tpr, NULL), 0, "vector of DIV by a register that reads 0");
}

/* The control word that the boot loader left, and the state of a reset. */
static void x87(void)
{
	m32 tpr = (m32)(APIC_BASE + APIC_TPR);
	uint64_t image[512 / 8] __attribute__((aligned(16))) = {0}, at;
	uint16_t control = 0x37f;
	uint64_t sum;

	*tpr = 0x60;
	__asm__ volatile("fninit; fldcw %1; fildl %2; lea 1f(%%rip), %0; 1: fiaddl %2"
	                 : "=r"(at)
	                 : "m"(control), "m"(*tpr));
	__asm__ volatile("fxsave64 %0"
	                 : "=m"(image));
	/* The guest's own addresses, not the visor's; QEMU keeps none. */
	check(image[1] == at || !image[1], "FIP after FIADD m32: 0x%lx instead of 0x%lx", image[1], at);
	check(image[2] == APIC_BASE + APIC_TPR || !image[1], "FDP after FIADD m32: 0x%lx", image[2]);
	__asm__ volatile("fistpll %0"
	                 : "=m"(sum));
	check_equal(sum, 0xc0, "FILD m32, FIADD m32");
	__asm__ volatile("fildll %1; fistpl %0"
	                 : "=m"(*tpr)
	                 : "m"((uint64_t){0x70}));
	check_equal(*tpr, 0x70, "TPR after FISTP m32");
	__asm__ volatile("movd %1, %%mm1; paddd %%mm1, %%mm1; movd %%mm1, %k0; emms"
	                 : "=r"(sum)
	                 : "m"(*tpr));
	check_equal(sum, 0xe0, "MOVD mm, m32");
	__asm__ volatile("movd %1, %%mm1; movq %%mm1, %0; emms"
	                 : "=m"(*(m64)tpr)
	                 : "r"(0x20));
	check_equal(*tpr, 0x20, "TPR after MOVQ m64, mm");
}

static void vectors(void)
{
	m32 tpr = (m32)(APIC_BASE + APIC_TPR);
	uint64_t pair[2], nothing[2];

	*tpr = 0x40;
	__asm__ volatile("movdqu %2, %%xmm3; paddd %%xmm3, %%xmm3; movdqu %%xmm3, %0; movups %3, %%xmm9; movups %%xmm9, %1"
	                 : "=m"(pair), "=m"(nothing)
	                 : "m"(*(const uint64_t(*)[2])tpr), "m"(*(const uint64_t(*)[2])(UNBACKED + 0xff9)));
	check(pair[0] == 0x80 && pair[1] == 0, "MOVDQU xmm, m128: 0x%lx, 0x%lx", pair[1], pair[0]);
	check(nothing[0] == ones && nothing[1] == ones, "MOVUPS xmm, m128 across two pages of nothing");
	__asm__ volatile("movd %1, %%xmm10; movss %%xmm10, %0"
	                 : "=m"(*tpr)
	                 : "r"(0x10));
	check_equal(*tpr, 0x10, "TPR after MOVSS m32, xmm");
	__asm__ volatile("movd %1, %%xmm1; paddd %2, %%xmm1; movd %%xmm1, %k0"
	                 : "=r"(pair[0])
	                 : "r"(5), "m"(*(const uint64_t(*)[2])tpr));
	check_equal(pair[0], 0x15, "PADDD xmm, m128");
	*tpr = 0;
}

/* AVX where it is offered: the 256 bits of eight registers side by side. */
static void wide_vectors(void)
{
	uint64_t value[4];

	if ((cpuid(1, 0).c & (1u << 26 | 1u << 28)) != (1u << 26 | 1u << 28)) {
		skip("mmio: no AVX");
		return;
	}
	write_cr4(read_cr4() | 1 << 18);
	__asm__ volatile("xsetbv"
	                 :
	                 : "a"(7), "d"(0), "c"(0));
	__asm__ volatile("vmovdqu %1, %%ymm5; vmovdqu %%ymm5, %2; vmovdqu %%ymm5, %0"
	                 : "=m"(value)
	                 : "m"(*(const uint64_t(*)[4])(UNBACKED + 0x80)), "m"(*(uint64_t(*)[4])(UNBACKED + 0x100)));
	for (unsigned i = 0; i < 4; i++)
		check_equal(value[i], ones, "VMOVDQU ymm, m256");
	*(m32)(APIC_BASE + APIC_TPR) = 0x50;
	__asm__ volatile("vbroadcastss %1, %%ymm6; vmovups %%ymm6, %0"
	                 : "=m"(value)
	                 : "m"(*(m32)(APIC_BASE + APIC_TPR)));
	check(value[0] == 0x5000000050 && value[3] == 0x5000000050, "VBROADCASTSS ymm, m32: 0x%lx", value[3]);
	*(m32)(APIC_BASE + APIC_TPR) = 0;
}

#define AREA(gpa) (*(uint8_t(*)[4096])(gpa))

static void save_to_nothing(void *unused)
{
	(void)unused;
	__asm__ volatile("fxsave %0; fxsave64 %0"
	                 : "=m"(AREA(UNBACKED + 2 * PAGE)));
}

/* Ones: reserved bits of MXCSR among them. */
static void restore_from_nothing(void *unused)
{
	(void)unused;
	__asm__ volatile("fxrstor64 %0"
	                 :
	                 : "m"(AREA(UNBACKED + 2 * PAGE)));
}

static void save_all_to_nothing(void *unused)
{
	(void)unused;
	__asm__ volatile("xsave64 %0"
	                 : "+m"(AREA(UNBACKED + 2 * PAGE))
	                 : "a"(7), "d"(0));
}

static void restore_all_from_nothing(void *unused)
{
	(void)unused;
	__asm__ volatile("xrstor64 %0"
	                 :
	                 : "m"(AREA(UNBACKED + 2 * PAGE)), "a"(7), "d"(0));
}

static void save_unaligned(void *unused)
{
	(void)unused;
	__asm__ volatile("fxsave64 %0"
	                 : "=m"(AREA(UNBACKED + 8)));
}

static void return_to_nothing(void *unused)
{
	(void)unused;
	__asm__ volatile("mov %0, %%rsp; lretq"
	                 :
	                 : "r"(UNBACKED + 0x800)
	                 : "memory");
}

static void interrupt_return_to_nothing(void *unused)
{
	(void)unused;
	__asm__ volatile("mov %0, %%rsp; iretq"
	                 :
	                 : "r"(UNBACKED + 0x800)
	                 : "memory");
}

/* State areas, and stacks that hold ones. */
static void whole_states(void)
{
	int vector;

	check_equal(vector_of(save_to_nothing, NULL), -1, "FXSAVE to nothing");
	vector = vector_of(restore_from_nothing, NULL);
	check(vector == VECTOR_GP || vector == -1, "FXRSTOR of ones ends with vector %d", vector); /* QEMU's CPU takes them */
	__asm__ volatile("fninit; ldmxcsr %0"
	                 :
	                 : "m"((uint32_t){0x1f80}));
	check_equal(vector_of(save_unaligned, NULL), VECTOR_GP, "FXSAVE to nothing, not aligned");
	if (cpuid(1, 0).c & 1u << 27) { /* OSXSAVE, as wide_vectors leaves it */
		check_equal(vector_of(save_all_to_nothing, NULL), -1, "XSAVE to nothing");
		check_equal(vector_of(restore_all_from_nothing, NULL), VECTOR_GP, "XRSTOR of ones");
	}
	interrupt_stack(VECTOR_GP, take_ram(2 * MIB) + MIB);
	check_equal(vector_of(return_to_nothing, NULL), VECTOR_GP, "far RET to what nothing holds");
	check_equal(last_trap.error, 0xfffc, "error code of it");
	check_equal(vector_of(interrupt_return_to_nothing, NULL), VECTOR_GP, "IRET to what nothing holds");
	check_equal(last_trap.error, 0xfffc, "error code of it");
	interrupt_stack(VECTOR_GP, 0);
}

static uint32_t ioapic_read(unsigned reg)
{
	*(m32)IOAPIC_BASE = reg;
	return *(m32)(IOAPIC_BASE + 0x10);
}

static void ioapic_write(unsigned reg, uint32_t value)
{
	*(m32)IOAPIC_BASE = reg;
	*(m32)(IOAPIC_BASE + 0x10) = value;
}

static void io_apic(void)
{
	unsigned last = ioapic_read(1) >> 16 & 0xff;

	check_equal(last, 23, "last redirection entry of the I/O APIC");
	for (unsigned pin = 0; pin <= last && pin < 24; pin++) {
		ioapic_write(0x11 + 2 * pin, 0x01000000 * (pin & 0xf));
		ioapic_write(0x10 + 2 * pin, 0x10000 | (0x50 + pin));
	}
	for (unsigned pin = 0; pin <= last && pin < 24; pin++) {
		check_equal(ioapic_read(0x10 + 2 * pin), 0x10000 | (0x50 + pin), "redirection entry");
		check_equal(ioapic_read(0x11 + 2 * pin), 0x01000000 * (pin & 0xf), "redirection destination");
	}
}

/* An MMIO page costs one entry; after that its accesses write nothing. */
static void cached_entry(void)
{
	uint64_t writes;

	(void)*(m32)(UNBACKED + 64 * PAGE);
	device_ok("statistics", TEST_STAT, 0, 0, 0, 0);
	writes = last_command.result[2];
	for (unsigned i = 0; i < 500; i++)
		check_equal(*(m32)(UNBACKED + 64 * PAGE + 4 * i), ones & 0xffffffff, "nothing, repeatedly");
	device_ok("statistics", TEST_STAT, 0, 0, 0, 0);
	check_equal(last_command.result[2], writes, "entry writes after 500 reads of a page of nothing");
	print("EXPECT untouched 0x%lx 0x%lx\n", UNBACKED, 256 * PAGE);
}

void test_mmio(void)
{
	uint64_t ram = take_ram(2 * MIB);

	ones = nothing_there(8);
	plain_reads();
	arithmetic_reads();
	flag_reads();
	addressing_modes();
	plain_writes();
	changes();
	strings(ram);
	stack_forms(ram);
	edge_of_memory();
	local_apic();
	plain_loads();
	load_across_pages(ram);
	changing_load(ram);
	count_down();
	missing_register();
	whole_arithmetic();
	x87();
	vectors();
	wide_vectors();
	if (device_present())
		whole_states();
	io_apic();
	if (device_present()) {
		cached_entry();
		audit("after MMIO");
	}
}
