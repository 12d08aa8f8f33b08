/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel made of random bytes: some instructions that exit, and whatever else comes, or any
 * opcode on device memory, with vector registers on and off and their exceptions unmasked. It
 * is run at CPL 0 with random registers, again and again, until all is done or this guest has
 * broken itself beyond repair. How it ends is its own affair; what is tried is that the
 * visor is there afterwards to tell of it, unchanged, and has not been long at any exit.
 */
#include "space.h"

enum { CODE_BYTES = 64,
       EXCEPTIONS = 32,
       TELL_EVERY = 16,
       RFLAGS_FIXED = 2 };

extern const uint8_t run_guarded_caught[];

/* What leads to exits; mixed among the random bytes. */
static const char *const fragments[] = {
	"\x0f\xa2",             /* CPUID */
	"\x0f\x30",             /* WRMSR */
	"\x0f\x32",             /* RDMSR */
	"\x0f\x20\xd8",         /* MOV RAX, CR3 */
	"\x0f\x20\xc0",         /* MOV RAX, CR0 */
	"\x0f\x20\xe0",         /* MOV RAX, CR4 */
	"\x44\x0f\x22\xc0",     /* MOV CR8, RAX */
	"\x0f\x23\xf8",         /* MOV DR7, RAX */
	"\x0f\x23\xc0",         /* MOV DR0, RAX */
	"\xee",                 /* OUT DX, AL */
	"\xef",                 /* OUT DX, EAX */
	"\xec",                 /* IN AL, DX */
	"\x6a\x40\x59\xf3\x6e", /* REP OUTSB */
	"\x6a\x40\x59\xf3\x6c", /* REP INSB */
	"\x6a\x40\x59\xf3\xa4", /* REP MOVSB of 64 */
	"\x6a\x40\x59\xf3\xab", /* REP STOSD of 64 */
	"\x0f\x01\xd0",         /* XGETBV */
	"\x0f\x01\xd1",         /* XSETBV */
	"\x0f\x01\xc1",         /* VMCALL */
	"\x0f\x01\xd8",         /* VMRUN */
	"\x0f\x01\xd9",         /* VMMCALL */
	"\x0f\x01\xda",         /* VMLOAD */
	"\x0f\x01\xdd",         /* CLGI */
	"\x0f\x06",             /* CLTS */
	"\x0f\x09",             /* WBINVD */
	"\x0f\x33",             /* RDPMC */
	"\x0f\x01\x38",         /* INVLPG (RAX) */
	"\x48\xcb",             /* RETFQ */
	"\x0f\x05",             /* SYSCALL */
	"\x9d",                 /* POPF */
	"\x9c",                 /* PUSHF */
	"\x8e\xd0",             /* MOV SS, EAX */
	"\xfb\xf4",             /* STI; HLT */
	"\xcd\x80",             /* INT 80h */
	"\x48\x8b\x01",         /* MOV RAX, (RCX) */
	"\x48\x89\x01",         /* MOV (RCX), RAX */
	"\x48\x0f\xc7\x09",     /* CMPXCHG16B (RCX) */
	"\x0f\xae\x01",         /* FXSAVE (RCX) */
	"\x0f\xc7\x29",         /* XSAVES (RCX) */
	"\x66\x0f\x6f\x01",     /* MOVDQA XMM0, (RCX) */
	"\xff\x11",             /* CALL (RCX) */
	"\xff\x29",             /* JMP FAR (RCX) */
	"\x8e\x19",             /* MOV DS, (RCX) */
};

/* These too, but seldom: few guests live on after them. */
static const char *const deadly[] = {
	"\x0f\x22\xd8", /* MOV CR3, RAX */
	"\x0f\x22\xc0", /* MOV CR0, RAX */
	"\x0f\x22\xe0", /* MOV CR4, RAX */
	"\x0f\x01\x11", /* LGDT (RCX) */
	"\x0f\x01\x19", /* LIDT (RCX) */
	"\x0f\x01\xf0", /* LMSW AX */
	"\x48\xcf",     /* IRETQ */
	"\x0f\x07",     /* SYSRET */
	"\x0f\x34",     /* SYSENTER */
};

static uint64_t code, scratch, home;
static uint16_t home_cs, home_ss;
static volatile bool running;

static uint64_t address(void)
{
	switch (random_pick(6)) {
	case 0: return APIC_BASE + random_pick(0x400);
	case 1: return IOAPIC_BASE + random_pick(0x20);
	case 2: return UINT64_C(0xd0000000) + random_pick(0x2000);
	case 3: return random_next();
	case 4: return UINT64_C(1) << random_pick(64);
	default: return scratch + random_pick(0x10000);
	}
}

static uint64_t some_register(void)
{
	return random_pick(2) ? address() : random_pick(2) ? random_next()
	                                                   : random_next() & random_next() & random_next();
}

static void write_code(void)
{
	uint8_t *to = (uint8_t *)code;
	unsigned n = 0;

	while (n < CODE_BYTES - 12) {
		const char *fragment = random_pick(400) ? fragments[random_pick(sizeof(fragments) / sizeof(fragments[0]))]
		                                        : deadly[random_pick(sizeof(deadly) / sizeof(deadly[0]))];

		if (random_pick(3) == 0) {
			to[n++] = (uint8_t)random_next();
			continue;
		}
		while (*fragment)
			to[n++] = (uint8_t)*fragment++;
	}
	to[n] = 0xc3;
}

/* ---- instructions on device memory ------------------------------------------------------ */

/* QEMU 7.2 crashes while it translates one that only VEX has, if neither VEX nor 66h is there: what MMX has goes alone. */
static uint8_t *put_three_bytes(uint8_t *to, uint8_t map, uint8_t opcode)
{
	bool mmx = map == 0x38 ? opcode < 0x0c || (opcode >= 0x1c && opcode < 0x1f) || opcode >= 0xf0 : opcode == 0x0f;

	if (!mmx || random_pick(2))
		*to++ = 0x66;
	*to++ = 0x0f;
	*to++ = map;
	*to++ = opcode;
	return to;
}

/* In front of an opcode, and the first bytes of each of its maps; a VEX or EVEX prefix gets random fields. */
static uint8_t *put_prefixes(uint8_t *to)
{
	static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x64, 0x36, 0x48, 0x44, 0x41, 0x4f};

	while (random_pick(3) == 0)
		*to++ = prefixes[random_pick(sizeof(prefixes))];
	switch (random_pick(10)) {
	case 0: /* one byte */
		break;
	case 1: /* x87 */
		*to++ = (uint8_t)(0xd8 + random_pick(8));
		return to;
	case 2:
	case 3:
		*to++ = 0x0f;
		break;
	case 4:
		return put_three_bytes(to, 0x38, (uint8_t)random_next());
	case 5:
		return put_three_bytes(to, 0x3a, (uint8_t)random_next());
	case 6:
		*to++ = 0xc5;
		*to++ = (uint8_t)random_next();
		break;
	case 7:
		*to++ = 0xc4;
		*to++ = (uint8_t)(0xe0 | (1 + random_pick(3)));
		*to++ = (uint8_t)random_next();
		break;
	default:
		*to++ = 0x62;
		*to++ = (uint8_t)(0xf0 | (1 + random_pick(3)));
		*to++ = (uint8_t)(random_next() | 4);
		*to++ = (uint8_t)(random_next() & (random_pick(2) ? 0xf8 : 0xff));
	}
	*to++ = (uint8_t)random_next();
	return to;
}

/* Any opcode, its operand at (RCX), with a displacement at times; immediates are what comes. */
static void write_device_code(void)
{
	uint8_t *to = (uint8_t *)code, *end = to + CODE_BYTES - 24;

	while (to < end) {
		bool displaced = random_pick(4) == 0;

		to = put_prefixes(to);
		*to++ = (uint8_t)(random_pick(8) << 3 | 1 | (displaced ? 0x40 : 0));
		if (displaced)
			*to++ = (uint8_t)random_next();
		for (unsigned n = random_pick(5); n; n--)
			*to++ = (uint8_t)random_pick(4);
	}
	*to = 0xc3;
}

static uint64_t device_address(void)
{
	switch (random_pick(5)) {
	case 0: return APIC_BASE + random_pick(0x300);
	case 1: return IOAPIC_BASE + random_pick(0x20);
	case 2: return UINT64_C(0xd0000ff0) + random_pick(0x20); /* across an edge */
	case 3: return UINT64_C(0xd0000000) + 64 * random_pick(64);
	default: return UINT64_C(0xd0000000) + random_pick(0x2000);
	}
}

static uint64_t cr0_of_guest, cr4_of_guest;

static uint64_t allowed_xcr0(void)
{
	return cpuid(1, 0).c >> 26 & 1 ? cpuid(0xd, 0).a : 0;
}

static void put_xcr0(uint64_t value)
{
	__asm__ volatile("xsetbv"
	                 :
	                 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(0));
}

static void try_xcr0(void *value)
{
	running = true;
	put_xcr0((uintptr_t)value);
}

/* What vector and x87 instructions depend on: exceptions that come and are not masked, and what is switched off. */
static void set_up_vectors(void)
{
	static const uint64_t of_cr4[] = {UINT64_C(1) << 9, UINT64_C(1) << 10, UINT64_C(1) << 18};
	uint16_t control = (uint16_t)(random_next() & 0x0f3f);
	uint32_t mxcsr = (uint32_t)random_next() & 0xffbf;
	uint64_t cr4 = cr4_of_guest | UINT64_C(1) << 9, allowed = allowed_xcr0();

	for (unsigned i = 0; i < sizeof(of_cr4) / sizeof(of_cr4[0]); i++)
		if (random_pick(4) && (i < 2 || allowed))
			cr4 |= of_cr4[i];
	write_cr4(cr4);
	if (cr4 & UINT64_C(1) << 18)
		(void)vector_of(try_xcr0, (void *)(uintptr_t)(random_pick(2) ? allowed : (allowed & random_next()) | 1));
	running = false;
	__asm__ volatile("fninit; fldcw %0; ldmxcsr %1"
	                 :
	                 : "m"(control), "m"(mxcsr));
	if (random_pick(8) == 0)
		write_cr4(cr4_of_guest & ~(UINT64_C(1) << 9));
	if (random_pick(4) == 0)
		write_cr0(cr0_of_guest ^ random_pick(8) << 1); /* MP, EM, TS */
}

static void reset_vectors(void)
{
	const uint32_t mxcsr = 0x1f80;
	uint64_t allowed = allowed_xcr0();

	write_cr4(cr4_of_guest | UINT64_C(1) << 9);
	__asm__ volatile("fninit; ldmxcsr %0"
	                 :
	                 : "m"(mxcsr));
	if (allowed) {
		write_cr4(cr4_of_guest | UINT64_C(1) << 18);
		put_xcr0(1);
	}
	write_cr4(cr4_of_guest);
}

/* ---- running it --------------------------------------------------------------------------- */

static uint64_t registers[4];

/* So that the last is known: code-trace=1. */
static void tell(unsigned round)
{
	const uint8_t *bytes = (const uint8_t *)code;

	print("%u: rax 0x%lx rcx 0x%lx rdx 0x%lx rsi 0x%lx:", round, registers[0], registers[1], registers[2], registers[3]);
	for (unsigned i = 0; i < CODE_BYTES; i++)
		print(" %x", bytes[i]);
	print("\n");
}

static void run_code(void *unused)
{
	(void)unused;
	running = true;
	__asm__ volatile("sti; push %%rbx; push %%rbp; call *%0; pop %%rbp; pop %%rbx; cli"
	                 :
	                 : "r"(code), "a"(registers[0]), "c"(registers[1]), "d"(registers[2]), "S"(registers[3]), "D"(scratch)
	                 : "memory", "cc", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15");
}

/* Whatever has come, an exception or the timer, ends the round; single steps and the like with it. */
static void leave(struct frame *f)
{
	if (f->vector == VECTOR_APIC)
		apic_write(APIC_EOI, 0);
	f->rflags = RFLAGS_FIXED;
	if (!running)
		return;
	running = false;
	f->rip = (uintptr_t)run_guarded_caught;
	f->cs = home_cs;
	f->ss = home_ss;
}

static void set_up_round(void)
{
	bool device = random_pick(2);

	for (unsigned k = 0; k < 4; k++)
		registers[k] = some_register();
	if (random_pick(8) == 0)
		registers[0] = home;
	if (device) {
		write_device_code();
		registers[1] = device_address();
		set_up_vectors();
	} else {
		write_code();
	}
}

static void set_timer(void)
{
	apic_enable();
	apic_write(APIC_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR_APIC | APIC_PERIODIC);
	apic_write(APIC_INITIAL_COUNT, 1000000);
}

void test_stress_code(void)
{
	unsigned n = rounds(20000);
	bool trace = option_number("code-trace", 0);
	uint64_t stack;

	cr0_of_guest = read_cr0();
	cr4_of_guest = read_cr4();
	home = read_cr3();
	__asm__ volatile("mov %%cs, %0; mov %%ss, %1"
	                 : "=r"(home_cs), "=r"(home_ss));
	scratch = take_ram(2 * MIB);
	code = take_ram(2 * MIB);
	stack = take_ram(2 * MIB) + MIB;
	for (unsigned v = 0; v < EXCEPTIONS; v++)
		interrupt_stack(v, stack);
	interrupt_stack(VECTOR_APIC, stack);
	for (unsigned v = 0; v < 256; v++)
		on_interrupt(v, leave);
	print("stress-code: begins\n");
	for (unsigned i = 0; i < n; i++) {
		if (i % TELL_EVERY == 0)
			print("stress-code: %u\n", i);
		set_up_round();
		if (trace)
			tell(i);
		set_timer();
		(void)vector_of(run_code, NULL);
		running = false;
		interrupts_off();
		__asm__ volatile("cld; mov %0, %%dr7"
		                 :
		                 : "r"(UINT64_C(0x400)));
		write_cr3(home);
		write_cr4(cr4_of_guest);
		write_cr0(cr0_of_guest);
		reset_vectors();
		interrupts_setup();
		for (unsigned v = 0; v < EXCEPTIONS; v++)
			interrupt_stack(v, stack);
		interrupt_stack(VECTOR_APIC, stack);
	}
	print("stress-code: %u\n", n);
	check(true, "all done");
}
