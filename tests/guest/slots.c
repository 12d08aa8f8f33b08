/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory slots that come, go, move and change while the guest uses them.
 *
 * Each step uses addresses of its own, so that what the trace must show about
 * them can be said once and for all (the EXPECT lines).
 */
#include "guest.h"
#include <vmmu/vmmu.h>

enum { SLOT = 100 }; /* far from the ids that the machine's own RAM uses */

static uint64_t pattern(uint64_t offset)
{
	return (offset + 0x1234567) * 0x9e3779b97f4a7c15ull;
}

static void create(uint32_t id, uint32_t flags, uint64_t base, uint64_t bytes)
{
	device_ok("slot create", TEST_SLOT_CREATE, id, flags, base, bytes);
}

static void delete (uint32_t id)
{
	device_ok("slot delete", TEST_SLOT_DELETE, id, 0, 0, 0);
}

static void fill(uint64_t base, uint64_t bytes)
{
	for (uint64_t offset = 0; offset < bytes; offset += PAGE / 2)
		store(base + offset, pattern(offset));
}

static void check_filled(const char *when, uint64_t base, uint64_t bytes)
{
	for (uint64_t offset = 0; offset < bytes; offset += PAGE / 2)
		check(load(base + offset) == pattern(offset), "%s: 0x%lx holds 0x%lx", when, base + offset,
		      load(base + offset));
}

static void check_all(const char *when, uint64_t base, uint64_t bytes, uint64_t want)
{
	for (uint64_t offset = 0; offset < bytes; offset += PAGE / 2)
		check(load(base + offset) == want, "%s: 0x%lx holds 0x%lx, not 0x%lx", when, base + offset,
		      load(base + offset), want);
}

/* ---- Steps ---------------------------------------------------------------------------------- */

static void come_and_go(uint64_t base)
{
	create(SLOT, 0, base, 4 * MIB);
	check_all("new slot", base, 4 * MIB, 0);
	fill(base, 4 * MIB);
	check_filled("slot in use", base, 4 * MIB);
	audit("with a slot in use");
	print("EXPECT once 0x%lx 0x%lx\n", base, 4 * MIB);
	delete (SLOT);
	check_all("deleted slot", base, 4 * MIB, ALL_ONES);
	audit("after a slot was deleted");
}

/* Another slot under the same id and address must not show the first one's data. */
static void come_again(uint64_t base)
{
	for (unsigned round = 0; round < 5; round++) {
		create(SLOT, 0, base, 2 * MIB);
		check_all("slot made again", base, 2 * MIB, 0);
		fill(base, 2 * MIB);
		delete (SLOT);
		check_all("slot deleted again", base, 2 * MIB, ALL_ONES);
	}
	audit("after a slot came and went");
}

/* Nothing is there, then memory is, then nothing again: no old answer may survive. */
static void memory_over_mmio(uint64_t base)
{
	check_all("before the slot", base, 16 * PAGE, ALL_ONES);
	create(SLOT, 0, base, 16 * PAGE);
	check_all("slot over cached MMIO", base, 16 * PAGE, 0);
	store(base + PAGE, 0x77);
	check_equal(load(base + PAGE), 0x77, "a word in memory where MMIO was");
	delete (SLOT);
	check_all("MMIO again", base, 16 * PAGE, ALL_ONES);
	audit("after memory came over MMIO");
}

static void read_only_from_start(uint64_t base)
{
	uint64_t before;
	uintptr_t old = 5;

	create(SLOT, VMMU_SLOT_READONLY, base, MIB);
	check_all("read-only slot", base, MIB, 0);
	fill(base, MIB);
	check_all("read-only slot after writes", base, MIB, 0);
	before = violations();
	check_all("read-only slot, read again", base, MIB, 0);
	check_equal(violations() - before, 0, "violations of reads in a read-only slot");
	__asm__ volatile("lock; xadd %0, %1"
	                 : "+r"(old), "+m"(*(volatile uintptr_t *)at(base)));
	check_equal(old, 0, "value that XADD read from read-only memory");
	check_equal(load(base), 0, "read-only memory after XADD");
	audit("with a read-only slot");
	print("EXPECT read-only 0x%lx 0x%lx\n", base, MIB);
	delete (SLOT);
}

static void change_flags(uint64_t base)
{
	uintptr_t value = 0x99;

	create(SLOT, 0, base, 2 * MIB);
	fill(base, 2 * MIB);
	device_ok("make read-only", TEST_SLOT_FLAGS, SLOT, VMMU_SLOT_READONLY, 0, 0);
	audit("after a slot became read-only");
	for (uint64_t offset = 0; offset < 2 * MIB; offset += PAGE / 2)
		store(base + offset, 0x4141414141414141);
	check_filled("read-only after writes", base, 2 * MIB);
	__asm__ volatile("xchg %0, %1"
	                 : "+r"(value), "+m"(*(volatile uintptr_t *)at(base)));
	check_equal(value, (uintptr_t)pattern(0), "value that XCHG read from read-only memory");
	check_equal(load(base), pattern(0), "read-only memory after XCHG");
	device_ok("make writable", TEST_SLOT_FLAGS, SLOT, 0, 0, 0);
	for (uint64_t offset = 0; offset < 2 * MIB; offset += PAGE / 2)
		store(base + offset, 0x4141414141414141);
	check_all("writable again", base, 2 * MIB, 0x4141414141414141);
	audit("after a slot became writable");
	delete (SLOT);
}

static void move(uint64_t base)
{
	uint64_t to = base + 64 * MIB;

	create(SLOT, 0, base, 2 * MIB + 8 * PAGE);
	fill(base, 2 * MIB + 8 * PAGE);
	device_ok("slot move", TEST_SLOT_MOVE, SLOT, to, 0, 0);
	check_filled("moved slot", to, 2 * MIB + 8 * PAGE);
	check_all("where the slot was", base, 2 * MIB + 8 * PAGE, ALL_ONES);
	audit("after a slot moved");
	/* By one page: the alignment that large leaves need is gone. */
	device_ok("slot move", TEST_SLOT_MOVE, SLOT, to + PAGE, 0, 0);
	check_filled("slot moved by a page", to + PAGE, 2 * MIB + 8 * PAGE);
	check_equal(load(to), ALL_ONES, "the page that the slot left");
	audit("after a slot moved by a page");
	delete (SLOT);
}

static void restrict_and_back(uint64_t base)
{
	bool leaf, shadow = on_shadow_tables();
	unsigned before, level;

	create(SLOT, 0, base, 4 * MIB);
	fill(base, 4 * MIB);
	before = path_level(base, &leaf);
	check(leaf || shadow, "a page that was written has no leaf");
	device_ok("restrict to 4 KiB", TEST_RESTRICT, base, 2 * MIB, 1, 0);
	check_filled("restricted", base, 4 * MIB);
	level = path_level(base + 5 * PAGE, &leaf);
	check((leaf && level == 1) || shadow, "restricted to 4 KiB, but the leaf is of level %u", level);
	level = path_level(base + 2 * MIB, &leaf);
	check((leaf && level == before) || shadow, "beyond the restriction the leaf is of level %u, not %u", level, before);
	audit("with a restricted range");
	device_ok("no restriction", TEST_RESTRICT, base, 2 * MIB, 3, 0);
	device_ok("invalidate", TEST_INVALIDATE, base, 4 * MIB, 0, 0);
	check_filled("no longer restricted", base, 4 * MIB);
	level = path_level(base + 5 * PAGE, &leaf);
	check((leaf && level == before) || shadow, "no longer restricted, but the leaf is of level %u, not %u",
	      level, before);
	audit("after a restriction was taken off");
	delete (SLOT);
}

static void invalidate(uint64_t base)
{
	uint64_t before;

	create(SLOT, 0, base, 4 * MIB);
	fill(base, 4 * MIB);
	device_ok("invalidate", TEST_INVALIDATE, base + MIB, MIB, 0, 0);
	audit("after an invalidation");
	before = violations();
	check_filled("after an invalidation", base, 4 * MIB);
	check(violations() > before, "no violation after an invalidation");
	before = violations();
	check_filled("once more", base, 4 * MIB);
	check_equal(violations() - before, 0, "violations on memory that is mapped");
	delete (SLOT);
}

static void prefault(uint64_t base)
{
	uint64_t before;

	create(SLOT, 0, base, 4 * MIB);
	if (!tables_know_gpas()) {
		check(device(TEST_PREFAULT, base, 4 * MIB, VMMU_W, 0) == VMMU_FAULT_DENIED, "prefault by gpa answers %u",
		      last_command.status);
		check_equal(last_command.result[0], 0, "bytes prefaulted");
		delete (SLOT);
		return;
	}
	check(device(TEST_PREFAULT, base, 4 * MIB, VMMU_W, 0) == VMMU_FAULT_FIXED, "prefault answers %u",
	      last_command.status);
	check_equal(last_command.result[0], 4 * MIB, "bytes prefaulted");
	before = violations();
	fill(base, 4 * MIB);
	check_filled("prefaulted", base, 4 * MIB);
	check_equal(violations() - before, 0, "violations on prefaulted memory");
	audit("after a prefault");
	delete (SLOT);
}

#ifdef __x86_64__

/* Memory above 4 GiB, and one slot that spans a GiB boundary. */
static void high(uint64_t base)
{
	create(SLOT, 0, base - 2 * MIB, 4 * MIB);
	fill(base - 2 * MIB, 4 * MIB);
	check_filled("across a GiB", base - 2 * MIB, 4 * MIB);
	check_equal(load(base - 2 * MIB - 8), ALL_ONES, "below the slot");
	check_equal(load(base + 2 * MIB), ALL_ONES, "above the slot");
	audit("with a slot across a GiB");
	delete (SLOT);
}

#endif

/* ---- Dirty log -------------------------------------------------------------------------------- */

#define DIRTY_PAGES 512u
static uint64_t bitmap[DIRTY_PAGES / 64], written[DIRTY_PAGES / 64];

static void write_some(uint64_t base, unsigned count)
{
	memset(written, 0, sizeof(written));
	for (unsigned i = 0; i < count; i++) {
		uint64_t page = random_below(DIRTY_PAGES);

		store(base + page * PAGE + random_below(PAGE / 8) * 8, random_next());
		written[page / 64] |= 1ull << page % 64;
	}
}

static void check_dirty(const char *when)
{
	memset(bitmap, 0xff, sizeof(bitmap));
	device_ok("dirty log", TEST_DIRTY_LOG, SLOT, (uintptr_t)bitmap, DIRTY_PAGES / 64, 0);
	for (unsigned i = 0; i < DIRTY_PAGES / 64; i++)
		check(bitmap[i] == written[i], "dirty log %s: pages %u on: 0x%lx reported, 0x%lx written", when,
		      i * 64, bitmap[i], written[i]);
}

static void read_all(uint64_t base)
{
	for (unsigned i = 0; i < DIRTY_PAGES; i++)
		(void)load(base + i * PAGE);
}

static void dirty_log(uint64_t base)
{
	create(SLOT, VMMU_SLOT_LOG_DIRTY, base, DIRTY_PAGES * PAGE);
	read_all(base);
	write_some(base, 0);
	check_dirty("after reads only");
	for (unsigned round = 0; round < 4; round++) {
		write_some(base, 1 + round * 200);
		check_dirty("after writes");
		write_some(base, 0);
		check_dirty("with nothing written since");
	}
	audit("with a dirty log");
	device_ok("log off", TEST_SLOT_FLAGS, SLOT, 0, 0, 0);
	write_some(base, 100);
	device_ok("log on", TEST_SLOT_FLAGS, SLOT, VMMU_SLOT_LOG_DIRTY, 0, 0);
	device_ok("dirty log", TEST_DIRTY_LOG, SLOT, (uintptr_t)bitmap, DIRTY_PAGES / 64, 0);
	write_some(base, 300);
	check_dirty("switched on while mapped");
	audit("after the dirty log was switched");
	delete (SLOT);
}

#ifdef __x86_64__

/* The CPU's own writes count: it sets accessed bits in the guest's page tables. */
static void dirty_by_page_walk(uint64_t base)
{
	uint64_t old, tables = base + 7 * PAGE;

	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(old));
	create(SLOT, VMMU_SLOT_LOG_DIRTY, base, DIRTY_PAGES * PAGE);
	memcpy((void *)at(tables), (const void *)(uintptr_t)old, PAGE);
	for (unsigned i = 0; i < 512; i++) /* accessed bits off */
		store(tables + 8 * i, load(tables + 8 * i) & ~0x20ull);
	device_ok("dirty log", TEST_DIRTY_LOG, SLOT, (uintptr_t)bitmap, DIRTY_PAGES / 64, 0);
	__asm__ volatile("mov %0, %%cr3"
	                 :
	                 : "r"(tables)
	                 : "memory");
	(void)load(base);
	__asm__ volatile("mov %0, %%cr3"
	                 :
	                 : "r"(old)
	                 : "memory");
	write_some(base, 0);
	written[0] = 1 << 7;
	check_dirty("after a page walk");
	delete (SLOT);
}

#endif

/* ---- Refusals ----------------------------------------------------------------------------------- */

static void refused(const char *what, uint32_t want, uint32_t code, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3)
{
	uint32_t status = device(code, a0, a1, a2, a3);

	check(status == want, "%s: status %u instead of %u", what, status, want);
}

static void refusals(uint64_t base)
{
	create(SLOT, 0, base, 2 * MIB);
	fill(base, 2 * MIB);
	refused("same id", VMMU_ERR_SLOT_EXISTS, TEST_SLOT_CREATE, SLOT, 0, base + 4 * MIB, MIB);
	refused("overlap", VMMU_ERR_SLOT_OVERLAP, TEST_SLOT_CREATE, SLOT + 1, 0, base + MIB, 4 * MIB);
	refused("overlap with RAM", VMMU_ERR_SLOT_OVERLAP, TEST_SLOT_CREATE, SLOT + 1, 0, MIB, MIB);
	refused("misaligned base", VMMU_ERR_SLOT_MISALIGNED, TEST_SLOT_CREATE, SLOT + 1, 0, base + 4 * MIB + 1, MIB);
	refused("misaligned size", VMMU_ERR_SLOT_MISALIGNED, TEST_SLOT_CREATE, SLOT + 1, 0, base + 4 * MIB, 100);
	refused("no bytes", VMMU_ERR_SLOT_EMPTY, TEST_SLOT_CREATE, SLOT + 1, 0, base + 4 * MIB, 0);
	refused("wrap-around", VMMU_ERR_SLOT_WRAP, TEST_SLOT_CREATE, SLOT + 1, 0, 0 - MIB, 2 * MIB);
	refused("beyond physical addresses", VMMU_ERR_SLOT_BEYOND, TEST_SLOT_CREATE, SLOT + 1, 0, 1ull << 52, MIB);
	refused("unknown flag", VMMU_ERR_SLOT_FLAGS, TEST_SLOT_CREATE, SLOT + 1, 1u << 30, base + 4 * MIB, MIB);
	refused("delete of none", VMMU_ERR_SLOT_MISSING, TEST_SLOT_DELETE, SLOT + 1, 0, 0, 0);
	refused("move of none", VMMU_ERR_SLOT_MISSING, TEST_SLOT_MOVE, SLOT + 1, base + 8 * MIB, 0, 0);
	refused("move onto RAM", VMMU_ERR_SLOT_OVERLAP, TEST_SLOT_MOVE, SLOT, MIB, 0, 0);
	check_filled("after refusals", base, 2 * MIB);
	audit("after refusals");
	delete (SLOT);
}

static uint64_t next_area(void)
{
	static uint64_t area;

	if (!area) /* between RAM and the devices; above 4 GiB where that is too small */
		area = ram_end() <= GIB ? (ram_end() + 255 * MIB) & ~(128 * MIB - 1) : 8 * GIB;
	area += 128 * MIB;
	return area - 128 * MIB;
}

void test_slots(void)
{
	if (!device_present()) {
		skip("slots: there is no test device");
		return;
	}
	come_and_go(next_area());
	come_again(next_area());
	memory_over_mmio(next_area());
	read_only_from_start(next_area());
	change_flags(next_area());
	move(next_area());
	restrict_and_back(next_area());
	invalidate(next_area());
	prefault(next_area());
	dirty_log(next_area());
	refusals(next_area());
#ifdef __x86_64__ /* paging is on, and reaches beyond 4 GiB */
	dirty_by_page_walk(next_area());
	high(5 * GIB);
#endif
}
