/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every combination of permission bits on shadow tables: what the permission
 * guest tries on emulated machines (tests/guest/permission/combinations.h), here
 * on the simulated one, which judges each access by itself. The guest writes its
 * own page tables; after each access both entries must be as the model says.
 *
 *   permission [every [space]]   one pair of entries in `every` (default 97; 1 = all);
 *                                only the space of this number
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "guest_machine.h"
#include "random.h"
#include "tests/guest/permission/combinations.h"

enum {
	PAGES = 4096, /* of RAM: up to both targets */
	ROOT = 16,    /* the first page of the tables, all below 1 MiB */
	TABLES_END = 256,
};
#define K UINT64_C(4096)
#define TABLE_RIGHTS 0x67u /* P W U A D */
#define ROOM_RIGHTS 0x63u  /* the supervisor's */

static unsigned every = 97;

struct trial {
	struct sim_gm *gm;
	const struct space *space;
	struct vmmu_paging paging;
	unsigned used;         /* pages of tables */
	uint64_t entry_gpa[6]; /* of the way to the address under test, by level */
	uint64_t upper, lower; /* what stands there before each access */
	uint64_t tried;
};

/* ---- the guest's tables ----------------------------------------------------------- */

static uint64_t entry_at(struct trial *t, uint64_t gpa)
{
	uint64_t value;

	assert_true(sim_gm_read(t->gm, gpa, entry_bytes(t->space->mode), &value));
	return value;
}

/* Before paging is on. */
static void load(struct trial *t, uint64_t gpa, uint64_t value)
{
	sim_gm_host_write(t->gm, 0, gpa, entry_bytes(t->space->mode), value);
}

/* The entry of `level` for `linear`; tables above it that are missing are made. */
static uint64_t entry_on_way(struct trial *t, uint64_t linear, unsigned level)
{
	enum mode mode = t->space->mode;
	uint64_t table = ROOT * K;

	for (unsigned l = top_level(mode);; l--) {
		uint64_t at = table + entry_bytes(mode) * entry_index(mode, linear, l);

		if (l == level)
			return at;
		if (!entry_at(t, at))
			load(t, at, (ROOT + t->used++) * K | (mode == MODE_PAE && l == 3 ? 1 : TABLE_RIGHTS));
		table = entry_at(t, at) & 0xfffff000;
	}
}

/* All tables are also mapped one to one, for the guest to write them. */
static void make_tables(struct trial *t)
{
	t->used = 1;
	for (unsigned level = top_level(t->space->mode); level >= 1; level--)
		t->entry_gpa[level] = entry_on_way(t, test_linear(t->space->mode), level);
	load(t, t->entry_gpa[1], SMALL_TARGET | TABLE_RIGHTS);
	for (uint64_t page = ROOT; page < TABLES_END; page++)
		load(t, entry_on_way(t, page * K, 1), page * K | ROOM_RIGHTS);
}

/* The guest's own store, and INVLPG. */
static void store(struct trial *t, unsigned level, uint64_t value)
{
	static const struct sim_guest_access write = {.write = true};

	sim_gm_access(t->gm, 0, t->entry_gpa[level], &write, entry_bytes(t->space->mode), value);
	assert_int_equal(entry_at(t, t->entry_gpa[level]), value);
}

static void set_pair(struct trial *t)
{
	unsigned upper = t->space->upper;

	if (entry_at(t, t->entry_gpa[upper]) != t->upper)
		store(t, upper, t->upper);
	if (entry_at(t, t->entry_gpa[upper - 1]) != t->lower)
		store(t, upper - 1, t->lower);
	sim_gm_invlpg(t->gm, 0, test_linear(t->space->mode));
}

/* ---- registers ------------------------------------------------------------------------ */

static void set_controls(struct trial *t, unsigned controls)
{
	struct vmmu_paging *p = &t->paging;
	enum mode mode = t->space->mode;

	p->cr0 = 1u << 31 | (controls & CONTROL_WP ? 1u << 16 : 0) | 1;
	p->cr3 = ROOT * K;
	p->cr4 = (mode != MODE_32BIT ? 1u << 5 : 0) | (mode == MODE_5LEVEL ? 1u << 12 : 0) |
	         (controls & CONTROL_PSE ? 1u << 4 : 0) | (controls & CONTROL_SMEP ? 1u << 20 : 0) |
	         (controls & CONTROL_SMAP ? 1u << 21 : 0) | (t->space->keys ? 1u << 22 : 0);
	p->efer = (mode >= MODE_4LEVEL ? 1u << 8 | 1u << 10 : 0) | (controls & CONTROL_NXE ? 1u << 11 : 0);
	p->pkru = PKRU_VALUE;
	for (unsigned i = 0; i < 4 && mode == MODE_PAE; i++)
		p->pdpte[i] = entry_at(t, ROOT * K + 8 * i);
	sim_gm_set_paging(t->gm, 0, p);
}

/* ---- one access ---------------------------------------------------------------------------- */

static bool load_guest(void *gm, uint64_t gpa, unsigned size, uint64_t *value)
{
	return sim_gm_read(gm, gpa, size, value);
}

static void differ(const struct trial *t, const char *access, const char *what, uint64_t is, uint64_t wanted)
{
	fail_msg("%s, %s: %s is %#lx instead of %#lx; upper %#lx, lower %#lx, cr0 %#lx, cr4 %#lx, efer %#lx",
	         t->space->name, access, what, is, wanted, t->upper, t->lower, t->paging.cr0, t->paging.cr4,
	         t->paging.efer);
}

/* The machine judges frame and error code; here, that the guest sees a fault when it should, and A and D. */
static void make_access(struct trial *t, const struct access_kind *k, const struct sim_guest_access *access)
{
	struct sim_guest_cpu cpu = sim_gm_cpu_of(&t->paging);
	uint64_t linear = test_linear(t->space->mode) + k->at, injected = t->gm->injected;
	uint64_t upper_gpa = t->entry_gpa[t->space->upper], lower_gpa = t->entry_gpa[t->space->upper - 1];
	uint64_t upper = t->upper, lower = t->lower;
	struct sim_guest_result r;

	set_pair(t);
	sim_guest_translate(&cpu, load_guest, t->gm, linear, access, &r);
	for (unsigned i = 0; i < r.marks; i++)
		*(r.mark[i].gpa == upper_gpa ? &upper : &lower) |= r.mark[i].bits;
	sim_gm_access(t->gm, 0, linear, access, 4, 0);
	t->tried++;
	if (t->gm->failed)
		fail_msg("%s, %s: %s", t->space->name, k->name, t->gm->failure);
	if (t->gm->injected - injected != (r.end == SIM_GUEST_PF))
		differ(t, k->name, "the number of faults", t->gm->injected - injected, r.end == SIM_GUEST_PF);
	if (entry_at(t, upper_gpa) != upper)
		differ(t, k->name, "the upper entry", entry_at(t, upper_gpa), upper);
	if (entry_at(t, lower_gpa) != lower)
		differ(t, k->name, "the lower entry", entry_at(t, lower_gpa), lower);
}

/* ---- all combinations ------------------------------------------------------------------------ */

static void choose_pair(struct trial *t, uint32_t number, uint16_t pair, unsigned key)
{
	const struct space *space = t->space;
	bool pse = t->paging.cr4 >> 4 & 1;
	uint64_t *leaf = pair & BIT_PS ? &t->upper : &t->lower;

	t->upper = entry_for(space, space->upper, pair & 0xff, pse, number, t->entry_gpa[space->upper - 1] & ~(K - 1));
	t->lower = entry_for(space, space->upper - 1, pair >> 8, pse, number / 3,
	                     t->entry_gpa[space->upper - 2] & ~(K - 1));
	if (space->keys)
		*leaf |= (uint64_t)key << 59;
}

static void try_pair(struct trial *t, uint32_t number, uint16_t pair, unsigned key)
{
	choose_pair(t, number, pair, key);
	for (unsigned a = 0; a < access_count; a++) {
		make_access(t, &access_kinds[a], &access_kinds[a].first);
		if (access_kinds[a].then.write)
			make_access(t, &access_kinds[a], &access_kinds[a].then);
	}
}

static void try_controls(struct trial *t, unsigned controls, uint32_t *number)
{
	static uint16_t pairs[1 << 16];
	unsigned count = space_pairs(t->space, controls & CONTROL_PSE, pairs);

	set_controls(t, controls);
	for (unsigned key = 0; key < (t->space->keys ? 4u : 1u); key++)
		for (unsigned i = 0; i < count; i++)
			if ((*number)++ % every == 0)
				try_pair(t, *number - 1, pairs[i], keys[key]);
}

/* ---- settings that change while the entries stay --------------------------------------------- */

enum { STEPS = 16 };

/* One page, one access after another, each under another setting: no table may be used for both. */
static void switch_settings(struct trial *t, uint64_t *random)
{
	unsigned pse = t->paging.cr4 & 1u << 4 ? CONTROL_PSE : 0;

	for (unsigned step = 0; step < STEPS; step++) {
		const struct access_kind *k = &access_kinds[sim_random_below(random, access_count)];
		unsigned controls = (unsigned)sim_random_below(random, CONTROLS) & space_controls(t->space);

		set_controls(t, (controls & ~CONTROL_PSE) | pse);
		make_access(t, k, k->then.write ? &k->then : &k->first);
	}
}

static void switch_on_all_pairs(struct trial *t, bool pse)
{
	static uint16_t pairs[1 << 16];
	unsigned count = space_pairs(t->space, pse, pairs);
	uint64_t random = 1;

	set_controls(t, pse ? CONTROL_PSE : 0);
	for (unsigned i = 0; i < count; i++)
		if (is_settled(t->space, pairs[i], pse)) {
			choose_pair(t, 0, pairs[i], keys[i % 4]);
			for (unsigned n = 0; n <= 97 / every; n++)
				switch_settings(t, &random);
		}
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Host pages of `order`; large enough ones allow large shadow pages. */
static void try_space(const struct space *space, unsigned order)
{
	struct sim_gm_config config = {
		.seed = 1,
		.vcpus = 1,
		.order = order,
		.ram_pages = PAGES,
		.la57 = space->mode == MODE_5LEVEL,
	};
	struct trial t = {.gm = sim_gm_new(&config), .space = space};
	uint32_t number = 0;

	sim_gm_slot_create(t.gm, 0, 0, PAGES, 0, 0);
	t.paging.cpu = t.gm->vcpu[0].paging.cpu;
	make_tables(&t);
	for (unsigned controls = 0; controls < CONTROLS; controls++)
		if (!(controls & ~space_controls(space)))
			try_controls(&t, controls, &number);
	switch_on_all_pairs(&t, true);
	if (space->mode == MODE_32BIT)
		switch_on_all_pairs(&t, false);
	assert_true(sim_gm_end(t.gm));
	assert_true(t.tried > 0);
	printf("            %s, runs of %u pages: %lu accesses\n", space->name, 1u << order, t.tried);
}

static unsigned only;

static void every_combination(void **state)
{
	(void)state;
	for (unsigned i = 0; i < space_count; i++)
		if (only == i || only >= space_count)
			for (unsigned order = 0; order <= 18; order += 9)
				try_space(&spaces[i], order);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_combination)};

	if (argc > 1)
		every = (unsigned)strtoul(argv[1], NULL, 10);
	if (!every)
		every = 1;
	only = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : space_count;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
