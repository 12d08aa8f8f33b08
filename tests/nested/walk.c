/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu_nested_walk against a model: L2's tables of random words in each of its formats, at L2
 * addresses that L1's tables of random words lead on, in each of theirs. The model is the
 * guest's CPU (sim/guest_model.h), whose every access to a table, and the last one, goes
 * through the walk of L1's tables (sim/walker.h). Result, addresses, error code, exit, rights
 * and every bit set in either dimension must be the same.
 *
 *   walk [walks [seed]]
 */
#include <stdlib.h>
#include <string.h>

#include "guest_model.h"
#include "machine.h"
#include "random.h"

enum { PAGES = 122,
       L1_TABLES = 16, /* and the 15 pages after it */
       L1_DATA = 64,   /* where L2's memory is */
       L2_PAGES = 48,
       L2_TABLES = 12, /* of these are tables */
       READ_ONLY = 113,
       NOWHERE = 3000 };

static unsigned long walks = 1000;
static uint64_t seed = 1;

struct world {
	struct sim_nm *nm;
	uint64_t random;
	unsigned l1_levels, l2_levels;
	struct sim_guest_cpu cpu; /* L2's */
	struct vmmu_guest_mode mode;
	uint8_t before[PAGES * 4096], after[PAGES * 4096];
	/* What the model has come to. */
	bool refused, dirtied;
	unsigned reflect;
	uint64_t code, l2_gpa;
	unsigned long results[VMMU_NESTED_BUSY + 1];
};

static uint64_t below(struct world *w, uint64_t n)
{
	return sim_random_below(&w->random, n);
}

static bool chance(struct world *w, unsigned percent)
{
	return below(w, 100) < percent;
}

/* ---- tables -------------------------------------------------------------------------------- */

static void poke(struct world *w, uint64_t gpa, unsigned size, uint64_t value)
{
	memcpy(w->nm->ram + gpa, &value, size);
}

/* L1's entry at `level` of 1 page of L2's memory, or for the next table. */
static uint64_t l1_entry(struct world *w, unsigned level, uint64_t frame)
{
	bool ept = w->nm->config.mode == VMMU_MODE_EPT;
	uint64_t entry = frame << 12 | 7;

	if (w->l1_levels == 3 && level == 3)
		return chance(w, 98) ? frame << 12 | 1 : 0;
	if (ept && level == 1)
		entry |= VMMU_MEMTYPE_WB << 3;
	if (chance(w, 50))
		entry |= ept ? 1u << 8 : 1u << 5;
	if (chance(w, 50))
		entry |= ept ? 1u << 9 : 1u << 6;
	if (chance(w, level == 1 ? 10 : 1))
		entry &= ~(1ull << below(w, 3));
	if (chance(w, 1))
		entry |= 1ull << below(w, w->l1_levels == 2 ? 32 : 64);
	return entry;
}

static void make_l1(struct world *w)
{
	unsigned size = w->l1_levels == 2 ? 4 : 8;
	uint64_t table = L1_TABLES;

	for (unsigned level = w->l1_levels; level > 1; level--, table++)
		poke(w, table << 12, size, l1_entry(w, level, table + 1));
	for (unsigned page = 0; page < L2_PAGES; page++) {
		uint64_t frame = chance(w, 90) ? L1_DATA + page : chance(w, 50) ? READ_ONLY + page % 8
		                                                                : NOWHERE;

		poke(w, (table << 12) + page * size, size, l1_entry(w, 1, frame));
	}
}

static struct vmmu_nested l1_root(struct world *w)
{
	struct vmmu_nested n = {.cpu = sim_nm_cpu_of(&w->nm->config), .root = L1_TABLES << 12, .efer = 1u << 11, .cr4 = 0x10};

	if (w->nm->config.mode == VMMU_MODE_EPT) {
		n.root |= VMMU_MEMTYPE_WB | (w->l1_levels - 1) << 3 | (chance(w, 70) ? 1u << 6 : 0);
		n.cpu.exec_only = chance(w, 50);
		return n;
	}
	n.efer |= w->l1_levels >= 4 ? 1u << 10 : 0;
	n.cr4 |= (w->l1_levels > 2 ? 0x20 : 0) | (w->l1_levels == 5 ? 1u << 12 : 0);
	return n;
}

/* L2's entries: most lead to its tables; few are large, for these lead out of its memory. */
static uint64_t l2_entry(struct world *w)
{
	uint64_t frame = chance(w, 60) ? below(w, L2_TABLES) : below(w, L2_PAGES + 2);
	uint64_t entry = frame << 12 | (chance(w, 97) ? 1 : 0) | (chance(w, 85) ? 2 : 0) | (chance(w, 80) ? 4 : 0);

	if (chance(w, 50))
		entry |= 0x20;
	if (chance(w, 50))
		entry |= 0x40;
	if (chance(w, 4))
		entry = (entry & ~0x3ff000ull) | 0x80;
	if (w->l2_levels == 2)
		return entry | (chance(w, 2) ? 1ull << below(w, 32) : 0);
	if (chance(w, 10))
		entry |= 1ull << 63;
	if (chance(w, 10))
		entry |= below(w, 16) << 59;
	return entry | (chance(w, 2) ? 1ull << below(w, 64) : 0);
}

static void make_l2(struct world *w)
{
	unsigned size = w->l2_levels == 2 ? 4 : 8;

	for (unsigned table = 0; table < L2_TABLES; table++)
		for (unsigned index = 0; index < 4; index++)
			poke(w, ((L1_DATA + table) << 12) + index * size, size, l2_entry(w));
}

/* ---- L2's registers --------------------------------------------------------------------------- */

static void make_mode(struct world *w)
{
	struct vmmu_paging r = {.cpu = {.maxphyaddr = 46, .pse36 = true, .page_1g = true}};
	struct sim_guest_cpu *c = &w->cpu;

	*c = (struct sim_guest_cpu){.pg = true, .maxphyaddr = 46, .pse36 = true, .page_1g = true};
	c->wp = chance(w, 70);
	c->pse = w->l2_levels > 2 || chance(w, 70);
	c->pae = w->l2_levels > 2;
	c->lma = w->l2_levels > 3;
	c->la57 = w->l2_levels == 5;
	c->smep = chance(w, 30);
	c->smap = chance(w, 30);
	c->pke = c->lma && chance(w, 30);
	c->nxe = chance(w, 70);
	c->pkru = (uint32_t)(chance(w, 50) ? 0 : sim_random(&w->random));
	c->cr3 = below(w, L2_TABLES) << 12;
	for (unsigned i = 0; i < 4; i++)
		c->pdpte[i] = chance(w, 95) ? below(w, L2_TABLES) << 12 | 1 : 0;
	r.cr0 = 1u << 31 | (c->wp ? 1u << 16 : 0);
	r.cr3 = c->cr3;
	r.cr4 = (c->pse ? 1u << 4 : 0) | (c->pae ? 1u << 5 : 0) | (c->la57 ? 1u << 12 : 0) | (c->smep ? 1u << 20 : 0) |
	        (c->smap ? 1u << 21 : 0) | (c->pke ? 1u << 22 : 0);
	r.efer = (c->lma ? 1u << 10 : 0) | (c->nxe ? 1u << 11 : 0);
	r.pkru = c->pkru;
	memcpy(r.pdpte, c->pdpte, sizeof(r.pdpte));
	vmmu_guest_mode_init(&w->mode, &r);
}

static uint64_t some_address(struct world *w)
{
	uint64_t gva = 0;

	for (unsigned level = w->l2_levels; level > 0; level--)
		gva = gva << (w->l2_levels == 2 ? 10 : w->l2_levels == 3 && level == 3 ? 2
		                                                                       : 9) |
		      below(w, 4);
	gva = gva << 12 | below(w, 4096);
	return chance(w, 2) ? gva ^ 1ull << below(w, 64) : gva;
}

/* ---- the model -------------------------------------------------------------------------------------- */

static bool has_flags(const struct world *w)
{
	return w->nm->config.mode == VMMU_MODE_NPT || (w->nm->at->on->nested.root & 1u << 6);
}

/* One access to L2's memory through L1's tables. False: L1 is told. */
static bool second(struct world *w, uint64_t gpa, unsigned access, bool final, bool peek, uint64_t *l1_gpa)
{
	const struct sim_nm_space *space = w->nm->at->on;
	struct sim_walk walk;
	bool refused;

	w->nm->not_final = !final;
	refused = sim_nm_refuses(w->nm, space, gpa, access, &w->reflect, &w->code);
	w->nm->not_final = false;
	if (refused) {
		w->refused = true;
		w->l2_gpa = gpa;
		return false;
	}
	sim_nm_model(w->nm, space, gpa, access, &walk);
	*l1_gpa = walk.pfn << 12 | (gpa & 4095);
	if (!peek)
		sim_nm_mark(w->nm, space, gpa, access, &w->dirtied);
	return true;
}

struct question {
	struct world *w;
	bool peek;
};

static bool is_memory(const struct world *w, uint64_t l1_gpa)
{
	return l1_gpa >> 12 < w->nm->config.ram_pages;
}

/* SDM vol. 3, 29.3.5, and APM vol. 2, 15.25.6: with flags in L1's tables, a walk of L2's is a write. */
static bool load(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct question *q = ctx;
	uint64_t at;

	*value = 0;
	if (!second(q->w, gpa, has_flags(q->w) && !q->peek ? VMMU_R | VMMU_W : VMMU_R, false, q->peek, &at) || !is_memory(q->w, at))
		return false;
	memcpy(value, q->w->nm->ram + at, size);
	return true;
}

/* False: L1 is told that one of L2's tables cannot be written. */
static bool mark_l2(struct world *w, const struct sim_guest_result *r)
{
	for (unsigned i = 0; i < r->marks; i++) {
		uint64_t at, value = 0;

		if (!second(w, r->mark[i].gpa, VMMU_R | VMMU_W, false, false, &at))
			return false;
		if (at >> 12 >= READ_ONLY && at >> 12 < READ_ONLY + 8)
			continue;
		memcpy(&value, w->nm->ram + at, r->mark[i].size);
		value |= r->mark[i].bits;
		memcpy(w->nm->ram + at, &value, r->mark[i].size);
	}
	return true;
}

static enum vmmu_nested_result model(struct world *w, uint64_t gva, unsigned access, struct vmmu_nested_walk *out)
{
	struct question q = {w, access & VMMU_ACCESS_PEEK};
	const struct sim_guest_access a = {.write = access & VMMU_W, .fetch = access & VMMU_X, .user = access & VMMU_ACCESS_USER, .implicit = access & VMMU_ACCESS_IMPLICIT, .ac = access & VMMU_ACCESS_AC};
	struct sim_guest_result r;
	struct sim_walk walk;

	w->refused = w->dirtied = false;
	sim_guest_translate(&w->cpu, load, &q, gva, &a, &r);
	if (w->refused)
		return VMMU_NESTED_REFLECT;
	if (r.end == SIM_GUEST_BUS)
		return VMMU_NESTED_NO_TABLE;
	if (r.end == SIM_GUEST_GP)
		return VMMU_NESTED_GP;
	if (r.end == SIM_GUEST_PF) {
		out->error_code = r.code;
		return VMMU_NESTED_PF;
	}
	if (!q.peek && !mark_l2(w, &r))
		return VMMU_NESTED_REFLECT;
	out->l2_gpa = vmmu_gpa_of(r.gpa);
	if (!second(w, r.gpa, access & VMMU_RWX, true, q.peek, &out->l1_gpa.v))
		return VMMU_NESTED_REFLECT;
	sim_nm_model(w->nm, w->nm->at->on, r.gpa, access & VMMU_RWX, &walk);
	out->rights = (walk.rights & VMMU_R ? VMMU_PAGE_READ : 0) | (r.writable && (walk.rights & VMMU_W) ? VMMU_PAGE_WRITE : 0) |
	              (r.exec && (walk.rights & VMMU_X) ? VMMU_PAGE_EXEC : 0) | (r.user ? VMMU_PAGE_USER : 0);
	return VMMU_NESTED_OK;
}

/* ---- one walk ------------------------------------------------------------------------------------------ */

static unsigned some_access(struct world *w)
{
	unsigned access = 1u << below(w, 3);

	return access | (chance(w, 50) ? VMMU_ACCESS_USER : 0) | (chance(w, 10) ? VMMU_ACCESS_IMPLICIT : 0) |
	       (chance(w, 30) ? VMMU_ACCESS_AC : 0) | (chance(w, 15) ? VMMU_ACCESS_PEEK : 0);
}

/* An entry that is on the way twice has changed when its bits are set the second time: BUSY, and once more. */
static enum vmmu_nested_result walk_again(struct world *w, uint64_t gva, unsigned access, struct vmmu_nested_walk *out)
{
	enum vmmu_nested_result result = VMMU_NESTED_BUSY;
	bool dirtied = false;

	for (unsigned i = 0; result == VMMU_NESTED_BUSY && i < 8; i++) {
		result = vmmu_nested_walk(w->nm->at->vcpu, &w->mode, vmmu_gva_of(gva), access, out);
		dirtied |= out->dirtied;
	}
	out->dirtied = dirtied;
	return result;
}

static void compare(struct world *w, uint64_t gva, unsigned access)
{
	struct vmmu_nested_walk expected = {.rights = 0}, out;
	enum vmmu_nested_result want, got;

	memcpy(w->before, w->nm->ram, sizeof(w->before));
	want = model(w, gva, access, &expected);
	memcpy(w->after, w->nm->ram, sizeof(w->after));
	memcpy(w->nm->ram, w->before, sizeof(w->before));
	memset(w->nm->logged, 0, PAGES);
	got = walk_again(w, gva, access, &out);
	w->results[got]++;
	if (got != want)
		print_error("gva %#lx access %#x: result %u, by the model %u\n", gva, access, got, want);
	assert_int_equal(got, want);
	assert_int_equal(out.dirtied, w->dirtied);
	switch (got) {
	case VMMU_NESTED_OK:
		assert_int_equal(out.l2_gpa.v, expected.l2_gpa.v);
		assert_int_equal(out.l1_gpa.v, expected.l1_gpa.v);
		assert_int_equal(out.rights, expected.rights);
		break;
	case VMMU_NESTED_PF:
		assert_int_equal(out.error_code, expected.error_code);
		break;
	case VMMU_NESTED_REFLECT:
		assert_int_equal(out.reflect, w->reflect);
		assert_int_equal(out.error_code, w->code);
		assert_int_equal(out.l2_gpa.v, w->l2_gpa);
		break;
	default:
		break;
	}
	for (unsigned i = 0; memcmp(w->nm->ram, w->after, sizeof(w->after)) && i < sizeof(w->after); i += 8) {
		uint64_t is, should;

		memcpy(&is, w->nm->ram + i, 8);
		memcpy(&should, w->after + i, 8);
		if (is != should)
			print_error("gva %#lx access %#x: the word at %#x is %#lx, by the model %#lx\n", gva, access, i, is, should);
		assert_int_equal(is, should);
	}
}

static void try_levels(struct world *w, enum vmmu_mode mode, unsigned l1_levels, unsigned l2_levels)
{
	struct sim_nm_config config = {.seed = seed, .mode = mode, .ram_pages = PAGES, .levels5 = l1_levels == 5, .memtype = VMMU_MEMTYPE_WB};

	*w = (struct world){.random = seed * 1000 + mode * 100 + l1_levels * 10 + l2_levels, .l1_levels = l1_levels, .l2_levels = l2_levels};
	w->nm = sim_nm_new(&config);
	sim_nm_slot_create(w->nm, 0, 0, READ_ONLY, VMMU_SLOT_LOG_DIRTY);
	sim_nm_slot_create(w->nm, 1, READ_ONLY, 8, VMMU_SLOT_READONLY);
	sim_nm_slot_create(w->nm, 2, READ_ONLY + 8, PAGES - READ_ONLY - 8, 0);
	for (unsigned long i = 0; i < walks; i++) {
		if (i % 20 == 0) {
			struct vmmu_nested n = l1_root(w);

			assert_int_equal(sim_nm_enter(w->nm, NULL), VMMU_OK);
			make_l1(w);
			make_l2(w);
			vmmu_guest_written(w->nm->at->vcpu, vmmu_gpa_of(L1_TABLES << 12), 16 << 12);
			assert_int_equal(sim_nm_enter(w->nm, &n), VMMU_OK);
		}
		if (i % 5 == 0)
			make_mode(w);
		compare(w, some_address(w), some_access(w));
		/* The pages in which bits have been set are in the host's log. */
		sim_nm_log(w->nm, 0);
		assert_false(w->nm->failed);
	}
	printf("            %s, L1 %u levels, L2 %u: %lu through, %lu #PF, %lu #GP, %lu to L1, %lu no table\n",
	       mode == VMMU_MODE_EPT ? "EPT" : "NPT", l1_levels, l2_levels, w->results[VMMU_NESTED_OK], w->results[VMMU_NESTED_PF],
	       w->results[VMMU_NESTED_GP], w->results[VMMU_NESTED_REFLECT], w->results[VMMU_NESTED_NO_TABLE]);
	if (walks >= 1000)
		assert_true(w->results[VMMU_NESTED_OK] && w->results[VMMU_NESTED_PF] && w->results[VMMU_NESTED_REFLECT] &&
		            w->results[VMMU_NESTED_NO_TABLE]);
	assert_int_equal(w->results[VMMU_NESTED_BUSY], 0);
	end(w->nm);
}

static struct world world;

static void ept(void **state)
{
	(void)state;
	for (unsigned l1 = 4; l1 <= 5; l1++)
		for (unsigned l2 = 2; l2 <= 5; l2++)
			try_levels(&world, VMMU_MODE_EPT, l1, l2);
}

static void npt(void **state)
{
	(void)state;
	for (unsigned l1 = 2; l1 <= 5; l1++)
		for (unsigned l2 = 2; l2 <= 5; l2++)
			try_levels(&world, VMMU_MODE_NPT, l1, l2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ept),
		cmocka_unit_test(npt),
	};

	if (argc > 1)
		walks = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
