/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that do anything: tables of random words, written through themselves
 * and from outside, shared between address spaces, linked into circles, used as
 * data and back; CR3, PCIDs and the control bits switched at any time; pages
 * invalidated by INVLPG and INVPCID; and a host that moves, protects and takes
 * away memory meanwhile. CPUs remember all that the manuals let them remember,
 * and look around after each write of an entry. Every access is judged by the
 * guest's own tables (sim/guest_machine.h).
 *
 *   random [operations [seed]]      VMMU_SECONDS, VMMU_SEED: for so long, from this seed
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "guest_machine.h"
#include "random.h"

#define RAM_PAGES 2048u
#define TABLES 20u      /* frames that serve as tables most of the time */
#define BIG_FIRST 1024u /* slot 1: aligned to 2 MiB */

static unsigned long operations = 6000;
static uint64_t seed = 1;

struct guest {
	struct sim_gm *gm;
	uint64_t random;
	unsigned levels; /* 0: no paging, 2 to 5; 6: any, switched while it runs;
	                             * 7: 4 on the first vCPU, none on the others */
	unsigned long operations;
};

static uint64_t below(struct guest *g, uint64_t n)
{
	return sim_random_below(&g->random, n);
}

static bool chance(struct guest *g, unsigned percent)
{
	return below(g, 100) < percent;
}

/* Most among small slots, some amid memory that can be mapped by 2 MiB. */
static uint64_t table_frame(unsigned n)
{
	return n < 14 ? 16 + n : BIG_FIRST + 512 + n;
}

/* ---- words of tables ------------------------------------------------------------ */

static uint64_t some_frame(struct guest *g)
{
	switch (below(g, 40)) {
	case 0:
		return BIG_FIRST + below(g, 1024);
	case 1:
		return below(g, 4) * 512 + BIG_FIRST;
	case 2:
		return 3000 + below(g, 1u << below(g, 27)); /* nobody there */
	case 3:
	case 4:
		return below(g, 300);
	default:
		return table_frame((unsigned)below(g, TABLES));
	}
}

static uint64_t some_entry(struct guest *g, bool wide)
{
	uint64_t entry = some_frame(g) << 12;

	if (chance(g, 97))
		entry |= 1;
	if (chance(g, 93))
		entry |= 2;
	if (chance(g, 93))
		entry |= 4;
	if (chance(g, 60))
		entry |= 0x20;
	if (chance(g, 50))
		entry |= 0x40;
	if (chance(g, 7))
		entry = (entry & ~0x1ff000ull) | 0x80; /* a large page, most often well formed */
	if (chance(g, 10))
		entry |= 0x100;
	if (wide && chance(g, 5))
		entry |= 1ull << 63;
	if (wide && chance(g, 1))
		entry |= 1ull << (40 + below(g, 19));
	if (wide && chance(g, 25))
		entry |= (below(g, 3) * 5) << 59;
	if (chance(g, 1))
		entry = sim_random(&g->random);
	return wide ? entry : entry & 0xffffffff;
}

static const uint16_t indexes[4] = {0, 1, 7, 511};

static uint64_t some_index(struct guest *g)
{
	return chance(g, 40) ? 0 : indexes[below(g, 4)];
}

/* Of a 32-bit guest's table, which has twice the entries. */
static uint64_t some_index_of_1024(struct guest *g)
{
	return some_index(g) | (chance(g, 40) ? 512 : 0);
}

/* Inside a page, which most often is a table: where its entries are used. */
static uint64_t some_offset(struct guest *g, bool wide)
{
	if (chance(g, 50))
		return below(g, 512) * 8;
	return wide ? some_index(g) * 8 : some_index_of_1024(g) * 4 & ~7ull;
}

/* Few addresses, so that they are met again: four indexes at each level. */
static uint64_t some_gva(struct guest *g, const struct vmmu_paging *p)
{
	bool wide = p->cr4 & 0x20, lma = p->efer & 1u << 10;
	uint64_t gva = 0, offset = some_offset(g, wide);

	if (!(p->cr0 >> 31))
		return some_frame(g) << 12 | offset;
	if (!wide)
		return some_index_of_1024(g) << 22 | some_index_of_1024(g) << 12 | offset;
	for (unsigned level = lma ? 5 : 3; level > 0; level--)
		gva = gva << 9 | some_index(g);
	gva = gva << 12 | offset;
	if (!lma)
		return gva & 0xffffffff;
	return p->cr4 & 1u << 12 ? (uint64_t)((int64_t)(gva << 7) >> 7)
	                         : (uint64_t)((int64_t)(gva << 16) >> 16);
}

/* ---- registers --------------------------------------------------------------------- */

static void random_paging(struct guest *g, unsigned n)
{
	struct vmmu_paging p = g->gm->vcpu[n].paging;
	unsigned levels = g->levels == 6 ? (unsigned)below(g, 6) : g->levels == 7 ? 4 * !n
	                                                                          : g->levels;
	struct sim_gm *gm = g->gm;

	if (levels == 1)
		levels = 4;
	p.cr0 = (levels ? 1u << 31 : 0) | (chance(g, 70) ? 1u << 16 : 0) | 1;
	p.cr4 = (levels > 2 ? 0x20 : 0) | (chance(g, 80) ? 0x10 : 0) | (levels == 5 ? 1u << 12 : 0) |
	        (chance(g, 30) ? 1u << 20 : 0) | (chance(g, 30) ? 1u << 21 : 0) |
	        (levels >= 4 && chance(g, 30) ? 1u << 22 : 0) | (chance(g, 50) ? 1u << 7 : 0) |
	        (levels >= 4 && chance(g, 70) ? 1u << 17 : 0);
	p.efer = (levels >= 4 ? 1u << 8 | 1u << 10 : 0) | (chance(g, 90) ? 1u << 11 : 0);
	p.pkru = chance(g, 50) ? 0 : (uint32_t)sim_random(&g->random);
	p.cr3 = table_frame((unsigned)below(g, chance(g, 90) ? 4 : TABLES)) << 12 |
	        (levels == 3 ? below(g, 4) * 32 : 0);
	if (chance(g, 2) && levels != 3)
		p.cr3 = some_frame(g) << 12;
	if (p.cr4 & 1u << 17)
		p.cr3 |= below(g, 4); /* PCID */
	for (unsigned i = 0; levels == 3 && chance(g, 90) && i < 4; i++)
		sim_gm_host_write(gm, n, p.cr3 + 8 * i, 8, table_frame((unsigned)below(g, TABLES)) << 12 | 1);
	if (levels == 3 && vmmu_guest_load_pdptes(&gm->host, gm, &p.cpu, p.cr3, p.pdpte) != VMMU_GUEST_OK)
		return; /* #GP: nothing has changed */
	sim_gm_set_paging(gm, n, &p);
}

/* A switch to another of a few processes, and perhaps back: with PCIDs the TLB may keep them all. */
static void random_cr3(struct guest *g, unsigned n)
{
	const struct vmmu_paging *p = &g->gm->vcpu[n].paging;
	unsigned process = (unsigned)below(g, 4);
	uint64_t cr3 = table_frame(process) << 12 | (p->cr4 & 1u << 17 ? process : 0);

	if (!(p->cr0 >> 31) || ((p->cr4 & 0x20) && !(p->efer & 1u << 10)))
		random_paging(g, n); /* PAE: with the PDPTEs */
	else
		sim_gm_load_cr3(g->gm, n, cr3, chance(g, 70));
}

static void toggle_global_pages(struct guest *g, unsigned n)
{
	struct vmmu_paging p = g->gm->vcpu[n].paging;

	p.cr4 ^= 1u << 7;
	sim_gm_set_paging(g->gm, n, &p);
}

/* What makes no exit. */
static void random_invalidation(struct guest *g, unsigned n)
{
	const struct vmmu_paging *p = &g->gm->vcpu[n].paging;

	if (chance(g, 60))
		sim_gm_invlpg(g->gm, n, some_gva(g, p));
	else
		sim_gm_invpcid(g->gm, n, (unsigned)below(g, 4), (unsigned)below(g, 4), some_gva(g, p));
}

/* ---- operations ------------------------------------------------------------------------ */

static void random_access(struct guest *g, unsigned n)
{
	const struct vmmu_paging *p = &g->gm->vcpu[n].paging;
	bool wide = p->cr4 & 0x20;
	struct sim_guest_access access = {
		.write = chance(g, 45),
		.user = chance(g, 40),
		.ac = chance(g, 20),
	};
	unsigned size = chance(g, 60) ? 8 : 1u << below(g, 4);

	access.fetch = !access.write && chance(g, 30);
	sim_gm_access(g->gm, n, some_gva(g, p), &access, size, some_entry(g, wide));
}

/* A table is written from outside: one entry, or all of it, most of them empty. */
static void host_writes(struct guest *g, unsigned n)
{
	bool wide = g->gm->vcpu[n].paging.cr4 & 0x20;
	uint64_t table = table_frame((unsigned)below(g, TABLES)) << 12;
	unsigned size = wide ? 8 : 4;
	unsigned count = chance(g, 20) ? 4 : 1;

	for (unsigned i = 0; i < count; i++)
		sim_gm_host_write(g->gm, n,
		                  table + size * (wide ? indexes[below(g, 4)] : some_index_of_1024(g)), size,
		                  chance(g, 10) ? 0 : some_entry(g, wide));
}

static void slots_change(struct guest *g)
{
	struct sim_gm *gm = g->gm;

	switch (below(g, 9)) {
	case 0:
		if (gm->slot[2].presence == SIM_GM_PRESENT)
			sim_gm_slot_delete(gm, 2);
		else
			sim_gm_slot_create(gm, 2, 24, 4, 24, 0); /* four of the tables */
		break;
	case 1:
		sim_gm_slot_flags(gm, 1, chance(g, 70) ? 0 : (uint32_t)below(g, 4));
		break;
	case 2:
		if (gm->slot[1].info.flags & VMMU_SLOT_LOG_DIRTY)
			sim_gm_log(gm, 1);
		break;
	case 3:
		sim_gm_migrate(gm);
		break;
	case 4:
		sim_gm_slot_flags(gm, 0, chance(g, 50) ? VMMU_SLOT_LOG_DIRTY : 0);
		break;
	case 5:
		if (gm->slot[0].info.flags & VMMU_SLOT_LOG_DIRTY)
			sim_gm_log(gm, 0);
		break;
	case 6:
		if (gm->slot[2].presence == SIM_GM_PRESENT)
			sim_gm_slot_move(gm, 2, gm->slot[2].info.base.v >> 12 == 24 ? 5000 : 24);
		break;
	case 7:
	case 8:
		sim_gm_exchange(gm, table_frame((unsigned)below(g, TABLES)), (unsigned)some_index(g) * 8, 8,
		                some_entry(g, true));
		break;
	}
}

/* Another vCPU goes on while this one is in the engine: it writes, most often to tables. */
static void others(void *arg, unsigned busy)
{
	struct guest *g = arg;

	if (g->gm->exchanging && !g->gm->flushing) {
		g->gm->meanwhile = NULL;
		for (unsigned i = 0; i < 4; i++)
			random_access(g, (unsigned)below(g, g->gm->vcpus));
		g->gm->meanwhile = others;
		return;
	}
	for (unsigned n = 0; n < g->gm->vcpus; n++) {
		const struct vmmu_paging *p = &g->gm->vcpu[n].paging;
		struct sim_guest_access access = {.write = chance(g, 80), .user = chance(g, 40)};

		if (n == busy)
			continue;
		/* Its own exit, for a write to a table, may come and go while this one waits for the host. */
		if (!g->gm->flushing && chance(g, 30)) {
			g->gm->meanwhile = NULL;
			host_writes(g, n);
			g->gm->meanwhile = others;
			g->gm->busy = busy;
		}
		sim_gm_try(g->gm, n, some_gva(g, p), &access, 8, some_entry(g, p->cr4 & 0x20));
	}
}

static void cpu_goes_on(struct guest *g, unsigned n)
{
	unsigned what = (unsigned)below(g, 1000);

	if (what < 740)
		random_access(g, n);
	else if (what < 870)
		host_writes(g, n);
	else if (what < 930)
		random_invalidation(g, n);
	else if (what < 955)
		random_cr3(g, n);
	else if (what < 985)
		random_paging(g, n);
	else if (what < 990)
		toggle_global_pages(g, n);
	else
		vmmu_guest_release(g->gm->vcpu[n].engine,
		                   vmmu_gpa_of(table_frame((unsigned)below(g, TABLES)) << 12));
}

static void run(struct guest *g)
{
	for (unsigned long i = 0; i < g->operations && !g->gm->failed; i++) {
		unsigned what = (unsigned)below(g, 1000);

		/* What a busy read leaves unfinished is soon made good: then it is looked for more often. */
		if (what < (g->gm->busy_one_in ? 950 : 980))
			cpu_goes_on(g, (unsigned)below(g, g->gm->vcpus));
		else if (what < 992)
			slots_change(g);
		else
			sim_gm_audit(g->gm);
	}
}

/* RAM with a hole that slot 2 fills now and then, and tables with something in them. */
static void furnish(struct guest *g, unsigned writes)
{
	sim_gm_slot_create(g->gm, 0, 0, 24, 0, 0);
	sim_gm_slot_create(g->gm, 3, 28, 996, 28, 0);
	sim_gm_slot_create(g->gm, 1, BIG_FIRST, 1024, BIG_FIRST, 0);
	sim_gm_slot_create(g->gm, 2, 24, 4, 24, 0);
	for (unsigned n = 0; n < g->gm->vcpus; n++)
		random_paging(g, n);
	for (unsigned i = 0; i < writes; i++)
		host_writes(g, 0);
}

/* False: the machine could not even be made, for lack of memory. */
static bool live(struct guest *g, unsigned writes)
{
	if (!g->gm->usable)
		return false;
	furnish(g, writes);
	g->gm->meanwhile = others;
	g->gm->meanwhile_arg = g;
	run(g);
	g->gm->meanwhile = NULL;
	return true;
}

static void report(const struct sim_gm *gm)
{
	printf("            %lu accesses, %lu exits, %lu #PF, %lu emulated, %lu flushes, %lu entries, %lu looks\n",
	       gm->accesses, gm->exits, gm->injected, gm->emulated, gm->flushes, gm->entries, gm->looks);
}

static void random_guest(unsigned levels, unsigned vcpus, unsigned order, uint32_t limit)
{
	struct sim_gm_config config = {
		.seed = seed * 1000003 + levels * 17 + vcpus * 5 + order + limit,
		.vcpus = vcpus,
		.order = order,
		.ram_pages = RAM_PAGES,
		.max_shadow_tables = limit,
		.look_percent = 40,
		.tagged = seed % 2,
		.lateness = vcpus > 2 ? SIM_GM_CACHED_LATE : SIM_GM_NEVER_LATE,
		.copy_on_write = (seed + levels + vcpus) % 2,
		.busy_one_in = (seed + vcpus) % 3 ? 0 : 1500,
		.la57 = true,
	};
	struct guest g = {sim_gm_new(&config), config.seed, levels, operations};

	assert_true(live(&g, 400));
	report(g.gm);
	assert_true(sim_gm_end(g.gm));
}

/* ---- a thread for each vCPU, and one for the host ------------------------------------- */

struct thread {
	struct guest guest;
	unsigned n;
	pthread_t id;
};

static void *cpu_thread(void *arg)
{
	struct thread *t = arg;

	for (unsigned long i = 0; i < t->guest.operations && !t->guest.gm->failed; i++)
		cpu_goes_on(&t->guest, t->n);
	return NULL;
}

static void *host_thread(void *arg)
{
	struct thread *t = arg;

	for (unsigned long i = 0; i < t->guest.operations / 100 && !t->guest.gm->failed; i++)
		slots_change(&t->guest);
	return NULL;
}

static void threads_of_guest(unsigned levels, unsigned order)
{
	struct sim_gm_config config = {
		.seed = seed * 7 + levels,
		.vcpus = SIM_GM_VCPUS,
		.order = order,
		.ram_pages = RAM_PAGES,
		.threads = true,
		.copy_on_write = (seed + levels) % 2,
		.tagged = true,
		/* A table that another vCPU has just parked may be written before the flush is done. */
		.lateness = SIM_GM_CACHED_LATE,
		.la57 = true,
	};
	struct guest g = {sim_gm_new(&config), config.seed, levels, operations / SIM_GM_VCPUS};
	struct thread thread[SIM_GM_VCPUS + 1];

	furnish(&g, 400);
	for (unsigned n = 0; n <= SIM_GM_VCPUS; n++) {
		thread[n] = (struct thread){.guest = g, .n = n};
		thread[n].guest.random += n;
		assert_int_equal(pthread_create(&thread[n].id, NULL,
		                                n < SIM_GM_VCPUS ? cpu_thread : host_thread, &thread[n]),
		                 0);
	}
	for (unsigned n = 0; n <= SIM_GM_VCPUS; n++)
		pthread_join(thread[n].id, NULL);
	report(g.gm);
	assert_true(sim_gm_end(g.gm));
}

/* Each allocation of a short life is refused in turn, and each pair of neighbours. */
static void without_memory(unsigned levels)
{
	bool refused = true;

	for (uint64_t n = 1; refused && n < 2000; n++) {
		struct sim_gm_config config = {
			.seed = 7 + levels,
			.vcpus = 1,
			.order = 9,
			.ram_pages = RAM_PAGES,
			.la57 = true,
			.copy_on_write = levels % 2,
			.fail = {.at = {n, n + 1}},
		};
		struct guest g = {sim_gm_new(&config), config.seed, levels, 250};

		live(&g, 150);
		refused = g.gm->tables.failed > 0;
		assert_true(sim_gm_end(g.gm));
	}
	assert_false(refused);
}

static void no_memory_pae(void **state)
{
	(void)state;
	without_memory(3);
}
static void no_memory_any_mode(void **state)
{
	(void)state;
	without_memory(6);
}

#define GUEST(name, levels, vcpus, order, limit) \
	static void name(void **state) \
	{ \
		(void)state; \
		random_guest(levels, vcpus, order, limit); \
	}

GUEST(without_paging, 0, 2, 9, 0)
GUEST(two_levels, 2, 1, 0, 0)
GUEST(two_levels_large_frames, 2, 2, 9, 0)
GUEST(pae, 3, 1, 0, 0)
GUEST(pae_large_frames, 3, 2, 9, 0)
GUEST(four_levels, 4, 1, 0, 0)
GUEST(four_levels_large_frames, 4, 2, 9, 0)
GUEST(five_levels, 5, 2, 9, 0)
GUEST(any_mode, 6, 2, 9, 0)
GUEST(four_levels_beside_none, 7, 3, 0, 0)
GUEST(any_mode_few_tables, 6, 2, 4, 64)

#define THREADS(name, levels, order) \
	static void name(void **state) \
	{ \
		(void)state; \
		threads_of_guest(levels, order); \
	}

THREADS(threads_two_levels, 2, 9)
THREADS(threads_pae, 3, 9)
THREADS(threads_four_levels, 4, 0)
THREADS(threads_five_levels, 5, 9)
THREADS(threads_any_mode, 6, 9)

/* Any guest after another, from one seed on, for as long as told. */
static void soak(void **state)
{
	const char *seconds = getenv("VMMU_SECONDS"), *from = getenv("VMMU_SEED");
	time_t end = time(NULL) + atol(seconds);
	unsigned guests = 0;

	(void)state;
	for (seed = from ? strtoul(from, NULL, 0) : 1; time(NULL) < end; seed++, guests++)
		random_guest((unsigned)(seed % 8), 1 + (unsigned)(seed / 8 % 3), seed / 24 % 2 ? 9 : 0,
		             seed / 48 % 2 ? 64 : 0);
	print_message("%u guests, seeds up to %lu\n", guests, seed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest for_long[] = {cmocka_unit_test(soak)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_paging),
		cmocka_unit_test(two_levels),
		cmocka_unit_test(two_levels_large_frames),
		cmocka_unit_test(pae),
		cmocka_unit_test(pae_large_frames),
		cmocka_unit_test(four_levels),
		cmocka_unit_test(four_levels_large_frames),
		cmocka_unit_test(five_levels),
		cmocka_unit_test(any_mode),
		cmocka_unit_test(four_levels_beside_none),
		cmocka_unit_test(any_mode_few_tables),
		cmocka_unit_test(threads_two_levels),
		cmocka_unit_test(threads_pae),
		cmocka_unit_test(threads_four_levels),
		cmocka_unit_test(threads_five_levels),
		cmocka_unit_test(threads_any_mode),
		cmocka_unit_test(no_memory_pae),
		cmocka_unit_test(no_memory_any_mode),
	};

	if (getenv("VMMU_SECONDS"))
		return cmocka_run_group_tests(for_long, NULL, NULL);
	if (argc > 1)
		operations = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
