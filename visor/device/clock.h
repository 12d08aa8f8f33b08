/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between nanoseconds of guest time and ticks of a device's own oscillator.
 * Exact and without drift: a tick number is always derived from the time since
 * zero. No 128-bit division, which would need a library. `hz` up to 18 GHz.
 */
#ifndef VISOR_DEVICE_CLOCK_H
#define VISOR_DEVICE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ull

/*
 * A periodic timer interrupts no oftener than this, whatever period the guest gives it: each interrupt
 * costs some microseconds outside the guest, and a period of a few nanoseconds would leave it no time at
 * all. Counters show what they would without it. The fastest rate of a real-time clock, 8192 Hz, is slower.
 */
#define CLOCK_PERIOD_FLOOR_NS 100000ull

/* No event is due, ever. */
#define CLOCK_NEVER UINT64_MAX

/* Whole ticks that have passed at time `ns`. */
static inline uint64_t clock_ticks(uint64_t ns, uint64_t hz)
{
	return ns / NS_PER_SECOND * hz + ns % NS_PER_SECOND * hz / NS_PER_SECOND;
}

/* First nanosecond at which clock_ticks() gives `ticks`. */
static inline uint64_t clock_ns(uint64_t ticks, uint64_t hz)
{
	uint64_t seconds = ticks / hz;

	if (seconds >= CLOCK_NEVER / NS_PER_SECOND)
		return CLOCK_NEVER;
	return seconds * NS_PER_SECOND + (ticks % hz * NS_PER_SECOND + hz - 1) / hz;
}

static inline uint64_t clock_earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
