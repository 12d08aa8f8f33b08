/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All RAM that no other test has taken: every page is zero at its first touch,
 * keeps what was written to it, and is mapped exactly once, in whatever order
 * the pages are touched.
 */
#include "guest.h"

#define EVERY_PAGE_UP_TO (64 * MIB)
#define SAMPLES 4096ull

/* The pages of a range that are touched: all, or one out of each stride. */
struct touched {
	struct range range;
	uint64_t pages, stride;
};

static struct touched touched_of(struct range range)
{
	uint64_t all = range.bytes / PAGE;

	if (range.bytes <= option_number("every-mib", EVERY_PAGE_UP_TO / MIB) * MIB)
		return (struct touched){range, all, 1};
	return (struct touched){range, SAMPLES, all / SAMPLES};
}

/*
 * The i-th page. Samples alternate between the stride's first page, its last
 * one and one in between, so that 2 MiB and 1 GiB boundaries are met from both
 * sides.
 */
static uint64_t page_of(const struct touched *t, uint64_t i)
{
	unsigned kind = (unsigned)i % 3;
	uint64_t within = kind == 0 ? 0 : kind == 1 ? t->stride - 1
	                                            : (uint32_t)(i * 0x9e3779b1) * t->stride >> 32;

	return t->range.base + (i * t->stride + within) * PAGE;
}

static bool page_is_zero(uint64_t gpa)
{
	const void *p = (const void *)at(gpa);
	uintptr_t left = PAGE / 4;
	bool zero;

	__asm__ volatile("repe scasl"
	                 : "+D"(p), "+c"(left), "=@ccz"(zero)
	                 : "a"(0)
	                 : "memory");
	return zero;
}

static uint64_t pattern(uint64_t gpa, uint64_t salt)
{
	return (gpa ^ salt) * 0x9e3779b97f4a7c15ull | 1;
}

static void write_pattern(uint64_t gpa, uint64_t salt)
{
	store(gpa, pattern(gpa, salt));
	store(gpa + 2048, pattern(gpa + 2048, salt));
	store(gpa + PAGE - 8, pattern(gpa + PAGE - 8, salt));
}

static void check_pattern(uint64_t gpa, uint64_t salt)
{
	for (uint64_t offset = 0; offset < PAGE; offset = offset == 2048 ? PAGE - 8 : offset + 2048)
		check(load(gpa + offset) == pattern(gpa + offset, salt), "0x%lx holds 0x%lx, not its pattern",
		      gpa + offset, load(gpa + offset));
}

/*
 * First touch by a read, or by a write of zero that must not hide what was
 * there. On a bare machine the firmware has used some of the pages before.
 */
static void first_touch(uint64_t gpa, bool by_write)
{
	if (by_write)
		*(volatile uint8_t *)at(gpa + random_below(PAGE)) = 0;
	check(page_is_zero(gpa) || !device_present(), "page 0x%lx is not zero at its first touch", gpa);
}

static void touch_range(const struct touched *t, uint64_t salt)
{
	struct shuffle order = shuffle_of(t->pages);

	for (uint64_t i = 0; i <= order.mask; i++) {
		uint64_t page = shuffle_at(&order, i);

		if (page >= t->pages)
			continue;
		first_touch(page_of(t, page), random_next() >> 40 & 1);
		write_pattern(page_of(t, page), salt);
	}
}

static void verify_range(const struct touched *t, uint64_t salt)
{
	struct shuffle order = shuffle_of(t->pages);

	for (uint64_t i = 0; i <= order.mask; i++)
		if (shuffle_at(&order, i) < t->pages)
			check_pattern(page_of(t, shuffle_at(&order, i)), salt);
}

/*
 * With 4 KiB pages and nothing else going on, as many violations as pages.
 * Larger leaves: fewer, but at least one per GiB.
 */
static void check_violations(const struct touched *t, uint64_t before)
{
	uint64_t got = violations() - before;

	if (on_shadow_tables()) /* as many as the guest's tables and their neighbours make it */
		check(got >= 1 && got <= t->pages + 16, "%lu violations for %lu pages", got, t->pages);
	else if (path_level(t->range.base, NULL) == 1)
		check(got >= t->pages && got <= t->pages + 16, "%lu violations for %lu pages of 4 KiB", got,
		      t->pages);
	else
		check(got >= 1 && got < t->pages, "%lu violations for %lu pages in larger leaves", got, t->pages);
}

void test_touch(void)
{
	struct range ranges[8];
	struct touched touched[8];
	unsigned n = take_all_ram(ranges, 8);
	uint64_t salt = random_next();

	for (unsigned i = 0; i < n; i++) {
		uint64_t before = device_present() ? violations() : 0;

		touched[i] = touched_of(ranges[i]);
		print("touch: %lu pages of %lu MiB at 0x%lx\n", touched[i].pages, ranges[i].bytes / MIB,
		      ranges[i].base);
		touch_range(&touched[i], salt);
		if (device_present())
			check_violations(&touched[i], before);
		if (touched[i].stride == 1)
			print("EXPECT once 0x%lx 0x%lx\n", ranges[i].base, ranges[i].bytes);
	}
	for (unsigned i = 0; i < n; i++)
		verify_range(&touched[i], salt);
	check(n > 0, "there is no RAM left to touch");
	if (device_present())
		audit("after touching all RAM");
}
