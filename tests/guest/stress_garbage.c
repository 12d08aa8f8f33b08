/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables of random words below random values of CR3. Whatever they say, the
 * guest sees what an independent walk of its tables says and nothing else.
 *
 * An access is made only if all that it would read and mark as a table lies in
 * the pool: the CPU sets accessed bits in whatever it takes for an entry, and
 * this program is in memory too. Stores go to the pool alone.
 */
#include "model.h"

enum {
	TABLES = 24,
	CONTENTS = 8,
	FRAMES = TABLES + CONTENTS,
	CHANGES = 8,     /* entries that change between two accesses, at most */
	CODE_AT = 0x800, /* where every page of contents has a RET */
	RET = 0xc3,
};

static uint64_t pool;  /* FRAMES of tables and contents, alone in a region of 4 MiB */
static uint64_t roots; /* PAE: a page of top tables, 32 bytes each */
static uint64_t home_root;

#define REGION (4 * MIB)

static bool in_pool(uint64_t gpa)
{
	return gpa - pool < REGION;
}

static uint64_t frame(unsigned i)
{
	return pool + i * PAGE;
}

/* ---- Garbage ------------------------------------------------------------------------------- */

static uint64_t random_flags(void)
{
	uint64_t flags = random_next() & (ENTRY_W | ENTRY_U | ENTRY_A | ENTRY_D | 0xe00);

	if (random_pick(8))
		flags |= ENTRY_P;
	if (random_pick(3))
		flags |= ENTRY_W;
	if (random_pick(8) == 0)
		flags |= ENTRY_LARGE;
	return flags;
}

/* Where nothing is, but for devices further up. */
static uint64_t nowhere(void)
{
	return 0xd0000000 + random_pick(0x1000) * PAGE;
}

static uint64_t random_address(void)
{
	switch (random_pick(16)) {
	case 0:
		return pool; /* fit for a large page */
	case 1:
		return pool | (random_next() & (REGION - 1) & ~(PAGE - 1)); /* one that may be unaligned */
	case 2:
		return nowhere();
	case 3:
		return random_pick((uint32_t)(ram_end() >> 12)) * PAGE;
	case 4:
		return paging->entry_bytes == 8 ? random_next() & 0x000ffffffffff000 : nowhere();
	default:
		return frame(random_pick(random_pick(4) ? TABLES : FRAMES));
	}
}

static uint64_t random_entry(void)
{
	uint64_t entry = random_address() | random_flags();

	if (paging->entry_bytes == 8 && random_pick(8) == 0)
		entry |= ENTRY_NX;
	if (paging->entry_bytes == 8 && random_pick(64) == 0)
		entry |= random_next() & 0x7ff0000000000000;
	return entry;
}

/* The entries by which this program is mapped, if the page is taken for a root. */
static unsigned home_entries(void)
{
	return paging->levels == 2 ? index_of(paging->window, 2) : paging->levels >= 4 ? 1
	                                                                               : 0;
}

static void fill_table(uint64_t table)
{
	for (unsigned i = 0; i < table_entries(1); i++)
		entry_write(table, i, random_entry());
}

static void make_fit_for_root(uint64_t table)
{
	for (unsigned i = 0; i < home_entries(); i++)
		entry_write(table, i, entry_read(home_root, i));
}

static void change_entry(void)
{
	entry_write(frame(random_pick(TABLES)), random_pick(table_entries(1)), random_entry());
}

static void fill_contents(uint64_t gpa)
{
	for (unsigned i = 0; i < PAGE / 4; i++)
		word_at(gpa)[i] = i == CODE_AT / 4 ? RET : tag_of(gpa) + i;
}

/* Top tables at all 32-byte places, each with the home entry, the others random but for what is reserved. */
static void fill_roots(void)
{
	for (unsigned i = 0; i < PAGE / 8; i++)
		store(roots + 8 * i, i % 4 == 0 ? load(home_root) : frame(random_pick(TABLES)) | (random_pick(8) != 0));
}

static uint64_t random_root(void)
{
	uint64_t table = frame(random_pick(TABLES));

	if (paging->levels == 3)
		return roots + 32 * random_pick(PAGE / 32);
	make_fit_for_root(table);
	return table | (random_next() & 0x18); /* PWT, PCD */
}

static uint64_t random_linear(void)
{
	uint64_t linear = random_next() & ~(PAGE - 1);

	unsigned unused = 64 - level_shift(paging->levels) - paging->index_bits;

	switch (paging->levels) {
	case 3:
		return (linear & 0x3ffff000) | (uint64_t)(1 + random_pick(3)) << 30;
	case 2:
		return paging->window + (linear & 0x7ffff000);
	default:
		linear = (uint64_t)((int64_t)(linear << unused) >> unused); /* canonical */
		return index_of(linear, paging->levels) ? linear : linear | UINT64_C(1) << level_shift(paging->levels);
	}
}

/* ---- Accesses ---------------------------------------------------------------------------------- */

/* AMD's manual reserves bit 8 of a PML4E and a PML5E, older ones that of a PDPE as well; not every CPU minds. */
static bool is_disputed(const struct sim_guest_result *r, unsigned step)
{
	return paging->levels >= 4 && step < paging->levels - 2 && r->entry[step] & ENTRY_G;
}

/* All that the walk reads is in the pool. PAE's top table is in registers. */
static bool is_safe_walk(const struct sim_guest_result *r)
{
	for (unsigned i = 0; i < r->tables; i++)
		if (!in_pool(r->table[i]) || is_disputed(r, i))
			return false;
	return r->end == SIM_GUEST_DONE || r->end == SIM_GUEST_PF;
}

/* Without its home entries the root that is loaded would end this program. */
static bool maps_home(uint64_t gpa)
{
	return gpa - address_in(read_cr3()) < home_entries() * paging->entry_bytes;
}

static bool is_safe_target(const struct foretold *f)
{
	uint64_t gpa = f->result.gpa;

	switch (f->access) {
	case ACCESS_LOAD:
		return gpa >= MIB && gpa < ram_end();
	case ACCESS_STORE:
		return in_pool(gpa) && !maps_home(gpa);
	default:
		return in_pool(gpa) && (*word_at(gpa) & 0xff) == RET;
	}
}

/* Beyond all slots: nothing to read. A bare machine has its own things there. */
static bool try_nowhere(const struct foretold *f)
{
	uint32_t value;

	if (f->access != ACCESS_LOAD || f->result.end != SIM_GUEST_DONE || !device_present() ||
	    f->result.gpa < 0xd0000000 || f->result.gpa >= 0xe0000000)
		return false;
	invalidate_page(f->linear);
	if (try_load(f->linear, &value))
		check_equal(value, nothing_there(4), "a word where nothing is");
	else
		check(false, "a load from 0x%lx, where nothing is, faults", f->result.gpa);
	return true;
}

/* False: this one could not be made. */
static bool access_once(void)
{
	struct foretold f = {.linear = random_linear(), .access = random_pick(ACCESS_KINDS)};

	f.linear |= f.access == ACCESS_CALL ? CODE_AT : random_pick(PAGE / 4) * 4;
	foretell(&f);
	if (!is_safe_walk(&f.result))
		return false;
	if (f.result.end == SIM_GUEST_DONE && !is_safe_target(&f))
		return try_nowhere(&f);
	check_foretold(&f, (uint32_t)random_next());
	return true;
}

/* Tables where nothing is: each kind of access faults, and the program goes on. */
static void tables_nowhere(void)
{
	uint64_t root = space_new(), linear = paging->window;
	uint32_t value;

	if (!device_present())
		return; /* a bare machine has its own things there */
	for (unsigned level = 2; level < paging->levels + (paging->levels != 3); level++) {
		space_map(root, linear, link_to(nowhere(), level), level);
		write_cr3(root);
		check(!try_load(linear, &value), "a load through a table where nothing is, level %u", level);
		check(!try_store(linear + 8, 1), "a store through a table where nothing is, level %u", level);
		check(!try_call(linear + 16), "a call through a table where nothing is, level %u", level);
		linear += UINT64_C(4) << level_shift(level);
	}
	write_cr3(home_root);
}

static void run(void)
{
	unsigned made = 0;

	pool = frames_take((unsigned)(REGION / PAGE), REGION);
	roots = frame_take();
	home_root = space_new();
	for (unsigned i = 0; i < FRAMES; i++)
		i < TABLES ? fill_table(frame(i)) : fill_contents(frame(i));
	if (paging->levels == 3)
		fill_roots();
	for (unsigned round = 0, n = rounds(400); round < n; round++) {
		if (round % 64 == 0)
			for (unsigned i = TABLES; i < FRAMES; i++)
				fill_contents(frame(i));
		write_cr3(home_root);
		for (unsigned i = random_pick(CHANGES); i; i--)
			change_entry();
		model_load_cr3(random_root());
		for (unsigned i = 0; i < 12; i++)
			made += access_once();
	}
	write_cr3(home_root);
	tables_nowhere();
	check(made > rounds(400), "%s: only %u accesses could be made", paging->name, made);
}

void test_stress_garbage(void)
{
	in_each_mode(run);
}
