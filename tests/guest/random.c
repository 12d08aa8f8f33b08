/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers (xorshift64*) and random orders. */
#include "guest.h"

#define RANDOM_START 88172645463325252ull

static uint64_t random_state = RANDOM_START;

void random_seed(uint64_t seed)
{
	random_state = RANDOM_START ^ seed * 0x9e3779b97f4a7c15ull;
	random_state = random_state ? random_state : RANDOM_START;
}

uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 2685821657736338717ull;
}

uint32_t random_pick(uint32_t bound)
{
	return (uint32_t)((random_next() >> 32) * bound >> 32);
}

/* Without a division, which the 32-bit guest could not do. */
uint64_t random_below(uint64_t bound)
{
	uint64_t mask = bound - 1, r;

	if (bound >> 32 == 0)
		return random_pick((uint32_t)bound);
	for (unsigned shift = 1; shift < 64; shift *= 2)
		mask |= mask >> shift;
	do
		r = random_next() & mask;
	while (r >= bound);
	return r;
}

struct shuffle shuffle_of(uint64_t n)
{
	uint64_t mask = 0;

	while (mask + 1 < n)
		mask = mask << 1 | 1;
	/* An odd multiplier that is 1 modulo 4 permutes the numbers below a power of two. */
	return (struct shuffle){mask, (random_next() & ~3ull) | 1, random_next(), n};
}

uint64_t shuffle_at(const struct shuffle *s, uint64_t i)
{
	uint64_t x = (i * s->multiplier + s->offset) & s->mask;

	x ^= x >> 3; /* so that equal steps of i are not equal steps of the result */
	return (x * s->multiplier) & s->mask;
}
