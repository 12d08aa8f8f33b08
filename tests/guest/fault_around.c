/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Neighbours that are mapped with the page of a violation: `vmmu run --fault-around N`, and N
 * again in the word around=N for this guest. Pages have 4 KiB here.
 *
 * How many violations a sweep takes, which pages are mapped by which of them (lines EXPECT, held
 * against the trace), what a dirty log and a read-only slot see, and that nothing outside of
 * the slot is mapped.
 */
#include "guest.h"
#include <vmmu/vmmu.h>

enum { SLOT = 100,
       LOG_PAGES = 512,
       EXTRA = 8 }; /* violations that a sweep may take besides: a page of this guest's own, a new table */

static unsigned around;

static uint64_t pattern(uint64_t gpa)
{
	return gpa * 0x9e3779b97f4a7c15ull | 1;
}

static void create(uint32_t flags, uint64_t base, uint64_t pages)
{
	device_ok("slot create", TEST_SLOT_CREATE, SLOT, flags, base, pages * PAGE);
}

static void delete (void)
{
	device_ok("slot delete", TEST_SLOT_DELETE, SLOT, 0, 0, 0);
}

static bool is_mapped(uint64_t gpa)
{
	bool leaf;

	return path_level(gpa, &leaf) == 1 && leaf;
}

static void check_sweep(const char *what, uint64_t before, uint64_t pages)
{
	uint64_t took = violations() - before, fewest = pages / around;

	check(took >= fewest && took <= fewest + EXTRA, "%s: %lu violations for %lu pages", what, took, pages);
}

/* ---- Steps --------------------------------------------------------------------------------- */

static uint64_t fill_in_order(uint64_t pages)
{
	uint64_t base = take_ram(pages * PAGE), before = violations();

	for (uint64_t i = 0; i < pages; i++) {
		check(load(base + i * PAGE + 8) == 0, "page %lu is not zero at its first touch", i);
		store(base + i * PAGE, pattern(base + i * PAGE));
	}
	check_sweep("pages in order", before, pages);
	for (uint64_t i = 0; i < pages; i++)
		check_equal(load(base + i * PAGE), pattern(base + i * PAGE), "a page of the sweep");
	audit("after a sweep");
	return base;
}

static void in_order(void)
{
	uint64_t pages = 2048, base = fill_in_order(pages);

	print("EXPECT once 0x%lx 0x%lx\n", base, pages * PAGE);
}

static void taken_away(void)
{
	uint64_t pages = 1024, base = fill_in_order(pages), before;

	device_ok("invalidate", TEST_INVALIDATE, base, pages * PAGE, 0, 0);
	before = violations();
	for (uint64_t i = pages; i-- > 0;)
		check_equal(load(base + i * PAGE), pattern(base + i * PAGE), "a page of the sweep, taken away");
	check_sweep("pages taken away, backwards", before, pages);
}

/* Which pages come with which: their aligned group, and no other. */
static void one_group(void)
{
	uint64_t base = take_ram(2 * MIB), group = base + 128 * PAGE;
	unsigned touched = 5 % around;

	store(base, 1); /* the table is there from here on */
	store(group + touched * PAGE, 1);
	for (unsigned i = 0; i < around; i++)
		check(is_mapped(group + i * PAGE), "neighbour %u of page %u is not mapped", i, touched);
	check(!is_mapped(group - PAGE), "the page before the group is mapped");
	check(!is_mapped(group + around * PAGE), "the page behind the group is mapped");
	if (touched)
		print("EXPECT prefetched 0x%lx 0x%lx\n", group, touched * PAGE);
	print("EXPECT faulted 0x%lx 0x%lx\n", group + touched * PAGE, PAGE);
	if (around > touched + 1)
		print("EXPECT prefetched 0x%lx 0x%lx\n", group + (touched + 1) * PAGE, (around - touched - 1) * PAGE);
	audit("with one group mapped");
}

/* Nothing is mapped beyond a slot that begins and ends within a group. */
static void edges(uint64_t area)
{
	uint64_t base = area + 3 * PAGE, end = base + 70 * PAGE;

	create(0, base, 70);
	store(base + PAGE, 1);
	store(base, 1);
	store(end - PAGE, 1);
	check_equal(load(base - PAGE), ALL_ONES, "before the slot");
	check_equal(load(end), ALL_ONES, "behind the slot");
	check(!is_mapped(base - PAGE) && !is_mapped(end), "a page outside of the slot is mapped");
	audit("with a slot that begins and ends within a group");
	delete ();
	check_equal(load(base), ALL_ONES, "where the slot was");
	check(!is_mapped(base + 2 * PAGE), "a neighbour is mapped after its slot");
}

static void read_only(uint64_t base)
{
	uint64_t before = violations();

	create(VMMU_SLOT_READONLY, base, LOG_PAGES);
	for (unsigned i = 0; i < LOG_PAGES; i++)
		check_equal(load(base + i * PAGE), 0, "read-only memory");
	check_sweep("reads of a read-only slot", before, LOG_PAGES);
	for (unsigned i = 0; i < LOG_PAGES; i += 37)
		store(base + i * PAGE, 1);
	for (unsigned i = 0; i < LOG_PAGES; i++)
		check_equal(load(base + i * PAGE), 0, "read-only memory after writes");
	print("EXPECT read-only 0x%lx 0x%lx\n", base, LOG_PAGES * PAGE);
	audit("with a read-only slot");
	delete ();
}

/* ---- Dirty log --------------------------------------------------------------------------------- */

static uint64_t logged[LOG_PAGES / 64], written[LOG_PAGES / 64];

static void write_some(uint64_t base, unsigned count)
{
	memset(written, 0, sizeof(written));
	for (unsigned i = 0; i < count; i++) {
		uint64_t page = random_below(LOG_PAGES);

		store(base + page * PAGE + random_below(PAGE / 8) * 8, random_next());
		written[page / 64] |= 1ull << page % 64;
	}
}

static void check_log(const char *when)
{
	memset(logged, 0xff, sizeof(logged));
	device_ok("dirty log", TEST_DIRTY_LOG, SLOT, (uintptr_t)logged, LOG_PAGES / 64, 0);
	for (unsigned i = 0; i < LOG_PAGES / 64; i++)
		check(logged[i] == written[i], "dirty log %s: pages from %u: 0x%lx reported, 0x%lx written", when, i * 64,
		      logged[i], written[i]);
}

/* Each first write is seen, and no page is dirty because a neighbour is. */
static void dirty_log(uint64_t base)
{
	uint64_t before;

	create(VMMU_SLOT_LOG_DIRTY, base, LOG_PAGES);
	write_some(base, 20); /* into pages that are not mapped: what comes with them is clean */
	check_log("after first touches by writes");
	before = violations();
	for (unsigned i = 0; i < LOG_PAGES; i++)
		(void)load(base + i * PAGE);
	check(violations() - before <= LOG_PAGES / around + EXTRA, "%lu violations for reads under a log", violations() - before);
	write_some(base, 0);
	check_log("after reads");
	for (unsigned round = 0; round < 4; round++) {
		write_some(base, 1 + round * 150);
		check_log("after writes");
	}
	device_ok("invalidate", TEST_INVALIDATE, base, LOG_PAGES * PAGE, 0, 0);
	write_some(base, 100);
	check_log("after an invalidation and writes");
	device_ok("log off", TEST_SLOT_FLAGS, SLOT, 0, 0, 0);
	device_ok("invalidate", TEST_INVALIDATE, base, LOG_PAGES * PAGE, 0, 0);
	before = violations();
	for (unsigned i = 0; i < LOG_PAGES; i++)
		store(base + i * PAGE, i);
	check_sweep("writes without a log", before, LOG_PAGES);
	device_ok("log on", TEST_SLOT_FLAGS, SLOT, VMMU_SLOT_LOG_DIRTY, 0, 0);
	device_ok("dirty log", TEST_DIRTY_LOG, SLOT, (uintptr_t)logged, LOG_PAGES / 64, 0);
	write_some(base, 200);
	check_log("switched on while neighbours are mapped");
	audit("with a dirty log");
	delete ();
}

void test_fault_around(void)
{
	around = (unsigned)option_number("around", 0);
	if (!device_present() || !around) {
		skip("fault-around: no test device, or no word around=N");
		return;
	}
	in_order();
	taken_away();
	one_group();
	edges(8 * GIB);
	read_only(8 * GIB + 128 * MIB);
	dirty_log(8 * GIB + 256 * MIB);
}
