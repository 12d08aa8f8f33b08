/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What emulate_native.c cannot show: device accesses and their number, other
 * modes than 64-bit, segments, faults between rounds of a REP string, and
 * instructions that are refused.
 */
#include "visor/emulate/decode.h"
#include "tests/unit/emulate_fixture.h"

static struct guest_memory memory;
static struct bus *bus;
static struct emulate_info info;

static int fresh_bus(void **state)
{
	(void)state;
	bus = bus_new(&memory);
	return 0;
}

static int free_bus(void **state)
{
	(void)state;
	free(bus);
	return 0;
}

static enum emulate_result run(struct x86_cpu_state *cpu, uint64_t gpa, const char *bytes, unsigned count)
{
	return emulate_instruction(cpu, &memory, (const uint8_t *)bytes, count, gpa, &info);
}

#define RUN(cpu, gpa, bytes) run(cpu, gpa, bytes, sizeof(bytes) - 1)
#define UNKNOWN UINT64_MAX

static void expect_access(unsigned i, bool write, uint64_t gpa, unsigned size, uint64_t value)
{
	assert_true(i < bus->accesses);
	assert_int_equal(bus->access[i].write, write);
	assert_int_equal(bus->access[i].gpa, gpa);
	assert_int_equal(bus->access[i].size, size);
	assert_int_equal(bus->access[i].value, value);
}

/* The address that the CPU reported is taken; there are no page tables here to walk. */
static void reported_address(void **state)
{
	struct x86_cpu_state cpu = cpu_64bit();

	(void)state;
	cpu.cr3 = 0xf0000000;
	cpu.gpr[X86_RBX] = 0xffffffffff5fb010;
	cpu.gpr[X86_RAX] = 0x1122334455667788;
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 0x10, "\x89\x03"), EMULATE_DONE); /* mov %eax, (%rbx) */
	expect_access(0, true, DEVICE_BASE + 0x10, 4, 0x55667788);
	assert_int_equal(bus->accesses, 1);
	assert_int_equal(cpu.rip, 2);
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_NO_MEMORY); /* now it has to walk */
	assert_true(info.fault_gpa >= 0xf0000000);
}

/* Read, change, write: exactly one of each. */
static void read_modify_write(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	bus->device_value = 0xf0;
	cpu.gpr[X86_RBX] = DEVICE_BASE;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x83\x0b\x0f"), EMULATE_DONE); /* orl $15, (%ebx) */
	expect_access(0, false, DEVICE_BASE, 4, 0xf0);
	expect_access(1, true, DEVICE_BASE, 4, 0xff);
	assert_int_equal(bus->accesses, 2);
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\xf7\x03\x01\x00\x00\x00"), EMULATE_DONE); /* testl $1, (%ebx) */
	assert_int_equal(bus->accesses, 3);
	assert_true(cpu.rflags & X86_FLAG_ZF);
}

static void every_size(void **state)
{
	struct x86_cpu_state cpu = cpu_64bit();

	(void)state;
	bus->device_value = 0x8877665544332211;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x8a\x00"), EMULATE_DONE); /* mov (%rax), %al */
	expect_access(0, false, DEVICE_BASE, 1, 0x11);
	assert_int_equal(cpu.gpr[X86_RAX], 0x11);
	cpu.gpr[X86_RAX] = 0;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x66\x8b\x08"), EMULATE_DONE); /* mov (%rax), %cx */
	expect_access(1, false, DEVICE_BASE, 2, 0x2211);
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x8b\x08"), EMULATE_DONE); /* mov (%rax), %ecx */
	expect_access(2, false, DEVICE_BASE, 4, 0x44332211);
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x48\x8b\x08"), EMULATE_DONE); /* mov (%rax), %rcx */
	expect_access(3, false, DEVICE_BASE, 8, 0x8877665544332211);
	assert_true(cpu.gpr[X86_RCX] == 0x8877665544332211);
}

/* An operand that crosses a page is split into bytes, each translated by itself. */
static void across_pages(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	cpu.gpr[X86_RBX] = 0x4ffe;
	cpu.gpr[X86_RAX] = 0xddccbbaa;
	assert_int_equal(RUN(&cpu, 0x4ffe, "\x89\x03"), EMULATE_DONE);
	assert_memory_equal(bus->ram + 0x4ffe, "\xaa\xbb\xcc\xdd", 4);
	assert_int_equal(RUN(&cpu, 0x4ffe, "\x8b\x0b"), EMULATE_DONE); /* mov (%ebx), %ecx */
	assert_int_equal(cpu.gpr[X86_RCX], 0xddccbbaa);
}

/* 16-bit code: 16-bit addresses wrap, segments have bases, a prefix widens the operand. */
static void real_mode(void **state)
{
	struct x86_cpu_state cpu = cpu_real_mode();

	(void)state;
	cpu.segment[X86_DS].base = 0x20000;
	cpu.segment[X86_ES].base = 0x30000;
	cpu.gpr[X86_RBX] = 0xfff0;
	cpu.gpr[X86_RSI] = 0x30;
	cpu.gpr[X86_RAX] = 0x1234abcd;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x00"), EMULATE_DONE); /* mov %ax, (%bx,%si) */
	assert_memory_equal(bus->ram + 0x20020, "\xcd\xab\x00", 3);
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x66\x26\x89\x00"), EMULATE_DONE); /* mov %eax, %es:(%bx,%si) */
	assert_memory_equal(bus->ram + 0x30020, "\xcd\xab\x34\x12", 4);
	cpu.gpr[X86_RDI] = 0xfffe0000;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\xab"), EMULATE_DONE); /* stos %ax, %es:(%di) */
	assert_memory_equal(bus->ram + 0x30000, "\xcd\xab", 2);
	assert_int_equal(cpu.gpr[X86_RDI], 0xfffe0002); /* the upper half stays */
	assert_int_equal(cpu.rip, 7);
}

static void protected_mode_segments(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	cpu.segment[X86_FS].base = 0x8000;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x64\xc6\x05\x10\x00\x00\x00\x5a"), EMULATE_DONE); /* movb $90, %fs:16 */
	assert_int_equal(bus->ram[0x8010], 0x5a);
	cpu.segment[X86_DS].limit = 0xfff;
	cpu.gpr[X86_RBX] = 0xffd;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_GENERAL_PROTECTION);
	cpu.gpr[X86_RBX] = 0xffc;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_DONE);
	cpu.segment[X86_DS].access = 0xc097; /* expand down: only above the limit */
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_GENERAL_PROTECTION);
	cpu.gpr[X86_RBX] = 0x1000;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_DONE);
	cpu.segment[X86_DS].access = 0xc091; /* read only */
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_GENERAL_PROTECTION);
	cpu.segment[X86_DS].access = X86_ACCESS_UNUSABLE;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x8b\x03"), EMULATE_GENERAL_PROTECTION);
}

static void canonical_addresses(void **state)
{
	struct x86_cpu_state cpu = cpu_64bit();

	(void)state;
	cpu.gpr[X86_RBX] = 0x0000800000000000;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_GENERAL_PROTECTION);
	cpu.cr4 |= X86_CR4_LA57; /* canonical now, but there is no table */
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x89\x03"), EMULATE_PAGE_FAULT);
	assert_true(info.fault_gva == 0x0000800000000000);
	assert_int_equal(info.error_code, VMMU_PF_WRITE);
}

static void rip_relative(void **state)
{
	struct x86_cpu_state cpu = cpu_64bit();

	(void)state;
	cpu.rip = 0x1000;
	cpu.cr3 = 0x10000;
	set64(bus, 0x10000, 0x11003);
	set64(bus, 0x11000, 0x12003);
	set64(bus, 0x12000, 0x83); /* 2 MiB one to one */
	cpu.gpr[X86_RCX] = 0x77;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x88\x0d\x00\x10\x00\x00"), EMULATE_DONE); /* mov %cl, 0x1000(%rip) */
	assert_int_equal(bus->ram[0x2006], 0x77);
	assert_int_equal(cpu.rip, 0x1006);
}

/* Each round of a string leaves the state whole: a fault in the third one says so. */
static void string_fault(void **state)
{
	struct x86_cpu_state cpu = cpu_64bit(), before;

	(void)state;
	cpu.cr3 = 0x10000;
	set64(bus, 0x10000, 0x11003);
	set64(bus, 0x11000, 0x12003);
	set64(bus, 0x12000, 0x13003);
	set64(bus, 0x13000 + 8 * 0x20, DEVICE_BASE | 3);
	set64(bus, 0x13000 + 8 * 0x30, 0x30003);
	bus->device_value = 0xab;
	cpu.gpr[X86_RSI] = 0x20000;
	cpu.gpr[X86_RDI] = 0x30ff8;
	cpu.gpr[X86_RCX] = 5;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\xf3\xa5"), EMULATE_PAGE_FAULT); /* rep movsl */
	assert_int_equal(info.fault_gva, 0x31000);
	assert_int_equal(info.error_code, VMMU_PF_WRITE);
	assert_int_equal(cpu.gpr[X86_RCX], 3);
	assert_int_equal(cpu.gpr[X86_RSI], 0x20008);
	assert_int_equal(cpu.gpr[X86_RDI], 0x31000);
	assert_int_equal(cpu.rip, 0);
	assert_int_equal(bus->accesses, 2); /* the third element was not read in vain */

	before = cpu;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\xa5"), EMULATE_PAGE_FAULT);
	assert_memory_equal(&cpu, &before, sizeof(cpu));
}

/* Long strings come in parts, so that interrupts get in between, and no exit takes long. */
static void string_in_parts(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();
	unsigned parts = 1;

	(void)state;
	cpu.gpr[X86_RDI] = 0x40000;
	cpu.gpr[X86_RCX] = 2500;
	cpu.gpr[X86_RAX] = 0x11;
	while (RUN(&cpu, UNKNOWN, "\xf3\xaa") == EMULATE_AGAIN) { /* rep stosb */
		assert_int_equal(cpu.rip, 0);
		parts++;
	}
	assert_int_equal(parts, 40);
	assert_int_equal(cpu.rip, 2);
	assert_int_equal(cpu.gpr[X86_RCX], 0);
	assert_int_equal(bus->ram[0x40000 + 2499], 0x11);
	assert_int_equal(bus->ram[0x40000 + 2500], 0);
	assert_int_equal(RUN(&cpu, UNKNOWN, "\xf3\xaa"), EMULATE_DONE); /* no round at all */
	assert_int_equal(cpu.gpr[X86_RDI], 0x40000 + 2500);
}

/* One side is a device, the other one the stack; or the stack itself is where nothing but a device is. */
static void stack(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit(), real = cpu_real_mode();

	(void)state;
	bus->device_value = 0xaabbccdd;
	cpu.gpr[X86_RBX] = DEVICE_BASE + 0x1c;
	cpu.gpr[X86_RSP] = 0x2002;
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 0x1c, "\xff\x33"), EMULATE_DONE); /* pushl (%ebx) */
	assert_int_equal(cpu.gpr[X86_RSP], 0x1ffe);
	assert_memory_equal(bus->ram + 0x1ffe, "\xdd\xcc\xbb\xaa", 4); /* across a page */
	expect_access(0, false, DEVICE_BASE + 0x1c, 4, 0xaabbccdd);
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 0x1c, "\x8f\x03"), EMULATE_DONE); /* popl (%ebx) */
	assert_int_equal(cpu.gpr[X86_RSP], 0x2002);
	expect_access(1, true, DEVICE_BASE + 0x1c, 4, 0xaabbccdd);

	cpu.gpr[X86_RSP] = DEVICE_BASE + 8;
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 4, "\x6a\xff"), EMULATE_DONE); /* pushl $-1 */
	expect_access(2, true, DEVICE_BASE + 4, 4, 0xffffffff);
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 4, "\x5a"), EMULATE_DONE); /* popl %edx */
	assert_int_equal(cpu.gpr[X86_RDX], 0xaabbccdd);

	/* The stack's RAM and the device have one page offset: each access goes to its own address. */
	set32(bus, 0x3020, 0x12345678);
	cpu.gpr[X86_RSP] = DEVICE_BASE + 0x24;
	cpu.gpr[X86_RBX] = 0x3020;
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 0x20, "\xff\x33"), EMULATE_DONE);
	expect_access(4, true, DEVICE_BASE + 0x20, 4, 0x12345678);

	/* POP counts its operand's address from the stack pointer afterwards. */
	set32(bus, 0x1000, 0x55667788);
	cpu.gpr[X86_RSP] = 0x1000;
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x8f\x44\x24\x10"), EMULATE_DONE); /* popl 16(%esp) */
	assert_memory_equal(bus->ram + 0x1014, "\x88\x77\x66\x55", 4);

	/* 16 bits: SP wraps, the rest of ESP stays. */
	real.gpr[X86_RSP] = 0x70000;
	real.gpr[X86_RAX] = 0xbeef;
	assert_int_equal(RUN(&real, UNKNOWN, "\x50"), EMULATE_DONE); /* push %ax */
	assert_int_equal(real.gpr[X86_RSP], 0x7fffe);
	assert_memory_equal(bus->ram + 0xfffe, "\xef\xbe", 2);
}

/* CLZERO: the whole line around rAX. */
static void line_of_zeros(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	cpu.gpr[X86_RAX] = DEVICE_BASE + 0x47;
	assert_int_equal(RUN(&cpu, DEVICE_BASE + 0x40, "\x0f\x01\xfc"), EMULATE_DONE);
	for (unsigned i = 0; i < 8; i++)
		expect_access(i, true, DEVICE_BASE + 0x40 + 8 * i, 8, 0);
	assert_int_equal(bus->accesses, 8);
}

static void refused(void **state)
{
	struct x86_cpu_state cpu = cpu_64bit(), before = cpu;

	(void)state;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x0f\x6f\x00"), EMULATE_UNSUPPORTED); /* movq (%rax), %mm0 */
	assert_string_equal(info.reason, "unsupported instruction movq");
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\xf7\x28"), EMULATE_UNSUPPORTED); /* imull (%rax), twice the width */
	assert_string_equal(info.reason, "unsupported instruction imul");
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x48\x0f\xc7\x08"), EMULATE_UNSUPPORTED); /* cmpxchg16b */
	assert_string_equal(info.reason, "unsupported instruction cmpxchg16b");
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x06"), EMULATE_INVALID); /* push %es: not in 64-bit mode */
	assert_string_equal(info.reason, "no valid instruction begins with byte 06");
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\xc7\x00\x01"), EMULATE_TRUNCATED);
	assert_string_equal(info.reason, "only 3 bytes of an instruction could be read");
	assert_int_equal(run(&cpu, DEVICE_BASE, "", 0), EMULATE_TRUNCATED);
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\xf0\x89\x00"), EMULATE_INVALID); /* lock mov */
	assert_int_equal(RUN(&cpu, 0x7f000000, "\x89\x00"), EMULATE_NO_MEMORY);
	assert_int_equal(info.fault_gpa, 0x7f000000);
	assert_memory_equal(&cpu, &before, sizeof(cpu));
	assert_int_equal(bus->accesses, 0);
}

static void length_by_mode(void **state)
{
	static const uint8_t bytes[] = {0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
	struct x86_cpu_state real = cpu_real_mode(), protected = cpu_32bit();

	(void)state;
	assert_int_equal(instruction_length(&protected, bytes, sizeof(bytes)), 10); /* movl $imm32, disp32 */
	assert_int_equal(instruction_length(&real, bytes, sizeof(bytes)), 4);       /* movw $imm16, (%di) */
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(emulate_result_name(EMULATE_DONE), "done");
	assert_string_equal(emulate_result_name(EMULATE_INVALID), "invalid");
	assert_string_equal(emulate_result_name((enum emulate_result)99), "unknown");
}

/* CMPXCHG8B both ways; random registers never match a random value. */
static void compare_exchange_8(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	bus->device_value = 0x1111111122222222;
	cpu.gpr[X86_RDX] = 0x11111111;
	cpu.gpr[X86_RAX] = 0x22222222;
	cpu.gpr[X86_RCX] = 0x33333333;
	cpu.gpr[X86_RBX] = 0x44444444;
	cpu.gpr[X86_RSI] = DEVICE_BASE;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\xf0\x0f\xc7\x0e"), EMULATE_DONE); /* lock cmpxchg8b (%esi) */
	expect_access(1, true, DEVICE_BASE, 8, 0x3333333344444444);
	assert_true(cpu.rflags & X86_FLAG_ZF);
	cpu.gpr[X86_RAX] = 0;
	assert_int_equal(RUN(&cpu, DEVICE_BASE, "\x0f\xc7\x0e"), EMULATE_DONE);
	expect_access(3, true, DEVICE_BASE, 8, 0x1111111122222222); /* what was there is written back */
	assert_false(cpu.rflags & X86_FLAG_ZF);
	assert_int_equal(cpu.gpr[X86_RAX], 0x22222222);
}

/* 16-bit protected mode, and bytes behind the instruction that belong to the next one. */
static void protected_mode_16(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();
	char bytes[20] = "\x89\x07"; /* mov %ax, (%bx) */

	(void)state;
	cpu.segment[X86_CS].access = 0x9b;
	cpu.gpr[X86_RBX] = 0x12345010;
	cpu.gpr[X86_RAX] = 0xbeef;
	assert_int_equal(run(&cpu, UNKNOWN, bytes, sizeof(bytes)), EMULATE_DONE);
	assert_memory_equal(bus->ram + 0x5010, "\xef\xbe", 2);
	assert_int_equal(cpu.rip, 2);
	assert_int_equal(instruction_length(&cpu, (const uint8_t *)bytes, sizeof(bytes)), 2);
	cpu.segment[X86_DS].access = 0x99; /* execute only */
	assert_int_equal(RUN(&cpu, UNKNOWN, "\x8b\x07"), EMULATE_GENERAL_PROTECTION);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_bus, free_bus)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reported_address),
		TEST(read_modify_write),
		TEST(every_size),
		TEST(across_pages),
		TEST(real_mode),
		TEST(protected_mode_segments),
		TEST(canonical_addresses),
		TEST(rip_relative),
		TEST(string_fault),
		TEST(string_in_parts),
		TEST(stack),
		TEST(line_of_zeros),
		TEST(refused),
		TEST(length_by_mode),
		TEST(compare_exchange_8),
		TEST(protected_mode_16),
		TEST(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
