/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is kept of decoded instructions: found again by their bytes and the CPU's
 * mode, whatever stands behind them; never for other bytes, another mode, or
 * bytes that end before they do.
 */
#include "tests/unit/emulate_fixture.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/decoded.h"

static struct x86_cpu_state cpu;

/* The instruction at `bytes`; *anew: it was not kept. */
static const struct decoded *look(const char *bytes, unsigned count, bool *anew)
{
	const struct decoded *d = NULL;
	uint64_t before = decode_misses();

	assert_int_equal(decode(&cpu, (const uint8_t *)bytes, count, &d), EMULATE_DONE);
	*anew = decode_misses() != before;
	return d;
}

static void expect(const char *bytes, unsigned count, unsigned length, ZydisMnemonic mnemonic, bool want_anew)
{
	bool anew;
	const struct decoded *d = look(bytes, count, &anew);

	assert_int_equal(d->instruction.length, length);
	assert_int_equal(d->instruction.mnemonic, mnemonic);
	assert_int_equal(anew, want_anew);
}

#define EXPECT(bytes, length, mnemonic, anew) \
	expect(bytes, sizeof(bytes) - 1, length, ZYDIS_MNEMONIC_##mnemonic, anew)

static int fresh_cpu(void **state)
{
	(void)state;
	cpu = cpu_64bit();
	return 0;
}

static void found_again(void **state)
{
	(void)state;
	EXPECT("\x48\x89\x03\x11\x22\x33\x44\x55", 3, MOV, true);
	EXPECT("\x48\x89\x03\x11\x22\x33\x44\x55", 3, MOV, false);
	/* The bytes from the ninth on are not even part of where it is kept. */
	EXPECT("\x48\x89\x03\x11\x22\x33\x44\x55\x90\x90", 3, MOV, false);
	EXPECT("\x48\x89\x03\x11\x22\x33\x44\x55\xc3", 3, MOV, false);
}

/* One byte after the other of instructions of 1 to 15 bytes. */
static void changed_bytes(void **state)
{
	static const char mov[] = "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"; /* movabs: all bytes count */
	char bytes[10];
	bool anew;

	(void)state;
	look(mov, 10, &anew);
	for (unsigned i = 2; i < 10; i++) {
		const struct decoded *d;

		memcpy(bytes, mov, sizeof(bytes));
		bytes[i] ^= 0x40;
		d = look(bytes, 10, &anew);
		assert_true(anew);
		assert_memory_equal(&d->operand[1].imm.value.u, bytes + 2, 8);
	}
	EXPECT("\x01\xd8", 2, ADD, true);
	EXPECT("\x29\xd8", 2, SUB, true);
	EXPECT("\x01\xd8", 2, ADD, false);
}

static void other_modes(void **state)
{
	static const char bytes[] = "\x40\x89\x03"; /* a REX prefix, or INC EAX, or INC AX */

	(void)state;
	EXPECT(bytes, 3, MOV, true);
	cpu = cpu_32bit();
	EXPECT(bytes, 1, INC, true);
	cpu = cpu_real_mode();
	EXPECT(bytes, 1, INC, true);
	cpu = cpu_64bit();
	cpu.segment[X86_CS].access = 0xc09b; /* compatibility mode */
	EXPECT(bytes, 1, INC, false);
}

static void cut_short(void **state)
{
	static const char mov[] = "\xc7\x00\x78\x56\x34\x12"; /* movl $0x12345678, (%rax) */
	const struct decoded *d;

	(void)state;
	EXPECT(mov, 6, MOV, true);
	for (unsigned count = 0; count < 6; count++)
		assert_int_equal(decode(&cpu, (const uint8_t *)mov, count, &d), EMULATE_TRUNCATED);
	EXPECT(mov, 6, MOV, false);
	/* What is missing is taken for zeros nowhere. */
	EXPECT("\xc7\x00\x00\x00\x00\x00", 6, MOV, true);
	assert_int_equal(decode(&cpu, (const uint8_t *)"\xc7\x00", 2, &d), EMULATE_TRUNCATED);
}

static void invalid(void **state)
{
	const struct decoded *d;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(decode(&cpu, (const uint8_t *)"\x06\x90", 2, &d), EMULATE_INVALID);
	cpu = cpu_32bit();
	EXPECT("\x06\x90", 1, PUSH, true);
}

/* More than there is room for: each is what it is, whatever has been driven out. */
static void many(void **state)
{
	char bytes[5] = "\xb8"; /* mov $n, %eax */

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t n = 0; n < 1000; n++) {
			const struct decoded *d;
			bool anew;

			memcpy(bytes + 1, &n, 4);
			d = look(bytes, 5, &anew);
			assert_int_equal(d->operand[1].imm.value.u, n);
		}
	}
}

/* Two instructions that meet in one set do not drive each other out. */
static void a_loop(void **state)
{
	uint64_t before;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		EXPECT("\x88\x03\x48\x05\x00\x10\x00\x00\x48\x39\xd0\x75\xf3", 2, MOV, i == 0);
	before = decode_misses();
	for (unsigned i = 0; i < 100; i++) {
		bool anew;

		look("\x88\x03\x48\x05\x00\x10\x00\x00\x48\x39\xd0\x75\xf3", 13, &anew);
		look("\x48\x05\x00\x10\x00\x00\x48\x39\xd0\x75\xf3", 11, &anew);
		look("\x48\x39\xd0\x75\xf3", 5, &anew);
		look("\x75\xf3", 2, &anew);
	}
	assert_in_range(decode_misses() - before, 0, 3);
}

/* ---- the address that INVLPG names -------------------------------------------------- */

static uint64_t named_by(const char *bytes, unsigned count)
{
	uint64_t gva = 1;

	assert_true(instruction_address(&cpu, (const uint8_t *)bytes, count, &gva));
	return gva;
}

static void address_of_invlpg(void **state)
{
	uint64_t gva;

	(void)state;
	cpu.rip = 0x1000;
	cpu.gpr[X86_RDI] = 0xffff888000001000;
	cpu.gpr[X86_RAX] = 0x10;
	cpu.segment[X86_DS].base = 0x5000; /* ignored in 64-bit code */
	cpu.segment[X86_GS].base = 0x100000;
	assert_int_equal(named_by("\x0f\x01\x3f", 3), 0xffff888000001000);                 /* (%rdi) */
	assert_int_equal(named_by("\x0f\x01\x7c\x87\x08", 5), 0xffff888000001048);         /* 8(%rdi,%rax,4) */
	assert_int_equal(named_by("\x65\x0f\x01\x38", 4), 0x100010);                       /* %gs:(%rax) */
	assert_int_equal(named_by("\x0f\x01\x3d\x00\x01\x00\x00", 7), 0x1107);             /* 0x100(%rip) */
	assert_false(instruction_address(&cpu, (const uint8_t *)"\x0f\x01", 2, &gva));     /* cut short */
	assert_false(instruction_address(&cpu, (const uint8_t *)"\x0f\x01\x17", 3, &gva)); /* LGDT */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(found_again, fresh_cpu),
		cmocka_unit_test_setup(changed_bytes, fresh_cpu),
		cmocka_unit_test_setup(other_modes, fresh_cpu),
		cmocka_unit_test_setup(cut_short, fresh_cpu),
		cmocka_unit_test_setup(invalid, fresh_cpu),
		cmocka_unit_test_setup(many, fresh_cpu),
		cmocka_unit_test_setup(a_loop, fresh_cpu),
		cmocka_unit_test_setup(address_of_invlpg, fresh_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
