/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several address spaces switched under load: the same linear addresses show
 * other frames in each, mappings change in the space that is on and in others,
 * and an interrupt may come at any time.
 */
#include "space.h"

enum { SPACES_MAX = 12,
       PAGES = 16,
       SHARED = 4 };

struct space {
	uint64_t root;
	uint64_t frame[PAGES];   /* what each page of the window shows; 0: nothing */
	uint32_t written[PAGES]; /* word 1 of the frame */
};

static struct space spaces[SPACES_MAX];
static unsigned space_count, current;
static uint64_t shared_table, shared_frame[SHARED]; /* one table that all spaces reference */
static volatile unsigned ticks;

static uint64_t page(unsigned i)
{
	return paging->window + i * PAGE;
}

static uint64_t shared_page(unsigned i)
{
	return paging->window + (UINT64_C(3) << level_shift(2)) + i * PAGE;
}

static uint64_t leaf(uint64_t gpa)
{
	return gpa ? gpa | ENTRY_P | ENTRY_W : 0;
}

static void make(struct space *s)
{
	s->root = space_new();
	for (unsigned i = 0; i < PAGES; i++) {
		s->frame[i] = frame_tagged();
		s->written[i] = 0;
		space_map(s->root, page(i), leaf(s->frame[i]), 1);
	}
	entry_write(space_table(s->root, shared_page(0), 2), index_of(shared_page(0), 2), link_to(shared_table, 2));
}

static void make_all(unsigned count)
{
	space_count = count;
	shared_table = frame_take();
	for (unsigned i = 0; i < SHARED; i++) {
		shared_frame[i] = frame_tagged();
		entry_write(shared_table, i, leaf(shared_frame[i]));
	}
	for (unsigned i = 0; i < count; i++)
		make(&spaces[i]);
}

static void switch_to(unsigned i)
{
	current = i;
	write_cr3(spaces[i].root);
}

/* ---- What is done again and again --------------------------------------------- */

static void use_page(unsigned i)
{
	struct space *s = &spaces[current];

	check_shows(page(i), s->frame[i], "in the space that is on");
	if (!s->frame[i])
		return;
	check_equal(word_at(page(i))[1], s->written[i], "a word written through this space before");
	s->written[i] = (uint32_t)random_next();
	word_at(page(i))[1] = s->written[i];
	check_equal(word_at(s->frame[i])[1], s->written[i], "the same word at its physical address");
}

/* Two pages change places: in another space at once, in this one after INVLPG. */
static void swap_pages(void)
{
	unsigned which = random_pick(space_count), a = random_pick(PAGES), b = random_pick(PAGES);
	struct space *s = &spaces[which];
	uint64_t frame = s->frame[a];
	uint32_t word = s->written[a];

	s->frame[a] = s->frame[b];
	s->written[a] = s->written[b];
	s->frame[b] = frame;
	s->written[b] = word;
	space_map(s->root, page(a), leaf(s->frame[a]), 1);
	space_map(s->root, page(b), leaf(s->frame[b]), 1);
	if (which != current)
		return;
	check_shows_either(page(a), s->frame[b], s->frame[a], "swapped, before INVLPG");
	invalidate_page(page(a));
	invalidate_page(page(b));
	use_page(a);
	use_page(b);
}

/* A page goes, and comes back without any invalidation: what was not there is never remembered. */
static void unmap_and_map(void)
{
	struct space *s = &spaces[current];
	unsigned i = random_pick(PAGES);
	uint64_t frame = s->frame[i];

	space_map(s->root, page(i), 0, 1);
	check_shows_either(page(i), frame, 0, "unmapped, before INVLPG");
	invalidate_page(page(i));
	check_shows(page(i), 0, "unmapped");
	space_map(s->root, page(i), leaf(frame), 1);
	check_shows(page(i), frame, "mapped again");
}

/* The table that all spaces share. */
static void change_shared(void)
{
	unsigned i = random_pick(SHARED), other = random_pick(SHARED);
	uint64_t frame = shared_frame[i];

	shared_frame[i] = shared_frame[other];
	shared_frame[other] = frame;
	entry_write(shared_table, i, leaf(shared_frame[i]));
	entry_write(shared_table, other, leaf(shared_frame[other]));
	switch_to(random_pick(space_count));
	for (unsigned k = 0; k < SHARED; k++)
		check_shows(shared_page(k), shared_frame[k], "through a table that all spaces share");
}

static void use_spaces(unsigned n)
{
	for (unsigned round = 0; round < n; round++) {
		switch_to(random_pick(space_count));
		for (unsigned k = 0; k < 3; k++)
			use_page(random_pick(PAGES));
		switch (random_pick(8)) {
		case 0: swap_pages(); break;
		case 1: unmap_and_map(); break;
		case 2: change_shared(); break;
		}
	}
	for (unsigned i = 0; i < space_count; i++) {
		switch_to(i);
		for (unsigned k = 0; k < PAGES; k++)
			use_page(k);
	}
}

/* ---- With a timer -------------------------------------------------------------- */

/* An interrupt sees the space that it interrupts. */
static void tick(struct frame *f)
{
	uint64_t root = read_cr3();

	(void)f;
	ticks++;
	pic_end(0);
	for (unsigned i = 0; i < space_count; i++)
		if (spaces[i].root == root)
			check(*word_at(shared_page(0)) == tag_of(shared_frame[0]),
			      "%s: an interrupt finds another word on a page of all spaces", paging->name);
}

/* The shared table stays as it is, as an interrupt looks at it between any two instructions. */
static void use_with_timer(unsigned n)
{
	ticks = 0;
	on_interrupt(VECTOR_PIC, tick);
	pit_start(PIT_PERIODIC, 1200); /* about 1 kHz */
	for (unsigned round = 0; round < n || !ticks; round++) {
		interrupts_on();
		switch_to(random_pick(space_count));
		for (unsigned k = 0; k < 3; k++)
			check_equal(*word_at(page(k)), tag_of(spaces[current].frame[k]), "a word with interrupts on");
		interrupts_off();
		swap_pages();
	}
	pic_setup(0xffff);
	on_interrupt(VECTOR_PIC, NULL);
	check(ticks > 0, "no interrupt in %u rounds", n);
}

static void switch_among(unsigned count, unsigned n)
{
	make_all(count);
	use_spaces(n);
	use_with_timer(n);
}

static void run(void)
{
	switch_among(2, rounds(200));
	switch_among(SPACES_MAX, rounds(300));
}

void test_stress_switch(void)
{
	apic_enable();
	in_each_mode(run);
}
