/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that meet several untouched pages at once, each of which faults. */
#include "guest.h"

static uint64_t fresh;

/* The next page that nothing has touched, with an untouched one behind it. */
static uint64_t fresh_pages(unsigned n)
{
	uint64_t page = fresh;

	fresh += n * PAGE;
	return page;
}

static void store_across(void)
{
	for (unsigned in_first = 1; in_first < 8; in_first++) {
		uint64_t edge = fresh_pages(2) + PAGE;

		store(edge - in_first, 0x1122334455667788);
		check_equal(load(edge - in_first), 0x1122334455667788, "8 bytes across two fresh pages");
		check_equal(load(edge - 8) & ((1ull << (64 - 8 * in_first)) - 1), 0,
		            "the bytes before a store's first");
	}
}

static void load_across(void)
{
	uint64_t edge = fresh_pages(2) + PAGE;

	check_equal(load(edge - 4), 0, "8 bytes read across two fresh pages");
}

static void copy_between(void)
{
	uint64_t from = fresh_pages(3), to = fresh_pages(3);
	const void *s = (const void *)(uintptr_t)(from + 100);
	void *d = (void *)(uintptr_t)(to + 50);
	uint64_t n = 2 * PAGE;

	store(from + PAGE, 0xabcdef);
	store(from + 2 * PAGE - 8, 0x123456789abcdef0);
	__asm__ volatile("rep movsb"
	                 : "+S"(s), "+D"(d), "+c"(n)
	                 :
	                 : "memory");
	check_equal(n, 0, "count left by REP MOVSB");
	check_equal((uintptr_t)s, from + 100 + 2 * PAGE, "RSI after REP MOVSB");
	check(!memcmp((void *)(uintptr_t)(from + 100), (void *)(uintptr_t)(to + 50), 2 * PAGE),
	      "REP MOVSB copied something else");
	check_equal(load(to + 50 + PAGE - 100), 0xabcdef, "a word copied across a page edge");
}

static void fill_backwards(void)
{
	uint64_t base = fresh_pages(3), n = 2 * PAGE / 8;
	void *d = (void *)(uintptr_t)(base + 2 * PAGE + 8);

	__asm__ volatile("std; rep stosq; cld"
	                 : "+D"(d), "+c"(n)
	                 : "a"(0x5a5a5a5a5a5a5a5a)
	                 : "memory");
	check_equal(load(base + 16), 0x5a5a5a5a5a5a5a5a, "lowest word of a backward REP STOSQ");
	check_equal(load(base + 8), 0, "the word below a backward REP STOSQ");
	check_equal(load(base + 2 * PAGE + 16), 0, "the word above a backward REP STOSQ");
}

static void locked(void)
{
	uint64_t a = fresh_pages(1), b = fresh_pages(1), c = fresh_pages(1), d = fresh_pages(1);
	uint64_t expected = 0, low = 0, high = 0, one = 1;
	bool equal;

	__asm__ volatile("lock xaddq %0, %1"
	                 : "+r"(one), "+m"(*(volatile uint64_t *)a));
	check(one == 0 && load(a) == 1, "LOCK XADD on a fresh page");
	__asm__ volatile("lock cmpxchgq %3, %1"
	                 : "+a"(expected), "+m"(*(volatile uint64_t *)b), "=@ccz"(equal)
	                 : "r"(7ull));
	check(equal && load(b) == 7, "LOCK CMPXCHG on a fresh page");
	__asm__ volatile("lock cmpxchg16b %2"
	                 : "+a"(low), "+d"(high), "+m"(*(volatile __int128 *)c), "=@ccz"(equal)
	                 : "b"(5ull), "c"(6ull));
	check(equal && load(c) == 5 && load(c + 8) == 6, "LOCK CMPXCHG16B on a fresh page");
	__asm__ volatile("lock btsq $63, %0"
	                 : "+m"(*(volatile uint64_t *)d));
	check_equal(load(d), 1ull << 63, "LOCK BTS on a fresh page");
}

/* A call whose target pointer, target and stack are all untouched. */
static void call_through(void)
{
	uint64_t pointer = fresh_pages(1), code = fresh_pages(1), stack = fresh_pages(2) + PAGE;
	uint64_t result;

	memcpy((void *)(uintptr_t)code, "\xb8\x78\x56\x34\x12\xc3", 6); /* mov $0x12345678, %eax; ret */
	store(pointer, code);
	if (device_present()) {
		device_ok("invalidate", TEST_INVALIDATE, pointer, PAGE, 0, 0);
		device_ok("invalidate", TEST_INVALIDATE, code, PAGE, 0, 0);
	}
	__asm__ volatile("mov %%rsp, %%rbx; mov %2, %%rsp; call *(%1); mov %%rbx, %%rsp"
	                 : "=a"(result)
	                 : "r"(pointer), "r"(stack)
	                 : "rbx", "memory");
	check_equal(result, 0x12345678, "a call through three untouched pages");
}

static void push_pop(void)
{
	uint64_t source = fresh_pages(1), target = fresh_pages(1), stack = fresh_pages(2) + PAGE;

	store(source, 0xfeedface12345678);
	__asm__ volatile("mov %%rsp, %%rbx; mov %2, %%rsp; pushq (%0); popq (%1); mov %%rbx, %%rsp"
	                 :
	                 : "r"(source), "r"(target), "r"(stack)
	                 : "rbx", "memory");
	check_equal(load(target), 0xfeedface12345678, "PUSH m64, POP m64 over a fresh stack");
}

static void vectors(void)
{
	uint64_t from = fresh_pages(2) + PAGE - 8, to = fresh_pages(2) + PAGE - 8;

	store(from, 0x1111);
	__asm__ volatile("movups (%0), %%xmm0; movups %%xmm0, (%1)"
	                 :
	                 : "r"(from), "r"(to)
	                 : "memory");
	check(load(to) == 0x1111 && load(to + 8) == 0, "MOVUPS across fresh pages");
}

void test_memory(void)
{
	uint64_t bytes = 2 * MIB;

	fresh = take_ram(bytes);
	store_across();
	load_across();
	copy_between();
	fill_backwards();
	locked();
	call_through();
	push_pop();
	vectors();
	if (device_present())
		audit("after instructions with several faults");
}
