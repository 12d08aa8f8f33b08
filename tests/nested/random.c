/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest hypervisor that does anything: EPT or NPT of random words in every format, several
 * roots, tables written by L1, by L2 and by the host, linked into circles and used as data;
 * several vCPUs in the same L2; and a host that moves, protects and logs L1's memory meanwhile,
 * has no memory left, or cannot answer just now. Each access is judged by a walk of both
 * dimensions (sim/nested_machine.h).
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
       READ_ONLY_PAGES = 8,
       MAXPHYADDR = 40 };

static unsigned long operations = 4000;
static uint64_t seed = 1;

/* What a guest is made of. */
struct kind {
	enum vmmu_mode mode;
	unsigned levels; /* of L1's tables: NPT 2 (32-bit) to 5, EPT 4 and 5 */
	unsigned vcpus, order;
	uint64_t skew;
	bool levels5, memtype_mixed, scarce;
	uint32_t max_tables;
	unsigned busy_percent;
	unsigned wild_percent; /* entries all of whose bits are random but for some of the address */
};

struct guest {
	struct sim_nm *nm;
	const struct kind *kind;
	uint64_t random;
};

static uint64_t below(struct guest *g, uint64_t n)
{
	return sim_random_below(&g->random, n);
}

static bool chance(struct guest *g, unsigned percent)
{
	return below(g, 100) < percent;
}

/* ---- L1's tables -------------------------------------------------------------------------- */

static bool has_32_bits(const struct guest *g)
{
	return g->kind->levels == 2;
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

static uint64_t large(struct guest *g, uint64_t entry)
{
	entry &= has_32_bits(g) ? ~0x3ff000ull : ~0x1ff000ull;
	return entry | 0x80 | (has_32_bits(g) && chance(g, 10) ? 1u << 13 : 0);
}

static uint64_t some_ept_entry(struct guest *g)
{
	static const uint8_t memtypes[] = {0, 1, 4, 5, 6, 6, 6, 2};
	uint64_t entry = some_frame(g) << 12 | (chance(g, 90) ? 7 : below(g, 8));

	if (chance(g, 60))
		entry |= 1u << 8;
	if (chance(g, 40))
		entry |= 1u << 9;
	if (chance(g, 10))
		entry = large(g, entry);
	if (chance(g, 20) || ((entry & 0x80) && chance(g, 60)))
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
		entry = large(g, entry);
	if (chance(g, 5))
		entry |= 0x100;
	if (chance(g, 7))
		entry |= 1ull << 63;
	return entry;
}

static uint64_t some_entry(struct guest *g)
{
	uint64_t entry = g->kind->mode == VMMU_MODE_EPT ? some_ept_entry(g) : some_npt_entry(g);

	if (chance(g, g->kind->wild_percent))
		return (sim_random(&g->random) & ~0xfffffff000ull) | (entry & 0xfffffff000ull);
	if (chance(g, 1))
		entry |= 1ull << (38 + below(g, 26));
	if (chance(g, 1))
		return sim_random(&g->random);
	if (has_32_bits(g))
		entry |= some_npt_entry(g) << 32;
	return chance(g, 6) ? 0 : entry;
}

/* PAE's top entries have hardly any bits that may be set. */
static uint64_t some_pdpte(struct guest *g)
{
	uint64_t entry = (FIRST_TABLE + below(g, TABLES)) << 12 | 1;

	if (chance(g, 10))
		entry |= 1ull << (chance(g, 50) ? below(g, 12) : below(g, 64));
	return chance(g, 10) ? 0 : entry;
}

static unsigned some_index(struct guest *g, unsigned bits)
{
	const unsigned last = (1u << bits) - 1, indexes[] = {0, 1, 7, last, last / 2 + 1};

	return chance(g, 40) ? 0 : indexes[below(g, 5)] & last;
}

static uint64_t some_l2_gpa(struct guest *g)
{
	unsigned bits = has_32_bits(g) ? 10 : 9;
	uint64_t gpa = 0;

	for (unsigned level = g->kind->levels; level > 0; level--)
		gpa = gpa << (level == 3 && g->kind->levels == 3 ? 2 : bits) | some_index(g, level == 3 && g->kind->levels == 3 ? 2 : bits);
	gpa = gpa << 12 | (chance(g, 60) ? some_index(g, 9) * 8 : below(g, 512) * 8);
	return chance(g, 1) ? gpa | 1ull << (32 + below(g, 20)) : gpa;
}

static uint64_t some_table_word(struct guest *g)
{
	return (FIRST_TABLE + below(g, TABLES)) << 12 | (uint64_t)(some_index(g, 9) * 8);
}

/* nCR3 of PAE names four entries at a multiple of 32 bytes. */
static uint64_t some_pae_root(struct guest *g)
{
	return (FIRST_TABLE + below(g, 2)) << 12 | (0x800 + below(g, 3) * 32);
}

static struct vmmu_nested some_root(struct guest *g)
{
	struct vmmu_nested n = {.cpu = sim_nm_cpu_of(&g->nm->config), .cr0 = 1u << 31};

	n.cpu.maxphyaddr = MAXPHYADDR;
	n.root = (FIRST_TABLE + below(g, chance(g, 90) ? 3 : TABLES)) << 12;
	if (g->kind->mode == VMMU_MODE_EPT) {
		n.root |= VMMU_MEMTYPE_WB | (g->kind->levels - 1ull) << 3 | (chance(g, 60) ? 1u << 6 : 0);
		n.cpu.exec_only = chance(g, 70);
		return n;
	}
	n.efer = (g->kind->levels >= 4 ? 1u << 10 : 0) | (chance(g, 80) ? 1u << 11 : 0);
	n.cr4 = (g->kind->levels == 2 ? 0 : 0x20) | (g->kind->levels == 5 ? 1u << 12 : 0) | (chance(g, 80) ? 0x10 : 0);
	if (g->kind->levels == 3)
		n.root = some_pae_root(g);
	return n;
}

/* ---- what happens ---------------------------------------------------------------------------- */

static bool may_be_refused(const struct guest *g, enum vmmu_status status)
{
	return (status == VMMU_ERR_NO_MEMORY && g->kind->scarce) || (status == VMMU_ERR_BUSY && g->kind->busy_percent);
}

static void enter(struct guest *g)
{
	struct vmmu_nested n = some_root(g);
	enum vmmu_status status = sim_nm_enter(g->nm, &n);

	assert_true(status == VMMU_OK || may_be_refused(g, status));
}

/* L1 does as hypervisors do: it writes the entry that its CPU's walk ended at, and no other. */
static void handle(struct guest *g, uint64_t gpa, unsigned access)
{
	struct vmmu_nested n = g->nm->at->on->nested;
	struct sim_walk walk;

	sim_nm_model(g->nm, g->nm->at->on, gpa, access, &walk);
	if (!walk.steps || sim_nm_enter(g->nm, NULL) != VMMU_OK)
		return;
	sim_nm_access(g->nm, walk.step[walk.steps - 1].entry_hpa, VMMU_W, some_entry(g));
	sim_nm_enter(g->nm, &n);
}

/* Of what runs: L2, or L1 where the entry of L2 has been refused. */
static void access_it(struct guest *g)
{
	bool ad = g->kind->mode == VMMU_MODE_NPT || (g->nm->at->on->nested.root & 1u << 6);
	unsigned access = chance(g, 45) ? VMMU_W : chance(g, 30) ? VMMU_X
	                                                         : VMMU_R;
	enum vmmu_fault_result result;
	uint64_t gpa;

	/* A walk of L2's own tables is a write where there are flags to set (SDM vol. 3, 29.3.5). */
	g->nm->not_final = g->nm->at->on->is_l2 && chance(g, 10);
	if (g->nm->not_final)
		access = ad ? VMMU_R | VMMU_W : VMMU_R;
	gpa = g->nm->at->on->is_l2 ? some_l2_gpa(g) : some_frame(g) << 12;
	result = sim_nm_access(g->nm, gpa, access, some_entry(g));
	g->nm->not_final = false;
	if (result == VMMU_FAULT_REFLECT && chance(g, 40))
		handle(g, gpa, access);
}

static void host_writes(struct guest *g)
{
	if (g->kind->levels == 3 && chance(g, 30))
		sim_nm_host_write(g->nm, some_pae_root(g) + below(g, 4) * 8, 8, some_pdpte(g));
	else if (has_32_bits(g) && chance(g, 50))
		sim_nm_host_write(g->nm, some_table_word(g) + 4, 4, some_npt_entry(g));
	else
		sim_nm_host_write(g->nm, some_table_word(g), 8, some_entry(g));
}

/* L1 runs, and most often writes its tables. */
static void l1_runs(struct guest *g)
{
	enum vmmu_status status = sim_nm_enter(g->nm, NULL);

	assert_true(status == VMMU_OK || may_be_refused(g, status));
	for (unsigned i = (unsigned)below(g, 6); i > 0 && !g->nm->failed; i--)
		sim_nm_access(g->nm, chance(g, 70) ? some_table_word(g) : some_frame(g) << 12, chance(g, 70) ? VMMU_W : VMMU_R,
		              some_entry(g));
	if (chance(g, 10))
		vmmu_guest_release(g->nm->at->vcpu, vmmu_gpa_of(some_table_word(g)));
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

		sim_nm_by(g->nm, (unsigned)below(g, g->nm->vcpus));
		if (g->kind->scarce && chance(g, 10))
			sim_nm_refuse(g->nm, (unsigned)(1 + below(g, 4)), chance(g, 50));
		if (what < 72)
			access_it(g);
		else if (what < 84)
			host_writes(g);
		else if (what < 97)
			l1_runs(g);
		sim_nm_refuse(g->nm, 0, false);
		if (what >= 97)
			host_acts(g);
	}
}

static void random_guest(const struct kind *kind)
{
	struct sim_nm_config config = {
		.seed = seed * 1000003 + kind->mode * 17 + kind->levels * 5 + kind->order + kind->levels5 + kind->vcpus * 101,
		.mode = kind->mode,
		.order = kind->order,
		.skew = kind->skew,
		.ram_pages = RAM_PAGES,
		.vcpus = kind->vcpus,
		.levels5 = kind->levels5,
		.memtype = VMMU_MEMTYPE_WB,
		.memtype_mixed = kind->memtype_mixed,
		.max_shadow_tables = kind->max_tables,
		.busy_percent = kind->busy_percent,
		.look_percent = 20,
	};
	struct guest g = {sim_nm_new(&config), kind, config.seed};

	sim_nm_slot_create(g.nm, 0, 0, READ_ONLY_FIRST, 0);
	sim_nm_slot_create(g.nm, 1, READ_ONLY_FIRST, READ_ONLY_PAGES, VMMU_SLOT_READONLY);
	sim_nm_slot_create(g.nm, 2, 1536, 512, 0);
	for (unsigned i = 0; i < 300; i++)
		host_writes(&g);
	for (unsigned n = 0; n < g.nm->vcpus; n++) {
		sim_nm_by(g.nm, n);
		enter(&g);
	}
	live(&g);
	printf("            %lu accesses, %lu exits, %lu to L1, %lu emulated, %lu refused, %lu flushes, %lu looks\n",
	       g.nm->accesses, g.nm->exits, g.nm->reflected, g.nm->emulated, g.nm->refused, g.nm->flushes, g.nm->looks);
	if (operations >= 1000) {
		assert_true(g.nm->failed || (g.nm->reflected > 0 && g.nm->emulated > 0));
		assert_true(g.nm->failed || !kind->scarce || g.nm->refused > 0);
		assert_true(g.nm->failed || kind->vcpus < 2 || g.nm->looks > 0);
	}
	assert_true(sim_nm_end(g.nm));
}

#define GUEST(name, ...) \
	static void name(void **state) \
	{ \
		static const struct kind kind = {__VA_ARGS__}; \
\
		(void)state; \
		random_guest(&kind); \
	}

GUEST(ept_on_ept, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 1, .wild_percent = 1)
GUEST(ept_large_frames, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 2, .order = 9)
GUEST(ept_memory_types, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 1, .order = SIM_NM_ORDER_MIXED, .memtype_mixed = true)
GUEST(ept_few_tables, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 1, .order = 9, .max_tables = 64)
GUEST(ept_five_levels, .mode = VMMU_MODE_EPT, .levels = 5, .vcpus = 3, .order = 9, .levels5 = true)
GUEST(ept_random_words, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 1, .order = 9, .wild_percent = 30)
GUEST(ept_no_memory, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 2, .scarce = true)
GUEST(ept_busy_host, .mode = VMMU_MODE_EPT, .levels = 4, .vcpus = 2, .order = SIM_NM_ORDER_MIXED, .skew = 16, .busy_percent = 20)
GUEST(npt_on_npt, .mode = VMMU_MODE_NPT, .levels = 4, .vcpus = 1, .wild_percent = 1)
GUEST(npt_large_frames, .mode = VMMU_MODE_NPT, .levels = 4, .vcpus = 3, .order = 9)
GUEST(npt_below_five_levels, .mode = VMMU_MODE_NPT, .levels = 4, .vcpus = 1, .order = 9, .levels5 = true)
GUEST(npt_five_levels, .mode = VMMU_MODE_NPT, .levels = 5, .vcpus = 2, .order = 9, .levels5 = true)
GUEST(npt_random_words, .mode = VMMU_MODE_NPT, .levels = 4, .vcpus = 1, .order = 9, .wild_percent = 30)
GUEST(npt_no_memory, .mode = VMMU_MODE_NPT, .levels = 4, .vcpus = 2, .scarce = true, .max_tables = 128)
GUEST(npt_pae, .mode = VMMU_MODE_NPT, .levels = 3, .vcpus = 2, .order = 9)
GUEST(npt_pae_below_five_levels, .mode = VMMU_MODE_NPT, .levels = 3, .vcpus = 1, .levels5 = true, .wild_percent = 10)
GUEST(npt_pae_trouble, .mode = VMMU_MODE_NPT, .levels = 3, .vcpus = 2, .scarce = true, .busy_percent = 20)
GUEST(npt_32_bit, .mode = VMMU_MODE_NPT, .levels = 2, .vcpus = 2, .order = 9)
GUEST(npt_32_bit_below_five_levels, .mode = VMMU_MODE_NPT, .levels = 2, .vcpus = 1, .levels5 = true, .wild_percent = 10)
GUEST(npt_32_bit_trouble, .mode = VMMU_MODE_NPT, .levels = 2, .vcpus = 2, .order = SIM_NM_ORDER_MIXED, .scarce = true, .busy_percent = 20)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ept_on_ept),
		cmocka_unit_test(ept_large_frames),
		cmocka_unit_test(ept_memory_types),
		cmocka_unit_test(ept_few_tables),
		cmocka_unit_test(ept_five_levels),
		cmocka_unit_test(ept_random_words),
		cmocka_unit_test(ept_no_memory),
		cmocka_unit_test(ept_busy_host),
		cmocka_unit_test(npt_on_npt),
		cmocka_unit_test(npt_large_frames),
		cmocka_unit_test(npt_below_five_levels),
		cmocka_unit_test(npt_five_levels),
		cmocka_unit_test(npt_random_words),
		cmocka_unit_test(npt_no_memory),
		cmocka_unit_test(npt_pae),
		cmocka_unit_test(npt_pae_below_five_levels),
		cmocka_unit_test(npt_pae_trouble),
		cmocka_unit_test(npt_32_bit),
		cmocka_unit_test(npt_32_bit_below_five_levels),
		cmocka_unit_test(npt_32_bit_trouble),
	};

	if (argc > 1)
		operations = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
