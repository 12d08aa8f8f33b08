/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jumps, calls and returns with a stack: in 64-bit and in 32-bit code. What the
 * CPU refuses, and what CPUs of different makers do differently, is left to it.
 * And memory that may be nothing but RAM.
 */
#include "tests/unit/emulate_fixture.h"

#define STACK 0x8000u

static struct guest_memory memory;
static struct bus *bus;
static struct emulate_info info;

/* RAM and the device page where they are; one root, 1 GiB pages. */
static int fresh_bus(void **state)
{
	(void)state;
	bus = bus_new(&memory);
	set64(bus, 0x1000, 0x2000 | 7);
	for (unsigned i = 0; i < 4; i++)
		set64(bus, 0x2000 + 8 * i, (uint64_t)i << 30 | 0x87);
	return 0;
}

static int free_bus(void **state)
{
	(void)state;
	free(bus);
	return 0;
}

static struct x86_cpu_state in_64bit(void)
{
	struct x86_cpu_state cpu = cpu_64bit();

	cpu.cr3 = 0x1000;
	cpu.rip = 0x4000;
	cpu.gpr[X86_RSP] = STACK;
	return cpu;
}

static struct x86_cpu_state in_32bit(void)
{
	struct x86_cpu_state cpu = cpu_32bit();

	cpu.rip = 0x4000;
	cpu.gpr[X86_RSP] = STACK;
	return cpu;
}

static enum emulate_result run(struct x86_cpu_state *cpu, const char *bytes, unsigned count)
{
	return emulate_instruction(cpu, &memory, (const uint8_t *)bytes, count, UINT64_MAX, &info);
}
#define RUN(cpu, bytes) run(cpu, bytes, sizeof(bytes) - 1)

static void expect_goes_to(struct x86_cpu_state cpu, const char *bytes, unsigned count, uint64_t rip, uint64_t rsp)
{
	assert_int_equal(run(&cpu, bytes, count), EMULATE_DONE);
	assert_true(cpu.rip == rip);
	assert_true(cpu.gpr[X86_RSP] == rsp);
}
#define GOES_TO(cpu, bytes, rip, rsp) expect_goes_to(cpu, bytes, sizeof(bytes) - 1, rip, rsp)

static void expect_refused(struct x86_cpu_state cpu, const char *bytes, unsigned count)
{
	struct x86_cpu_state before = cpu;
	uint8_t ram[16];

	memcpy(ram, bus->ram + STACK - 16, 16);
	assert_int_equal(run(&cpu, bytes, count), EMULATE_UNSUPPORTED);
	assert_memory_equal(&cpu, &before, sizeof(cpu));
	assert_memory_equal(bus->ram + STACK - 16, ram, 16);
}
#define REFUSED(cpu, bytes) expect_refused(cpu, bytes, sizeof(bytes) - 1)

static uint64_t pushed(unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, bus->ram + STACK - size, size);
	return value;
}

static void calls(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	GOES_TO(cpu, "\xe8\x10\x00\x00\x00", 0x4015, STACK - 8); /* call +16 */
	assert_int_equal(pushed(8), 0x4005);
	cpu.gpr[X86_RBX] = 0x5000;
	set64(bus, 0x5000, 0x6000);
	GOES_TO(cpu, "\xff\xd3", 0x5000, STACK - 8); /* call *%rbx */
	GOES_TO(cpu, "\xff\x13", 0x6000, STACK - 8); /* call *(%rbx) */
	assert_int_equal(pushed(8), 0x4002);
	GOES_TO(cpu, "\xff\xe3", 0x5000, STACK); /* jmp *%rbx */
	GOES_TO(cpu, "\xff\x23", 0x6000, STACK); /* jmp *(%rbx) */
	GOES_TO(cpu, "\xeb\xfe", 0x4000, STACK); /* to itself */

	cpu = in_32bit();
	GOES_TO(cpu, "\xe8\xf0\xff\xff\xff", 0x3ff5, STACK - 4);
	assert_int_equal(pushed(4), 0x4005);
	cpu.rip = 0xfffffff0;
	GOES_TO(cpu, "\xeb\x20", 0x12, STACK); /* EIP has 32 bits */
}

static void returns(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	set64(bus, STACK, 0x00006000);
	set64(bus, STACK + 8, 0x7000);
	GOES_TO(cpu, "\xc3", 0x6000, STACK + 8);
	GOES_TO(cpu, "\xf3\xc3", 0x6000, STACK + 8);      /* repz ret */
	GOES_TO(cpu, "\xc2\x10\x00", 0x6000, STACK + 24); /* ret $16 */
	GOES_TO(in_32bit(), "\xc3", 0x6000, STACK + 4);
	GOES_TO(in_32bit(), "\xc2\x08\x00", 0x6000, STACK + 12);

	cpu.gpr[X86_RBP] = STACK + 8;
	cpu.gpr[X86_RSP] = 0x100;
	GOES_TO(cpu, "\xc9", 0x4001, STACK + 16); /* leave */
	assert_int_equal(RUN(&cpu, "\xc9"), EMULATE_DONE);
	assert_int_equal(cpu.gpr[X86_RBP], 0x7000);
}

static void *ram_page(void *ctx, uint64_t gpa, bool write)
{
	struct bus *b = ctx;

	assert_int_equal(gpa % 4096, 0);
	return gpa < RAM_BYTES && !(write && gpa == 0x9000) ? b->ram + gpa : NULL; /* 9000h: read-only */
}

static void left_to_the_cpu(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	memory.ram_only = true; /* the CPU has not come there yet */
	memory.page = ram_page;
	REFUSED(cpu, "\x66\xe9\x10\x00\x00\x00"); /* makers differ */
	REFUSED(cpu, "\x66\xc3");
	REFUSED(cpu, "\xff\x1b");          /* lcall *(%rbx) */
	REFUSED(cpu, "\xcb");              /* lret */
	cpu.gpr[X86_RBX] = 0x800000000000; /* not canonical with four levels */
	REFUSED(cpu, "\xff\xe3");
	REFUSED(cpu, "\xff\xd3");
	set64(bus, STACK, 0x800000000000);
	REFUSED(cpu, "\xc3");

	cpu = in_32bit();
	cpu.segment[X86_CS].limit = 0x4fff;
	GOES_TO(cpu, "\xe9\xfa\x0f\x00\x00", 0x4fff, STACK);
	REFUSED(cpu, "\xe9\xfb\x0f\x00\x00");
	REFUSED(cpu, "\xe8\xfb\x0f\x00\x00");
	cpu.segment[X86_CS].limit = UINT32_MAX;
	cpu.rip = 0x1fff0;
	GOES_TO(cpu, "\x66\xe9\x10\x00", 4, STACK); /* IP has 16 bits */
}

/* Where the CPU has come to the instruction, it is #GP(0) to go where one cannot. */
static void nowhere_to_go(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	cpu.gpr[X86_RBX] = 0x800000000000;
	assert_int_equal(RUN(&cpu, "\xff\xe3"), EMULATE_GENERAL_PROTECTION);
	cpu = in_32bit();
	cpu.segment[X86_CS].limit = 0x4fff;
	assert_int_equal(RUN(&cpu, "\xe9\xfb\x0f\x00\x00"), EMULATE_GENERAL_PROTECTION);
	assert_int_equal(cpu.rip, 0x4000);
}

/* A call whose push faults has not happened. */
static void no_stack(void **state)
{
	struct x86_cpu_state cpu = in_64bit(), before;

	(void)state;
	cpu.gpr[X86_RSP] = 0x100000010; /* beyond 4 GiB */
	before = cpu;
	assert_int_equal(RUN(&cpu, "\xe8\x10\x00\x00\x00"), EMULATE_PAGE_FAULT);
	assert_true(info.fault_gva == 0x100000008 && info.error_code == VMMU_PF_WRITE);
	assert_memory_equal(&cpu, &before, sizeof(cpu));
	assert_int_equal(RUN(&cpu, "\xc3"), EMULATE_PAGE_FAULT);
	assert_true(info.fault_gva == 0x100000010 && info.error_code == 0);
}

/* ---- nothing but RAM -------------------------------------------------------------------- */

static uint64_t written_bytes;

static void count_written(void *ctx, uint64_t gpa, uint64_t bytes)
{
	(void)ctx;
	assert_true(gpa % 4096 + bytes <= 4096);
	written_bytes += bytes;
}

static void want_ram_only(void)
{
	memory.page = ram_page;
	memory.written = count_written;
	memory.ram_only = true;
	memory.rounds = 128;
	written_bytes = 0;
}

static void expect_no_memory(struct x86_cpu_state *cpu, const char *bytes, unsigned count, uint64_t gpa)
{
	struct x86_cpu_state before = *cpu;

	assert_int_equal(run(cpu, bytes, count), EMULATE_NO_MEMORY);
	assert_true(info.fault_gpa == gpa);
	assert_memory_equal(cpu, &before, sizeof(before));
	assert_int_equal(bus->accesses, 0);
}
#define NO_MEMORY(cpu, bytes, gpa) expect_no_memory(cpu, bytes, sizeof(bytes) - 1, gpa)

static void ram_alone(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	want_ram_only();
	cpu.gpr[X86_RBX] = DEVICE_BASE;
	cpu.gpr[X86_RAX] = 0x1122334455667788;
	NO_MEMORY(&cpu, "\x8b\x03", DEVICE_BASE); /* mov (%rbx), %eax */
	NO_MEMORY(&cpu, "\x01\x03", DEVICE_BASE); /* add %eax, (%rbx) */
	cpu.gpr[X86_RBX] = 0x9ff0;
	assert_int_equal(RUN(&cpu, "\x8b\x0b"), EMULATE_DONE);
	NO_MEMORY(&cpu, "\x89\x03", 0x9ff0); /* read-only */
	/* Across into what is no RAM: the part that is stays as it was. */
	cpu.gpr[X86_RBX] = 0x8ffe;
	NO_MEMORY(&cpu, "\x01\x03", 0x9000);
	assert_memory_equal(bus->ram + 0x8ffe, "\0\0", 2);
	assert_int_equal(RUN(&cpu, "\x8b\x03"), EMULATE_DONE);
	/* Depends on control registers, or on CPUID. */
	assert_int_equal(RUN(&cpu, "\x0f\x01\xe0"), EMULATE_UNSUPPORTED);     /* smsw %eax */
	assert_int_equal(RUN(&cpu, "\x0f\x38\xf0\x03"), EMULATE_UNSUPPORTED); /* movbe (%rbx), %eax */
}

/* As in a TLB: what was found once is not looked up again, but for a first write; what was missing is. */
static void recent_pages(void **state)
{
	const uint64_t accessed = 1 << 5, dirty = 1 << 6;
	struct x86_cpu_state cpu = in_64bit();
	struct guest_recent recent = {0};
	uint64_t entry;

	(void)state;
	want_ram_only();
	memory.recent = &recent;
	set64(bus, 0x2000 + 8, 0x3000 | 7);
	set64(bus, 0x3000, 0x4000 | 7);
	cpu.gpr[X86_RBX] = 0x40005010;
	assert_int_equal(RUN(&cpu, "\x8b\x03"), EMULATE_PAGE_FAULT);
	set64(bus, 0x4000 + 8 * 5, 0x20000 | 7);
	set64(bus, 0x20010, 0x77);
	assert_int_equal(RUN(&cpu, "\x8b\x03"), EMULATE_DONE);
	assert_int_equal(cpu.gpr[X86_RAX], 0x77);
	memcpy(&entry, bus->ram + 0x4028, 8);
	assert_int_equal(entry & (accessed | dirty), accessed);
	cpu.rip = 0x4000;
	assert_int_equal(RUN(&cpu, "\x89\x0b"), EMULATE_DONE);
	memcpy(&entry, bus->ram + 0x4028, 8);
	assert_int_equal(entry & (accessed | dirty), accessed | dirty);
	assert_int_equal(bus->ram[0x20010], 0);
	set64(bus, 0x4000 + 8 * 5, 0);
	assert_int_equal(RUN(&cpu, "\x89\x0b"), EMULATE_DONE);
	/* Another page at the same place among those that are kept. */
	cpu.gpr[X86_RBX] += 4096 * GUEST_RECENT_PAGES;
	assert_int_equal(RUN(&cpu, "\x89\x0b"), EMULATE_PAGE_FAULT);
	set64(bus, 0x4000 + 8 * (5 + GUEST_RECENT_PAGES), 0x21000 | 5); /* not to be written */
	assert_int_equal(RUN(&cpu, "\x8b\x03"), EMULATE_DONE);
	assert_int_equal(RUN(&cpu, "\x89\x0b"), EMULATE_PAGE_FAULT);
	assert_int_equal(info.error_code, VMMU_PF_PRESENT | VMMU_PF_WRITE);
	/* It was read, and takes nothing from what was written; what is written does. */
	cpu.gpr[X86_RBX] -= 4096 * GUEST_RECENT_PAGES;
	assert_int_equal(RUN(&cpu, "\x8b\x03"), EMULATE_DONE);
	cpu.gpr[X86_RBX] += 4096 * GUEST_RECENT_PAGES;
	set64(bus, 0x4000 + 8 * (5 + GUEST_RECENT_PAGES), 0x21000 | 7);
	assert_int_equal(RUN(&cpu, "\x89\x0b"), EMULATE_DONE);
	cpu.gpr[X86_RBX] -= 4096 * GUEST_RECENT_PAGES;
	assert_int_equal(RUN(&cpu, "\x8b\x03"), EMULATE_PAGE_FAULT);
}

/* Up to the fault, with the registers as they stand there. */
static void stores_up_to_a_fault(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	want_ram_only();
	set64(bus, 0x2000 + 8, 0x3000 | 7); /* 4 KiB pages from 1 GiB on */
	set64(bus, 0x3000, 0x4000 | 7);
	set64(bus, 0x4000 + 8 * 0, 0x20000 | 7);
	set64(bus, 0x4000 + 8 * 1, 0x30000 | 7);
	cpu.gpr[X86_RDI] = 0x40000123;
	cpu.gpr[X86_RCX] = 0x10000;
	cpu.gpr[X86_RAX] = 0x5a;
	assert_int_equal(RUN(&cpu, "\xf3\xaa"), EMULATE_PAGE_FAULT); /* rep stosb */
	assert_true(info.fault_gva == 0x40002000 && info.error_code == VMMU_PF_WRITE);
	assert_int_equal(cpu.rip, 0x4000);
	assert_true(cpu.gpr[X86_RDI] == 0x40002000 && cpu.gpr[X86_RCX] == 0x10000 - 0x1edd);
	assert_int_equal(written_bytes, 0x1edd);
	assert_int_equal(bus->ram[0x20122], 0);
	for (unsigned i = 0x123; i < 0x1000; i++)
		assert_int_equal(bus->ram[0x20000 + i], 0x5a);
	for (unsigned i = 0; i < 0x1000; i++)
		assert_int_equal(bus->ram[0x30000 + i], 0x5a);
}

/* Elements of 8 bytes, one of them across the pages' border; then overlapping moves; then too many of them. */
static void moves(void **state)
{
	struct x86_cpu_state cpu = in_64bit();

	(void)state;
	want_ram_only();
	for (unsigned i = 0; i < 0x3000; i++)
		bus->ram[0x20000 + i] = (uint8_t)(i * 7 + i / 256);
	cpu.gpr[X86_RSI] = 0x20005;
	cpu.gpr[X86_RDI] = 0x40ffb;
	cpu.gpr[X86_RCX] = 0x300;
	assert_int_equal(RUN(&cpu, "\xf3\x48\xa5"), EMULATE_DONE); /* rep movsq */
	assert_memory_equal(bus->ram + 0x40ffb, bus->ram + 0x20005, 0x1800);
	assert_true(cpu.gpr[X86_RSI] == 0x20005 + 0x1800 && cpu.gpr[X86_RDI] == 0x40ffb + 0x1800 && !cpu.gpr[X86_RCX]);

	cpu = in_64bit();
	cpu.gpr[X86_RSI] = 0x20000;
	cpu.gpr[X86_RDI] = 0x20001; /* the first byte spreads */
	cpu.gpr[X86_RCX] = 0x800;
	assert_int_equal(RUN(&cpu, "\xf3\xa4"), EMULATE_DONE);
	for (unsigned i = 0; i < 0x800; i++)
		assert_int_equal(bus->ram[0x20001 + i], bus->ram[0x20000]);

	cpu = in_64bit();
	cpu.gpr[X86_RDI] = 0x20000;
	cpu.gpr[X86_RCX] = 0x10000;
	assert_int_equal(RUN(&cpu, "\xf3\xaa"), EMULATE_AGAIN);
	assert_true(cpu.gpr[X86_RDI] == 0x24000 && cpu.gpr[X86_RCX] == 0x10000 - 0x4000);
}

/* A segment's limit, and where addresses wrap, end a run of elements like a page does. */
static void runs_in_segments(void **state)
{
	struct x86_cpu_state cpu = in_32bit();

	(void)state;
	want_ram_only();
	cpu.segment[X86_ES].limit = 0x20007;
	cpu.gpr[X86_RDI] = 0x20000;
	cpu.gpr[X86_RCX] = 16;
	cpu.gpr[X86_RAX] = 0x77;
	assert_int_equal(RUN(&cpu, "\xf3\xaa"), EMULATE_GENERAL_PROTECTION);
	assert_true(cpu.gpr[X86_RDI] == 0x20008 && cpu.gpr[X86_RCX] == 8);

	cpu = in_32bit();
	cpu.segment[X86_ES].base = 0x10800;
	cpu.gpr[X86_RDI] = 0xfffe;
	cpu.gpr[X86_RCX] = 4;
	cpu.gpr[X86_RAX] = 0x66;
	assert_int_equal(RUN(&cpu, "\x67\xf3\xaa"), EMULATE_DONE); /* 16-bit addresses */
	assert_memory_equal(bus->ram + 0x207fe, "\x66\x66\0\0", 4);
	assert_memory_equal(bus->ram + 0x10800, "\x66\x66\0\0", 4);
	assert_int_equal(cpu.gpr[X86_RDI], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(returns, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(left_to_the_cpu, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(nowhere_to_go, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(no_stack, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(ram_alone, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(recent_pages, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(stores_up_to_a_fault, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(moves, fresh_bus, free_bus),
		cmocka_unit_test_setup_teardown(runs_in_segments, fresh_bus, free_bus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
