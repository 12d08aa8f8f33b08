/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The judge's own walker, on tables made by hand: every rule it enforces is
 * tried here without the engine. Then the engine's decoder against it, on
 * entries of every shape: two readings of the manuals that share no code.
 */
#include "case.h"

#include "random.h"

#include <string.h>

MODES;

#define FRAMES 8

struct memory {
	uint64_t entry[FRAMES][512];
	unsigned stores;
};

static bool load(void *ctx, uint64_t hpa, uint64_t *value)
{
	struct memory *memory = ctx;

	if (hpa / 4096 >= FRAMES)
		return false;
	*value = memory->entry[hpa / 4096][hpa % 4096 / 8];
	return true;
}

static bool set_bits(void *ctx, uint64_t hpa, uint64_t expected, uint64_t bits)
{
	struct memory *memory = ctx;
	uint64_t *entry = &memory->entry[hpa / 4096][hpa % 4096 / 8];

	memory->stores++;
	if (*entry != expected)
		return false;
	*entry |= bits;
	return true;
}

struct bench {
	struct memory memory;
	struct sim_walker walker;
	struct sim_walk_start root;
	struct sim_walk walk;
};

/* Tables 4, 3, 2, 1 in frames 0, 1, 2, 3, linked at index 0; the page is frame 0x123. */
static struct bench bench_of(const struct sim_format *format, uint64_t table_bits, uint64_t leaf)
{
	struct bench b = {
		.walker = {
			.format = format,
			.cpu = {.maxphyaddr = 40, .page_2m = true, .page_1g = true, .nx = true},
			.ad = true,
		},
		.root = {.table = 0, .level = 4, .rights = VMMU_RWX},
	};

	for (unsigned i = 0; i < 3; i++)
		b.memory.entry[i][0] = (i + 1) * 4096 | table_bits;
	b.memory.entry[3][0] = 0x123000 | leaf;
	return b;
}

static enum sim_walk_end go(struct bench *b, uint64_t gpa, unsigned access)
{
	b->walker.bus = (struct sim_bus){&b->memory, load, set_bits};
	sim_walk(&b->walker, &b->root, gpa, access, true, &b->walk);
	return b->walk.end;
}

static void ept_maps_and_sets_accessed_and_dirty(void **state)
{
	struct bench b = bench_of(&sim_format_ept, 7, 0x37);

	(void)state;
	assert_int_equal(go(&b, 0x456, VMMU_R), SIM_WALK_MAPPED);
	assert_int_equal(b.walk.pfn, 0x123);
	assert_int_equal(b.walk.memtype, VMMU_MEMTYPE_WB);
	assert_int_equal(b.walk.rights, VMMU_RWX);
	assert_int_equal(b.walk.ad_writes, 4);
	assert_int_equal(b.memory.entry[3][0], 0x123137);
	assert_int_equal(go(&b, 0x456, VMMU_W), SIM_WALK_MAPPED);
	assert_int_equal(b.memory.entry[3][0], 0x123337);
	assert_int_equal(b.memory.entry[2][0] & 0x300, 0x100);
	assert_int_equal(b.walk.ad_writes, 1);
	b.walker.ad = false;
	b.memory.entry[3][0] = 0x123037;
	assert_int_equal(go(&b, 0x456, VMMU_W), SIM_WALK_MAPPED);
	assert_int_equal(b.walk.ad_writes, 0);
}

static void ept_ands_rights_over_the_path(void **state)
{
	(void)state;
	for (unsigned level = 0; level < 4; level++) {
		struct bench b = bench_of(&sim_format_ept, 7, 0x37);

		b.memory.entry[level][0] &= ~2ull; /* no W */
		assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_MAPPED);
		assert_int_equal(go(&b, 0, VMMU_W), SIM_WALK_RIGHTS);
		assert_int_equal(b.walk.rights, VMMU_R | VMMU_X);
		b.memory.entry[level][0] &= ~4ull; /* no X */
		assert_int_equal(go(&b, 0, VMMU_X), SIM_WALK_RIGHTS);
	}
}

static void ept_misconfigurations(void **state)
{
	/* Level (3 = leaf's frame), bits to set, bits to clear. */
	static const struct {
		unsigned frame;
		uint64_t set, clear;
	} bad[] = {
		{0, 0x08, 0}, {0, 0x80, 0}, {0, 0x40, 0}, /* PML4E 7:3 */
		{1, 0x08, 0},
		{1, 0x40, 0},
		{2, 0x20, 0},
		{2, 0x40, 0}, /* table 6:3 */
		{0, 1ull << 40, 0},
		{1, 1ull << 51, 0},
		{3, 1ull << 40, 0}, /* MAXPHYADDR */
		{0, 0, 1},
		{1, 0, 1},
		{2, 0, 1},
		{3, 0, 1},    /* W without R */
		{3, 0, 3},    /* X alone, not supported */
		{3, 0x38, 0}, /* memory type 7 */
		{1, 0x80 | 1ull << 13, 0},
		{2, 0x80 | 1ull << 12, 0}, /* misaligned large pages */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bench b = bench_of(&sim_format_ept, 7, 0x37);

		b.memory.entry[bad[i].frame][0] |= bad[i].set;
		b.memory.entry[bad[i].frame][0] &= ~bad[i].clear;
		assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_BAD);
		assert_int_equal(b.memory.stores, 0);
	}
	for (unsigned type = 0; type < 8; type++) {
		struct bench b = bench_of(&sim_format_ept, 7, 7 | type << 3);

		assert_int_equal(go(&b, 0, VMMU_R),
		                 type == 2 || type == 3 || type == 7 ? SIM_WALK_BAD : SIM_WALK_MAPPED);
	}
}

static void ept_execute_only_needs_support(void **state)
{
	struct bench b = bench_of(&sim_format_ept, 7, 0x34);

	(void)state;
	b.walker.cpu.exec_only = true;
	assert_int_equal(go(&b, 0, VMMU_X), SIM_WALK_MAPPED);
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_RIGHTS);
}

static void large_pages_and_their_absence(void **state)
{
	const struct {
		const struct sim_format *format;
		uint64_t table, leaf;
	} formats[] = {
		{&sim_format_ept, 7, 0xb7},
		{&sim_format_npt, 7, 0x87},
	};

	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct bench b = bench_of(formats[f].format, formats[f].table, formats[f].leaf);

		b.memory.entry[2][0] = 0x40000000 | formats[f].leaf;
		assert_int_equal(go(&b, 0x123456, VMMU_W), SIM_WALK_MAPPED);
		assert_int_equal(b.walk.level, 2);
		assert_int_equal(b.walk.pfn, 0x40000 + 0x123);
		b.memory.entry[1][0] = 0x40000000 | formats[f].leaf;
		assert_int_equal(go(&b, 0x3123456, VMMU_W), SIM_WALK_MAPPED);
		assert_int_equal(b.walk.level, 3);
		assert_int_equal(b.walk.pfn, 0x40000 + 0x3123);
		b.walker.cpu.page_1g = false;
		assert_int_equal(go(&b, 0x3123456, VMMU_W), SIM_WALK_BAD);
	}
}

static void npt_rights_and_reserved_bits(void **state)
{
	struct bench b = bench_of(&sim_format_npt, 7, 7);

	(void)state;
	assert_int_equal(go(&b, 0, VMMU_X), SIM_WALK_MAPPED);
	assert_int_equal(b.memory.entry[3][0], 0x123027);
	b.memory.entry[3][0] = 0x123005; /* no W */
	assert_int_equal(go(&b, 0, VMMU_W), SIM_WALK_RIGHTS);
	b.memory.entry[3][0] = 0x123003; /* supervisor */
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_RIGHTS);
	b.memory.entry[3][0] = 0x8000000000123007; /* NX */
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_MAPPED);
	assert_int_equal(go(&b, 0, VMMU_X), SIM_WALK_RIGHTS);
	b.walker.cpu.nx = false;
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_BAD);
	b.memory.entry[3][0] = 0x123006; /* not present */
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_ABSENT);
	b.memory.entry[3][0] = 0x123007 | 1ull << 40;
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_BAD);
	b.memory.entry[3][0] = 0x123007;
	b.memory.entry[0][0] |= 0x80;
	assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_BAD);
	static const uint8_t types[] = {VMMU_MEMTYPE_WB, VMMU_MEMTYPE_WT, VMMU_MEMTYPE_UC,
	                                VMMU_MEMTYPE_UC};
	for (unsigned i = 0; i < 4; i++) {
		b = bench_of(&sim_format_npt, 7, 7 | i << 3);
		assert_int_equal(go(&b, 0, VMMU_R), SIM_WALK_MAPPED);
		assert_int_equal(b.walk.memtype, types[i]);
	}
}

static void roots(void **state)
{
	struct sim_cpu cpu = {.maxphyaddr = 40};
	unsigned levels;
	uint64_t table;
	bool ad;

	(void)state;
	assert_true(sim_format_ept.root(&cpu, 0x12345601e | 0x40, &table, &levels, &ad));
	assert_int_equal(table, 0x123456000);
	assert_int_equal(levels, 4);
	assert_true(ad);
	assert_false(sim_format_ept.root(&cpu, 0x12345601e | 0x100, &table, &levels, &ad));
	assert_false(sim_format_ept.root(&cpu, 0x12345601d, &table, &levels, &ad));   /* type 5 */
	assert_false(sim_format_ept.root(&cpu, 0x12345600e, &table, &levels, &ad));   /* 2 levels */
	assert_false(sim_format_ept.root(&cpu, 0x1012345601e, &table, &levels, &ad)); /* too wide */
	assert_true(sim_format_npt.root(&cpu, 0x123456000, &table, &levels, &ad));
	assert_int_equal(levels, 4);
	cpu.la57 = true;
	assert_true(sim_format_npt.root(&cpu, 0x123456000, &table, &levels, &ad));
	assert_int_equal(levels, 5);
	assert_false(sim_format_npt.root(&cpu, 0x10123456000, &table, &levels, &ad));
}

/* ---- two readings of the manuals ------------------------------------------------- */

static uint64_t random_entry(uint64_t *seed)
{
	uint64_t raw = sim_random(seed);

	/* Mostly near-valid ones: few bits set beyond the low ones and an address. */
	if (sim_random_below(seed, 4))
		raw = (raw & 0xfff) | (sim_random(seed) & 0xffffffff000ull) |
		      (sim_random_below(seed, 4) ? 0 : 1ull << sim_random_below(seed, 64));
	if (sim_random_below(seed, 2))
		raw &= ~0x3ffff000ull;
	return raw;
}

static void decoder_agrees_with_walker(void **state)
{
	bool ept = mode_of(state) == VMMU_MODE_EPT;
	const struct sim_format *format = ept ? &sim_format_ept : &sim_format_npt;
	uint64_t seed = 42;

	for (unsigned i = 0; i < 400000; i++) {
		struct sim_cpu cpu = {
			.maxphyaddr = (uint8_t)(36 + sim_random_below(&seed, 17)),
			.page_2m = true,
			.page_1g = sim_random_below(&seed, 2),
			.exec_only = sim_random_below(&seed, 2),
			.nx = sim_random_below(&seed, 2),
		};
		struct vmmu_decoder decoder = {
			.mode = mode_of(state),
			.levels = 4,
			.cpu = {
				.maxphyaddr = cpu.maxphyaddr,
				.page_2m = true,
				.page_1g = cpu.page_1g,
				.exec_only = cpu.exec_only,
				.ad = true,
				.nx = cpu.nx,
			},
		};
		unsigned level = 1 + (unsigned)sim_random_below(&seed, 4);
		uint64_t raw = random_entry(&seed);
		struct vmmu_entry_info info;
		struct sim_entry entry;

		vmmu_entry_decode(&decoder, level, raw, &info);
		format->entry(&cpu, level, raw, &entry);
		if (info.kind == VMMU_ENTRY_MMIO) {
			assert_int_equal(entry.kind, SIM_ENTRY_BAD);
			continue;
		}
		if (info.kind == VMMU_ENTRY_LEAF) {
			if (entry.kind != SIM_ENTRY_LEAF || info.rights != entry.rights ||
			    info.pfn.v != entry.address >> 12 ||
			    (ept && (info.memtype != entry.memtype || info.ignore_pat != entry.ignore_pat)))
				fail_msg("level %u entry %#lx: the decoder's leaf is not the walker's", level, raw);
		} else if (info.kind == VMMU_ENTRY_TABLE) {
			if (entry.kind != SIM_ENTRY_TABLE || info.pfn.v != entry.address >> 12 ||
			    info.rights != entry.rights)
				fail_msg("level %u entry %#lx: the decoder's table is not the walker's", level, raw);
		} else if (info.kind == VMMU_ENTRY_EMPTY) {
			assert_int_equal(raw, 0);
		} else if (entry.kind == SIM_ENTRY_LEAF ||
		           (entry.kind == SIM_ENTRY_TABLE && entry.rights == VMMU_RWX && (ept || !(raw >> 8 & 1)))) {
			/* A table that withholds rights, or has NPT's bit 8, is valid for the CPU, damage to the engine. */
			fail_msg("level %u entry %#lx is bad to the decoder, fine to the CPU", level, raw);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ept_maps_and_sets_accessed_and_dirty),
		cmocka_unit_test(ept_ands_rights_over_the_path),
		cmocka_unit_test(ept_misconfigurations),
		cmocka_unit_test(ept_execute_only_needs_support),
		cmocka_unit_test(large_pages_and_their_absence),
		cmocka_unit_test(npt_rights_and_reserved_bits),
		cmocka_unit_test(roots),
		BOTH(decoder_agrees_with_walker),
	};

	return cmocka_run_group_tests_name("walker", tests, NULL, NULL);
}
