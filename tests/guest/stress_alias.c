/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One page of tables in several places: below two entries, at two levels, in two
 * trees, and below itself, so that tables are written through the mapping that
 * they make.
 */
#include "space.h"

enum { FRAMES = 16 };

static uint64_t frames[FRAMES];

static uint64_t leaf(uint64_t gpa)
{
	return gpa | ENTRY_P | ENTRY_W | ENTRY_U;
}

static void take_frames(void)
{
	for (unsigned i = 0; i < FRAMES; i++)
		frames[i] = frame_tagged();
}

static uint64_t any_frame(void)
{
	return frames[random_pick(FRAMES)];
}

/* The window's n-th entry of `level`. */
static uint64_t place(unsigned n, unsigned level)
{
	return paging->window + ((uint64_t)n << level_shift(level));
}

/* ---- Below two entries, in two trees ------------------------------------------- */

struct alias {
	uint64_t root[2];
	uint64_t table;
	uint64_t shown[8]; /* by its first entries; 0: not present */
};

/* The table is at places 1 and 2 of the first tree and at place 5 of the second. */
static void make_alias(struct alias *a)
{
	a->root[0] = space_new();
	a->root[1] = space_new();
	a->table = frame_take();
	for (unsigned i = 0; i < 8; i++) {
		a->shown[i] = any_frame();
		entry_write(a->table, i, leaf(a->shown[i]));
	}
	space_map(a->root[0], place(1, 2), link_to(a->table, 2), 2);
	space_map(a->root[0], place(2, 2), link_to(a->table, 2), 2);
	space_map(a->root[1], place(5, 2), link_to(a->table, 2), 2);
}

static void change_aliased(struct alias *a)
{
	unsigned i = random_pick(8);
	uint64_t old = a->shown[i], first = place(1, 2) + i * PAGE, second = place(2, 2) + i * PAGE;
	bool new_only = !old; /* what was not present need not be invalidated */

	a->shown[i] = random_pick(4) ? any_frame() : 0;
	entry_write(a->table, i, a->shown[i] ? leaf(a->shown[i]) : 0);
	if (!new_only) {
		check_shows_either(first, old, a->shown[i], "an aliased entry, before INVLPG");
		invalidate_page(first);
	}
	check_shows(first, a->shown[i], "an aliased entry at its first place");
	if (!new_only) {
		check_shows_either(second, old, a->shown[i], "an aliased entry elsewhere, before INVLPG");
		invalidate_page(second);
	}
	check_shows(second, a->shown[i], "an aliased entry at its second place");
}

static void aliased_places(void)
{
	struct alias a;

	make_alias(&a);
	for (unsigned round = 0, n = rounds(150); round < n; round++) {
		write_cr3(a.root[0]);
		for (unsigned k = 0; k < 3; k++)
			change_aliased(&a);
		if (random_pick(4))
			continue;
		write_cr3(a.root[1]);
		for (unsigned i = 0; i < 8; i++)
			check_shows(place(5, 2) + i * PAGE, a.shown[i], "an aliased entry in another tree");
	}
}

/* ---- At two levels ---------------------------------------------------------------- */

/*
 * Table T is a page table at place 1 and, from a higher entry, a page directory:
 * what T maps as pages are the page tables below it there. So data written to
 * those pages are entries of the other mapping.
 */
static void two_levels(void)
{
	uint64_t root = space_new(), t = frame_take(), lower[4];
	uint64_t high = place(1, 3);

	if (paging->levels == 2)
		return; /* the directory is the root: what self-mapped tables try */
	for (unsigned i = 0; i < 4; i++) {
		lower[i] = frame_take();
		entry_write(t, i, leaf(lower[i]));
	}
	space_map(root, place(1, 2), link_to(t, 2), 2);
	space_map(root, high, link_to(t, 3), 3);
	write_cr3(root);
	for (unsigned round = 0, n = rounds(300); round < n; round++) {
		unsigned table = random_pick(4), index = random_pick(8);
		uint64_t through_page = place(1, 2) + table * PAGE;
		uint64_t shown = high + ((uint64_t)table << level_shift(2)) + index * PAGE;
		uint64_t old = entry_read(lower[table], index), frame = any_frame();

		entry_write(through_page, index, leaf(frame));
		check_equal(address_in(entry_read(lower[table], index)), frame, "an entry written through a page");
		if (old & ENTRY_P) {
			check_shows_either(shown, address_in(old), frame, "a page that is a table, before INVLPG");
			invalidate_page(shown);
		}
		check_shows(shown, frame, "a page that is a table");
	}
}

/* ---- Below itself -------------------------------------------------------------------- */

/* In PAE paging the page directory references itself, elsewhere the root does. */
static unsigned self_level(void)
{
	return paging->levels == 3 ? 2 : paging->levels;
}

enum { SELF = 40 }; /* the place in the window of the entry that references its own table */

/* Where the mapping shows the lowest entry for linear. Applied again: the one above, and so on. */
static uint64_t self_entry(uint64_t linear)
{
	unsigned level = self_level();
	uint64_t covered = UINT64_C(1) << (level_shift(level) + paging->index_bits);
	uint64_t number = (linear & (covered - 1)) >> 12;

	return (place(SELF, level) & ~((UINT64_C(1) << level_shift(level)) - 1)) + number * paging->entry_bytes;
}

static void write_entry_at(uint64_t linear, uint64_t value)
{
	entry_write(linear & ~(PAGE - 1), (unsigned)(linear % PAGE) / paging->entry_bytes, value);
}

static uint64_t read_entry_at(uint64_t linear)
{
	return entry_read(linear & ~(PAGE - 1), (unsigned)(linear % PAGE) / paging->entry_bytes);
}

/* Change the lowest entry for linear through the mapping of itself. */
static void change_through_self(uint64_t root, uint64_t linear)
{
	uint64_t at = self_entry(linear), old = read_entry_at(at);
	uint64_t frame = random_pick(4) ? any_frame() : 0;
	uint64_t table = space_table(root, linear, 1);

	check_equal(old, entry_read(table, index_of(linear, 1)), "an entry seen through its table's own mapping");
	write_entry_at(at, frame ? leaf(frame) : 0);
	check_equal(entry_read(table, index_of(linear, 1)), frame ? leaf(frame) : 0,
	            "an entry written through its table's own mapping");
	if (old & ENTRY_P) {
		check_shows_either(linear, address_in(old), frame, "a self-mapped entry, before INVLPG");
		invalidate_page(linear);
	}
	check_shows(linear, frame, "a self-mapped entry");
}

/* Exchange the tables of two entries of level 2, through the mapping once more removed. */
static void exchange_tables(uint64_t a, uint64_t b)
{
	uint64_t at_a = self_entry(self_entry(a)), at_b = self_entry(self_entry(b));
	uint64_t entry_a = read_entry_at(at_a), entry_b = read_entry_at(at_b);

	write_entry_at(at_a, entry_b);
	write_entry_at(at_b, entry_a);
	for (unsigned i = 0; i < 8; i++) {
		invalidate_page(a + i * PAGE);
		invalidate_page(b + i * PAGE);
	}
	invalidate_page(self_entry(a));
	invalidate_page(self_entry(b));
	for (unsigned i = 0; i < 8; i++) {
		uint64_t pa = read_entry_at(self_entry(a + i * PAGE)), pb = read_entry_at(self_entry(b + i * PAGE));

		check_shows(a + i * PAGE, pa & ENTRY_P ? address_in(pa) : 0, "after page tables were exchanged");
		check_shows(b + i * PAGE, pb & ENTRY_P ? address_in(pb) : 0, "after page tables were exchanged");
	}
}

static void self_mapped(void)
{
	uint64_t root = space_new(), area[3] = {place(1, 2), place(2, 2), place(7, 2)};

	for (unsigned i = 0; i < 3; i++)
		space_map(root, area[i], leaf(any_frame()), 1);
	/* The tables below the root are there: now the loop. */
	entry_write(space_table(root, place(SELF, self_level()), self_level()),
	            index_of(place(SELF, self_level()), self_level()),
	            link_to(space_table(root, paging->window, self_level()), self_level()));
	write_cr3(root);
	for (unsigned round = 0, n = rounds(300); round < n; round++) {
		if (random_pick(16) == 0)
			exchange_tables(area[0], area[1 + random_pick(2)]);
		else
			change_through_self(root, area[random_pick(3)] + random_pick(8) * PAGE);
	}
}

static void run(void)
{
	take_frames();
	aliased_places();
	two_levels();
	self_mapped();
}

void test_stress_alias(void)
{
	in_each_mode(run);
}
