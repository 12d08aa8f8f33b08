/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own paging is its own business: CR3 loads, INVLPG and changes of
 * its tables cause no exit, and its tables may lie anywhere in its memory.
 */
#include "guest.h"

static uint64_t read_cr3(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(v));
	return v;
}

static void write_cr3(uint64_t v)
{
	__asm__ volatile("mov %0, %%cr3"
	                 :
	                 : "r"(v)
	                 : "memory");
}

static void invalidate_page(uint64_t linear)
{
	__asm__ volatile("invlpg (%0)"
	                 :
	                 : "r"(linear)
	                 : "memory");
}

/* The tables that this guest started with, in other pages: PML4 and first PDPT. */
static uint64_t copy_tables(uint64_t base)
{
	uint64_t old = read_cr3();
	uint64_t *pml4 = memcpy((void *)(uintptr_t)base, (const void *)(uintptr_t)old, PAGE);

	memcpy((void *)(uintptr_t)(base + PAGE), (const void *)(uintptr_t)(old + PAGE), PAGE);
	pml4[0] = (base + PAGE) | (pml4[0] & 0xfff);
	return base;
}

/* The page walk itself meets missing pages. */
static void walk_through_fresh_tables(uint64_t base)
{
	uint64_t old = read_cr3(), before = 0, tables = copy_tables(base);

	if (device_present()) {
		device_ok("invalidate", TEST_INVALIDATE, tables, 2 * PAGE, 0, 0);
		before = violations();
	}
	write_cr3(tables);
	store(base + 4 * PAGE, 0x5555);
	write_cr3(old);
	check_equal(load(base + 4 * PAGE), 0x5555, "a word written through other tables");
	if (device_present())
		check(violations() > before, "no violation for page tables that were not mapped");
}

/* Two roots that map one linear address to different pages: each CR3 load shows the right one. */
static void switch_roots(uint64_t base)
{
	uint64_t old = read_cr3(), linear = 300 * GIB, root[2], page[2];

	for (unsigned i = 0; i < 2; i++) {
		uint64_t pdpt, pd, pt;

		root[i] = copy_tables(base + i * 16 * PAGE);
		page[i] = root[i] + 8 * PAGE;
		pdpt = root[i] + PAGE;
		pd = root[i] + 2 * PAGE;
		pt = root[i] + 3 * PAGE;
		store(pdpt + 8 * 300, pd | 3);
		store(pd, pt | 3);
		store(pt, page[i] | 3);
		store(page[i], 0x1000 + i);
	}
	for (unsigned i = 0; i < 1000; i++) {
		write_cr3(root[i & 1]);
		check_equal(load(linear), 0x1000 + (i & 1), "a word seen through one of two roots");
	}
	for (unsigned i = 0; i < 1000; i++) {
		store(root[1] + 3 * PAGE, page[i & 1] | 3);
		invalidate_page(linear);
		check_equal(load(linear), 0x1000 + (i & 1), "a word after its entry was changed");
	}
	write_cr3(old);
}

void test_paging(void)
{
	uint64_t base = take_ram(2 * MIB), before, after;

	walk_through_fresh_tables(base);
	switch_roots(base + 64 * PAGE);
	if (!device_present() || on_shadow_tables())
		return;
	before = violations();
	switch_roots(base + 64 * PAGE);
	after = violations();
	check_equal(after - before, 0, "violations of 2,000 CR3 loads and 1,000 INVLPG on mapped memory");
	audit("after the guest's own paging");
}
