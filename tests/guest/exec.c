/* SPDX-License-Identifier: BSD-2-Clause */
/* Instruction fetch: fresh pages, page edges, changed code, each page size. */
#include "guest.h"

typedef uint64_t (*function)(void);

/* mov $value, %eax; ret */
static void put_function(uint64_t gpa, uint32_t value)
{
	uint8_t code[6] = {0xb8, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
	                   (uint8_t)(value >> 24), 0xc3};

	memcpy((void *)at(gpa), code, sizeof(code));
}

static uint64_t call(uint64_t gpa)
{
	return ((function)at(gpa))();
}

/* Written first, then run: a writable leaf must be executable as well. */
static void run_written(uint64_t base)
{
	for (unsigned i = 0; i < 64; i++)
		put_function(base + i * PAGE + i, 0x1000 + i);
	for (unsigned i = 0; i < 64; i++)
		check_equal(call(base + i * PAGE + i), 0x1000 + i, "value of a function on a fresh page");
}

/*
 * The fetch itself is the first touch: a page of zeros is 2,048 times
 * add %al, (%rax). The page after it holds the way back.
 */
static void run_untouched(uint64_t base)
{
	static uint8_t scratch;
	uint8_t before = scratch;

	*(volatile uint8_t *)at(base + PAGE) = 0xc3;
	/* AL is the low byte of the address that is added to: 2,048 times is 0 modulo 256. */
	__asm__ volatile("call *%1"
	                 :
	                 : "a"(&scratch), "r"(base)
	                 : "memory");
	check_equal(scratch, before, "byte after a page of zeros was run");
}

/* Each instruction byte of a 5-byte MOV in turn begins the second page. */
static void run_across_edge(uint64_t base)
{
	for (unsigned in_first = 1; in_first <= 5; in_first++) {
		uint64_t edge = base + in_first * 2 * PAGE + PAGE;

		put_function(edge - in_first, 0xabc0 + in_first);
		if (device_present())
			device_ok("invalidate", TEST_INVALIDATE, edge - PAGE, 2 * PAGE, 0, 0);
		check_equal(call(edge - in_first), 0xabc0 + in_first, "value of a function across a page edge");
	}
}

/* jmp from page to page, the last one returns. */
static void jump_along(uint64_t base, uint64_t step, unsigned jumps)
{
	for (unsigned i = 0; i < jumps; i++) {
		uint64_t from = base + i * step;
		int32_t distance = (int32_t)(step - 5);
		uint8_t code[5] = {0xe9};

		memcpy(code + 1, &distance, 4);
		memcpy((void *)at(from), code, 5);
	}
	put_function(base + jumps * step, 0x7777);
	check_equal(call(base), 0x7777, "value at the end of a chain of jumps");
}

/* The instruction changes the one behind it. */
static void modify_own_code(uint64_t base)
{
	/* movb $0x42, 1(%rip) -> the immediate of: mov $0x11, %eax; ret */
	static const uint8_t code[] = {0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x42,
	                               0xb8, 0x11, 0x00, 0x00, 0x00, 0xc3};

	memcpy((void *)at(base), code, sizeof(code));
	check_equal(call(base), 0x42, "value after the code changed itself");
	for (unsigned i = 0; i < 100; i++) {
		put_function(base + 64, i);
		check_equal(call(base + 64), i, "value of code changed between calls");
	}
}

/* One function in each leaf size that the tables can hold here. */
static void run_in_each_size(uint64_t base)
{
	if (!device_present()) {
		skip("exec: page sizes, there is no test device");
		return;
	}
	for (unsigned level = 3; level >= 1; level--) {
		unsigned got;
		bool leaf;

		device_ok("restrict", TEST_RESTRICT, base, 2 * MIB, level, 0);
		device_ok("invalidate", TEST_INVALIDATE, base, 2 * MIB, 0, 0);
		put_function(base + 0x5000, 0x900 + level);
		check_equal(call(base + 0x5000), 0x900 + level, "value of a function in another leaf size");
		got = path_level(base + 0x5000, &leaf);
		check((leaf && got <= level) || on_shadow_tables(), "a leaf of level %u where %u is the limit", got, level);
		print("exec: limit %u, leaf of level %u\n", level, got);
	}
	device_ok("restrict", TEST_RESTRICT, base, 2 * MIB, 3, 0);
}

void test_exec(void)
{
	uint64_t base = take_ram(24 * MIB);

	run_written(base);
	run_untouched(base + MIB);
	run_across_edge(base + 2 * MIB);
	jump_along(base + 4 * MIB, PAGE, 200);
	jump_along(base + 6 * MIB + 64, 2 * MIB, 6);
	modify_own_code(base + 20 * MIB);
	run_in_each_size(base + 22 * MIB);
	if (device_present())
		audit("after running code");
}
