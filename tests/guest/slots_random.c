/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on several slots at once, each answer compared with a
 * model that knows nothing of tables: which slot lies where, with which flags,
 * and the one word that each of its pages must hold.
 */
#include "guest.h"
#include <vmmu/vmmu.h>

enum { SLOTS = 6,
       FIRST_ID = 200,
       PAGES_MAX = 1024,
       PLACES = 8 };

/* Places are 8 MiB apart, a slot is at most 4 MiB: no two slots can meet. */
#define PLACE_BYTES (8 * MIB)

struct model {
	bool there;
	uint32_t flags;
	uint64_t base;
	unsigned pages, place;
	uint64_t word[PAGES_MAX];
	uint64_t dirty[PAGES_MAX / 64];
};
static struct model models[SLOTS];
static bool place_used[PLACES];
static uint64_t area;
static uint64_t bitmap[PAGES_MAX / 64];

static unsigned free_place(void)
{
	unsigned place;

	do
		place = (unsigned)random_below(PLACES);
	while (place_used[place]);
	place_used[place] = true;
	return place;
}

/* Sometimes on a 2 MiB boundary, sometimes not. */
static uint64_t base_in(unsigned place)
{
	return area + place * PLACE_BYTES + (random_below(2) ? 0 : random_below(512) * PAGE);
}

static void create(unsigned i)
{
	struct model *m = &models[i];

	*m = (struct model){
		.there = true,
		.place = free_place(),
		.pages = 1 + (unsigned)random_below(PAGES_MAX),
	};
	m->base = base_in(m->place);
	m->flags = (uint32_t)random_below(4) == 0 ? VMMU_SLOT_LOG_DIRTY : 0;
	device_ok("create", TEST_SLOT_CREATE, FIRST_ID + i, m->flags, m->base, m->pages * PAGE);
}

static void delete (unsigned i)
{
	struct model *m = &models[i];

	device_ok("delete", TEST_SLOT_DELETE, FIRST_ID + i, 0, 0, 0);
	m->there = false;
	place_used[m->place] = false;
	check_equal(load(m->base + random_below(m->pages) * PAGE), ALL_ONES, "a page of a deleted slot");
}

static void move(unsigned i)
{
	struct model *m = &models[i];
	uint64_t old = m->base;
	unsigned old_place = m->place;

	m->place = free_place();
	m->base = base_in(m->place);
	place_used[old_place] = false;
	device_ok("move", TEST_SLOT_MOVE, FIRST_ID + i, m->base, 0, 0);
	check_equal(load(old + random_below(m->pages) * PAGE), ALL_ONES, "a page where a slot was");
}

static void change_flags(unsigned i)
{
	struct model *m = &models[i];
	uint32_t flags = (uint32_t)random_below(3);

	flags = flags == 0 ? 0 : flags == 1 ? VMMU_SLOT_READONLY
	                                    : VMMU_SLOT_LOG_DIRTY;
	device_ok("flags", TEST_SLOT_FLAGS, FIRST_ID + i, flags, 0, 0);
	if (flags & VMMU_SLOT_LOG_DIRTY && !(m->flags & VMMU_SLOT_LOG_DIRTY)) {
		/* A new log: what it held before is nobody's business. */
		device_ok("dirty log", TEST_DIRTY_LOG, FIRST_ID + i, (uintptr_t)bitmap, PAGES_MAX / 64, 0);
		memset(m->dirty, 0, sizeof(m->dirty));
	}
	m->flags = flags;
}

static void write(unsigned i)
{
	struct model *m = &models[i];

	for (unsigned n = (unsigned)random_below(64); n; n--) {
		uint64_t page = random_below(m->pages), value = random_next();

		store(m->base + page * PAGE + 8 * (page % 512), value);
		if (m->flags & VMMU_SLOT_READONLY)
			continue;
		m->word[page] = value;
		m->dirty[page / 64] |= 1ull << page % 64;
	}
}

static void verify(unsigned i)
{
	struct model *m = &models[i];

	for (uint64_t page = random_below(16); page < m->pages; page += 1 + random_below(16)) {
		uint64_t got = load(m->base + page * PAGE + 8 * (page % 512));

		check(got == m->word[page], "slot %u, page %lu at 0x%lx holds 0x%lx, not 0x%lx", FIRST_ID + i, page,
		      m->base + page * PAGE, got, m->word[page]);
	}
}

static void dirty_log(unsigned i)
{
	struct model *m = &models[i];

	if (!(m->flags & VMMU_SLOT_LOG_DIRTY))
		return;
	memset(bitmap, 0, sizeof(bitmap));
	device_ok("dirty log", TEST_DIRTY_LOG, FIRST_ID + i, (uintptr_t)bitmap, PAGES_MAX / 64, 0);
	for (unsigned w = 0; w < PAGES_MAX / 64; w++)
		check(bitmap[w] == m->dirty[w], "slot %u, dirty log of pages %u on: 0x%lx instead of 0x%lx",
		      FIRST_ID + i, w * 64, bitmap[w], m->dirty[w]);
	memset(m->dirty, 0, sizeof(m->dirty));
}

static void invalidate(unsigned i)
{
	struct model *m = &models[i];
	uint64_t first = random_below(m->pages);

	device_ok("invalidate", TEST_INVALIDATE, m->base + first * PAGE, (1 + random_below(m->pages - first)) * PAGE, 0, 0);
}

static void restrict_level(unsigned i)
{
	struct model *m = &models[i];
	uint64_t first = random_below(m->pages);

	device_ok("restrict", TEST_RESTRICT, m->base + first * PAGE, (1 + random_below(m->pages - first)) * PAGE,
	          1 + random_below(3), 0);
}

static void prefault(unsigned i)
{
	struct model *m = &models[i];
	uint64_t first = random_below(m->pages), bytes = (1 + random_below(m->pages - first)) * PAGE;

	if (!tables_know_gpas())
		return; /* only gvas mean anything then */
	check(device(TEST_PREFAULT, m->base + first * PAGE, bytes, VMMU_R, 0) <= VMMU_FAULT_SPURIOUS,
	      "prefault answers %u", last_command.status);
	check_equal(last_command.result[0], bytes, "bytes prefaulted");
}

static void one_step(void)
{
	static void (*const operations[])(unsigned) = {
		write,
		write,
		write,
		verify,
		verify,
		verify,
		change_flags,
		dirty_log,
		dirty_log,
		invalidate,
		restrict_level,
		prefault,
		move,
		delete,
	};
	unsigned i = (unsigned)random_below(SLOTS);

	if (models[i].there)
		operations[random_below(sizeof(operations) / sizeof(operations[0]))](i);
	else
		create(i);
}

void test_slots_random(void)
{
	uint64_t steps = option_number("steps", 1000);

	if (!device_present()) {
		skip("slots-random: there is no test device");
		return;
	}
	area = sizeof(uintptr_t) == 8 ? 6 * GIB : GIB; /* beyond RAM, but within reach */
	for (uint64_t step = 0; step < steps; step++) {
		one_step();
		if (step % 20 == 19)
			audit("between random operations");
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (models[i].there) {
			verify(i);
			delete (i);
		}
	audit("after random operations");
}
