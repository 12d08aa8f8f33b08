/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages that are tables, then data, then tables of another level, or roots: as
 * a kernel's allocator hands them round. Data must keep its contents, and
 * writing it must not go on costing an exit for each store.
 */
#include "space.h"

enum {
	FRAMES = 24,
	DATA = 4,
	/* Exits that a page may cost until the hypervisor has seen that it is a table no longer. */
	EXITS_PER_PAGE = 16,
};

enum use { FREE,
	   PAGE_TABLE,
	   DIRECTORY,
	   ROOT,
	   CONTENTS,
	   USES };

struct page {
	uint64_t gpa;
	enum use use;
	uint32_t seed; /* of what CONTENTS holds */
};

static struct page pages[FRAMES];
static uint64_t data[DATA]; /* what the tables map */
static uint64_t home_root;

static uint64_t leaf(uint64_t gpa)
{
	return gpa | ENTRY_P | ENTRY_W | ENTRY_U;
}

/* Each page has its own place in the window: 8 entries of level 2 apart. */
static uint64_t place(const struct page *p)
{
	return paging->window + ((uint64_t)(p - pages) * 8 << level_shift(2));
}

static uint32_t word(uint32_t seed, unsigned i)
{
	return (seed + i) * 0x9e3779b1u;
}

static bool counts_exits(void)
{
	return device_present() && on_shadow_tables();
}

/* ---- Data --------------------------------------------------------------------------- */

static void fill_by_words(uint64_t gpa, uint32_t seed)
{
	for (unsigned i = 0; i < PAGE / 4; i++)
		word_at(gpa)[i] = word(seed, i);
}

static void fill_by_string(uint64_t gpa, uint32_t seed)
{
	static uint32_t source[PAGE / 4];
	void *to = (void *)(uintptr_t)gpa;
	const void *from = source;
	uintptr_t count = PAGE / 4;

	for (unsigned i = 0; i < PAGE / 4; i++)
		source[i] = word(seed, i);
	__asm__ volatile("rep movsl"
	                 : "+D"(to), "+S"(from), "+c"(count)
	                 :
	                 : "memory");
}

/* Clear it first, as a kernel does: one instruction. */
static void fill_cleared(uint64_t gpa, uint32_t seed)
{
	void *to = (void *)(uintptr_t)gpa;
	uintptr_t count = PAGE / 4;

	__asm__ volatile("rep stosl"
	                 : "+D"(to), "+c"(count)
	                 : "a"(0)
	                 : "memory");
	for (unsigned i = 0; i < PAGE / 4; i++)
		check(word_at(gpa)[i] == 0, "word %u of a cleared page is 0x%x", i, word_at(gpa)[i]);
	fill_by_words(gpa, seed);
}

static void use_as_contents(struct page *p)
{
	static void (*const fill[])(uint64_t, uint32_t) = {fill_by_words, fill_by_string, fill_cleared};
	uint64_t before = counts_exits() ? violations() : 0;

	p->seed = (uint32_t)random_next();
	fill[random_pick(3)](p->gpa, p->seed);
	if (counts_exits())
		check(violations() - before <= EXITS_PER_PAGE, "%s: filling a page that was a table: %lu exits",
		      paging->name, violations() - before);
}

static void check_contents(const struct page *p)
{
	unsigned i = 0;

	while (i < PAGE / 4 - 1 && word_at(p->gpa)[i] == word(p->seed, i))
		i++;
	check(word_at(p->gpa)[i] == word(p->seed, i), "%s: word %u of the page at 0x%lx is 0x%x, not 0x%x",
	      paging->name, i, p->gpa, word_at(p->gpa)[i], word(p->seed, i));
}

/* ---- Tables -------------------------------------------------------------------------- */

static void clear(uint64_t gpa)
{
	memset((void *)(uintptr_t)gpa, 0, PAGE);
}

static void use_as_page_table(struct page *p)
{
	clear(p->gpa);
	space_map(home_root, place(p), link_to(p->gpa, 2), 2);
	for (unsigned i = 0; i < 4; i++)
		entry_write(p->gpa, 3 + i, leaf(data[i % DATA]));
	for (unsigned i = 0; i < 4; i++)
		check_shows(place(p) + (3 + i) * PAGE, data[i % DATA], "a new page table");
}

/* A directory, or the root where there is nothing between; with one lasting page table below it. */
static uint64_t lasting_table;

static uint64_t directory_place(const struct page *p)
{
	unsigned n = (unsigned)(p - pages);

	if (paging->levels == 3)
		return paging->window + ((uint64_t)(1 + n % 2) << level_shift(3)); /* PDPTEs: two are free */
	return paging->window + ((uint64_t)(1 + n) << level_shift(3));
}

static bool directory_is_free(const struct page *p)
{
	return !(entry_read(space_table(home_root, directory_place(p), 3), index_of(directory_place(p), 3)) & ENTRY_P);
}

static bool use_as_directory(struct page *p)
{
	if (paging->levels == 2 || !directory_is_free(p))
		return false;
	clear(p->gpa);
	entry_write(p->gpa, 7, link_to(lasting_table, 2));
	space_map(home_root, directory_place(p), link_to(p->gpa, 3), 3);
	if (paging->levels == 3)
		write_cr3(home_root); /* loads the PDPTEs */
	for (unsigned i = 0; i < DATA; i++)
		check_shows(directory_place(p) + (UINT64_C(7) << level_shift(2)) + i * PAGE, data[i], "a new directory");
	return true;
}

/* A copy of the root, with one entry of its own. */
static bool use_as_root(struct page *p)
{
	memcpy((void *)(uintptr_t)p->gpa, (const void *)(uintptr_t)home_root, PAGE);
	write_cr3(p->gpa);
	for (unsigned i = 0; i < FRAMES; i++)
		if (pages[i].use == PAGE_TABLE && random_pick(4) == 0)
			check_shows(place(&pages[i]) + 3 * PAGE, data[0], "through another root");
	write_cr3(home_root);
	return true;
}

/* Out of all tables, and out of the CPU's memory. */
static void put_away(struct page *p)
{
	switch (p->use) {
	case PAGE_TABLE:
		for (unsigned i = 0; i < 4; i++)
			check_shows(place(p) + (3 + i) * PAGE, data[i % DATA], "an old page table");
		space_map(home_root, place(p), 0, 2);
		break;
	case DIRECTORY:
		space_map(home_root, directory_place(p), 0, 3);
		break;
	case CONTENTS:
		check_contents(p);
		return;
	default:
		return;
	}
	if (random_pick(2) && p->use == PAGE_TABLE)
		for (unsigned i = 0; i < 4; i++)
			invalidate_page(place(p) + (3 + i) * PAGE);
	else
		write_cr3(home_root);
}

static void take_up(struct page *p, enum use use)
{
	p->use = use;
	switch (use) {
	case PAGE_TABLE:
		use_as_page_table(p);
		break;
	case DIRECTORY:
		if (!use_as_directory(p))
			p->use = FREE;
		break;
	case ROOT:
		use_as_root(p);
		break;
	case CONTENTS:
		use_as_contents(p);
		break;
	default:
		p->use = FREE;
	}
}

static void run(void)
{
	home_root = space_new();
	lasting_table = frame_take();
	for (unsigned i = 0; i < DATA; i++) {
		data[i] = frame_tagged();
		entry_write(lasting_table, i, leaf(data[i]));
	}
	for (unsigned i = 0; i < FRAMES; i++)
		pages[i] = (struct page){.gpa = frame_take(), .use = FREE};
	(void)space_table(home_root, paging->window, 2); /* before CR3: a PAE CPU reads the top table only then */
	write_cr3(home_root);
	for (unsigned round = 0, n = rounds(600); round < n; round++) {
		struct page *p = &pages[random_pick(FRAMES)];

		put_away(p);
		take_up(p, PAGE_TABLE + random_pick(USES - PAGE_TABLE));
	}
	for (unsigned i = 0; i < FRAMES; i++)
		put_away(&pages[i]);
}

void test_stress_reuse(void)
{
	in_each_mode(run);
}
