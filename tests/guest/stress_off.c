/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paging turned off and on again, in one format and in another: 32-bit and PAE
 * tables that share a page, written with paging on and off, and flat memory that
 * is what it was.
 */
#include "space.h"

enum { FRAMES = 16,
       ENTRIES = 8,
       FLAT_PAGES = 64 };

static uint64_t frames[FRAMES];
/*
 * Its even words are entries of 32-bit paging, and with a zero behind each of
 * them entries of PAE paging too.
 */
static uint64_t shared;
static uint64_t shown[ENTRIES];
static uint64_t roots[2];
static uint64_t flat;
static uint32_t flat_seed;
static bool off = true;

/* ---- Flat memory ------------------------------------------------------------------- */

static uint32_t flat_word(unsigned page, unsigned i)
{
	return (flat_seed + page * 1024 + i) * 0x9e3779b1u;
}

static void fill_flat(void)
{
	flat_seed = (uint32_t)random_next();
	for (unsigned p = 0; p < FLAT_PAGES; p++)
		for (unsigned i = 0; i < PAGE / 4; i += 16)
			word_at(flat + p * PAGE)[i] = flat_word(p, i);
}

static void check_flat(const char *when)
{
	for (unsigned n = 0; n < 16; n++) {
		unsigned p = random_pick(FLAT_PAGES), i = random_pick(64) * 16;

		check(word_at(flat + p * PAGE)[i] == flat_word(p, i), "%s: word %u of flat page %u is 0x%x", when, i, p,
		      word_at(flat + p * PAGE)[i]);
	}
}

/* ---- The shared table ---------------------------------------------------------------- */

static uint64_t shown_at(unsigned i)
{
	unsigned page = paging->levels == 2 ? 2 * i : i;

	return paging->window + (UINT64_C(1) << level_shift(2)) + page * PAGE;
}

static void change_shared(void)
{
	unsigned i = random_pick(ENTRIES);
	uint64_t old = shown[i], now = random_pick(4) ? frames[random_pick(FRAMES)] : 0;

	shown[i] = now;
	word_at(shared)[2 * i] = now ? (uint32_t)now | ENTRY_P | ENTRY_W : 0;
	if (off || !old)
		return;
	check_shows_either(shown_at(i), old, now, "a table of two formats, before INVLPG");
	invalidate_page(shown_at(i));
}

static void check_shared(void)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		check_shows(shown_at(i), shown[i], "a table of two formats");
}

/* ---- On and off ------------------------------------------------------------------------ */

static void turn_on(unsigned mode)
{
	paging_select(mode);
	paging_turn_on(roots[mode]);
	off = false;
}

static void turn_off(void)
{
	paging_turn_off();
	off = true;
}

static void make_spaces(unsigned modes)
{
	frames_start();
	for (unsigned i = 0; i < FRAMES; i++)
		frames[i] = frame_tagged();
	flat = frames_take(FLAT_PAGES, PAGE);
	shared = frame_take();
	for (unsigned mode = 0; mode < modes; mode++) {
		paging_select(mode);
		home_make();
		roots[mode] = space_new();
		space_map(roots[mode], paging->window + (UINT64_C(1) << level_shift(2)), link_to(shared, 2), 2);
	}
}

void test_stress_off(void)
{
	unsigned modes = paging_modes();

	make_spaces(modes);
	fill_flat();
	for (unsigned round = 0, n = rounds(300); round < n; round++) {
		for (unsigned k = random_pick(4); k; k--)
			change_shared();
		check_flat("paging off");
		turn_on(random_pick(modes));
		check_shared();
		for (unsigned k = random_pick(4); k; k--)
			change_shared();
		check_shared();
		check_flat("paging on");
		if (random_pick(16) == 0)
			fill_flat();
		turn_off();
		for (unsigned i = 0; i < ENTRIES; i++)
			check_equal(word_at(shared)[2 * i] & ~0xfffu, shown[i], "a table's word, paging off");
	}
	if (device_present())
		audit("paging off");
}
