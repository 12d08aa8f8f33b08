/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment registers, descriptor tables, far jumps, and what else is not arithmetic, with operands in device memory. */
#include "tests/unit/emulate_fixture.h"

#define AT (DEVICE_BASE + 0x100)
#define RUN(cpu, code) run(cpu, (const uint8_t *)(code), sizeof(code) - 1)

enum { GDT = 0x2000,
       LDT = 0x2800,
       TSS = 0x3000 };
enum {
	CODE0 = 0x08,
	DATA0 = 0x10,
	CODE3 = 0x18,
	DATA3 = 0x20,
	LDT_SELECTOR = 0x28,
	TASK = 0x30,
	BUSY_TASK = 0x38,
	ABSENT = 0x40,
	CONFORMING = 0x48,
	READ_ONLY = 0x50,
	EXECUTE_ONLY = 0x58,
	SMALL = 0x60,
	CALL_GATE = 0x68,
	CODE_64 = 0x70,
	GDT_LIMIT = 0x77,
};
enum { BR = 5,
       NP = 11,
       SS = 12,
       GP = 13 };

static struct guest_memory memory;
static struct bus *bus;
static struct emulate_info info;

static enum emulate_result run(struct x86_cpu_state *cpu, const uint8_t *code, size_t n)
{
	cpu->rip = 0x4000;
	return emulate_instruction(cpu, &memory, code, (unsigned)n, UINT64_MAX, &info);
}

static int fresh(void **state)
{
	static const uint64_t gdt[] = {
		0,
		0x00cf9b000000ffff,
		0x00cf93000000ffff,
		0x00cffb000000ffff,
		0x00cff2000000ffff /* not accessed */,
		0x000082002800000f,
		0x0000890030000067,
		0x00008b0030000067,
		0x00cf13000000ffff,
		0x00cf9e000000ffff,
		0x00cf91000000ffff,
		0x00cf98000000ffff,
		0x00009b000000ffff,
		0x00008c0000080000,
		0x00af9b000000ffff,
	};

	(void)state;
	bus = bus_new(&memory);
	for (unsigned i = 0; i < sizeof(gdt) / 8; i++)
		set64(bus, GDT + 8 * i, gdt[i]);
	memset(&info, 0, sizeof(info));
	return 0;
}

static int discard(void **state)
{
	(void)state;
	free(bus);
	return 0;
}

/* EBX is where the operand is. */
static struct x86_cpu_state cpu_at(unsigned cpl)
{
	struct x86_cpu_state cpu = cpu_32bit();

	cpu.cpl = (uint8_t)cpl;
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu.segment[i].selector = cpl ? DATA3 | 3 : DATA0;
	cpu.segment[X86_CS].selector = cpl ? CODE3 | 3 : CODE0;
	cpu.gdtr = (struct x86_table_register){GDT_LIMIT, GDT};
	cpu.ldtr.access = X86_ACCESS_UNUSABLE;
	cpu.tr = (struct x86_segment){.selector = BUSY_TASK, .access = 0x8b, .limit = 0x67, .base = TSS};
	cpu.gpr[X86_RBX] = AT;
	cpu.gpr[X86_RSP] = 0x9000;
	return cpu;
}

static void expect_raised(struct x86_cpu_state *cpu, const uint8_t *code, size_t n, uint8_t vector, uint32_t error)
{
	struct x86_cpu_state before;
	enum emulate_result result;

	cpu->rip = 0x4000;
	before = *cpu;
	result = run(cpu, code, n);
	if (result == EMULATE_GENERAL_PROTECTION) {
		info.vector = GP;
		info.error_code = 0;
	} else {
		assert_int_equal(result, EMULATE_EXCEPTION);
		assert_true(info.has_error);
	}
	assert_int_equal(info.vector, vector);
	assert_int_equal(info.error_code, error);
	assert_memory_equal(&before, cpu, sizeof(before));
}

#define RAISES(cpu, code, vector, error) expect_raised(cpu, (const uint8_t *)(code), sizeof(code) - 1, vector, error)

/* ---- segment registers -------------------------------------------------------------------- */

static void load_data_segments(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = DATA3;
	assert_int_equal(RUN(&cpu, "\x8e\x1b"), EMULATE_DONE); /* mov (%ebx), %ds */
	assert_int_equal(cpu.segment[X86_DS].selector, DATA3);
	assert_int_equal(cpu.segment[X86_DS].access, 0xc0f3);
	assert_int_equal(bus->ram[GDT + DATA3 + 5], 0xf3); /* accessed */
	assert_int_equal(cpu.rip, 0x4002);
	assert_int_equal(bus->access[0].size, 2);
	bus->device_value = CONFORMING | 3;
	assert_int_equal(RUN(&cpu, "\x8e\x03"), EMULATE_DONE); /* %es: code that conforms, whatever the RPL */
	bus->device_value = 3;
	assert_int_equal(RUN(&cpu, "\x8e\x23"), EMULATE_DONE); /* %fs: null */
	assert_true(cpu.segment[X86_FS].access & X86_ACCESS_UNUSABLE);
	bus->device_value = ABSENT;
	RAISES(&cpu, "\x8e\x2b", NP, ABSENT); /* %gs */
	bus->device_value = EXECUTE_ONLY;
	RAISES(&cpu, "\x8e\x2b", GP, EXECUTE_ONLY);
	bus->device_value = DATA0 | 1;
	RAISES(&cpu, "\x8e\x2b", GP, DATA0);
	bus->device_value = TASK;
	RAISES(&cpu, "\x8e\x2b", GP, TASK);
	bus->device_value = GDT_LIMIT + 1;
	RAISES(&cpu, "\x8e\x2b", GP, GDT_LIMIT + 1);
	bus->device_value = 0x0c; /* of an LDT that is not there */
	RAISES(&cpu, "\x8e\x2b", GP, 0x0c);
	assert_int_equal(RUN(&cpu, "\x8e\x0b"), EMULATE_INVALID); /* %cs */
	cpu = cpu_at(3);
	bus->device_value = DATA0;
	RAISES(&cpu, "\x8e\x2b", GP, DATA0);
}

static void load_stack_segment(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = DATA0;
	assert_int_equal(RUN(&cpu, "\x8e\x13"), EMULATE_DONE);
	bus->device_value = 0;
	RAISES(&cpu, "\x8e\x13", GP, 0);
	bus->device_value = DATA3;
	RAISES(&cpu, "\x8e\x13", GP, DATA3);
	bus->device_value = READ_ONLY;
	RAISES(&cpu, "\x8e\x13", GP, READ_ONLY);
	bus->device_value = ABSENT;
	RAISES(&cpu, "\x8e\x13", SS, ABSENT);
}

static void far_pointers(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = DATA3;
	assert_int_equal(RUN(&cpu, "\x0f\xb4\x03"), EMULATE_DONE); /* lfs (%ebx), %eax */
	assert_int_equal(cpu.gpr[X86_RAX], DATA3);
	assert_int_equal(cpu.segment[X86_FS].selector, DATA3);
	assert_int_equal(bus->access[0].gpa, AT);
	assert_int_equal(bus->access[0].size, 4);
	assert_int_equal(bus->access[1].gpa, AT + 4);
	assert_int_equal(bus->access[1].size, 2);
	bus->device_value = ABSENT;
	RAISES(&cpu, "\xc5\x03", NP, ABSENT); /* lds */
	cpu = cpu_real_mode();
	cpu.gpr[X86_RBX] = AT;
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu.segment[i].limit = UINT32_MAX;
	bus->device_value = 0x1234;
	assert_int_equal(RUN(&cpu, "\x67\xc4\x03"), EMULATE_DONE); /* les (%ebx), %ax, in real mode */
	assert_int_equal(cpu.segment[X86_ES].base, 0x12340);
}

/* ---- far jumps and calls ------------------------------------------------------------------------- */

static void far_jumps(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = CODE0;
	assert_int_equal(RUN(&cpu, "\xff\x2b"), EMULATE_DONE); /* ljmp *(%ebx) */
	assert_int_equal(cpu.rip, CODE0);
	assert_int_equal(cpu.segment[X86_CS].selector, CODE0);
	bus->device_value = CONFORMING;
	assert_int_equal(RUN(&cpu, "\xff\x2b"), EMULATE_DONE);
	assert_int_equal(cpu.segment[X86_CS].selector, CONFORMING);
	bus->device_value = CODE3;
	RAISES(&cpu, "\xff\x2b", GP, CODE3);
	bus->device_value = CODE0 | 3;
	RAISES(&cpu, "\xff\x2b", GP, CODE0);
	bus->device_value = 0;
	RAISES(&cpu, "\xff\x2b", GP, 0);
	bus->device_value = DATA0;
	RAISES(&cpu, "\xff\x2b", GP, DATA0);
	bus->device_value = CALL_GATE;
	assert_int_equal(RUN(&cpu, "\xff\x2b"), EMULATE_UNSUPPORTED);
	bus->device_value = 0x600000 | SMALL; /* offset and selector overlap: 60h, offset 600060h beyond 64 KiB */
	RAISES(&cpu, "\xff\x2b", GP, 0);
}

static void far_calls(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = CODE0;
	assert_int_equal(RUN(&cpu, "\xff\x1b"), EMULATE_DONE); /* lcall *(%ebx) */
	assert_int_equal(cpu.rip, CODE0);
	assert_int_equal(cpu.gpr[X86_RSP], 0x8ff8);
	assert_memory_equal(bus->ram + 0x8ff8, "\x02\x40\0\0\x08\0\0\0", 8);
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x20; /* the stack is there, the target in the instruction */
	bus->accesses = 0;
	assert_int_equal(RUN(&cpu, "\x9a\x78\x56\x34\x12\x08\x00"), EMULATE_DONE);
	assert_int_equal(cpu.rip, 0x12345678);
	assert_int_equal(bus->access[0].gpa, DEVICE_BASE + 0x1c);
	assert_int_equal(bus->access[0].value, CODE0);
	assert_int_equal(bus->access[1].value, 0x4007);
}

static void far_returns(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x20;
	bus->device_value = CODE0;                         /* offset and selector alike */
	assert_int_equal(RUN(&cpu, "\xcb"), EMULATE_DONE); /* lret */
	assert_int_equal(cpu.rip, CODE0);
	assert_int_equal(cpu.segment[X86_CS].selector, CODE0);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x28);
	assert_int_equal(RUN(&cpu, "\xca\x10\x00"), EMULATE_DONE); /* lret $16 */
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x40);
	bus->device_value = 0;
	RAISES(&cpu, "\xcb", GP, 0);
	bus->device_value = 0xffffffff; /* as where nothing is: no such descriptor */
	RAISES(&cpu, "\xcb", GP, 0xfffc);
	bus->device_value = CODE3 | 3; /* to user code: the stack would change */
	assert_int_equal(RUN(&cpu, "\xcb"), EMULATE_UNSUPPORTED);
	cpu = cpu_at(3);
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x20;
	bus->device_value = CODE0;
	RAISES(&cpu, "\xcb", GP, CODE0);
}

/* POP of each segment register, its stack in device memory: nothing has changed when it is refused. */
static void pop_segments(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x20;
	bus->device_value = 0x12340000 | DATA3;
	assert_int_equal(RUN(&cpu, "\x1f"), EMULATE_DONE); /* pop %ds */
	assert_int_equal(cpu.segment[X86_DS].selector, DATA3);
	assert_int_equal(cpu.segment[X86_DS].access, 0xc0f3);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x24);
	assert_int_equal(RUN(&cpu, "\x66\x0f\xa1"), EMULATE_DONE); /* popw %fs */
	assert_int_equal(cpu.segment[X86_FS].selector, DATA3);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x26);
	bus->device_value = ABSENT;
	RAISES(&cpu, "\x0f\xa9", NP, ABSENT); /* pop %gs */
	bus->device_value = 0;
	RAISES(&cpu, "\x17", GP, 0); /* pop %ss */
	bus->device_value = DATA0;
	assert_int_equal(RUN(&cpu, "\x17"), EMULATE_DONE);
	assert_int_equal(cpu.segment[X86_SS].selector, DATA0);
}

/* Where a selector is a base: real mode, and virtual-8086 mode with IOPL 3, which keeps its IOPL. */
static void real_interrupt_returns(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	cpu.cr0 &= ~(uint64_t)X86_CR0_PE;
	cpu.segment[X86_CS].access = 0x9b;
	cpu.segment[X86_SS].access = 0x93;
	cpu.segment[X86_SS].base = DEVICE_BASE;
	cpu.gpr[X86_RSP] = 0x20;
	cpu.rflags = 2;
	bus->device_value = 0x1246;
	assert_int_equal(RUN(&cpu, "\xcf"), EMULATE_DONE);
	assert_int_equal(cpu.rip, 0x1246);
	assert_int_equal(cpu.segment[X86_CS].selector, 0x1246);
	assert_int_equal(cpu.segment[X86_CS].base, 0x12460);
	assert_int_equal(cpu.rflags, 0x1246);
	assert_int_equal(cpu.gpr[X86_RSP], 0x26);
	cpu.segment[X86_CS].base = 0;
	cpu.cr0 |= X86_CR0_PE;
	cpu.cpl = 3;
	cpu.rflags = X86_FLAG_VM | 0x3002;
	assert_int_equal(RUN(&cpu, "\xcf"), EMULATE_DONE);
	assert_int_equal(cpu.rflags, X86_FLAG_VM | 0x3246);
	cpu.segment[X86_CS].base = 0;
	bus->device_value = 0x11246;
	assert_int_equal(RUN(&cpu, "\x66\xcf"), EMULATE_GENERAL_PROTECTION); /* iretl: beyond 64 KiB */
	cpu.rflags = X86_FLAG_VM | 2;
	assert_int_equal(RUN(&cpu, "\xcf"), EMULATE_UNSUPPORTED);
}

static void interrupt_returns(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x20;
	bus->device_value = 0;
	RAISES(&cpu, "\xcf", GP, 0);
	bus->device_value = 0x1145fc; /* beyond the GDT, VM clear */
	RAISES(&cpu, "\xcf", GP, 0x45fc);
	bus->device_value = CODE0;
	assert_int_equal(RUN(&cpu, "\xcf"), EMULATE_UNSUPPORTED);
}

static void near_16_bits(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	cpu.segment[X86_CS].access = 0x809b;
	cpu.segment[X86_SS].access = 0x8093;
	bus->device_value = 0x12345678;
	assert_int_equal(RUN(&cpu, "\x67\xff\x23"), EMULATE_DONE); /* jmp *(%ebx): 16 bits */
	assert_int_equal(cpu.rip, 0x5678);
	assert_int_equal(RUN(&cpu, "\x67\xff\x13"), EMULATE_DONE); /* call */
	assert_int_equal(cpu.gpr[X86_RSP], 0x8ffe);
	assert_memory_equal(bus->ram + 0x8ffe, "\x03\x40", 2);
}

/* ---- tables ----------------------------------------------------------------------------------------- */

static void descriptor_tables(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = 0x87654321;
	assert_int_equal(RUN(&cpu, "\x0f\x01\x1b"), EMULATE_DONE); /* lidt (%ebx) */
	assert_int_equal(cpu.idtr.limit, 0x4321);
	assert_int_equal(cpu.idtr.base, 0x87654321);
	assert_int_equal(RUN(&cpu, "\x66\x0f\x01\x1b"), EMULATE_DONE); /* 24 bits of base */
	assert_int_equal(cpu.idtr.base, 0x654321);
	bus->accesses = 0;
	assert_int_equal(RUN(&cpu, "\x0f\x01\x03"), EMULATE_DONE); /* sgdt */
	assert_int_equal(bus->access[0].value, GDT_LIMIT);
	assert_int_equal(bus->access[1].gpa, AT + 2);
	assert_int_equal(bus->access[1].value, GDT);
	cpu = cpu_at(3);
	RAISES(&cpu, "\x0f\x01\x13", GP, 0); /* lgdt by user code */
}

/* LDT and task registers, loaded and stored. */
static void system_selectors(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = LDT_SELECTOR;
	assert_int_equal(RUN(&cpu, "\x0f\x00\x13"), EMULATE_DONE); /* lldt */
	assert_int_equal(cpu.ldtr.base, LDT);
	bus->device_value = DATA0;
	RAISES(&cpu, "\x0f\x00\x13", GP, DATA0);
	bus->device_value = TASK;
	assert_int_equal(RUN(&cpu, "\x0f\x00\x1b"), EMULATE_DONE); /* ltr */
	assert_int_equal(cpu.tr.selector, TASK);
	assert_int_equal(cpu.tr.access, 0x8b);
	assert_int_equal(bus->ram[GDT + TASK + 5], 0x8b);
	RAISES(&cpu, "\x0f\x00\x1b", GP, TASK); /* it is busy now */
	bus->device_value = 0;
	RAISES(&cpu, "\x0f\x00\x1b", GP, 0);
	bus->accesses = 0;
	assert_int_equal(RUN(&cpu, "\x0f\x00\x0b"), EMULATE_DONE); /* str */
	assert_int_equal(bus->access[0].value, TASK);
	assert_int_equal(bus->access[0].size, 2);
	bus->device_value = 0;
	assert_int_equal(RUN(&cpu, "\x0f\x00\x13"), EMULATE_DONE);
	assert_true(cpu.ldtr.access & X86_ACCESS_UNUSABLE);
	cpu = cpu_at(3);
	RAISES(&cpu, "\x0f\x00\x1b", GP, 0);
	cpu = cpu_real_mode();
	cpu.gpr[X86_RBX] = 0x100;
	assert_int_equal(RUN(&cpu, "\x67\x0f\x00\x0b"), EMULATE_INVALID);
}

/* CR4.UMIP: what tells user code of the system is #GP there. */
static void user_mode_prevention(void **state)
{
	static const char *const code[] = {"\x0f\x01\x03", "\x0f\x01\x0b", "\x0f\x00\x03", "\x0f\x00\x0b", "\x0f\x01\x23"};

	(void)state;
	for (unsigned i = 0; i < 5; i++) { /* sgdt, sidt, sldt, str, smsw */
		struct x86_cpu_state cpu = cpu_at(3);

		assert_int_equal(run(&cpu, (const uint8_t *)code[i], 3), EMULATE_DONE);
		cpu.cr4 |= 1 << 11;
		expect_raised(&cpu, (const uint8_t *)code[i], 3, GP, 0);
		cpu = cpu_at(0);
		cpu.cr4 |= 1 << 11;
		assert_int_equal(run(&cpu, (const uint8_t *)code[i], 3), EMULATE_DONE);
	}
}

static bool zero_flag_after(const struct x86_cpu_state *cpu)
{
	return cpu->rflags & X86_FLAG_ZF;
}

static void looks(void **state)
{
	static const struct {
		uint16_t selector;
		bool lar, lsl, verr, verw; /* at CPL 0 */
	} t[] = {
		{0, 0, 0, 0, 0},
		{DATA0, 1, 1, 1, 1},
		{DATA0 | 1, 0, 0, 0, 0},
		{CODE0, 1, 1, 1, 0},
		{EXECUTE_ONLY, 1, 1, 0, 0},
		{READ_ONLY, 1, 1, 1, 0},
		{CONFORMING | 3, 1, 1, 1, 0},
		{TASK, 1, 1, 0, 0},
		{CALL_GATE, 1, 0, 0, 0},
		{GDT_LIMIT + 1, 0, 0, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct x86_cpu_state cpu = cpu_at(0);

		bus->device_value = t[i].selector;
		cpu.gpr[X86_RAX] = 0x5555;
		assert_int_equal(RUN(&cpu, "\x0f\x02\x03"), EMULATE_DONE); /* lar (%ebx), %eax */
		assert_int_equal(zero_flag_after(&cpu), t[i].lar);
		if (!t[i].lar)
			assert_int_equal(cpu.gpr[X86_RAX], 0x5555);
		assert_int_equal(RUN(&cpu, "\x0f\x03\x03"), EMULATE_DONE);
		assert_int_equal(zero_flag_after(&cpu), t[i].lsl);
		assert_int_equal(RUN(&cpu, "\x0f\x00\x23"), EMULATE_DONE);
		assert_int_equal(zero_flag_after(&cpu), t[i].verr);
		assert_int_equal(RUN(&cpu, "\x0f\x00\x2b"), EMULATE_DONE);
		assert_int_equal(zero_flag_after(&cpu), t[i].verw);
	}
	struct x86_cpu_state cpu = cpu_at(0);

	bus->device_value = SMALL;
	assert_int_equal(RUN(&cpu, "\x0f\x02\x03"), EMULATE_DONE);
	assert_int_equal(cpu.gpr[X86_RAX], 0x9b00);
	assert_int_equal(RUN(&cpu, "\x0f\x03\x03"), EMULATE_DONE);
	assert_int_equal(cpu.gpr[X86_RAX], 0xffff);
}

/* ---- the rest -------------------------------------------------------------------------------------------- */

static void bounds_and_privileges(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	bus->device_value = 5; /* both bounds */
	cpu.gpr[X86_RAX] = 5;
	assert_int_equal(RUN(&cpu, "\x62\x03"), EMULATE_DONE); /* bound %eax, (%ebx) */
	cpu.gpr[X86_RAX] = 6;
	assert_int_equal(RUN(&cpu, "\x62\x03"), EMULATE_EXCEPTION);
	assert_int_equal(info.vector, BR);
	assert_false(info.has_error);
	cpu.gpr[X86_RAX] = 3;
	bus->device_value = 0x10;
	bus->accesses = 0;
	assert_int_equal(RUN(&cpu, "\x63\x03"), EMULATE_DONE); /* arpl %ax, (%ebx) */
	assert_true(zero_flag_after(&cpu));
	assert_int_equal(bus->access[1].value, 0x13);
}

/* PUSHA, PUSHF, ENTER onto a stack in device memory, POPA, POPF from it. */
static void stack_forms(void **state)
{
	struct x86_cpu_state cpu = cpu_at(0);

	(void)state;
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x80;
	cpu.gpr[X86_RDI] = 0x77;
	assert_int_equal(RUN(&cpu, "\x60"), EMULATE_DONE);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x60);
	assert_int_equal(bus->access[4].value, DEVICE_BASE + 0x80);
	assert_int_equal(bus->access[7].value, 0x77);
	bus->device_value = 0x55;
	assert_int_equal(RUN(&cpu, "\x61"), EMULATE_DONE);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x80);
	assert_int_equal(cpu.gpr[X86_RCX], 0x55);
	bus->accesses = 0;
	cpu.rflags = 0x10246;
	assert_int_equal(RUN(&cpu, "\x9c"), EMULATE_DONE);
	assert_int_equal(bus->access[0].value, 0x246);
	cpu.cpl = 3;
	bus->device_value = 0x3cd7; /* without IF, with IOPL 3, NT, DF and the rest: user code gets neither of the first */
	assert_int_equal(RUN(&cpu, "\x9d"), EMULATE_DONE);
	assert_int_equal(cpu.rflags, 0xed7);
	cpu.cpl = 0;
	cpu.gpr[X86_RBP] = 0x1234;
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x80;
	bus->accesses = 0;
	assert_int_equal(RUN(&cpu, "\xc8\x10\x00\x00"), EMULATE_DONE); /* enter $16, $0 */
	assert_int_equal(bus->access[0].value, 0x1234);
	assert_int_equal(cpu.gpr[X86_RBP], DEVICE_BASE + 0x7c);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x6c);
	bus->accesses = 0;
	bus->device_value = 0xabc;
	cpu.gpr[X86_RBP] = DEVICE_BASE + 0xc0;
	assert_int_equal(RUN(&cpu, "\xc8\x00\x00\x03"), EMULATE_DONE); /* enter $0, $3: two outer frames */
	assert_int_equal(bus->access[1].gpa, DEVICE_BASE + 0xbc);
	assert_int_equal(bus->access[3].gpa, DEVICE_BASE + 0xb8);
	assert_int_equal(bus->access[5].value, DEVICE_BASE + 0x68);
	assert_int_equal(cpu.gpr[X86_RSP], DEVICE_BASE + 0x5c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, discard)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(load_data_segments),
		TEST(load_stack_segment),
		TEST(far_pointers),
		TEST(far_jumps),
		TEST(far_returns),
		TEST(pop_segments),
		TEST(interrupt_returns),
		TEST(real_interrupt_returns),
		TEST(far_calls),
		TEST(near_16_bits),
		TEST(descriptor_tables),
		TEST(system_selectors),
		TEST(user_mode_prevention),
		TEST(looks),
		TEST(bounds_and_privileges),
		TEST(stack_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
