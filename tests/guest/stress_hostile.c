/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that does anything: random MSRs, control and debug registers, ports, device
 * memory, INS and OUTS, the instructions of VMX and SVM, in an order that its seed says.
 * Each of them may be refused, and none may do anything to the machine below, or to this
 * guest: it leaves out only what would rightly end it (hostile-trace=1 names each one
 * before it is done, so that the last is known).
 */
#include "space.h"
#include "visor/vm/test_device.h"

#define SCRATCH_BYTES (64 * PAGE)
#define CANARY_BYTES (64 * PAGE)
#define PAGE_OF_NOTHING UINT64_C(0xd0000000)

struct attempt {
	const char *what;
	uint64_t a, b, c;
};

static uint64_t scratch, canary, home;
static uint64_t code_page;
static unsigned taken, refused;
static bool trace;

static void nothing_to_do(struct frame *f)
{
	(void)f;
}

/* A breakpoint of its own: off with all of them, or there would be no end of them. */
static void on_debug(struct frame *f)
{
	f->rflags |= 1 << 16; /* RF */
	__asm__ volatile("mov %0, %%dr7"
	                 :
	                 : "r"((uintptr_t)0x400));
}

static void attempt(void (*function)(void *), struct attempt *a)
{
	int vector;

	if (trace)
		print("%s 0x%lx 0x%lx 0x%lx\n", a->what, a->a, a->b, a->c);
	vector = vector_of(function, a);
	if (trace && vector >= 0)
		print("  vector %u, error 0x%lx, cr2 0x%lx\n", (unsigned)vector, last_trap.error, last_trap.cr2);
	*(vector < 0 ? &taken : &refused) += 1;
	/* #DF, #TS, #NP or #SS would be no answer to anything here; others are. */
	check(vector < 0 || (vector != 8 && vector != 10 && vector != 15), "%s 0x%lx 0x%lx 0x%lx ends with vector %d",
	      a->what, a->a, a->b, a->c, vector);
}

/* ---- values -------------------------------------------------------------------------- */

/* One bit, a few, small, all ones, canonical and not, anything. */
static uint64_t value(void)
{
	switch (random_pick(8)) {
	case 0: return UINT64_C(1) << random_pick(64);
	case 1: return random_pick(256);
	case 2: return ALL_ONES << random_pick(64);
	case 3: return random_next() & random_next() & random_next();
	case 4: return scratch + random_pick(SCRATCH_BYTES);
	case 5: return (uint32_t)random_next();
	case 6: return 0;
	default: return random_next();
	}
}

/* ---- model-specific registers ------------------------------------------------------------ */

/* Ranges of numbers in which there are some. */
static const struct {
	uint32_t first, count;
} msr_ranges[] = {
	{0, 0x100},
	{0x100, 0x100},
	{0x170, 0x30},
	{0x1a0, 0x60},
	{0x200, 0x100},
	{0x300, 0xb0},
	{0x400, 0x80},
	{0x480, 0x20},
	{0x570, 0x20},
	{0x6e0, 1},
	{0x800, 0x40},
	{0xc80, 0x20},
	{0xda0, 1},
	{0xc0000080, 8},
	{0xc0000100, 4},
	{0xc0010000, 0x120},
	{0xc0011000, 0x40},
	{0x40000000, 0x20},
	{0x40000070, 0x10},
	{0x4b564d00, 8},
};

static uint32_t some_msr(void)
{
	unsigned i = random_pick(sizeof(msr_ranges) / sizeof(msr_ranges[0]));

	return random_pick(16) ? msr_ranges[i].first + random_pick(msr_ranges[i].count) : (uint32_t)value();
}

/*
 * What a guest may do to itself: a paravirtual clock writes where it is told to; the APIC's base and an INIT by
 * x2APIC change what this guest stands on; EFER has an attempt of its own.
 */
static bool ends_the_guest(uint32_t msr, uint64_t v)
{
	(void)v;
	return msr == 0x11 || msr == 0x12 || msr == 0x1b || msr == 0x4b564d00 || msr == 0x4b564d01 || msr == 0x830 ||
	       msr == 0x83f || msr == 0xc0000080;
}

static void do_rdmsr(void *argument)
{
	struct attempt *a = argument;

	a->b = read_msr((uint32_t)a->a);
}

static void do_wrmsr(void *argument)
{
	struct attempt *a = argument;

	write_msr((uint32_t)a->a, a->b);
}

static void msrs(void)
{
	struct attempt a = {.what = "rdmsr", .a = some_msr()};
	uint64_t old;

	attempt(do_rdmsr, &a);
	old = a.b;
	if (ends_the_guest((uint32_t)a.a, a.b))
		return;
	a.what = "wrmsr";
	a.b = random_pick(2) ? value() : old ^ UINT64_C(1) << random_pick(64);
	attempt(do_wrmsr, &a);
	a.b = old; /* PAT and the like back */
	attempt(do_wrmsr, &a);
}

static void do_efer(void *argument)
{
	write_msr((uint32_t)MSR_EFER, ((struct attempt *)argument)->a);
}

static void efer(void)
{
	uint64_t old = read_msr((uint32_t)MSR_EFER);
	struct attempt a = {.what = "efer", .a = old ^ UINT64_C(1) << random_pick(64)};

	attempt(do_efer, &a);
	write_msr((uint32_t)MSR_EFER, old);
}

/* ---- control and debug registers ----------------------------------------------------------- */

static void do_cr0(void *argument) { write_cr0(((struct attempt *)argument)->a); }
static void do_cr3(void *argument) { write_cr3(((struct attempt *)argument)->a); }
static void do_cr4(void *argument) { write_cr4(((struct attempt *)argument)->a); }
static void do_cr8(void *argument) { __asm__ volatile("mov %0, %%cr8"
	                                              :
	                                              : "r"(((struct attempt *)argument)->a)); }
static void do_lmsw(void *argument) { __asm__ volatile("lmsw %w0"
	                                               :
	                                               : "r"(((struct attempt *)argument)->a)); }

static bool checks_cr3(void)
{
	return on_shadow_tables() || cpuid(0, 0).b == 0x756e6547; /* "Genu": Bochs */
}

/* What is allowed must do what it says, and is undone: a guest with other paging would not be this one. */
static void control(void)
{
	uint64_t cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
	struct attempt a = {0};

	switch (random_pick(6)) {
	case 0:
		a = (struct attempt){.what = "cr0", .a = cr0 ^ UINT64_C(1) << random_pick(64)};
		attempt(do_cr0, &a);
		write_cr0(cr0);
		break;
	case 1:
		a = (struct attempt){.what = "cr0", .a = cr0 ^ (value() & ~UINT64_C(0x80000001))};
		attempt(do_cr0, &a);
		write_cr0(cr0);
		break;
	case 2: /* the same tables, with bits that mean little; reserved ones where the CPU refuses them: QEMU's does not */
		a = (struct attempt){
			.what = "cr3",
			.a = cr3 | (value() & (checks_cr3() ? 0xffff000000000fff : 0xfff)),
		};
		attempt(do_cr3, &a);
		write_cr3(cr3);
		break;
	case 3:
		a = (struct attempt){.what = "cr4", .a = cr4 ^ UINT64_C(1) << random_pick(64)};
		attempt(do_cr4, &a);
		write_cr4(cr4);
		break;
	case 4:
		a = (struct attempt){.what = "cr8", .a = value()};
		attempt(do_cr8, &a);
		break;
	default:
		a = (struct attempt){.what = "lmsw", .a = value() & 0xffff};
		attempt(do_lmsw, &a);
		write_cr0(cr0);
	}
	check(read_cr0() == cr0 && read_cr3() == cr3 && read_cr4() == cr4, "%s 0x%lx: cr0 0x%lx, cr3 0x%lx, cr4 0x%lx after it",
	      a.what, a.a, read_cr0(), read_cr3(), read_cr4());
}

static void do_debug(void *argument)
{
	const struct attempt *a = argument;

	switch (a->b) {
	case 0:
		__asm__ volatile("mov %0, %%dr0"
		                 :
		                 : "r"(a->a));
		break;
	case 1:
		__asm__ volatile("mov %0, %%dr1"
		                 :
		                 : "r"(a->a));
		break;
	case 2:
		__asm__ volatile("mov %0, %%dr2"
		                 :
		                 : "r"(a->a));
		break;
	case 3:
		__asm__ volatile("mov %0, %%dr3"
		                 :
		                 : "r"(a->a));
		break;
	case 4:
		__asm__ volatile("mov %0, %%dr4"
		                 :
		                 : "r"(a->a));
		break;
	case 5:
		__asm__ volatile("mov %0, %%dr5"
		                 :
		                 : "r"(a->a));
		break;
	case 6:
		__asm__ volatile("mov %0, %%dr6"
		                 :
		                 : "r"(a->a));
		break;
	default: __asm__ volatile("mov %0, %%dr7"
		                  :
		                  : "r"(a->a));
	}
}

/*
 * Breakpoints anywhere, at the visor's addresses too; but not in this guest's own image,
 * where the handler of #DB would meet one for ever.
 */
static void debug(void)
{
	extern const uint8_t image_start[], image_end[];

	for (unsigned i = 0; i < 4; i++) {
		struct attempt a = {
			.what = "dr",
			.a = random_pick(2) ? value() : random_pick(0x200000),
			.b = random_pick(8),
		};

		if (a.b < 4 && a.a + 8 > (uintptr_t)image_start && a.a < (uintptr_t)image_end)
			a.a += 0x200000;
		attempt(do_debug, &a);
	}
	(void)cpuid(0, 0);
	__asm__ volatile("mov %0, %%dr7"
	                 :
	                 : "r"((uintptr_t)0x400));
}

/* ---- ports ------------------------------------------------------------------------------------ */

/* Where a machine is turned off or reset, a VM ends, or what is written is seen: consoles and test devices. */
static bool is_left_alone(uint32_t port, unsigned size)
{
	static const struct {
		uint16_t first, last;
	} alone[] = {
		{0x60, 0x60},
		{0x64, 0x64},
		{0x92, 0x92},
		{0xb8, 0xb9},
		{0xcf8, 0xcff},
		{0xf4, 0xf7},
		{0x3f8, 0x3ff},
		{0x600, 0x60b},
		{TEST_DEVICE_PORT, TEST_DEVICE_PORT + 7},
		{TEST_PHASE_PORT, TEST_PHASE_PORT},
	};

	for (unsigned i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
		if (port <= alone[i].last && port + size > alone[i].first)
			return true;
	return false;
}

static uint16_t some_port(unsigned size)
{
	static const uint16_t often[] = {0x20, 0x21, 0x40, 0x43, 0x61, 0x70, 0x71, 0xa0, 0xa1, 0x4d0, 0x510, 0x511, 0x3d4, 0x2f8, 0x1f0};
	uint32_t port;

	do
		port = random_pick(2) ? often[random_pick(sizeof(often) / 2)] : (uint32_t)random_next() & 0xffff;
	while (is_left_alone(port, size));
	return (uint16_t)port;
}

static void do_port(void *argument)
{
	struct attempt *a = argument;
	uint16_t port = (uint16_t)a->a;

	switch (a->c) {
	case 0: in8(port); break;
	case 1: in16(port); break;
	case 2: in32(port); break;
	case 4: out8(port, (uint8_t)a->b); break;
	case 5: out16(port, (uint16_t)a->b); break;
	default: out32(port, (uint32_t)a->b);
	}
}

static void ports(void)
{
	unsigned size = random_pick(3);
	struct attempt a = {
		.what = "port",
		.a = some_port(1u << size),
		.b = value(),
		.c = size + 4 * random_pick(2),
	};

	attempt(do_port, &a);
}

static void do_string(void *argument)
{
	struct attempt *a = argument;
	uint64_t n = a->b >> 8, di = a->c, si = a->c;

	switch (a->b & 7) {
	case 0:
		__asm__ volatile("rep insb"
		                 : "+D"(di), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	case 1:
		__asm__ volatile("rep insw"
		                 : "+D"(di), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	case 2:
		__asm__ volatile("rep insl"
		                 : "+D"(di), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	case 3:
		__asm__ volatile("std; rep insb; cld"
		                 : "+D"(di), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	case 4:
		__asm__ volatile("rep outsb"
		                 : "+S"(si), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	case 5:
		__asm__ volatile("rep outsw"
		                 : "+S"(si), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	case 6:
		__asm__ volatile("rep outsl"
		                 : "+S"(si), "+c"(n)
		                 : "d"(a->a)
		                 : "memory");
		break;
	default: __asm__ volatile("addr32 rep insb"
		                  : "+D"(di), "+c"(n)
		                  : "d"(a->a)
		                  : "memory");
	}
}

/* To and from RAM, devices, nothing, and addresses that are none. */
static uint64_t somewhere(void)
{
	switch (random_pick(6)) {
	case 0: return PAGE_OF_NOTHING + random_pick(2 * PAGE);
	case 1: return APIC_BASE + 0x20; /* read only: nothing comes of it */
	case 2: return UINT64_C(1) << 62;
	case 3: return scratch + PAGE - 1 - random_pick(8);
	default: return scratch + PAGE + random_pick(SCRATCH_BYTES - 4 * PAGE);
	}
}

static void strings(void)
{
	struct attempt a = {
		.what = "string",
		.a = some_port(4),
		.b = random_pick(8) | random_pick(64) << 8,
		.c = somewhere(),
	};

	attempt(do_string, &a);
	__asm__ volatile("cld");
}

/* ---- device memory ---------------------------------------------------------------------------- */

static void do_memory(void *argument)
{
	struct attempt *a = argument;
	volatile uint8_t *p = (volatile uint8_t *)a->a;
	uint64_t v = a->b, di, si, n;

	switch (a->c) {
	case 0:
		__asm__ volatile("movb %1, %b0"
		                 : "+q"(v)
		                 : "m"(*p));
		break;
	case 1:
		__asm__ volatile("movq %1, %0"
		                 : "+r"(v)
		                 : "m"(*(volatile uint64_t *)p));
		break;
	case 2:
		__asm__ volatile("movw %w1, %0"
		                 : "=m"(*(volatile uint16_t *)p)
		                 : "r"(v));
		break;
	case 3:
		__asm__ volatile("movl %k1, %0"
		                 : "=m"(*(volatile uint32_t *)p)
		                 : "r"(v));
		break;
	case 4:
		__asm__ volatile("lock xaddl %k0, %1"
		                 : "+r"(v), "+m"(*(volatile uint32_t *)p)
		                 :
		                 : "cc");
		break;
	case 5:
		__asm__ volatile("xchgq %0, %1"
		                 : "+r"(v), "+m"(*(volatile uint64_t *)p));
		break;
	case 6:
		__asm__ volatile("btsl $3, %0"
		                 : "+m"(*(volatile uint32_t *)p)
		                 :
		                 : "cc");
		break;
	case 7:
		__asm__ volatile("movdqu %0, %%xmm0"
		                 :
		                 : "m"(*(volatile uint64_t *)p));
		break;
	case 8:
		__asm__ volatile("movups %%xmm0, %0"
		                 : "=m"(*(volatile uint64_t *)p));
		break;
	case 9:
		__asm__ volatile("divl %1"
		                 : "+a"(v)
		                 : "m"(*(volatile uint32_t *)p), "d"(0)
		                 : "cc");
		break;
	case 10:
		__asm__ volatile("cmpxchg16b %0"
		                 : "+m"(*(volatile uint64_t *)p)
		                 : "a"(v), "b"(v), "c"(v), "d"(v)
		                 : "cc");
		break;
	case 11:
		__asm__ volatile("fildl %0; fistpl %0"
		                 : "+m"(*(volatile uint32_t *)p));
		break;
	case 12:
		di = scratch, si = a->a, n = v % 64;
		__asm__ volatile("rep movsb"
		                 : "+D"(di), "+S"(si), "+c"(n)
		                 :
		                 : "memory");
		break;
	case 13:
		di = a->a, n = v % 64;
		__asm__ volatile("rep stosl"
		                 : "+D"(di), "+c"(n)
		                 : "a"(0x10000)
		                 : "memory");
		break;
	case 14:
		__asm__ volatile("shldl $3, %k1, %0"
		                 : "+m"(*(volatile uint32_t *)p)
		                 : "r"(v)
		                 : "cc");
		break;
	case 15:
		__asm__ volatile("pushq %0; popq %0"
		                 : "+m"(*(volatile uint64_t *)p));
		break;
	case 16:
		__asm__ volatile("movw %0, %%fs"
		                 :
		                 : "m"(*(volatile uint16_t *)p));
		break;
	case 17:
		__asm__ volatile("sidt %0"
		                 : "=m"(*p)
		                 :
		                 : "memory");
		break;
	case 18:
		__asm__ volatile("larl %1, %k0"
		                 : "+r"(v)
		                 : "m"(*(volatile uint16_t *)p)
		                 : "cc");
		break;
	default: __asm__ volatile("xlatb"
		                  : "+a"(v)
		                  : "b"(a->a));
	}
}

/* Any register but those that send an INIT, a start-up or an NMI, which do what they say. */
static void memory(void)
{
	struct attempt a = {.what = "memory", .b = value(), .c = random_pick(20)};

	switch (random_pick(4)) {
	case 0:
		a.a = IOAPIC_BASE + (random_pick(2) ? 0x10 : random_pick(0x100));
		break;
	case 1:
		do
			a.a = APIC_BASE + random_pick(0x3e0);
		while (a.a >= APIC_BASE + APIC_ICR - 0x108 && a.a < APIC_BASE + 0x380);
		break;
	case 2:
		a.a = PAGE_OF_NOTHING + random_pick(4 * PAGE);
		break;
	default:
		a.a = physical_end() / 2 + random_pick(PAGE);
	}
	attempt(do_memory, &a);
}

/* ---- instructions ------------------------------------------------------------------------------ */

/* Each is followed by a RET. RAX, RCX and RDX hold something, RBX points to RAM. */
static const char *const instructions[] = {
	"\x0f\x01\xc1",
	"\x0f\x01\xc2",
	"\x0f\x01\xc3",
	"\x0f\x01\xc4",
	"\x0f\x01\xc8",
	"\x0f\x01\xca",
	"\x0f\x01\xcb",
	"\x0f\x01\xcf",
	"\x0f\x01\xd0",
	"\x0f\x01\xd1",
	"\x0f\x01\xd4",
	"\x0f\x01\xd5",
	"\x0f\x01\xd6",
	"\x0f\x01\xd7",
	"\x0f\x01\xd8",
	"\x0f\x01\xd9",
	"\x0f\x01\xda",
	"\x0f\x01\xdb",
	"\x0f\x01\xdc",
	"\x0f\x01\xdd",
	"\x0f\x01\xde",
	"\x0f\x01\xdf",
	"\x0f\x01\xee",
	"\x0f\x01\xef",
	"\x0f\x01\xf8",
	"\x0f\x01\xf9",
	"\x0f\x01\xfa",
	"\x0f\x01\xfc",
	"\x0f\x01\xfd",
	"\x0f\x01\xfe",
	"\x0f\x01\xff", /* VMCALL to PSMASH */
	"\xf3\x0f\xc7\x33",
	"\x0f\xc7\x33",
	"\x66\x0f\xc7\x33",
	"\x0f\xc7\x3b",
	"\x0f\x78\x03",
	"\x0f\x79\x03",
	"\x66\x0f\x38\x80\x03",
	"\x66\x0f\x38\x81\x03",
	"\x66\x0f\x38\x82\x03",
	"\x0f\xc7\x1b",
	"\x0f\xc7\x2b",
	"\x0f\x37",
	"\x0f\xaa",
	"\x0f\x08",
	"\x0f\x09",
	"\xf3\x0f\x09",
	"\x0f\x33",
	"\x0f\x31",
	"\x0f\x06",
	"\x0f\x0b",
	"\x0f\x01\x3b",
	"\x0f\x00\x13",
	"\x0f\x00\x1b",
	"\x0f\x00\x23",
	"\x0f\xc7\xf0",
	"\x0f\xc7\xf8",
	"\xf3\x0f\xc7\xf8",
	"\x0f\xae\x23",
	"\x0f\xae\x2b",
	"\x0f\xae\x33",
	"\x0f\xc7\x23",
	"\x0f\xae\xf8",
	"\x0f\x0d\x03",
	"\xf3\x0f\xae\xf0",
	"\xf3\x0f\xae\xd0",
	"\xf3\x0f\xae\xd8",
	"\x0f\x20\xf8",
	"\x0f\x22\xf8",
	"\x0f\x21\xe0",
	"\x0f\x24\xc0",
	"\x0f\x26\xc0",
	"\x0f\x3f",
	"\xf1",
	"\xcc",
	"\xcd\x81",
	"\xd6",
	"\x0e",
	"\x62\xf1\x7c\x48\x10\x03",
	"\xc4\xe2\x79\x18\x03",
	"\xf0\x90",
};

static void do_instruction(void *argument)
{
	const struct attempt *a = argument;

	__asm__ volatile("call *%0"
	                 :
	                 : "r"(code_page), "a"(a->a), "c"(a->b), "d"(a->c), "b"(scratch + 8 * PAGE)
	                 : "memory", "cc", "rsi", "rdi");
}

static void instruction(void)
{
	unsigned which = random_pick(sizeof(instructions) / sizeof(instructions[0])), n = 0;
	struct attempt a = {.what = "instruction", .a = value(), .b = value(), .c = value()};
	uint8_t *to = (uint8_t *)code_page;
	uint64_t cr0 = read_cr0();

	while (n < 2 || instructions[which][n]) { /* the second byte may be 0 */
		to[n] = (uint8_t)instructions[which][n];
		if (!instructions[which][n] && instructions[which][0] != 0x0f)
			break;
		n++;
	}
	to[n] = 0xc3;
	a.c = (a.c & ~UINT64_C(0xff)) | which;
	attempt(do_instruction, &a);
	__asm__ volatile("cli; cld");
	write_cr0(cr0);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static void fill_canary(void)
{
	for (uint64_t i = 0; i < CANARY_BYTES; i += 8)
		store(canary + i, canary ^ i * 0x9e3779b97f4a7c15);
}

static bool canary_lives(void)
{
	for (uint64_t i = 0; i < CANARY_BYTES; i += 8) {
		if (load(canary + i) != (canary ^ i * 0x9e3779b97f4a7c15))
			return false;
	}
	return true;
}

void test_stress_hostile(void)
{
	static void (*const kinds[])(void) = {msrs, efer, control, debug, ports, strings, memory, instruction};
	unsigned n = rounds(20000), skip_kind = (unsigned)option_number("hostile-skip", 99);

	trace = option_number("hostile-trace", 0);
	scratch = take_ram(2 * MIB);
	canary = take_ram(2 * MIB);
	code_page = scratch + SCRATCH_BYTES;
	home = read_cr3();
	interrupts_off();
	on_interrupt(VECTOR_DB, on_debug);
	on_interrupt(2, nothing_to_do); /* NMI: an LVT entry may ask for one */
	on_interrupt(VECTOR_BP, nothing_to_do);
	on_interrupt(0x81, nothing_to_do);
	fill_canary();
	for (unsigned i = 0; i < n; i++) {
		unsigned kind = random_pick(sizeof(kinds) / sizeof(kinds[0]));

		if (kind != skip_kind)
			kinds[kind]();
	}
	on_interrupt(VECTOR_DB, NULL);
	on_interrupt(2, NULL);
	on_interrupt(VECTOR_BP, NULL);
	on_interrupt(0x81, NULL);
	apic_write(APIC_SVR, 0x1ff);
	check(canary_lives(), "memory that nobody was to write has been written");
	check(read_cr3() == home, "CR3 is 0x%lx", read_cr3());
	print("stress-hostile: %u done, %u refused\n", taken, refused);
	check(taken > n / 4 && refused > n / 16, "%u done, %u refused", taken, refused);
	if (device_present())
		audit("after it");
}
