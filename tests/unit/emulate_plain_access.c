/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plain accesses (visor/emulate/plain_access.h) beside the emulator: every ModRM and SIB of MOV
 * r32, m32 and of MOV, XCHG and CMPXCHG m64, r64 in 64-bit code has the address and the result
 * there that the emulator finds, and what is none of them is told so.
 */
#include "tests/unit/emulate_fixture.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/plain_access.h"

#define RIP 0x7000u

static struct x86_cpu_state base_cpu;
static struct guest_memory memory;
static struct bus *bus;

static int set_up(void **state)
{
	(void)state;
	bus = bus_new(&memory);
	bus->device_value = 0x1122334455667788;
	base_cpu = cpu_64bit();
	base_cpu.cr0 &= ~X86_CR0_PG; /* linear addresses are physical ones */
	base_cpu.rip = RIP;
	base_cpu.segment[X86_FS].base = base_cpu.segment[X86_GS].base = 0x10000000;
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		base_cpu.gpr[i] = 0x10000000000 + 0x123456788ull * (i + 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(bus);
	return 0;
}

/* The address that the emulator goes to: nothing is there, and it says so. */
static uint64_t address_by_emulator(const uint8_t *bytes)
{
	struct x86_cpu_state cpu = base_cpu;
	struct emulate_info info;

	assert_int_equal(emulate_instruction(&cpu, &memory, bytes, 15, UINT64_MAX, &info), EMULATE_NO_MEMORY);
	return info.fault_gpa;
}

/* Is it a plain load? Then it is held to the emulator. */
static bool is_plain_load(const uint8_t *bytes)
{
	const struct decoded *d = decode_64bit_code(bytes);
	struct x86_cpu_state cpu = base_cpu;
	struct emulate_info info;
	uint64_t next, address, want[X86_GPR_COUNT];

	if (!d || d->plain.kind != PLAIN_LOAD)
		return false;
	next = RIP + d->instruction.length;
	address = plain_address(&d->plain, base_cpu.gpr, next);
	assert_int_equal(address, address_by_emulator(bytes));
	if (address % 4096 > 4096 - 4) /* across two pages, and then there is no device behind both */
		return true;
	memcpy(want, base_cpu.gpr, sizeof(want));
	d = decode_64bit_code(bytes);
	want[d->plain.gpr] = (uint32_t)bus->device_value;
	assert_int_equal(emulate_instruction(&cpu, &memory, bytes, 15, DEVICE_BASE + address % 4096, &info), EMULATE_DONE);
	assert_memory_equal(cpu.gpr, want, sizeof(want));
	assert_int_equal(cpu.rip, next);
	return true;
}

#define RAM_PAGE 0x3000u

/* The emulator carries it out in RAM where `before` is, and so does plain_store. */
static void store_beside_emulator(const uint8_t *bytes, uint64_t address, uint64_t before)
{
	struct x86_cpu_state cpu = base_cpu, plain = base_cpu;
	uint64_t *in_ram = (uint64_t *)(void *)(bus->ram + RAM_PAGE + address % 4096), entry = before;
	const struct decoded *d;
	struct emulate_info info;

	*in_ram = before;
	assert_int_equal(emulate_instruction(&cpu, &memory, bytes, 15, RAM_PAGE + address % 4096, &info), EMULATE_DONE);
	d = decode_64bit_code(bytes);
	assert_int_equal(plain_store(&d->plain, &entry, plain.gpr, &plain.rflags), d->plain.kind != PLAIN_COMPARE_EXCHANGE || before == base_cpu.gpr[X86_RAX]);
	assert_int_equal(entry, *in_ram);
	assert_memory_equal(plain.gpr, cpu.gpr, sizeof(cpu.gpr));
	assert_int_equal(plain.rflags, cpu.rflags);
	assert_int_equal(RIP + d->instruction.length, cpu.rip);
}

/* The same for stores. */
static bool is_plain_store(const uint8_t *bytes)
{
	const struct decoded *d = decode_64bit_code(bytes);
	uint64_t address;

	if (!d || (d->plain.kind != PLAIN_STORE && d->plain.kind != PLAIN_EXCHANGE && d->plain.kind != PLAIN_COMPARE_EXCHANGE))
		return false;
	address = plain_address(&d->plain, base_cpu.gpr, RIP + d->instruction.length);
	assert_int_equal(address, address_by_emulator(bytes));
	if (address % 8)
		return true;
	store_beside_emulator(bytes, address, base_cpu.gpr[X86_RAX]);
	store_beside_emulator(bytes, address, 0x8000000000000001);
	store_beside_emulator(bytes, address, base_cpu.gpr[X86_RAX] + 1);
	return true;
}

/* REX or none, every ModRM and SIB. */
static void every_form(void **state)
{
	unsigned plain = 0;

	(void)state;
	for (unsigned rex = 0x3f; rex < 0x50; rex++) {
		for (unsigned modrm = 0; modrm < 256; modrm++) {
			bool has_sib = modrm >> 6 != 3 && (modrm & 7) == 4;

			for (unsigned sib = 0; sib < (has_sib ? 256u : 1u); sib++) {
				uint8_t bytes[16] = {0}, *at = bytes;

				if (rex != 0x3f)
					*at++ = (uint8_t)rex;
				*at++ = 0x8b;
				*at++ = (uint8_t)modrm;
				if (has_sib)
					*at++ = (uint8_t)sib;
				memcpy(at, "\x80\xf1\xe2\xc3", 4);
				assert_int_equal(is_plain_load(bytes), modrm >> 6 != 3 && !(rex != 0x3f && rex & 8));
				plain += modrm >> 6 != 3;
			}
		}
	}
	assert_true(plain > 10000);
}

/* LOCK or none, each REX, every ModRM and SIB. What is no 64 bits wide is none of them. */
static void every_store(void **state)
{
	static const char *const opcodes[] = {"\x89", "\x87", "\xf0\x87", "\x0f\xb1", "\xf0\x0f\xb1"};
	unsigned plain = 0;

	(void)state;
	base_cpu.rflags |= X86_FLAG_CF | X86_FLAG_DF;
	for (unsigned n = 0; n < sizeof(opcodes) / sizeof(opcodes[0]) * 16 * 256; n++) {
		const char *opcode = opcodes[n / (16 * 256)];
		unsigned rex = 0x40 | n / 256 % 16, modrm = n % 256;
		bool has_sib = modrm >> 6 != 3 && (modrm & 7) == 4, locked = *opcode == '\xf0';

		for (unsigned sib = 0; sib < (has_sib ? 256u : 1u); sib++) {
			uint8_t bytes[16] = {0}, *at = bytes;

			if (locked)
				*at++ = 0xf0;
			*at++ = (uint8_t)rex;
			for (const char *c = opcode + locked; *c; c++)
				*at++ = (uint8_t)*c;
			*at++ = (uint8_t)modrm;
			if (has_sib)
				*at++ = (uint8_t)sib;
			memcpy(at, "\x80\xf1\xe2\xc3", 4);
			assert_int_equal(is_plain_store(bytes), modrm >> 6 != 3 && rex & 8);
			plain += modrm >> 6 != 3;
		}
	}
	assert_true(plain > 50000);
}

static void what_is_no_store(void **state)
{
	static const char *const none[] = {
		"\x66\x89\x03", "\x89\x03",                 /* 16 and 32 bits */
		"\x66\x0f\xb1\x0b", "\xf0\x0f\xb1\x0b",     /* the same */
		"\x67\x48\x89\x03",                         /* a 32-bit address */
		"\x64\x48\x89\x03", "\x65\x48\x89\x03",     /* FS, GS: a base */
		"\x88\x03", "\x86\x03", "\xf0\x0f\xb0\x0b", /* 8 bits */
		"\x48\x01\x03",                             /* ADD */
		"\x48\x89\xc3", "\x48\x0f\xb1\xcb",         /* no memory */
		"\x48\x0f\xc7\x0b", "\x48\x0f\xc3\x03",     /* CMPXCHG16B, MOVNTI */
		"\x48\xa3\x11\x22\x33\x44\x55\x66\x77\x66", /* a whole address */
		"\xf0\x48\x89\x03",                         /* #UD */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		uint8_t bytes[16] = {0};

		memcpy(bytes, none[i], strlen(none[i]));
		assert_false(is_plain_store(bytes));
	}
	assert_false(is_plain_load((const uint8_t *)"\x48\x89\x03\0\0\0\0\0\0\0\0\0\0\0\0"));
	assert_true(is_plain_store((const uint8_t *)"\x48\x89\x03\0\0\0\0\0\0\0\0\0\0\0\0"));
}

static void what_is_none(void **state)
{
	static const char *const none[] = {
		"\x66\x8b\x03",                         /* 16 bits */
		"\x67\x8b\x03",                         /* a 32-bit address */
		"\x64\x8b\x03", "\x65\x8b\x03",         /* FS, GS: a base */
		"\x8a\x03",                             /* 8 bits */
		"\x89\x03",                             /* a store */
		"\x03\x03",                             /* ADD */
		"\x0f\xb6\x03", "\x63\x03",             /* MOVZX, MOVSXD */
		"\x8b\xc3",                             /* no memory */
		"\x8e\x03",                             /* a segment register */
		"\xa1\x11\x22\x33\x44\x55\x66\x77\x66", /* a whole address */
		"\xf0\x8b\x03",                         /* #UD */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		uint8_t bytes[16] = {0};

		memcpy(bytes, none[i], strlen(none[i]));
		assert_false(is_plain_load(bytes));
	}
	/* CS, DS, ES and SS have no base in 64-bit code, and REP means nothing here. */
	assert_true(is_plain_load((const uint8_t *)"\x3e\x8b\x03\0\0\0\0\0\0\0\0\0\0\0\0"));
	assert_true(is_plain_load((const uint8_t *)"\x2e\x8b\x03\0\0\0\0\0\0\0\0\0\0\0\0"));
}

/* The same bytes in 32-bit code are another matter, and kept apart. */
static void other_mode(void **state)
{
	static const uint8_t bytes[16] = {0x8b, 0x03};
	struct x86_cpu_state cpu = cpu_32bit();
	const struct decoded *d;

	(void)state;
	assert_true(is_plain_load(bytes));
	assert_int_equal(decode(&cpu, bytes, 15, &d), EMULATE_DONE);
	assert_int_equal(d->plain.kind, PLAIN_NONE);
	assert_true(is_plain_load(bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_form, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_store, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_store, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_mode, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
