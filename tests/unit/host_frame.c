/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame and object allocators, on memory that is mapped where a small
 * machine would have it: they store into free frames at their own address.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/unit.h"
#include "visor/host/frame.h"

#define MACHINE_BASE 0x10000000ull
#define MACHINE_BYTES (64ull << 20)
#define MODULE_BASE (MACHINE_BASE + (5ull << 20) + 123)
#define MODULE_END (MODULE_BASE + 70000)
#define PAGE 4096ull
#define HIGH_BASE (MACHINE_BASE + MACHINE_BYTES / 2) /* where it has two zones */
#define HIGH_BYTES (MACHINE_BYTES / 2)

/* The visor's image lies in no memory that the test hands out. */
const uint8_t visor_image_start[1], visor_image_end[1];

static void *machine;

static void start(uint64_t mapped)
{
	static struct boot_info boot;

	memset(&boot, 0, sizeof(boot));
	memset(machine, 0xa5, MACHINE_BYTES);
	boot.memory[boot.memory_count++] = (struct boot_range){0, 0x9f000};
	boot.memory[boot.memory_count++] = (struct boot_range){MACHINE_BASE + 1, MACHINE_BASE + MACHINE_BYTES};
	boot.modules[boot.module_count++] = (struct boot_module){MODULE_BASE, MODULE_END, ""};
	assert_true(frame_init(&boot, mapped, FRAME_LOW_END));
}

/* Memory on both sides of where CPUs outside long mode reach. */
static void start_large(void)
{
	static struct boot_info boot;

	memset(&boot, 0, sizeof(boot));
	boot.memory[boot.memory_count++] = (struct boot_range){MACHINE_BASE, HIGH_BASE};
	boot.memory[boot.memory_count++] = (struct boot_range){HIGH_BASE, HIGH_BASE + HIGH_BYTES};
	assert_true(frame_init(&boot, UINT64_MAX, HIGH_BASE));
}

static int map_machine(void **state)
{
	(void)state;
	machine = mmap((void *)MACHINE_BASE, MACHINE_BYTES, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	return machine == (void *)MACHINE_BASE ? 0 : -1;
}

static void never_what_is_taken(void **state)
{
	uint64_t frame, seen = 0;

	(void)state;
	start(UINT64_MAX);
	while ((frame = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, false))) {
		assert_true(frame > MACHINE_BASE && frame + PAGE <= MACHINE_BASE + MACHINE_BYTES);
		assert_true(frame + PAGE <= MODULE_BASE || frame >= MODULE_END);
		assert_int_equal(frame_use_of(frame), FRAME_GUEST);
		memset((void *)frame, 0x5a, PAGE);
		seen++;
	}
	assert_int_equal(frame_count(FRAME_GUEST), seen);
	assert_int_equal(frame_count(FRAME_FREE), 0);
	/* All but a page at the start, the module and the allocator's table. */
	assert_true(seen > MACHINE_BYTES / PAGE - 200);
	for (uint64_t at = MODULE_BASE; at < MODULE_END; at++)
		assert_int_equal(*(uint8_t *)at, 0xa5);
}

static void past_what_is_mapped(void **state)
{
	const uint64_t limit = MACHINE_BASE + (16ull << 20);
	uint64_t frame;

	(void)state;
	start(limit);
	while ((frame = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, false)))
		assert_true(frame + PAGE <= limit);
}

static void runs_are_aligned_and_zero(void **state)
{
	uint64_t run;

	(void)state;
	start(UINT64_MAX);
	while ((run = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, true))) {
		assert_int_equal(run % (2u << 20), 0);
		for (uint64_t i = 0; i < 2u << 20; i += 8)
			assert_int_equal(*(uint64_t *)(run + i), 0);
	}
	assert_int_equal(frame_alloc(FRAME_ORDER_1G, FRAME_GUEST, false), 0);
}

/* Whatever order runs come back in, they grow together again. */
static void nothing_is_lost(void **state)
{
	enum { HELD = 700 };
	static struct {
		uint64_t address;
		unsigned order;
	} held[HELD];
	uint64_t free_before, largest = 0, again = 0;

	(void)state;
	start(UINT64_MAX);
	free_before = frame_count(FRAME_FREE);
	while (frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, false))
		largest++;
	start(UINT64_MAX);
	srand(1);
	for (unsigned round = 0; round < 40000; round++) {
		unsigned i = (unsigned)rand() % HELD;

		if (held[i].address) {
			memset((void *)held[i].address, (int)round, PAGE << held[i].order);
			frame_free(held[i].address, held[i].order);
			held[i].address = 0;
		} else {
			held[i].order = (unsigned)rand() % 4 ? 0 : (unsigned)rand() % 8;
			held[i].address = frame_alloc(held[i].order, FRAME_TABLE, false);
			assert_int_equal(held[i].address % (PAGE << held[i].order), 0);
		}
	}
	for (unsigned i = 0; i < HELD; i++) {
		if (held[i].address)
			frame_free(held[i].address, held[i].order);
		held[i].address = 0;
	}
	assert_int_equal(frame_count(FRAME_TABLE), 0);
	assert_int_equal(frame_count(FRAME_FREE), free_before);
	while (frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, false))
		again++;
	assert_int_equal(again, largest);
}

/* CR3 has 32 bits outside long mode: a guest's memory must not use up what tables need. */
static void tables_lie_low(void **state)
{
	uint64_t frame, tables = 0, guest = 0;

	(void)state;
	start_large();
	while ((frame = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, false)) >= HIGH_BASE)
		guest++;
	assert_int_equal(guest, HIGH_BYTES / PAGE);
	assert_true(frame); /* there is some below for it, too */
	start_large();
	while ((frame = frame_alloc(FRAME_ORDER_4K, FRAME_TABLE, false)) < HIGH_BASE)
		tables++;
	assert_true(tables > (MACHINE_BYTES - HIGH_BYTES) / PAGE - 100); /* less the allocator's own */
	frame_free(frame, FRAME_ORDER_4K);
	assert_true(frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, false) >= HIGH_BASE);
}

/* What must lie low comes from nowhere else, and is used up when the low part is. */
static void low_for_certain(void **state)
{
	uint64_t frame, last = 0, seen = 0, free_before;

	(void)state;
	start_large();
	free_before = frame_count(FRAME_FREE);
	while ((frame = frame_alloc_low())) {
		assert_true(frame >= MACHINE_BASE && frame + PAGE <= HIGH_BASE);
		assert_int_equal(frame_use_of(frame), FRAME_TABLE);
		for (unsigned i = 0; i < PAGE / sizeof(uint64_t); i++)
			assert_int_equal(((uint64_t *)frame)[i], 0);
		memset((void *)frame, 0x5a, PAGE);
		last = frame;
		seen++;
	}
	assert_int_equal(frame_count(FRAME_TABLE), seen);
	/* All of the high part is left. */
	assert_int_equal(frame_count(FRAME_FREE), HIGH_BYTES / PAGE);
	assert_int_equal(free_before - seen, HIGH_BYTES / PAGE);
	assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_TABLE, false) >= HIGH_BASE);
	frame_free(last, FRAME_ORDER_4K);
	assert_int_equal(frame_alloc_low(), last);
}

static void objects(void **state)
{
	static const size_t sizes[] = {1, 64, 65, 200, 2048, 2049, 4096, 4097, 300000};
	enum { KINDS = sizeof(sizes) / sizeof(sizes[0]),
	       EACH = 40 };
	static uint8_t *held[KINDS][EACH];
	uint64_t bytes = 0;

	(void)state;
	start(UINT64_MAX);
	for (unsigned k = 0; k < KINDS; k++) {
		for (unsigned i = 0; i < EACH; i++) {
			held[k][i] = object_alloc(sizes[k]);
			assert_non_null(held[k][i]);
			assert_int_equal((uintptr_t)held[k][i] % (sizes[k] >= PAGE ? PAGE : 64), 0);
			for (size_t b = 0; b < sizes[k]; b++)
				assert_int_equal(held[k][i][b], 0);
			memset(held[k][i], (int)(k * EACH + i), sizes[k]);
			bytes += sizes[k];
		}
	}
	assert_int_equal(object_count(), KINDS * EACH);
	assert_int_equal(object_bytes(), bytes);
	for (unsigned k = 0; k < KINDS; k++) {
		for (unsigned i = 0; i < EACH; i++) {
			for (size_t b = 0; b < sizes[k]; b++)
				assert_int_equal(held[k][i][b], (uint8_t)(k * EACH + i));
			object_free(held[k][i], sizes[k]);
		}
	}
	assert_int_equal(object_count(), 0);
	assert_int_equal(object_bytes(), 0);
	assert_null(object_alloc(SIZE_MAX));
	assert_null(object_alloc(MACHINE_BYTES * 2));
}

static bool is_zero(uint64_t frame)
{
	for (unsigned i = 0; i < PAGE; i += 8)
		if (*(uint64_t *)(frame + i))
			return false;
	return true;
}

/* What comes out of the stock is zero, whatever was in it before, and it counts as a table's. */
static void the_stock_is_zero(void **state)
{
	enum { STOCK = 40 };
	uint64_t frame[2 * STOCK];

	(void)state;
	start(UINT64_MAX);
	for (unsigned round = 0; round < 3; round++) {
		frame_stock(STOCK);
		assert_int_equal(frame_count(FRAME_STOCK), STOCK);
		for (unsigned i = 0; i < 2 * STOCK; i++) {
			frame[i] = frame_alloc_table();
			assert_true(frame[i] && is_zero(frame[i]));
			assert_int_equal(frame_use_of(frame[i]), FRAME_TABLE);
		}
		assert_int_equal(frame_count(FRAME_TABLE), 2 * STOCK);
		assert_int_equal(frame_count(FRAME_STOCK), 0);
		for (unsigned i = 0; i < 2 * STOCK; i++) {
			memset((void *)frame[i], 0xff, PAGE);
			frame_free(frame[i], FRAME_ORDER_4K);
		}
		frame_stock_refill(7);
		assert_int_equal(frame_count(FRAME_STOCK), 7);
		frame_stock_refill(STOCK);
		assert_int_equal(frame_count(FRAME_STOCK), STOCK);
		assert_int_equal(frame_count(FRAME_TABLE), 0);
	}
}

/* Whoever needs the last frames gets those of the stock, too; and it does not take the last ones. */
static void the_stock_gives_way(void **state)
{
	uint64_t all, frame, seen = 0;

	(void)state;
	start(UINT64_MAX);
	all = frame_count(FRAME_FREE);
	frame_stock(100);
	while ((frame = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, true))) {
		assert_true(is_zero(frame));
		seen++;
	}
	assert_int_equal(seen, all);
	assert_int_equal(frame_alloc_table(), 0);
	frame_free(MACHINE_BASE + (20ull << 20), FRAME_ORDER_4K);
	frame_stock_refill(100);
	assert_int_equal(frame_count(FRAME_STOCK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_what_is_taken),
		cmocka_unit_test(past_what_is_mapped),
		cmocka_unit_test(runs_are_aligned_and_zero),
		cmocka_unit_test(nothing_is_lost),
		cmocka_unit_test(tables_lie_low),
		cmocka_unit_test(low_for_certain),
		cmocka_unit_test(the_stock_is_zero),
		cmocka_unit_test(the_stock_gives_way),
		cmocka_unit_test(objects),
	};

	return cmocka_run_group_tests(tests, map_machine, NULL);
}
