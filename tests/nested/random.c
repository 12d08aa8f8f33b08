/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest hypervisor that does anything: EPT or NPT of random words, several roots, tables
 * written by L1, by L2 and by the host, linked into circles and used as data; and a host
 * that moves, protects and logs L1's memory meanwhile. Each access is judged by a walk of
 * both dimensions (sim/nested_machine.h).
 *
 *   random [operations [seed]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "nested_machine.h"
#include "random.h"

enum { RAM_PAGES = 2048,
       TABLES = 16,
       FIRST_TABLE = 16,
       READ_ONLY_FIRST = 600,
       READ_ONLY_PAGES = 8 };

static unsigned long operations = 6000;
static uint64_t seed = 1;

struct guest {
	struct sim_nm *nm;
	uint64_t random;
	unsigned levels; /* 4 or 5 */
};

static uint64_t below(struct guest *g, uint64_t n)
{
	return sim_random_below(&g->random, n);
}

static bool chance(struct guest *g, unsigned percent)
{
	return below(g, 100) < percent;
}

static uint64_t some_frame(struct guest *g)
{
	switch (below(g, 30)) {
	case 0:
		return 512 * below(g, 4);
	case 1:
		return READ_ONLY_FIRST + below(g, READ_ONLY_PAGES);
	case 2:
		return 3000 + below(g, 1000); /* nobody there */
	case 3:
	case 4:
		return below(g, RAM_PAGES);
	default:
		return FIRST_TABLE + below(g, TABLES);
	}
}

static uint64_t some_ept_entry(struct guest *g)
{
	static const uint8_t memtypes[] = {0, 1, 4, 5, 6, 6, 6, 2};
	uint64_t entry = some_frame(g) << 12 | (chance(g, 85) ? 7 : below(g, 8));

	if (chance(g, 60))
		entry |= 1u << 8;
	if (chance(g, 40))
		entry |= 1u << 9;
	if (chance(g, 10))
		entry = (entry & ~0x1ff000ull) | 0x80;
	if (chance(g, 35))
		entry |= (uint64_t)memtypes[below(g, 8)] << 3 | (chance(g, 30) ? 0x40 : 0);
	return entry;
}

static uint64_t some_npt_entry(struct guest *g)
{
	uint64_t entry = some_frame(g) << 12;

	entry |= (chance(g, 96) ? 1 : 0) | (chance(g, 90) ? 2 : 0) | (chance(g, 95) ? 4 : 0);
	if (chance(g, 60))
		entry |= 0x20;
	if (chance(g, 40))
		entry |= 0x40;
	if (chance(g, 10))
		entry = (entry & ~0x1ff000ull) | 0x80;
	if (chance(g, 5))
		entry |= 0x100;
	if (chance(g, 7))
		entry |= 1ull << 63;
	return entry;
}

static uint64_t some_entry(struct guest *g)
{
	uint64_t entry = g->nm->config.mode == VMMU_MODE_EPT ? some_ept_entry(g) : some_npt_entry(g);

	if (chance(g, 1))
		entry |= 1ull << (38 + below(g, 14));
	if (chance(g, 1))
		return sim_random(&g->random);
	return chance(g, 6) ? 0 : entry;
}

static uint64_t some_index(struct guest *g)
{
	static const uint16_t indexes[] = {0, 1, 7, 511};

	return chance(g, 40) ? 0 : indexes[below(g, 4)];
}

static uint64_t some_l2_gpa(struct guest *g)
{
	uint64_t gpa = 0;

	for (unsigned level = g->levels; level > 0; level--)
		gpa = gpa << 9 | some_index(g);
	gpa = gpa << 12 | (chance(g, 60) ? some_index(g) * 8 : below(g, 512) * 8);
	return chance(g, 1) ? gpa | 1ull << 50 : gpa;
}

static struct vmmu_nested some_root(struct guest *g)
{
	const struct sim_nm_config *config = &g->nm->config;
	struct vmmu_nested n = {.cpu = sim_nm_cpu(config)};

	n.cpu.maxphyaddr = 40;
	n.root = (FIRST_TABLE + below(g, chance(g, 90) ? 3 : TABLES)) << 12;
	if (config->mode == VMMU_MODE_EPT) {
		n.root |= VMMU_MEMTYPE_WB | (g->levels - 1ull) << 3 | (chance(g, 60) ? 1u << 6 : 0);
		n.cpu.exec_only = chance(g, 70);
	} else {
		n.cr4 = 0x20 | (g->levels == 5 ? 1u << 12 : 0);
		n.efer = 1u << 10 | (chance(g, 80) ? 1u << 11 : 0);
	}
	return n;
}

static void enter(struct guest *g)
{
	struct vmmu_nested n = some_root(g);

	assert_int_equal(sim_nm_enter(g->nm, &n), VMMU_OK);
}

static unsigned some_access(struct guest *g)
{
	return chance(g, 45) ? VMMU_W : chance(g, 30) ? VMMU_X
	                                              : VMMU_R;
}

static uint64_t some_table_word(struct guest *g)
{
	return (FIRST_TABLE + below(g, TABLES)) << 12 | some_index(g) * 8;
}

/* L1 runs, and most often writes its tables. */
static void l1_runs(struct guest *g)
{
	assert_int_equal(sim_nm_enter(g->nm, NULL), VMMU_OK);
	for (unsigned i = (unsigned)below(g, 6); i > 0 && !g->nm->failed; i--)
		sim_nm_access(g->nm, chance(g, 70) ? some_table_word(g) : some_frame(g) << 12, chance(g, 70) ? VMMU_W : VMMU_R,
		              some_entry(g));
	if (chance(g, 10))
		vmmu_guest_release(g->nm->vcpu, vmmu_gpa_of(some_table_word(g)));
	enter(g);
}

static void host_acts(struct guest *g)
{
	struct sim_nm *nm = g->nm;

	switch (below(g, 6)) {
	case 0:
		sim_nm_migrate(nm);
		break;
	case 1:
		sim_nm_slot_flags(nm, 0, chance(g, 50) ? VMMU_SLOT_LOG_DIRTY : 0);
		break;
	case 2:
	case 3:
		if (nm->slot[0].info.flags & VMMU_SLOT_LOG_DIRTY)
			sim_nm_log(nm, 0);
		break;
	case 4:
		if (nm->slot[2].present)
			sim_nm_slot_delete(nm, 2);
		else
			sim_nm_slot_create(nm, 2, 1536, 512, 0);
		break;
	default:
		sim_nm_audit(nm);
	}
}

static void live(struct guest *g)
{
	for (unsigned long i = 0; i < operations && !g->nm->failed; i++) {
		unsigned what = (unsigned)below(g, 100);

		if (what < 72)
			sim_nm_access(g->nm, some_l2_gpa(g), some_access(g), some_entry(g));
		else if (what < 84)
			sim_nm_host_write(g->nm, some_table_word(g), 8, some_entry(g));
		else if (what < 97)
			l1_runs(g);
		else
			host_acts(g);
	}
}

static void random_guest(enum vmmu_mode mode, unsigned levels, unsigned order, bool levels5, uint32_t limit)
{
	struct sim_nm_config config = {
		.seed = seed * 1000003 + mode * 17 + levels * 5 + order + levels5,
		.mode = mode,
		.order = order,
		.ram_pages = RAM_PAGES,
		.levels5 = levels5,
		.memtype = seed % 3 ? VMMU_MEMTYPE_WB : VMMU_MEMTYPE_WT,
		.ignore_pat = seed % 5 == 0,
		.max_shadow_tables = limit,
	};
	struct guest g = {sim_nm_new(&config), config.seed, levels};

	sim_nm_slot_create(g.nm, 0, 0, READ_ONLY_FIRST, 0);
	sim_nm_slot_create(g.nm, 1, READ_ONLY_FIRST, READ_ONLY_PAGES, VMMU_SLOT_READONLY);
	sim_nm_slot_create(g.nm, 2, 1536, 512, 0);
	for (unsigned i = 0; i < 300; i++)
		sim_nm_host_write(g.nm, some_table_word(&g), 8, some_entry(&g));
	enter(&g);
	live(&g);
	printf("            %lu accesses, %lu exits, %lu to L1, %lu emulated, %lu flushes\n", g.nm->accesses, g.nm->exits,
	       g.nm->reflected, g.nm->emulated, g.nm->flushes);
	assert_true(g.nm->reflected > 0);
	assert_true(sim_nm_end(g.nm));
}

#define GUEST(name, mode, levels, order, levels5, limit) \
	static void name(void **state) \
	{ \
		(void)state; \
		random_guest(mode, levels, order, levels5, limit); \
	}

GUEST(ept_on_ept, VMMU_MODE_EPT, 4, 0, false, 0)
GUEST(ept_large_frames, VMMU_MODE_EPT, 4, 9, false, 0)
GUEST(ept_few_tables, VMMU_MODE_EPT, 4, 9, false, 64)
GUEST(ept_five_levels, VMMU_MODE_EPT, 5, 9, true, 0)
GUEST(npt_on_npt, VMMU_MODE_NPT, 4, 0, false, 0)
GUEST(npt_large_frames, VMMU_MODE_NPT, 4, 9, false, 0)
GUEST(npt_below_five_levels, VMMU_MODE_NPT, 4, 9, true, 0)
GUEST(npt_five_levels, VMMU_MODE_NPT, 5, 9, true, 0)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ept_on_ept),
		cmocka_unit_test(ept_large_frames),
		cmocka_unit_test(ept_few_tables),
		cmocka_unit_test(ept_five_levels),
		cmocka_unit_test(npt_on_npt),
		cmocka_unit_test(npt_large_frames),
		cmocka_unit_test(npt_below_five_levels),
		cmocka_unit_test(npt_five_levels),
	};

	if (argc > 1)
		operations = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
