/* SPDX-License-Identifier: BSD-2-Clause */
/* Event delivery through the IDT, rule by rule: SDM vol. 3, 6.11 to 6.14. */
#include "tests/unit/emulate_fixture.h"
#include "visor/emulate/deliver.h"

enum { IDT = 0x1000,
       GDT = 0x2000,
       TSS = 0x3000,
       STACK = 0x8000,
       INNER_STACK = 0x9000,
       TABLES = 0x10000 };
enum { CODE0 = 0x08,
       DATA0 = 0x10,
       CODE3 = 0x18,
       DATA3 = 0x20,
       CODE0_64 = 0x28,
       CODE3_64 = 0x30 };
enum { VECTOR = 0x41,
       HANDLER = 0x12345678,
       RIP = 0x4000 };
enum { NOT_PRESENT_STACK = 0x200000 };

struct machine {
	struct guest_memory memory;
	struct bus *bus;
	struct x86_cpu_state cpu;
	struct deliver_exception exception;
};

static void set_gate32(struct bus *b, unsigned vector, uint16_t selector, uint32_t offset, unsigned type)
{
	set64(b, IDT + 8 * vector, (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)type << 40 | (uint64_t)(offset >> 16) << 48);
}

static void set_gate64(struct bus *b, unsigned vector, uint16_t selector, uint64_t offset, unsigned type, unsigned ist)
{
	set64(b, IDT + 16 * vector, (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 | (uint64_t)type << 40 | (offset >> 16 & 0xffff) << 48);
	set64(b, IDT + 16 * vector + 8, offset >> 32);
}

static void start(struct machine *m, struct x86_cpu_state cpu)
{
	static const uint64_t gdt[] = {
		0,
		0x00cf9b000000ffff,
		0x00cf93000000ffff,
		0x00cffb000000ffff,
		0x00cff3000000ffff,
		0x00af9a000000ffff /* not accessed yet */,
		0x00affb000000ffff,
	};

	m->bus = bus_new(&m->memory);
	m->cpu = cpu;
	m->exception = (struct deliver_exception){0};
	for (unsigned i = 0; i < sizeof(gdt) / 8; i++)
		set64(m->bus, GDT + 8 * i, gdt[i]);
	m->cpu.gdtr = (struct x86_table_register){sizeof(gdt) - 1, GDT};
	m->cpu.idtr = (struct x86_table_register){0xfff, IDT};
	m->cpu.tr = (struct x86_segment){.selector = 0x40, .access = 0x8b, .limit = 0x67, .base = TSS};
	m->cpu.ldtr.access = X86_ACCESS_UNUSABLE;
	m->cpu.rip = RIP;
	m->cpu.gpr[X86_RSP] = STACK + 0x100;
	m->cpu.rflags = 2 | 1 << 9 | 1 << 8; /* IF, TF */
	m->cpu.segment[X86_CS].selector = CODE0;
	m->cpu.segment[X86_SS].selector = DATA0;
}

static void start_protected(struct machine *m)
{
	start(m, cpu_32bit());
	set_gate32(m->bus, VECTOR, CODE0, HANDLER, 0x8e);
	set32(m->bus, TSS + 4, INNER_STACK + 0x100);
	set32(m->bus, TSS + 8, DATA0);
}

/* The first 2 MiB, by one large page that everybody may use. */
static void start_long(struct machine *m)
{
	start(m, cpu_64bit());
	m->cpu.cr3 = TABLES;
	set64(m->bus, TABLES, (TABLES + 0x1000) | 7);
	set64(m->bus, TABLES + 0x1000, (TABLES + 0x2000) | 7);
	set64(m->bus, TABLES + 0x2000, 0x87);
	m->cpu.segment[X86_CS].selector = CODE0_64;
	set_gate64(m->bus, VECTOR, CODE0_64, 0xffff812345678abc, 0x8e, 0);
	set64(m->bus, TSS + 4, INNER_STACK + 0x108);
	set64(m->bus, TSS + 36, INNER_STACK + 0x80b); /* IST1, not aligned */
}

static void to_user(struct machine *m, uint16_t code)
{
	m->cpu.cpl = 3;
	m->cpu.segment[X86_CS].selector = (uint16_t)(code | 3);
	m->cpu.segment[X86_SS].selector = DATA3 | 3;
}

static enum deliver_result deliver(struct machine *m, struct delivery event)
{
	return deliver_event(&m->cpu, &m->memory, &event, &m->exception);
}

static void expect_exception(struct machine *m, struct delivery event, uint8_t vector, uint32_t error)
{
	struct x86_cpu_state before = m->cpu;

	assert_int_equal(deliver(m, event), DELIVER_EXCEPTION);
	assert_int_equal(m->exception.vector, vector);
	assert_int_equal(m->exception.error, error);
	assert_memory_equal(&before, &m->cpu, sizeof(before));
	free(m->bus);
}

static uint32_t at32(const struct machine *m, uint64_t gpa)
{
	uint32_t v;

	memcpy(&v, m->bus->ram + gpa, 4);
	return v;
}

static uint64_t at64(const struct machine *m, uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, m->bus->ram + gpa, 8);
	return v;
}

static const struct delivery external = {.vector = VECTOR};
static const struct delivery with_error = {
	.vector = VECTOR,
	.fault = true,
	.has_error = true,
	.error = 0x1234,
};
static const struct delivery software = {.vector = VECTOR, .software = true};

static void protected_mode_same_level(void **state)
{
	struct machine m;

	(void)state;
	start_protected(&m);
	assert_int_equal(deliver(&m, external), DELIVER_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], STACK + 0x100 - 12);
	assert_int_equal(at32(&m, STACK + 0xfc), 0x302);
	assert_int_equal(at32(&m, STACK + 0xf8), CODE0);
	assert_int_equal(at32(&m, STACK + 0xf4), RIP);
	assert_int_equal(m.cpu.rip, HANDLER);
	assert_int_equal(m.cpu.rflags, 2); /* TF and IF are off in the handler */
	assert_int_equal(m.cpu.segment[X86_CS].limit, 0xffffffff);
	free(m.bus);
}

static void protected_mode_to_an_inner_level(void **state)
{
	struct machine m;

	(void)state;
	start_protected(&m);
	to_user(&m, CODE3);
	assert_int_equal(deliver(&m, with_error), DELIVER_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], INNER_STACK + 0x100 - 24);
	assert_int_equal(at32(&m, INNER_STACK + 0xfc), DATA3 | 3);
	assert_int_equal(at32(&m, INNER_STACK + 0xf8), STACK + 0x100);
	assert_int_equal(at32(&m, INNER_STACK + 0xf4), 0x10302); /* RF: it is a fault */
	assert_int_equal(at32(&m, INNER_STACK + 0xf0), CODE3 | 3);
	assert_int_equal(at32(&m, INNER_STACK + 0xec), RIP);
	assert_int_equal(at32(&m, INNER_STACK + 0xe8), 0x1234);
	assert_int_equal(m.cpu.cpl, 0);
	assert_int_equal(m.cpu.segment[X86_SS].selector, DATA0);
	assert_int_equal(m.cpu.segment[X86_CS].selector, CODE0);
	free(m.bus);
}

/* A trap gate leaves interrupts on; pushes may wrap at 64 KiB on a small stack. */
static void protected_mode_small_stack(void **state)
{
	struct machine m;

	(void)state;
	start_protected(&m);
	set_gate32(m.bus, VECTOR, CODE0, HANDLER, 0x8f);
	m.cpu.segment[X86_SS].access &= ~X86_ACCESS_BIG;
	m.cpu.segment[X86_SS].limit = 0xffff;
	m.cpu.segment[X86_SS].base = 0x10000;
	m.cpu.gpr[X86_RSP] = 0x77770004;
	assert_int_equal(deliver(&m, external), DELIVER_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], 0x7777fff8);
	assert_int_equal(at32(&m, 0x10000), 0x302);
	assert_int_equal(at32(&m, 0x1fffc), CODE0);
	assert_int_equal(at32(&m, 0x1fff8), RIP);
	assert_int_equal(m.cpu.rflags, 2 | 1 << 9);
	free(m.bus);
}

static void long_mode_same_level(void **state)
{
	struct machine m;

	(void)state;
	start_long(&m);
	m.cpu.gpr[X86_RSP] = STACK + 0x10d;
	assert_int_equal(deliver(&m, external), DELIVER_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], STACK + 0x100 - 40); /* aligned before the pushes */
	assert_int_equal(at64(&m, STACK + 0xf8), DATA0);
	assert_int_equal(at64(&m, STACK + 0xf0), STACK + 0x10d);
	assert_int_equal(at64(&m, STACK + 0xe8), 0x302);
	assert_int_equal(at64(&m, STACK + 0xe0), CODE0_64);
	assert_int_equal(at64(&m, STACK + 0xd8), RIP);
	assert_int_equal(m.cpu.rip, 0xffff812345678abc);
	assert_int_equal(m.cpu.segment[X86_SS].selector, DATA0);
	assert_int_equal(m.bus->ram[GDT + CODE0_64 + 5], 0x9b); /* the descriptor is accessed now */
	free(m.bus);
}

static void long_mode_to_an_inner_level(void **state)
{
	struct machine m;

	(void)state;
	start_long(&m);
	to_user(&m, CODE3_64);
	assert_int_equal(deliver(&m, with_error), DELIVER_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], INNER_STACK + 0x100 - 48);
	assert_int_equal(at64(&m, INNER_STACK + 0xf8), DATA3 | 3);
	assert_int_equal(at64(&m, INNER_STACK + 0xd0), 0x1234);
	assert_int_equal(m.cpu.cpl, 0);
	assert_int_equal(m.cpu.segment[X86_SS].selector, 0);
	assert_true(m.cpu.segment[X86_SS].access & X86_ACCESS_UNUSABLE);
	free(m.bus);
}

static void long_mode_by_ist(void **state)
{
	struct machine m;

	(void)state;
	start_long(&m);
	set_gate64(m.bus, VECTOR, CODE0_64, HANDLER, 0x8f, 1);
	assert_int_equal(deliver(&m, external), DELIVER_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], INNER_STACK + 0x800 - 40);
	assert_int_equal(m.cpu.segment[X86_SS].selector, DATA0);
	assert_int_equal(m.cpu.rflags, 2 | 1 << 9);
	free(m.bus);
}

static void gates_are_checked(void **state)
{
	struct machine m;

	(void)state;
	start_protected(&m);
	m.cpu.idtr.limit = VECTOR * 8 + 6;
	expect_exception(&m, external, 13, VECTOR * 8 | 3);
	start_protected(&m);
	set_gate32(m.bus, VECTOR, CODE0, HANDLER, 0x0e);
	expect_exception(&m, external, 11, VECTOR * 8 | 3);
	start_protected(&m);
	set_gate32(m.bus, VECTOR, CODE0, HANDLER, 0x8c); /* a call gate */
	expect_exception(&m, external, 13, VECTOR * 8 | 3);
	start_protected(&m);
	to_user(&m, CODE3);
	expect_exception(&m, software, 13, VECTOR * 8 | 2);
	start_long(&m);
	set_gate64(m.bus, VECTOR, CODE0_64, HANDLER, 0x86, 0); /* 16 bits: not in long mode */
	expect_exception(&m, external, 13, VECTOR * 8 | 3);
}

static void segments_are_checked(void **state)
{
	struct machine m;

	(void)state;
	start_protected(&m);
	set_gate32(m.bus, VECTOR, 0, HANDLER, 0x8e);
	expect_exception(&m, external, 13, 1);
	start_protected(&m);
	set_gate32(m.bus, VECTOR, 0x100, HANDLER, 0x8e);
	expect_exception(&m, external, 13, 0x101);
	start_protected(&m);
	set_gate32(m.bus, VECTOR, DATA0, HANDLER, 0x8e);
	expect_exception(&m, external, 13, DATA0 | 1);
	start_protected(&m);
	set_gate32(m.bus, VECTOR, CODE3, HANDLER, 0x8e); /* outwards */
	expect_exception(&m, external, 13, CODE3 | 1);
	start_long(&m);
	set_gate64(m.bus, VECTOR, CODE0, HANDLER, 0x8e, 0); /* 32-bit code */
	expect_exception(&m, external, 13, CODE0 | 1);
	start_protected(&m);
	to_user(&m, CODE3);
	set32(m.bus, TSS + 8, DATA3 | 3);
	expect_exception(&m, external, 10, DATA3 | 1);
	start_protected(&m);
	to_user(&m, CODE3);
	m.cpu.tr.limit = 6;
	expect_exception(&m, external, 10, 0x41);
	start_protected(&m);
	m.cpu.segment[X86_SS].limit = STACK;
	expect_exception(&m, external, 12, 1);
}

/* Neither is anything pushed, nor does the CPU move. */
static void a_missing_stack_is_a_page_fault(void **state)
{
	struct machine m;

	(void)state;
	start_long(&m);
	m.cpu.gpr[X86_RSP] = NOT_PRESENT_STACK + 0x10;
	memset(m.bus->ram + STACK, 0x5a, 0x100);
	expect_exception(&m, with_error, 14, 2);
	assert_int_equal(m.exception.address, NOT_PRESENT_STACK + 8);
}

static void what_is_not_known(void **state)
{
	struct machine m;

	(void)state;
	start_protected(&m);
	set_gate32(m.bus, VECTOR, CODE0, HANDLER, 0x85);
	assert_int_equal(deliver(&m, external), DELIVER_UNSUPPORTED);
	m.cpu.rflags |= 1 << 17;
	assert_int_equal(deliver(&m, external), DELIVER_UNSUPPORTED);
	m.cpu = cpu_real_mode();
	assert_int_equal(deliver(&m, external), DELIVER_UNSUPPORTED);
	free(m.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protected_mode_same_level),
		cmocka_unit_test(protected_mode_to_an_inner_level),
		cmocka_unit_test(protected_mode_small_stack),
		cmocka_unit_test(long_mode_same_level),
		cmocka_unit_test(long_mode_to_an_inner_level),
		cmocka_unit_test(long_mode_by_ist),
		cmocka_unit_test(gates_are_checked),
		cmocka_unit_test(segments_are_checked),
		cmocka_unit_test(a_missing_stack_is_a_page_fault),
		cmocka_unit_test(what_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
