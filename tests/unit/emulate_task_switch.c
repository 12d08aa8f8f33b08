/* SPDX-License-Identifier: BSD-2-Clause */
/* Hardware task switches, rule by rule: SDM vol. 3, 8.2 and 8.3, table 8-1. */
#include "tests/unit/emulate_fixture.h"
#include "visor/emulate/task_switch.h"

enum { GDT = 0x2000,
       LDT = 0x2800,
       OLD = 0x3000,
       NEW = 0x3ff0 /* across a page */,
       STACK = 0x8000,
       TABLES = 0x10000 };
enum {
	CODE0 = 0x08,
	DATA0 = 0x10,
	CODE3 = 0x18,
	DATA3 = 0x20,
	LDT_SELECTOR = 0x28,
	OLD_TASK = 0x30,
	NEW_TASK = 0x38,
	ABSENT_CODE = 0x40,
	ABSENT_DATA = 0x48,
	READ_ONLY = 0x50,
	CONFORMING = 0x58,
	SMALL_CODE = 0x60,
	EXECUTE_ONLY = 0x68,
	GDT_LIMIT = 0x6f,
	LOCAL_DATA = 0x04 /* the LDT's first */,
};
enum { TS = 10,
       NP = 11,
       SS = 12,
       GP = 13,
       PF = 14 };
enum { AVAILABLE16 = 0x81,
       AVAILABLE = 0x89,
       BUSY = 0x02,
       NT = 1 << 14 };

struct machine {
	struct guest_memory memory;
	struct bus *bus;
	struct x86_cpu_state cpu;
	struct task_switch_outcome out;
};

static uint64_t system_descriptor(uint32_t base, uint32_t limit, unsigned type)
{
	return limit | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40 | (uint64_t)(base >> 24) << 56;
}

static uint64_t get(const struct machine *m, uint64_t gpa, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, m->bus->ram + gpa, bytes);
	return value;
}

static void set16(struct machine *m, uint64_t gpa, uint16_t value)
{
	memcpy(m->bus->ram + gpa, &value, 2);
}

/* The new task: registers of its own, the flat segments of CPL 0. */
static void fill_tss32(struct machine *m, uint64_t at)
{
	static const uint32_t segments[] = {DATA0, CODE0, DATA0, DATA0, DATA3 | 3, 0};

	set32(m->bus, at + 0x1c, TABLES);
	set32(m->bus, at + 0x20, 0x12345);
	set32(m->bus, at + 0x24, 0x202);
	for (unsigned i = 0; i < 8; i++)
		set32(m->bus, at + 0x28 + 4 * i, 0xa0000000 + i);
	set32(m->bus, at + 0x28 + 16, STACK + 0x100);
	for (unsigned i = 0; i < 6; i++)
		set32(m->bus, at + 0x48 + 4 * i, segments[i]);
	set32(m->bus, at + 0x60, LDT_SELECTOR);
	set32(m->bus, at + 0x64, 0);
}

static void fill_tss16(struct machine *m, uint64_t at)
{
	static const uint16_t segments[] = {DATA0, CODE0, DATA0, DATA0};

	set16(m, at + 0x0e, 0x1234);
	set16(m, at + 0x10, 0x202);
	for (unsigned i = 0; i < 8; i++)
		set16(m, at + 0x12 + 2 * i, (uint16_t)(0xb000 + i));
	set16(m, at + 0x12 + 8, STACK + 0x100);
	for (unsigned i = 0; i < 4; i++)
		set16(m, at + 0x22 + 2 * i, segments[i]);
	set16(m, at + 0x2a, LDT_SELECTOR);
}

static void start(struct machine *m, bool old16, bool new16)
{
	const uint64_t gdt[] = {
		0,
		0x00cf9b000000ffff,
		0x00cf93000000ffff,
		0x00cffb000000ffff,
		0x00cff3000000ffff,
		system_descriptor(LDT, 0xf, 0x82),
		system_descriptor(OLD, old16 ? 0x2b : 0x67, (old16 ? AVAILABLE16 : AVAILABLE) | BUSY),
		system_descriptor(NEW, new16 ? 0x2b : 0x67, new16 ? AVAILABLE16 : AVAILABLE),
		0x00cf1b000000ffff,
		0x00cf13000000ffff,
		0x00cf91000000ffff,
		0x00cf9e000000ffff,
		0x00009b000000ffff,
		0x00cf98000000ffff,
	};

	memset(m, 0, sizeof(*m));
	m->bus = bus_new(&m->memory);
	m->cpu = cpu_32bit();
	for (unsigned i = 0; i < sizeof(gdt) / 8; i++)
		set64(m->bus, GDT + 8 * i, gdt[i]);
	set64(m->bus, LDT, 0x00cf92000000ffff); /* not accessed yet */
	m->cpu.gdtr = (struct x86_table_register){GDT_LIMIT, GDT};
	m->cpu.tr = (struct x86_segment){
		.selector = OLD_TASK,
		.access = old16 ? 0x83 : 0x8b,
		.limit = old16 ? 0x2b : 0x67,
		.base = OLD,
	};
	m->cpu.ldtr.access = X86_ACCESS_UNUSABLE;
	m->cpu.rip = 0x4567;
	m->cpu.rflags = 0x246 | NT;
	m->cpu.cr3 = 0x77000;
	for (unsigned i = 0; i < 8; i++)
		m->cpu.gpr[i] = 0xc0000000 + i;
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		m->cpu.segment[i].selector = i == X86_CS ? CODE0 : DATA0;
	if (new16)
		fill_tss16(m, NEW);
	else
		fill_tss32(m, NEW);
}

static enum task_switch_result go(struct machine *m, enum task_switch_source source)
{
	return switch_task(&m->cpu, &m->memory, &(struct task_switch){.selector = NEW_TASK, .source = source}, &m->out);
}

static uint8_t type_of(const struct machine *m, uint16_t selector)
{
	return m->bus->ram[GDT + selector + 5];
}

static void set_type(struct machine *m, uint16_t selector, uint8_t type)
{
	m->bus->ram[GDT + selector + 5] = type;
}

static void expect_new_task32(const struct machine *m, bool nested)
{
	const struct x86_cpu_state *cpu = &m->cpu;

	assert_true(m->out.switched && !m->out.debug_trap);
	assert_int_equal(cpu->rip, 0x12345);
	assert_int_equal(cpu->rflags, 0x202 | (nested ? NT : 0));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(cpu->gpr[i], i == X86_RSP ? STACK + 0x100 : 0xa0000000 + i);
	assert_int_equal(cpu->segment[X86_CS].selector, CODE0);
	assert_int_equal(cpu->segment[X86_FS].selector, DATA3 | 3);
	assert_int_equal(cpu->segment[X86_FS].limit, 0xffffffff);
	assert_true(cpu->segment[X86_GS].access & X86_ACCESS_UNUSABLE);
	assert_int_equal(cpu->ldtr.selector, LDT_SELECTOR);
	assert_int_equal(cpu->ldtr.base, LDT);
	assert_int_equal(cpu->tr.selector, NEW_TASK);
	assert_int_equal(cpu->tr.base, NEW);
	assert_int_equal(cpu->tr.access & 0xff, 0x8b);
	assert_int_equal(cpu->cr0 & 8, 8);   /* TS */
	assert_int_equal(cpu->cr3, 0x77000); /* paging is off */
}

static void expect_saved32(const struct machine *m, uint32_t flags)
{
	assert_int_equal(get(m, OLD + 0x20, 4), 0x4567);
	assert_int_equal(get(m, OLD + 0x24, 4), flags);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(get(m, OLD + 0x28 + 4 * i, 4), 0xc0000000 + i);
	assert_int_equal(get(m, OLD + 0x4c, 2), CODE0);
	assert_int_equal(get(m, OLD + 0x5c, 2), DATA0);
	assert_int_equal(get(m, OLD + 0x1c, 4), 0); /* CR3 and LDT are not stored */
	assert_int_equal(get(m, OLD + 0x60, 4), 0);
}

/* ---- the four sources --------------------------------------------------------------------- */

static void jump(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	expect_new_task32(&m, false);
	expect_saved32(&m, 0x246 | NT);
	assert_int_equal(type_of(&m, OLD_TASK), AVAILABLE);
	assert_int_equal(type_of(&m, NEW_TASK), AVAILABLE | BUSY);
	assert_int_equal(get(&m, NEW, 2), 0); /* no link */
	free(m.bus);
}

static void call(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	assert_int_equal(go(&m, TASK_SWITCH_CALL), TASK_SWITCH_DONE);
	expect_new_task32(&m, true);
	expect_saved32(&m, 0x246 | NT);
	assert_int_equal(type_of(&m, OLD_TASK), AVAILABLE | BUSY);
	assert_int_equal(type_of(&m, NEW_TASK), AVAILABLE | BUSY);
	assert_int_equal(get(&m, NEW, 2), OLD_TASK);
	free(m.bus);
}

static void interrupt_return(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	set_type(&m, NEW_TASK, AVAILABLE | BUSY);
	assert_int_equal(go(&m, TASK_SWITCH_IRET), TASK_SWITCH_DONE);
	expect_new_task32(&m, false);
	expect_saved32(&m, 0x246); /* NT is cleared in what is saved */
	assert_int_equal(type_of(&m, OLD_TASK), AVAILABLE);
	assert_int_equal(type_of(&m, NEW_TASK), AVAILABLE | BUSY);
	assert_int_equal(get(&m, NEW, 2), 0);
	free(m.bus);
}

static void gate(void **state)
{
	struct task_switch how = {.selector = NEW_TASK, .source = TASK_SWITCH_GATE, .external = true};
	struct machine m;

	(void)state;
	start(&m, false, false);
	assert_int_equal(switch_task(&m.cpu, &m.memory, &how, &m.out), TASK_SWITCH_DONE);
	expect_new_task32(&m, true);
	assert_int_equal(get(&m, NEW, 2), OLD_TASK);
	free(m.bus);

	start(&m, false, false); /* an exception with an error code: onto the new stack */
	how.has_error = true;
	how.error = 0x1234568;
	assert_int_equal(switch_task(&m.cpu, &m.memory, &how, &m.out), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], STACK + 0xfc);
	assert_int_equal(get(&m, STACK + 0xfc, 4), 0x1234568);
	free(m.bus);

	start(&m, false, true); /* two bytes for a 16-bit TSS */
	how.error = 0x8028;
	assert_int_equal(switch_task(&m.cpu, &m.memory, &how, &m.out), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.gpr[X86_RSP], STACK + 0xfe);
	assert_int_equal(get(&m, STACK + 0xfe, 2), 0x8028);
	free(m.bus);
}

/* There and back: what was saved is what comes again. */
static void there_and_back(void **state)
{
	for (unsigned widths = 0; widths < 4; widths++) {
		struct machine m;
		uint64_t mask = widths & 1 ? 0xffff : 0xffffffff;

		(void)state;
		start(&m, widths & 1, widths & 2);
		m.cpu.rflags = 0x246;
		set16(&m, widths & 1 ? OLD + 0x2a : OLD + 0x60, LDT_SELECTOR);
		assert_int_equal(go(&m, TASK_SWITCH_CALL), TASK_SWITCH_DONE);
		assert_int_equal(get(&m, NEW, 2), OLD_TASK);
		assert_int_equal(switch_task(&m.cpu, &m.memory,
		                             &(struct task_switch){.selector = OLD_TASK, .source = TASK_SWITCH_IRET}, &m.out),
		                 TASK_SWITCH_DONE);
		assert_int_equal(m.cpu.rip, 0x4567);
		assert_int_equal(m.cpu.rflags, 0x246);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(m.cpu.gpr[i], (0xc0000000 + i) & mask);
		assert_int_equal(m.cpu.segment[X86_DS].selector, DATA0);
		assert_int_equal(m.cpu.tr.selector, OLD_TASK);
		assert_int_equal(type_of(&m, NEW_TASK), widths & 2 ? AVAILABLE16 : AVAILABLE);
		free(m.bus);
	}
}

static void sixteen_bits(void **state)
{
	struct machine m;

	(void)state;
	start(&m, true, true);
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.rip, 0x1234);
	assert_int_equal(m.cpu.rflags, 0x202);
	assert_int_equal(m.cpu.gpr[X86_RDI], 0xb007);
	assert_int_equal(m.cpu.segment[X86_ES].selector, DATA0);
	assert_true(m.cpu.segment[X86_FS].access & X86_ACCESS_UNUSABLE); /* it has no FS and GS */
	assert_int_equal(m.cpu.segment[X86_FS].selector, 0);
	assert_int_equal(m.cpu.cr3, 0x77000);
	assert_int_equal(get(&m, OLD + 0x0e, 2), 0x4567);
	assert_int_equal(get(&m, OLD + 0x10, 2), 0x246 | NT);
	assert_int_equal(get(&m, OLD + 0x12 + 14, 2), 7);
	assert_int_equal(get(&m, OLD + 0x24, 2), CODE0);
	assert_int_equal(get(&m, OLD + 0x28, 2), DATA0);
	assert_int_equal(get(&m, OLD + 0x2a, 2), 0);
	free(m.bus);
}

/* ---- the rest of what a TSS holds -------------------------------------------------------------- */

static void local_segments(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	set32(m.bus, NEW + 0x54, LOCAL_DATA); /* DS, by way of the new task's LDT */
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.segment[X86_DS].selector, LOCAL_DATA);
	assert_int_equal(m.bus->ram[LDT + 5], 0x93); /* accessed now */
	free(m.bus);
}

static void user_task(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	set32(m.bus, NEW + 0x48, DATA3 | 3);
	set32(m.bus, NEW + 0x4c, CODE3 | 3);
	set32(m.bus, NEW + 0x50, DATA3 | 3);
	set32(m.bus, NEW + 0x54, CONFORMING); /* readable code that conforms may be read by all */
	assert_int_equal(go(&m, TASK_SWITCH_CALL), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.cpl, 3);
	assert_int_equal(m.cpu.segment[X86_DS].selector, CONFORMING);
	free(m.bus);
}

static void virtual_8086(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	set32(m.bus, NEW + 0x24, 0x20202);
	set32(m.bus, NEW + 0x4c, 0x1234);
	set32(m.bus, NEW + 0x54, 0xfedc);
	set32(m.bus, NEW + 0x20, 0xabc);
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.cpl, 3);
	assert_int_equal(m.cpu.segment[X86_CS].base, 0x12340);
	assert_int_equal(m.cpu.segment[X86_DS].base, 0xfedc0);
	assert_int_equal(m.cpu.segment[X86_DS].limit, 0xffff);
	assert_int_equal(m.cpu.segment[X86_DS].access, 0xf3);
	free(m.bus);
}

static void debug_trap(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	m.bus->ram[NEW + 0x64] = 1;
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	assert_true(m.out.debug_trap);
	free(m.bus);
}

/* The first 2 MiB by 4 KiB pages, all of them there; 32-bit paging. */
static void turn_paging_on(struct machine *m)
{
	m->cpu.cr0 |= X86_CR0_PG | X86_CR0_WP;
	m->cpu.cr3 = TABLES + 0x2000;
	for (unsigned i = 0; i < 2; i++) {
		set32(m->bus, TABLES + 0x2000 * i, (TABLES + 0x1000 + 0x2000 * i) | 7);
		for (uint32_t page = 0; page < RAM_BYTES / 4096; page++)
			set32(m->bus, TABLES + 0x1000 + 0x2000 * i + 4 * page, page << 12 | 7);
	}
}

static uint64_t old_entry(uint64_t linear)
{
	return TABLES + 0x3000 + linear / 4096 * 4;
}

static uint64_t new_entry(uint64_t linear)
{
	return TABLES + 0x1000 + linear / 4096 * 4;
}

/* The TSS is read by the old tables, the segments by the new ones. */
static void paging(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	turn_paging_on(&m);
	set32(m.bus, new_entry(NEW), 0);
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.cr3, TABLES);
	free(m.bus);

	start(&m, false, false);
	turn_paging_on(&m);
	set32(m.bus, new_entry(GDT), 0);
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_EXCEPTION);
	assert_true(m.out.switched);
	assert_int_equal(m.out.exception.vector, PF);
	assert_int_equal(m.out.exception.address, GDT + LDT_SELECTOR);
	assert_int_equal(m.cpu.rip, 0x12345);
	free(m.bus);
}

/* PAE: the new CR3's top table is loaded with it. */
static void paging_pae(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	turn_paging_on(&m);
	m.cpu.cr4 |= X86_CR4_PAE;
	m.cpu.pdpte[0] = TABLES + 0x5001;
	for (unsigned i = 0; i < 2; i++) { /* old: + 5000h; new, whose top table is at TABLES: + 6000h */
		set64(m.bus, TABLES + 0x5000 + 0x1000 * i, 0x87);
		memset(m.bus->ram + TABLES, 0, 32);
		set64(m.bus, TABLES, TABLES + 0x6001);
	}
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_DONE);
	assert_int_equal(m.cpu.pdpte[0], TABLES + 0x6001);
	assert_int_equal(m.cpu.cr3, TABLES);
	free(m.bus);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

static void expect_refused(struct machine *m, enum task_switch_source source, uint8_t vector, uint32_t error)
{
	struct x86_cpu_state before = m->cpu;
	uint8_t *ram = malloc(RAM_BYTES);

	memcpy(ram, m->bus->ram, RAM_BYTES);
	assert_int_equal(go(m, source), TASK_SWITCH_EXCEPTION);
	assert_false(m->out.switched);
	assert_int_equal(m->out.exception.vector, vector);
	assert_int_equal(m->out.exception.error, error);
	assert_memory_equal(&before, &m->cpu, sizeof(before));
	if (vector != PF) /* which may leave accessed bits behind */
		assert_memory_equal(ram, m->bus->ram, RAM_BYTES);
	free(ram);
	free(m->bus);
}

/* Before the switch, in the old task, which nothing has happened to. */
static void refused_before(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false); /* a busy TSS may only be returned to, an available one only be entered */
	set_type(&m, NEW_TASK, AVAILABLE | BUSY);
	expect_refused(&m, TASK_SWITCH_JUMP, GP, NEW_TASK);
	start(&m, false, false);
	set_type(&m, NEW_TASK, AVAILABLE | BUSY);
	expect_refused(&m, TASK_SWITCH_CALL, GP, NEW_TASK);
	start(&m, false, false);
	expect_refused(&m, TASK_SWITCH_IRET, TS, NEW_TASK);
	start(&m, false, false);
	set_type(&m, NEW_TASK, 0x09);
	expect_refused(&m, TASK_SWITCH_JUMP, NP, NEW_TASK);
	start(&m, false, false);
	set_type(&m, NEW_TASK, 0x82); /* an LDT */
	expect_refused(&m, TASK_SWITCH_JUMP, GP, NEW_TASK);
	start(&m, false, false);
	set_type(&m, NEW_TASK, 0x99); /* code */
	expect_refused(&m, TASK_SWITCH_JUMP, GP, NEW_TASK);
	start(&m, false, false);
	m.bus->ram[GDT + NEW_TASK] = 0x66;
	expect_refused(&m, TASK_SWITCH_JUMP, TS, NEW_TASK);
	start(&m, true, true);
	m.bus->ram[GDT + NEW_TASK] = 0x2a;
	expect_refused(&m, TASK_SWITCH_JUMP, TS, NEW_TASK);
	start(&m, false, false);
	m.cpu.gdtr.limit = NEW_TASK + 6;
	expect_refused(&m, TASK_SWITCH_JUMP, GP, NEW_TASK);
	start(&m, false, false);
	m.cpu.tr.limit = 0x5e;
	expect_refused(&m, TASK_SWITCH_JUMP, TS, OLD_TASK);

	start(&m, false, false); /* pages that are missing or may not be written */
	turn_paging_on(&m);
	set32(m.bus, old_entry(NEW + 0x20), 0);
	expect_refused(&m, TASK_SWITCH_JUMP, PF, 0);
	start(&m, false, false);
	turn_paging_on(&m);
	set32(m.bus, old_entry(OLD), OLD | 5);
	expect_refused(&m, TASK_SWITCH_JUMP, PF, 3);
	start(&m, false, false);
	turn_paging_on(&m);
	set32(m.bus, old_entry(GDT), GDT | 5);
	expect_refused(&m, TASK_SWITCH_JUMP, PF, 3);
}

static void unsupported(void **state)
{
	struct machine m;

	(void)state;
	start(&m, false, false);
	m.cpu.cr0 = 0;
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_UNSUPPORTED);
	m.cpu.cr0 = X86_CR0_PE;
	m.cpu.efer = X86_EFER_LMA;
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_UNSUPPORTED);
	free(m.bus);
}

/* In the new task: its state is the CPU's, the old one's is saved. */
static void refused_after(void **state)
{
	static const struct {
		unsigned offset;
		uint32_t value;
		uint8_t vector;
		uint32_t error;
	} wrong[] = {
		{0x60, LDT_SELECTOR | 4, TS, LDT_SELECTOR | 4}, /* an LDT in an LDT */
		{0x60, DATA0, TS, DATA0},
		{0x60, GDT_LIMIT + 1, TS, GDT_LIMIT + 1},
		{0x4c, 0, TS, 0},
		{0x4c, 3, TS, 0},
		{0x4c, DATA0, TS, DATA0},
		{0x4c, CODE3, TS, CODE3}, /* RPL 0, DPL 3 */
		{0x4c, CODE0 | 3, TS, CODE0},
		{0x4c, ABSENT_CODE, NP, ABSENT_CODE},
		{0x4c, GDT_LIMIT + 1, TS, GDT_LIMIT + 1},
		{0x50, 0, TS, 0},
		{0x50, READ_ONLY, TS, READ_ONLY},
		{0x50, CODE0, TS, CODE0},
		{0x50, DATA0 | 1, TS, DATA0},
		{0x50, DATA3, TS, DATA3},
		{0x50, ABSENT_DATA, SS, ABSENT_DATA},
		{0x54, ABSENT_DATA, NP, ABSENT_DATA},
		{0x54, EXECUTE_ONLY, TS, EXECUTE_ONLY},
		{0x48, DATA0 | 1, TS, DATA0},
		{0x58, OLD_TASK, TS, OLD_TASK},
		{0x5c, GDT_LIMIT + 1, TS, GDT_LIMIT + 1},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		for (unsigned external = 0; external < 2; external++) {
			struct task_switch how = {
				.selector = NEW_TASK,
				.source = TASK_SWITCH_GATE,
				.external = external,
			};
			struct machine m;

			start(&m, false, false);
			set32(m.bus, NEW + wrong[i].offset, wrong[i].value);
			assert_int_equal(switch_task(&m.cpu, &m.memory, &how, &m.out), TASK_SWITCH_EXCEPTION);
			assert_true(m.out.switched);
			assert_int_equal(m.out.exception.vector, wrong[i].vector);
			assert_int_equal(m.out.exception.error, wrong[i].error | external);
			assert_int_equal(m.cpu.rip, 0x12345);
			assert_int_equal(m.cpu.tr.selector, NEW_TASK);
			expect_saved32(&m, 0x246 | NT);
			/* What cannot be used must say so, and the two that hold the privilege level agree. */
			assert_int_equal(m.cpu.segment[X86_SS].access >> 5 & 3, m.cpu.cpl);
			free(m.bus);
		}
	}
}

static void refused_last(void **state)
{
	struct task_switch how = {
		.selector = NEW_TASK,
		.source = TASK_SWITCH_GATE,
		.external = true,
		.has_error = true,
	};
	struct machine m;

	(void)state;
	start(&m, false, false); /* EIP beyond a code segment of 64 KiB */
	set32(m.bus, NEW + 0x4c, SMALL_CODE);
	assert_int_equal(go(&m, TASK_SWITCH_JUMP), TASK_SWITCH_EXCEPTION);
	assert_int_equal(m.out.exception.vector, GP);
	assert_int_equal(m.out.exception.error, 0);
	free(m.bus);

	start(&m, false, false); /* no room for the error code: the stack ends at 2 */
	set64(m.bus, GDT + DATA0, 0x0040930000000001);
	set32(m.bus, NEW + 0x38, 4);
	assert_int_equal(switch_task(&m.cpu, &m.memory, &how, &m.out), TASK_SWITCH_EXCEPTION);
	assert_int_equal(m.out.exception.vector, SS);
	assert_int_equal(m.out.exception.error, 1);
	assert_int_equal(m.cpu.gpr[X86_RSP], 4);
	free(m.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jump),
		cmocka_unit_test(call),
		cmocka_unit_test(interrupt_return),
		cmocka_unit_test(gate),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(sixteen_bits),
		cmocka_unit_test(local_segments),
		cmocka_unit_test(user_task),
		cmocka_unit_test(virtual_8086),
		cmocka_unit_test(debug_trap),
		cmocka_unit_test(paging),
		cmocka_unit_test(paging_pae),
		cmocka_unit_test(refused_before),
		cmocka_unit_test(unsupported),
		cmocka_unit_test(refused_after),
		cmocka_unit_test(refused_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
