/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Large pages that are broken into small ones and rejoined: data, rights,
 * accessed and dirty bits stay what the tables say at each step.
 */
#include "space.h"

static uint64_t root, linear, block; /* the place in the window, and what it maps */

static uint64_t bytes_at(unsigned level)
{
	return UINT64_C(1) << level_shift(level);
}

static uint64_t leaf(uint64_t gpa, unsigned level, uint64_t flags)
{
	return gpa | ENTRY_P | flags | (level > 1 ? ENTRY_LARGE : 0);
}

/*
 * Not all of it: some pages of the block, the first and the last among them. A
 * 1 GiB page has this program in it: only what is left of the frames is free.
 */
static uint64_t sample(unsigned i, unsigned level)
{
	struct range free = frames_left();
	uint64_t base = level == 3 ? free.base : 0, pages = (level == 3 ? free.bytes : bytes_at(level)) / PAGE;

	return base + (i == 0 ? 0 : i == 1 ? pages - 1
	                                   : random_pick((uint32_t)pages)) *
	                      PAGE;
}

static void check_data(unsigned level, const char *when)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t offset = sample(i, level);

		check_equal(*word_at(linear + offset), *word_at(block + offset), when);
	}
}

static void write_data(unsigned level)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t offset = sample(i, level) + 8;
		uint32_t value = (uint32_t)random_next();

		*word_at(linear + offset) = value;
		check_equal(*word_at(block + offset), value, "a word written through a large page or its parts");
	}
}

/* ---- Rights, A and D of one entry ----------------------------------------------------- */

static uint64_t entry(unsigned level)
{
	return entry_read(space_table(root, linear, level), index_of(linear, level));
}

/* A fresh, read-only, then writable leaf: A comes with a load, D with a store, both stay. */
static void check_leaf(unsigned level)
{
	uint32_t value;

	space_map(root, linear, leaf(block, level, 0), level);
	invalidate_page(linear);
	check(!(entry(level) & (ENTRY_A | ENTRY_D)), "A or D of a page that nothing has used: 0x%lx", entry(level));
	check(try_load(linear + 64, &value) && value == *word_at(block + 64), "a load from a read-only page");
	check((entry(level) & (ENTRY_A | ENTRY_D)) == ENTRY_A, "A and D after a load: 0x%lx", entry(level));
	check(!try_store(linear + 64, 1), "a store to a read-only page of level %u", level);
	check_equal(last_trap.error, 3, "error code of a store to a read-only page");
	check(!(entry(level) & ENTRY_D), "D after a store that faulted: 0x%lx", entry(level));
	/* More rights need no INVLPG if the CPU looks again before it faults; that is not promised here. */
	space_map(root, linear, entry(level) | ENTRY_W, level);
	invalidate_page(linear);
	check(try_load(linear + 64, &value), "a load from a writable page");
	check(!(entry(level) & ENTRY_D), "D after a load: 0x%lx", entry(level));
	check(try_store(linear + 64, value), "a store to a writable page of level %u", level);
	check((entry(level) & (ENTRY_A | ENTRY_D)) == (ENTRY_A | ENTRY_D), "A and D after a store: 0x%lx", entry(level));
	/* D taken away: the next store after INVLPG must set it again. */
	space_map(root, linear, entry(level) & ~(uint64_t)ENTRY_D, level);
	invalidate_page(linear);
	check(try_store(linear + 64, value), "a store after D was cleared");
	check(entry(level) & ENTRY_D, "D after a store to a page whose D was cleared: 0x%lx", entry(level));
}

/* ---- Break and rejoin ------------------------------------------------------------------- */

/* A table of parts for the page at `level`, with the same contents. */
static uint64_t parts(unsigned level, uint64_t gpa)
{
	uint64_t table = frame_take();

	for (unsigned i = 0; i < table_entries(level - 1); i++)
		entry_write(table, i, leaf(gpa + i * bytes_at(level - 1), level - 1, ENTRY_W));
	return table;
}

/* Other parts, other rights: only there. */
static void change_a_part(uint64_t table, unsigned level)
{
	unsigned i = random_pick(table_entries(level)), other = random_pick(table_entries(level));
	uint64_t old = entry_read(table, i), at = linear + i * bytes_at(level), there = block + other * bytes_at(level);
	uint32_t value;

	entry_write(table, i, leaf(there, level, 0));
	if (try_load(at, &value))
		check(value == *word_at(there) || value == *word_at(block + i * bytes_at(level)),
		      "a part before INVLPG shows 0x%x", value);
	invalidate_page(at);
	check_equal(*word_at(at), *word_at(there), "a part that maps another frame");
	check(!try_store(at + 8, 1), "a store to a read-only part");
	entry_write(table, i, old);
	invalidate_page(at);
	check_equal(*word_at(at), *word_at(block + i * bytes_at(level)), "a part that is back");
	entry_write(table, i, 0);
	invalidate_page(at);
	check(!try_load(at, &value), "a load from a part that is gone");
	entry_write(table, i, old); /* no INVLPG: it was not there */
	check_equal(*word_at(at), *word_at(block + i * bytes_at(level)), "a part that has come back");
}

static void break_and_rejoin(unsigned level)
{
	uint64_t table = parts(level, block), small;

	space_map(root, linear, leaf(block, level, ENTRY_W), level);
	write_cr3(root);
	check_data(level, "a large page");
	write_data(level);
	/* Broken. Before and after INVLPG the same is mapped. */
	space_map(root, linear, link_to(table, level), level);
	check_data(level, "a large page just broken");
	invalidate_page(linear);
	write_cr3(root);
	check_data(level, "a large page in parts");
	write_data(level);
	for (unsigned i = 0; i < 4; i++)
		change_a_part(table, level - 1);
	if (level == 3) {
		small = parts(2, block);
		entry_write(table, 0, link_to(small, 2));
		invalidate_page(linear);
		check_data(2, "a part in parts");
		for (unsigned i = 0; i < 4; i++)
			change_a_part(small, 1);
	}
	/* Rejoined, with the tables still in memory, and written as data. */
	space_map(root, linear, leaf(block, level, ENTRY_W), level);
	check_data(level, "a large page just rejoined");
	write_cr3(root);
	memset((void *)(uintptr_t)table, 0xff, PAGE);
	check_data(level, "a large page rejoined");
	write_data(level);
}

/* Two places show the same memory, once large and once in small pages. */
static void large_beside_small(unsigned level)
{
	uint64_t small = linear + bytes_at(level);

	space_map(root, linear, leaf(block, level, ENTRY_W), level);
	space_map(root, small, leaf(block + 3 * PAGE, 1, ENTRY_W), 1);
	write_cr3(root);
	for (unsigned i = 0; i < 8; i++) {
		uint32_t value = (uint32_t)random_next();

		*word_at(i & 1 ? small : linear + 3 * PAGE) = value;
		check_equal(*word_at(i & 1 ? linear + 3 * PAGE : small), value, "memory that has a large and a small page");
	}
	space_map(root, small, 0, 1);
	invalidate_page(small);
}

/* A large page that has the page tables in it by which it is reached. */
static void large_over_tables(unsigned level)
{
	uint64_t shown = linear + 2 * bytes_at(level), page_table = space_table(root, shown, 1);
	uint64_t base = page_table & ~(bytes_at(level) - 1), frame[2] = {frame_tagged(), frame_tagged()};

	space_map(root, linear, leaf(base, level, ENTRY_W), level);
	write_cr3(root);
	for (unsigned i = 0; i < 16; i++) {
		entry_write(linear + (page_table - base), index_of(shown, 1), leaf(frame[i & 1], 1, 0));
		invalidate_page(shown);
		check_shows(shown, frame[i & 1], "mapped by a write through a large page over the table");
	}
}

static void at_level(unsigned level)
{
	linear = paging->window;
	block = level == 3 ? 0 : frames_take((unsigned)(bytes_at(level) / PAGE), bytes_at(level));
	root = space_new();
	if (level < 3)
		for (uint64_t offset = 0; offset < bytes_at(level); offset += PAGE / 2)
			*word_at(block + offset) = (uint32_t)random_next();
	(void)space_table(root, linear, level); /* before CR3: a PAE CPU reads the top table only then */
	write_cr3(root);
	check_leaf(level);
	for (unsigned i = 0, n = rounds(4); i < n; i++) {
		uint64_t first = frames_left().base;

		break_and_rejoin(level);
		frames_give_back(first);
	}
	large_beside_small(level);
	large_over_tables(level);
}

static void run(void)
{
	for (unsigned level = 2; level <= large_level(); level++)
		at_level(level);
}

void test_stress_large(void)
{
	in_each_mode(run);
}
