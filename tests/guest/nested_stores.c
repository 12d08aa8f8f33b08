/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table that is held is written with an exit of the visor's, which carries the usual instructions out by a
 * short path, and all others by its emulator. To the hypervisor they must look alike, and as on its CPU.
 */
#include "nested_stores.h"

#define FLAGS 0x8d5u /* CF, PF, AF, ZF, SF, OF */

static void by_mov(volatile uint64_t *entry, uint64_t value)
{
	*entry = value;
}

static void by_mov_with_index(volatile uint64_t *entry, uint64_t value)
{
	__asm__ volatile("movq %[value], -0x1230(%[base],%[index],8)"
	                 :
	                 : [value] "r"(value), [base] "r"((uintptr_t)entry + 0x1230 - 8 * 77), [index] "r"(UINT64_C(77))
	                 : "memory");
}

static void by_xchg(volatile uint64_t *entry, uint64_t value)
{
	uint64_t before = *entry, reg = value;

	__asm__ volatile("xchgq %[reg], %[entry]"
	                 : [reg] "+r"(reg), [entry] "+m"(*entry));
	check_equal(reg, before, "what XCHG has read of an entry");
}

static uint64_t flags_now(void)
{
	uint64_t flags;

	__asm__ volatile("pushf; pop %0"
	                 : "=r"(flags));
	return flags;
}

static uint64_t flags_of_comparison(uint64_t a, uint64_t b)
{
	uint64_t flags;

	__asm__ volatile("cmp %[b], %[a]; pushf; pop %[flags]"
	                 : [flags] "=r"(flags)
	                 : [a] "r"(a), [b] "r"(b)
	                 : "cc");
	return flags & FLAGS;
}

/* RAX behind CMPXCHG, and *flags, which are all others before it. */
static uint64_t cmpxchg(volatile uint64_t *entry, uint64_t expected, uint64_t value, uint64_t *flags)
{
	uint64_t before = flags_now() ^ FLAGS;

	__asm__ volatile("push %[before]; popf; lock cmpxchgq %[value], (%[entry]); pushf; pop %[flags]"
	                 : [flags] "=&r"(*flags), "+a"(expected)
	                 : [entry] "r"(entry), [value] "r"(value), [before] "r"(before)
	                 : "memory", "cc");
	check_equal(*flags & ~(uint64_t)FLAGS, before & ~(uint64_t)FLAGS, "the other flags behind CMPXCHG");
	return expected;
}

static void by_cmpxchg(volatile uint64_t *entry, uint64_t value)
{
	uint64_t before = *entry, flags;

	check_equal(cmpxchg(entry, before, value, &flags), before, "RAX behind CMPXCHG of an entry");
	check_equal(flags & FLAGS, flags_of_comparison(before, before), "the flags of CMPXCHG of an entry");
}

/* The first ones find something else. */
static void by_cmpxchg_again(volatile uint64_t *entry, uint64_t value)
{
	static const uint64_t off[] = {1, 0x8000000000000000, 0xfff, 0x7fffffffffffffff};
	uint64_t before = *entry, flags;

	for (unsigned i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		check_equal(cmpxchg(entry, before + off[i], value, &flags), before, "RAX behind CMPXCHG that fails");
		check_equal(flags & FLAGS, flags_of_comparison(before + off[i], before), "the flags of CMPXCHG that fails");
		check_equal(*entry, before, "an entry behind CMPXCHG that fails");
	}
	by_cmpxchg(entry, value);
}

static void by_cmpxchg_unlocked(volatile uint64_t *entry, uint64_t value)
{
	uint64_t rax = *entry;

	__asm__ volatile("cmpxchgq %[value], (%[entry])"
	                 : "+a"(rax)
	                 : [entry] "r"(entry), [value] "r"(value)
	                 : "memory", "cc");
}

static void by_halves(volatile uint64_t *entry, uint64_t value)
{
	((volatile uint32_t *)entry)[1] = (uint32_t)(value >> 32);
	((volatile uint32_t *)entry)[0] = (uint32_t)value;
}

static void by_or(volatile uint64_t *entry, uint64_t value)
{
	__asm__ volatile("lock orq %[value], %[entry]"
	                 : [entry] "+m"(*entry)
	                 : [value] "r"(value)
	                 : "cc");
}

/* Both the entry and the one before it, in one instruction that is aligned to neither. */
static void across_two(volatile uint64_t *entry, uint64_t value)
{
	volatile uint64_t *at = (volatile uint64_t *)((uintptr_t)entry - 4);

	*at = (uint64_t)(uint32_t)(entry[-1] >> 32) | value << 32;
	((volatile uint32_t *)entry)[1] = (uint32_t)(value >> 32);
}

static void by_string(volatile uint64_t *entry, uint64_t value)
{
	uint64_t count = 1;

	__asm__ volatile("rep stosq"
	                 : "+D"(entry), "+c"(count)
	                 : "a"(value)
	                 : "memory");
}

static void (*const ways[])(volatile uint64_t *entry, uint64_t value) = {
	by_mov,
	by_mov_with_index,
	by_xchg,
	by_cmpxchg,
	by_cmpxchg_again,
	by_cmpxchg_unlocked,
	by_halves,
	by_or,
	across_two,
	by_string,
};

unsigned entry_stores(void)
{
	return sizeof(ways) / sizeof(ways[0]);
}

void entry_store(unsigned way, volatile uint64_t *entry, uint64_t value)
{
	ways[way](entry, value);
	check_equal(*entry, value, "an entry as it was written");
}
