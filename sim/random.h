/* SPDX-License-Identifier: BSD-2-Clause */
/* A small seeded generator (splitmix64): the same seed gives the same run everywhere. */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdint.h>

static inline uint64_t sim_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline uint64_t sim_random_below(uint64_t *state, uint64_t n)
{
	return sim_random(state) % n;
}

#endif
