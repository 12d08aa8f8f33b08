/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the emulator hands to the engine's walker, and what it makes of the answers: the paging
 * mode, who accesses, accessed and dirty bits, and the fetch of instructions. The walker itself
 * is tested in tests/shadow.
 */
#include "tests/unit/emulate_fixture.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define PS 0x80ull
#define NX (1ull << 63)

#define ROOT 0x1000u

static struct guest_memory memory;
static struct bus *bus;

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

static void expect_gpa(const struct x86_cpu_state *cpu, uint64_t gva, unsigned access, uint64_t gpa, uint64_t page)
{
	struct vmmu_guest_walk w;

	assert_int_equal(guest_translate(cpu, &memory, gva, access, &w), VMMU_GUEST_OK);
	assert_true(w.gpa.v == gpa);
	assert_true(!w.page_shift || 1ull << w.page_shift == page); /* 0: paging is off */
}

static void expect_fault(const struct x86_cpu_state *cpu, uint64_t gva, unsigned access, uint32_t code)
{
	struct vmmu_guest_walk w;

	assert_int_equal(guest_translate(cpu, &memory, gva, access, &w), VMMU_GUEST_FAULT);
	assert_int_equal(w.error_code, code);
}

static void paging_off(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	expect_gpa(&cpu, 0x1234567, VMMU_R, 0x1234567, 1ull << 32);
}

static void two_levels(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	cpu.cr0 |= X86_CR0_PG;
	cpu.cr3 = ROOT | 0x18;
	set32(bus, ROOT + 4 * 0x300, 0x2000 | P | W);
	set32(bus, 0x2000 + 4 * 5, 0x76543000 | P | W);
	expect_gpa(&cpu, 0xc0005abc, VMMU_W, 0x76543abc, 4096);
	expect_fault(&cpu, 0xc0006abc, VMMU_W, VMMU_PF_WRITE);

	/* 4 MiB pages need CR4.PSE; without it bit 7 means nothing. PSE-36 gives address bits 39:32. */
	set32(bus, ROOT + 4 * 0x301, 0x00c00000 | 5u << 13 | P | W | PS);
	cpu.cr4 = X86_CR4_PSE;
	expect_gpa(&cpu, 0xc0412345, VMMU_R, 0x500c12345, 4u << 20);
	set32(bus, ROOT + 4 * 0x301, 0x00c00000 | 1u << 21 | P | W | PS);
	expect_fault(&cpu, 0xc0412345, VMMU_R, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	cpu.cr4 = 0;
	set32(bus, ROOT + 4 * 0x301, 0x3000 | P | W | PS);
	set32(bus, 0x3000 + 4 * 0x12, 0x9000 | P);
	expect_gpa(&cpu, 0xc0412345, VMMU_R, 0x9345, 4096);
}

static void pae(void **state)
{
	struct x86_cpu_state cpu = cpu_32bit();

	(void)state;
	cpu.cr0 |= X86_CR0_PG;
	cpu.cr4 = X86_CR4_PAE;
	cpu.efer = X86_EFER_NXE;
	cpu.pdpte[3] = 0x2000 | P; /* the CPU has them in registers, whatever CR3 names */
	set64(bus, 0x2000 + 8 * 2, 0x3000 | P | W);
	set64(bus, 0x2000 + 8 * 3, 0x1234600000 | P | W | PS | NX);
	set64(bus, 0x3000 + 8 * 7, 0x7fffff000 | P | W);
	expect_gpa(&cpu, 0xc0407123, VMMU_W, 0x7fffff123, 4096);
	expect_gpa(&cpu, 0xc0612345, VMMU_R, 0x1234612345, 2u << 20);
	expect_fault(&cpu, 0xc0612345, VMMU_X, VMMU_PF_FETCH | VMMU_PF_PRESENT);
	cpu.pdpte[3] = 0;
	expect_fault(&cpu, 0xc0407123, VMMU_R, 0);
}

/* One path of four tables; a 2 MiB and a 1 GiB page beside it. */
static struct x86_cpu_state four_level_cpu(void)
{
	struct x86_cpu_state cpu = cpu_64bit();

	cpu.cr3 = ROOT;
	set64(bus, ROOT + 8 * 511, 0x2000 | P | W | U);
	set64(bus, 0x2000 + 8 * 510, 0x3000 | P | W | U);
	set64(bus, 0x2000 + 8 * 511, 0x40000000 | P | W | PS);
	set64(bus, 0x3000 + 8 * 4, 0x4000 | P | W | U);
	set64(bus, 0x3000 + 8 * 5, 0x600000 | P | W | PS);
	set64(bus, 0x4000 + 8 * 6, 0x5000 | P | W);
	set64(bus, 0x4000 + 8 * 7, 0x6000 | P);
	set64(bus, 0x4000 + 8 * 8, 0x7000 | P | W | U | NX);
	return cpu;
}

#define TEXT 0xffffffff80000000ull

static void four_levels(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();

	(void)state;
	expect_gpa(&cpu, TEXT + 0x806abc, VMMU_W, 0x5abc, 4096);
	expect_gpa(&cpu, TEXT + 0xa12345, VMMU_R, 0x612345, 2u << 20);
	expect_gpa(&cpu, TEXT + 0x40012345, VMMU_R, 0x40012345, 1u << 30);
	expect_fault(&cpu, TEXT + 0x809000, VMMU_R, 0);
	expect_fault(&cpu, 0, VMMU_W, VMMU_PF_WRITE);
	set64(bus, 0x3000 + 8 * 5, 0x600000 | 0x4000 | P | PS); /* below a 2 MiB page's address */
	expect_fault(&cpu, TEXT + 0xa12345, VMMU_R, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	set64(bus, ROOT + 8 * 511, 0x2000 | P | W | U | PS); /* no pages of 512 GiB */
	expect_fault(&cpu, TEXT + 0x806abc, VMMU_R, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
}

static void five_levels(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();

	(void)state;
	set64(bus, 0x9000 + 8 * 511, ROOT | P | W | U);
	cpu.cr3 = 0x9000;
	cpu.cr4 |= X86_CR4_LA57;
	expect_gpa(&cpu, TEXT + 0x806abc, VMMU_R, 0x5abc, 4096);
	expect_fault(&cpu, 0x00ff000000000000, VMMU_R, 0);
}

/* SDM vol. 3, 5.6.1: who may do what. */
static void rights(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();
	uint64_t kernel_page = TEXT + 0x806000, read_only = TEXT + 0x807000, user_page = TEXT + 0x808000;
	const uint32_t present = VMMU_PF_PRESENT;

	(void)state;
	expect_fault(&cpu, read_only, VMMU_W, VMMU_PF_WRITE | present);
	cpu.cr0 &= ~X86_CR0_WP;
	expect_gpa(&cpu, read_only, VMMU_W, 0x6000, 4096);
	expect_fault(&cpu, user_page, VMMU_X, VMMU_PF_FETCH | present);
	expect_gpa(&cpu, user_page, VMMU_W, 0x7000, 4096);
	cpu.cr4 |= X86_CR4_SMAP;
	expect_fault(&cpu, user_page, VMMU_R, present);
	cpu.rflags |= X86_FLAG_AC;
	expect_gpa(&cpu, user_page, VMMU_R, 0x7000, 4096);
	cpu.cpl = 3;
	expect_gpa(&cpu, user_page, VMMU_W, 0x7000, 4096);
	expect_fault(&cpu, kernel_page, VMMU_R, present | VMMU_PF_USER);
	cpu.cpl = 0;
	set64(bus, 0x4000 + 8 * 8, 0x7000 | P | W | U);
	expect_gpa(&cpu, user_page, VMMU_X, 0x7000, 4096);
	cpu.cr4 |= X86_CR4_SMEP;
	expect_fault(&cpu, user_page, VMMU_X, VMMU_PF_FETCH | present);
	/* without NXE and SMEP a fetch is reported as a read, and bit 63 is reserved */
	cpu.cr4 &= ~X86_CR4_SMEP;
	cpu.efer &= ~X86_EFER_NXE;
	expect_fault(&cpu, TEXT + 0x809000, VMMU_X, 0);
	set64(bus, 0x4000 + 8 * 8, 0x7000 | P | U | NX);
	expect_fault(&cpu, user_page, VMMU_R, present | VMMU_PF_RESERVED);
}

static void protection_keys(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();
	uint64_t page = TEXT + 0x808000;
	const uint32_t code = VMMU_PF_PRESENT | VMMU_PF_KEY;

	(void)state;
	set64(bus, 0x4000 + 8 * 8, 0x7000 | P | W | U | 3ull << 59);
	cpu.cr4 |= X86_CR4_PKE;
	cpu.cpl = 3;
	cpu.pkru = 2u << 6; /* writes with key 3 */
	expect_gpa(&cpu, page, VMMU_R, 0x7000, 4096);
	expect_gpa(&cpu, page, VMMU_X, 0x7000, 4096);
	expect_fault(&cpu, page, VMMU_W, code | VMMU_PF_USER | VMMU_PF_WRITE);
	cpu.cpl = 0;
	expect_fault(&cpu, page, VMMU_W, code | VMMU_PF_WRITE);
	cpu.cr0 &= ~X86_CR0_WP;
	expect_gpa(&cpu, page, VMMU_W, 0x7000, 4096);
	cpu.pkru = 1u << 6; /* all accesses */
	expect_fault(&cpu, page, VMMU_R, code);
}

static uint64_t entry_at(uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, bus->ram + gpa, 8);
	return value;
}

/* Set as the CPU would: accessed all the way down, dirty only by a write, neither by a fault. */
static void accessed_and_dirty(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();
	const uint64_t a = 0x20, d = 0x40;

	(void)state;
	expect_fault(&cpu, TEXT + 0x807000, VMMU_W, VMMU_PF_WRITE | VMMU_PF_PRESENT);
	assert_true(entry_at(0x4000 + 8 * 7) == (0x6000 | P));
	expect_gpa(&cpu, TEXT + 0x806abc, VMMU_R, 0x5abc, 4096);
	assert_true(entry_at(ROOT + 8 * 511) == (0x2000 | P | W | U | a));
	assert_true(entry_at(0x4000 + 8 * 6) == (0x5000 | P | W | a));
	assert_int_not_equal(bus->stored, 0);
	expect_gpa(&cpu, TEXT + 0x806abc, VMMU_W, 0x5abc, 4096);
	assert_true(entry_at(0x4000 + 8 * 6) == (0x5000 | P | W | a | d));
}

/* What was worked out for some registers must not outlive them. */
static void registers_change(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();

	(void)state;
	expect_gpa(&cpu, TEXT + 0x806abc, VMMU_R, 0x5abc, 4096);
	cpu.cr3 = 0x9000;
	expect_fault(&cpu, TEXT + 0x806abc, VMMU_R, 0);
	cpu.cr3 = ROOT;
	cpu.cpl = 3;
	expect_fault(&cpu, TEXT + 0x806abc, VMMU_R, VMMU_PF_PRESENT | VMMU_PF_USER);
}

/* A table that lies where no memory is: said with its address, and no fault invented. */
static void missing_table(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();
	struct vmmu_guest_walk w;

	(void)state;
	set64(bus, 0x2000 + 8 * 510, 0x7f000000 | P | W);
	assert_int_equal(guest_translate(&cpu, &memory, TEXT, VMMU_R, &w), VMMU_GUEST_NO_MEMORY);
	assert_true(w.step[w.steps - 1].where.v == 0x7f000000);
}

/* Instruction bytes from two pages that are not neighbours; the second may be missing. */
static void fetch(void **state)
{
	struct x86_cpu_state cpu = four_level_cpu();
	uint8_t bytes[15];

	(void)state;
	for (unsigned i = 0; i < 4096; i++) {
		bus->ram[0x5000 + i] = i;
		bus->ram[0x6000 + i] = 0x80 | i;
	}
	cpu.rip = TEXT + 0x806ffa;
	assert_int_equal(guest_fetch(&cpu, &memory, bytes, 15), 15);
	assert_int_equal(bytes[5], 0xff);
	assert_int_equal(bytes[6], 0x80);
	assert_int_equal(bytes[14], 0x88);
	cpu.rip = TEXT + 0x807ffc; /* the next page must not be executed */
	assert_int_equal(guest_fetch(&cpu, &memory, bytes, 15), 4);
	cpu.rip = 0;
	assert_int_equal(guest_fetch(&cpu, &memory, bytes, 15), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_bus, free_bus)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(paging_off),
		TEST(two_levels),
		TEST(pae),
		TEST(four_levels),
		TEST(five_levels),
		TEST(rights),
		TEST(protection_keys),
		TEST(accessed_and_dirty),
		TEST(registers_change),
		TEST(missing_table),
		TEST(fetch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
