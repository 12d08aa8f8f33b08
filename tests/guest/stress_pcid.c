/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address spaces with PCIDs (SDM vol. 3, 4.10.1 and 4.10.4): CR3 loads that keep
 * what the CPU remembers of a space, and each way to make it forget. What was
 * changed and not yet forgotten may show old or new; all else is as the tables say.
 */
#include "space.h"

enum { SPACES = 6,
       PAGES = 8,
       FRAMES = 16,
       CR4_PCIDE = 1 << 17 };
#define CR3_KEEP (UINT64_C(1) << 63)

struct space {
	uint64_t root;
	uint64_t frame[PAGES]; /* 0: nothing there */
	uint64_t old[PAGES];   /* what the CPU may still remember; NONE: nothing */
};
#define NONE ALL_ONES

static struct space spaces[SPACES];
static uint64_t frames[FRAMES];
static unsigned current;
static bool has_invpcid;

static uint64_t page(unsigned i)
{
	return paging->window + i * PAGE;
}

static uint64_t pcid_of(unsigned space)
{
	return space + 1;
}

static void make_all(void)
{
	for (unsigned i = 0; i < FRAMES; i++)
		frames[i] = frame_tagged();
	for (unsigned s = 0; s < SPACES; s++) {
		spaces[s].root = space_new();
		for (unsigned i = 0; i < PAGES; i++) {
			spaces[s].frame[i] = frames[random_pick(FRAMES)];
			spaces[s].old[i] = NONE;
			space_map(spaces[s].root, page(i), spaces[s].frame[i] | ENTRY_P | ENTRY_W, 1);
		}
	}
}

/* ---- What the CPU must have forgotten ------------------------------------------------ */

static void forgot_space(unsigned s)
{
	for (unsigned i = 0; i < PAGES; i++)
		spaces[s].old[i] = NONE;
}

static void forgot_all(void)
{
	for (unsigned s = 0; s < SPACES; s++)
		forgot_space(s);
}

/* ---- What is done --------------------------------------------------------------------- */

static void switch_to(unsigned s, bool keep)
{
	current = s;
	write_cr3(spaces[s].root | pcid_of(s) | (keep ? CR3_KEEP : 0));
	if (!keep)
		forgot_space(s);
	check_equal(read_cr3(), spaces[s].root | pcid_of(s), "CR3 as it is read");
}

static void use(unsigned i)
{
	const struct space *s = &spaces[current];

	if (s->old[i] == NONE)
		check_shows(page(i), s->frame[i], "a page of a space with a PCID");
	else
		check_shows_either(page(i), s->old[i], s->frame[i], "a page that was not invalidated");
}

/* Of any space; at most one change that may still be unseen. */
static void change(void)
{
	struct space *s = &spaces[random_pick(SPACES)];
	unsigned i = random_pick(PAGES);
	uint64_t frame = random_pick(4) ? frames[random_pick(FRAMES)] : 0;

	if (s->old[i] != NONE)
		return;
	if (s->frame[i])
		s->old[i] = s->frame[i];
	s->frame[i] = frame;
	space_map(s->root, page(i), frame ? frame | ENTRY_P | ENTRY_W : 0, 1);
}

static void forget_page(void)
{
	unsigned i = random_pick(PAGES);

	invalidate_page(page(i));
	spaces[current].old[i] = NONE;
	use(i);
}

static void invpcid(uint64_t type, uint64_t pcid, uint64_t linear)
{
	struct {
		uint64_t pcid, linear;
	} descriptor = {pcid, linear};

	__asm__ volatile("invpcid %0, %1"
	                 :
	                 : "m"(descriptor), "r"(type)
	                 : "memory");
}

static void forget_by_pcid(void)
{
	unsigned s = random_pick(SPACES), i = random_pick(PAGES), type = random_pick(4);

	if (!has_invpcid)
		return;
	invpcid(type, type < 2 ? pcid_of(s) : 0, type == 0 ? page(i) : 0);
	if (type == 0)
		spaces[s].old[i] = NONE;
	else if (type == 1)
		forgot_space(s);
	else
		forgot_all(); /* 3 leaves global pages, and there are none */
}

static void forget_by_cr4(void)
{
	write_cr4(read_cr4() ^ CR4_PGE);
	forgot_all();
}

static void run(void)
{
	uint64_t first = read_cr3();

	make_all();
	write_cr4(read_cr4() | CR4_PCIDE);
	switch_to(0, false);
	for (unsigned round = 0, n = rounds(1200); round < n; round++) {
		switch (random_pick(16)) {
		case 0 ... 4:
			change();
			break;
		case 5 ... 9:
			switch_to(random_pick(SPACES), random_pick(4));
			break;
		case 10:
			forget_page();
			break;
		case 11:
			forget_by_pcid();
			break;
		case 12:
			if (random_pick(4) == 0)
				forget_by_cr4();
			break;
		default:
			break;
		}
		use(random_pick(PAGES));
	}
	write_cr4(read_cr4() & ~(uintptr_t)CR4_PGE);
	write_cr3(first);
	write_cr4(read_cr4() & ~(uintptr_t)CR4_PCIDE);
}

void test_stress_pcid(void)
{
	if (!(cpuid(1, 0).c & 1u << 17)) {
		skip("PCIDs, CPUID does not offer them");
		return;
	}
	has_invpcid = cpuid(7, 0).b & 1u << 10;
	if (!has_invpcid)
		skip("INVPCID, CPUID does not offer it");
	in_each_mode(run);
}
