/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random code where a kernel seldom runs any: at CPL 3 in 32-bit and 16-bit segments of random
 * base, limit and type, and in virtual-8086 mode; with a random I/O bitmap, IOPL, VME and PVI,
 * with call gates, task gates and TSSs that it may use, and device memory in its reach. Paging is
 * off, or on with one page for one. Any exception and the timer end a round; then the guest puts
 * its own state in place again. How a round ends is its own affair, and so is it if this guest
 * cannot go on; what is tried is that the visor is there to tell of it, unchanged.
 */
#include "space.h"

enum { CODE = 0x08,
       DATA = 0x10,
       SEGMENTS = 16, /* random ones */
       FIRST = 5,     /* null, CODE, DATA, the TSS of this guest, and one that a task gate leads to */
       TSS_MAIN = 0x18,
       TSS_OTHER = 0x20,
       TSS_BYTES = 104,
       BITMAP = TSS_BYTES + 32, /* VME's map of interrupts lies before it */
       CODE_BYTES = 96,
       TELL_EVERY = 64,
       RFLAGS_FIXED = 2 };

/* SDM vol. 3, figure 8-2. */
enum { TSS_ESP0 = 1,
       TSS_SS0,
       TSS_CR3 = 7,
       TSS_EIP,
       TSS_FLAGS,
       TSS_ESP = 14,
       TSS_ES = 18,
       TSS_CS,
       TSS_SS,
       TSS_DS,
       TSS_FS,
       TSS_GS,
       TSS_LDT,
       TSS_MAP };

#define FLAG_IF (1u << 9)
#define FLAG_NT (1u << 14)
#define FLAG_VM (1u << 17)
#define FLAG_AC (1u << 18)
#define FLAG_VIF (1u << 19)
#define FLAG_VIP (1u << 20)
#define CR4_VME 1u
#define CR4_PVI 2u
#define CR4_PSE 0x10u
#define CR0_PG (1u << 31)

#define LOW_CODE 0x20000u /* in reach of virtual-8086 mode */
#define VGA 0xa000u       /* a segment where nothing is */

/* What IRET takes, to CPL 3 and to virtual-8086 mode. */
struct context {
	uint32_t ip, cs, flags, sp, ss, es, ds, fs, gs;
};

static _Alignas(8) uint64_t gdt[FIRST + SEGMENTS];
static _Alignas(PAGE) uint8_t tss_main[3 * PAGE], tss_other[3 * PAGE];
static _Alignas(PAGE) uint32_t directory[1024];
static _Alignas(16) uint8_t kernel_interrupts[8192];
static uint32_t cr0_of_guest, cr4_of_guest, code;
static bool tasks;

extern uint32_t modes_stack, modes_registers[6];
uint32_t modes_stack, modes_registers[6];
extern const char modes_left[], modes_gate[];
void modes_enter(const struct context *context);

/* IRET with these registers; back by the handler, which leaves by modes_left. */
__asm__(".pushsection .text\n"
        ".globl modes_enter, modes_left, modes_gate\n"
        "modes_gate:\n"
        "	ud2\n"
        "modes_enter:\n"
        "	pusha\n"
        "	mov 36(%esp), %esi\n"
        "	mov %esp, modes_stack\n"
        "	sub $36, %esp\n"
        "	mov %esp, %edi; mov $9, %ecx; cld; rep movsl\n"
        "	testl $0x20000, 8(%esp); jnz 1f\n"
        "	mov 24(%esp), %ds; mov 20(%esp), %es; mov 28(%esp), %fs\n"
        "1:	mov %ss:modes_registers, %eax; mov %ss:modes_registers + 4, %ecx; mov %ss:modes_registers + 8, %edx\n"
        "	mov %ss:modes_registers + 12, %ebx; mov %ss:modes_registers + 16, %esi; mov %ss:modes_registers + 20, %edi\n"
        "	iret\n"
        "modes_left:\n"
        "	mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov %eax, %fs; mov %eax, %gs\n"
        "	mov modes_stack, %esp; cld\n"
        "	popa\n"
        "	ret\n"
        ".popsection\n");

/* ---- descriptors and tables ---------------------------------------------------------------- */

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static uint32_t some_base(void)
{
	switch (random_pick(6)) {
	case 0: return (uint32_t)APIC_BASE;
	case 1: return (uint32_t)IOAPIC_BASE;
	case 2: return 0xd0000000 + random_pick(0x2000);
	case 3: return (uint32_t)random_next();
	case 4: return 0;
	default: return code & ~0xfffu;
	}
}

static uint64_t some_descriptor(void)
{
	uint32_t limit = random_pick(2) ? 0xfffff : (uint32_t)random_next() & 0xfffff;
	unsigned flags = (unsigned)random_pick(16) & 0xd; /* no L */

	switch (random_pick(10)) {
	case 0: return random_next();
	case 1: /* a call gate, to where an exception comes at once */
		return 0x0000ec0000080000u | ((uintptr_t)modes_gate & 0xffff) | (uint64_t)((uintptr_t)modes_gate >> 16) << 48;
	case 2: /* a task gate, or a TSS in reach */
		return tasks ? 0x0000e50000000000u | TSS_OTHER << 16 : 0;
	case 3: return tasks ? descriptor((uint32_t)(uintptr_t)tss_other, 0x2fff, 0xe9, 0) : 0;
	case 4:
	case 5: return descriptor(code & ~0xfffu, limit, 0xfb, flags);
	default: return descriptor(some_base(), limit, 0xf0 | random_pick(16), flags);
	}
}

static uint16_t some_selector(void)
{
	return (uint16_t)((FIRST + random_pick(SEGMENTS)) << 3 | 3);
}

static void fill_tss(uint8_t *tss, uint32_t limit_of_map)
{
	/* Where the machine is turned off or reset, or the VM ends. */
	static const uint16_t denied[] = {0x60, 0x90, 0xb8, 0xf0, 0x5e0, 0x600, 0x608, 0xcf8};
	uint32_t *words = (uint32_t *)(uintptr_t)tss;

	for (unsigned i = 0; i < 2 * PAGE / 4 && i * 4 < limit_of_map; i++)
		words[i] = random_pick(3) ? 0 : (uint32_t)random_next();
	for (unsigned i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		tss[BITMAP + denied[i] / 8] = 0xff;
	words[0] = 0;
	words[TSS_ESP0] = (uint32_t)(uintptr_t)kernel_interrupts + sizeof(kernel_interrupts);
	words[TSS_SS0] = DATA;
	words[TSS_LDT] = 0;
	words[TSS_MAP] = (uint32_t)(random_pick(4) ? BITMAP : random_pick(0x10000)) << 16 | (random_pick(8) == 0);
}

/* The task that a gate leads to: somewhere at CPL 3 or 0, often not sound. */
static void fill_task(void)
{
	uint32_t *words = (uint32_t *)(uintptr_t)tss_other;
	bool kernel = random_pick(2);

	words[TSS_CR3] = (uint32_t)(uintptr_t)directory;
	words[TSS_EIP] = kernel ? (uintptr_t)modes_gate : code + random_pick(CODE_BYTES);
	words[TSS_FLAGS] = RFLAGS_FIXED | (random_pick(4) ? 0 : FLAG_VM) | random_pick(4) << 12;
	words[TSS_ESP] = words[TSS_ESP0];
	for (unsigned i = TSS_ES; i <= TSS_GS; i++)
		words[i] = kernel ? (i == TSS_CS ? CODE : DATA) : some_selector();
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) r = {sizeof(gdt) - 1, (uint32_t)(uintptr_t)gdt};

	gdt[CODE / 8] = 0x00cf9b000000ffff;
	gdt[DATA / 8] = 0x00cf93000000ffff;
	gdt[TSS_MAIN / 8] = descriptor((uint32_t)(uintptr_t)tss_main, random_pick(8) ? 0x2fff : 103 + random_pick(0x2000), 0x89, 0);
	gdt[TSS_OTHER / 8] = descriptor((uint32_t)(uintptr_t)tss_other, 0x2fff, 0xe9, 0);
	for (unsigned i = 0; i < SEGMENTS; i++)
		gdt[FIRST + i] = i ? some_descriptor() : descriptor(0, 0xfffff, 0xfb, 0xc); /* one that can be run in */
	gdt[FIRST + 1] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[FIRST + 2] = descriptor(code & ~0xfffu, 0xffff, 0xfb, 0); /* 16 bits */
	fill_tss(tss_main, 2 * PAGE);
	fill_tss(tss_other, 2 * PAGE);
	fill_task();
	__asm__ volatile("lgdt %0; ltr %w1"
	                 :
	                 : "m"(r), "r"(TSS_MAIN));
}

/* ---- code ------------------------------------------------------------------------------------ */

static const char *const fragments[] = {
	"\x6c", "\x6d", "\x6e", "\x6f", "\xf3\x6c", "\xf3\x6d", "\xf3\x6e", "\xf3\x6f", "\x66\xf3\x6d", /* INS, OUTS */
	"\x67\xf3\x6c", "\x26\x6e", "\x65\x6f", "\xec", "\xed", "\xee", "\xef", "\x66\xef", "\xe4\x70", "\xe6\x80",
	"\xf3\xa4", "\xf3\xa5", "\xf3\xab", "\xf3\xaa", "\xf3\xa6", "\xf2\xae", "\x67\xa5", "\x66\xa5", "\xac", "\xad", "\x64\xa4",
	"\x8a\x07", "\x8b\x07", "\x88\x04", "\x89\x05", "\x66\x89\x07", "\x86\x07", "\x87\x04", "\xf0\xff\x04", "\x01\x07", "\xff\x37",
	"\x8f\x07", "\xff\x2f", "\xff\x1f", "\xff\x17", "\xff\x27", "\xc5\x07", "\xc4\x07", "\x8e\x1f", "\x8e\x07", "\x8e\x17", "\x0f\xb2\x07",
	"\x62\x07", "\x63\x07", "\x0f\xc7\x0f", "\xd7", "\xdd\x07", "\xdf\x37", "\xd9\x37", "\x0f\xae\x07", "\x0f\x6f\x07", "\x0f\xbc\x07",
	"\xfb", "\x9c", "\x9d", "\xcf", "\xcd\x80", "\xcd\x10", "\xcc", "\xce", "\xf1", "\xf4", "\x66\x9d", "\x66\xcf",
	"\x0f\xa2", "\x0f\x31", "\x0f\x32", "\x0f\x30", "\x0f\x01\xc1", "\x0f\x01\xd9", "\x0f\x01\xd8", "\x0f\x01\xd0", "\x0f\x01\xd1",
	"\x0f\x20\xc0", "\x0f\x22\xd8", "\x0f\x23\xf8", "\x0f\x06", "\x0f\x09", "\x0f\x01\x07", "\x0f\x01\x0f", "\x0f\x01\x17", "\x0f\x00\x07",
	"\x0f\x00\x0f", "\x0f\x02\x07", "\x0f\x03\x07", "\x0f\x00\x27", "\x0f\x34", "\x0f\x05", "\x0f\x33", "\x0f\xaa", "\x0f\x01\xc8", "\x0f\x01\xc9",
	"\xc8\x10", "\xc9", "\x60", "\x61", "\x1e", "\x1f", "\x06", "\x07", "\x0f\xa0", "\x0f\xa1", "\xcb", "\xc3"};

static void write_code(void)
{
	uint8_t *to = (uint8_t *)(uintptr_t)code;
	unsigned n = 0;

	while (n < CODE_BYTES - 16) {
		const char *fragment = fragments[random_pick(sizeof(fragments) / sizeof(fragments[0]))];

		if (random_pick(4) == 0) {
			to[n++] = (uint8_t)random_next();
			continue;
		}
		if (random_pick(16) == 0) { /* a far call or jump to any selector */
			to[n++] = random_pick(2) ? 0x9a : 0xea;
			for (unsigned i = 0; i < 4; i++)
				to[n++] = (uint8_t)(code >> 8 * i);
			to[n++] = (uint8_t)some_selector();
			to[n++] = 0;
			continue;
		}
		while (*fragment)
			to[n++] = (uint8_t)*fragment++;
	}
	for (; n < CODE_BYTES; n++) /* UD2 */
		to[n] = n % 2 ? 0x0b : 0x0f;
}

static struct context some_context(void)
{
	struct context c = {.flags = RFLAGS_FIXED | FLAG_IF | random_pick(random_pick(2) ? 3 : 4) << 12};

	c.flags |= (random_pick(8) == 0 ? FLAG_NT : 0) | (random_pick(8) == 0 ? FLAG_AC : 0) | (random_pick(16) == 0 ? 0x100 : 0) |
	           (random_pick(8) == 0 ? FLAG_VIF : 0) | (random_pick(16) == 0 ? FLAG_VIP : 0);
	c.sp = random_pick(2) ? 0xfff0 : (uint32_t)random_next();
	if (random_pick(2)) { /* virtual-8086 mode; its code is below 1 MiB */
		c.flags |= FLAG_VM;
		c.cs = LOW_CODE >> 4;
		c.ip = 0;
		c.ss = random_pick(4) ? 0x3000 : VGA;
		c.ds = random_pick(2) ? VGA : random_pick(0x10000);
		c.es = random_pick(2) ? VGA + random_pick(0x2000) : random_pick(0x10000);
		c.fs = random_pick(0x10000);
		c.gs = random_pick(2) ? 0xffff : 0xf000;
		return c;
	}
	c.ip = code;
	c.cs = FIRST << 3 | 3;
	if (random_pick(2)) {
		c.cs = (FIRST + 2) << 3 | 3;
		c.ip = code & 0xfff;
	}
	c.ss = (FIRST + 1) << 3 | 3;
	if (random_pick(2))
		c.sp = code + 0x8000;
	c.ds = random_pick(2) ? (FIRST + 1) << 3 | 3 : 0;
	c.es = (FIRST + 1) << 3 | 3;
	return c;
}

/* ---- a round ------------------------------------------------------------------------------------- */

static void leave(struct frame *f)
{
	if (f->vector == VECTOR_APIC)
		apic_write(APIC_EOI, 0);
	f->eip = (uintptr_t)modes_left;
	f->cs = CODE;
	f->eflags = RFLAGS_FIXED;
}

static void enter(void *context)
{
	modes_enter(context);
}

static uint32_t some_value(void)
{
	switch (random_pick(4)) {
	case 0: return some_base() + random_pick(0x400);
	case 1: return random_pick(0x10000);
	case 2: return random_pick(64);
	default: return (uint32_t)random_next();
	}
}

static void run_round(void)
{
	struct context context;

	code = LOW_CODE;
	write_code();
	load_tables();
	context = some_context();
	for (unsigned i = 0; i < 6; i++)
		modes_registers[i] = some_value();
	modes_registers[1] &= 0xff; /* repetitions */
	write_cr4(cr4_of_guest | CR4_PSE | (random_pick(2) ? CR4_VME : 0) | (random_pick(2) ? CR4_PVI : 0));
	if (random_pick(2) || tasks) {
		write_cr3((uint32_t)(uintptr_t)directory);
		write_cr0(cr0_of_guest | CR0_PG | (random_pick(2) ? 1u << 18 : 0)); /* AM */
	}
	apic_write(APIC_INITIAL_COUNT, 100000);
	enter(&context);
	interrupts_off();
	apic_write(APIC_INITIAL_COUNT, 0);
	write_cr0(cr0_of_guest);
	write_cr4(cr4_of_guest);
	__asm__ volatile("mov %0, %%dr7"
	                 :
	                 : "r"(0x400));
}

/* With --nested on SVM: VMRUN and the like at CPL 3 are then something else than unknown. */
static void try_svme(void *unused)
{
	(void)unused;
	write_msr((uint32_t)MSR_EFER, read_msr((uint32_t)MSR_EFER) | 1 << 12);
}

/* tasks=0: no task switches, which end the VM on QEMU's shadow tables. */
void test_stress_modes(void)
{
	unsigned n = rounds(20000);

	tasks = option_number("tasks", 1);
	cr0_of_guest = read_cr0();
	cr4_of_guest = read_cr4();
	for (unsigned i = 0; i < 1024; i++)
		directory[i] = i << 22 | 0x87; /* present, writable, user's, large */
	interrupts_setup();
	(void)vector_of(try_svme, NULL);
	apic_enable();
	apic_write(APIC_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR_APIC | APIC_PERIODIC);
	print("stress-modes: begins\n");
	for (unsigned i = 0; i < n; i++) {
		if (i % TELL_EVERY == 0)
			print("stress-modes: %u\n", i);
		interrupts_setup();
		for (unsigned v = 0; v < 256; v++)
			on_interrupt(v, leave);
		run_round();
	}
	print("stress-modes: %u\n", n);
	check(true, "all done");
}
