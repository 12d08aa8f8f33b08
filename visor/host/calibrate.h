/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many ticks of the TSC a stretch of another clock takes, from measurements that
 * anything may disturb at any place: an emulator that has to wait for a CPU, a host that
 * runs something else in between. Each measurement gives bounds that hold whatever came
 * between; the bounds of several are tighter than those of one.
 */
#ifndef VISOR_HOST_CALIBRATE_H
#define VISOR_HOST_CALIBRATE_H

#include <stdbool.h>
#include <stdint.h>

/* One measurement. */
struct calibrate_window {
	uint64_t least, most;             /* ticks of the TSC: the stretch took no fewer, and no more */
	uint64_t timer;                   /* ticks of the local APIC's timer meanwhile ... */
	uint64_t timer_least, timer_most; /* ... which took no fewer, and no more */
};

struct calibration {
	uint64_t least, most;          /* that no measurement contradicts */
	struct calibrate_window timer; /* the one that says most about the timer */
	unsigned windows;
};

/* One more. Bounds that contradict the others, from clocks that are not steady, count only if they are tighter. */
void calibrate_add(struct calibration *c, const struct calibrate_window *w);
/* Are the bounds within 1/1024 of each other? */
bool calibrate_is_exact(const struct calibration *c);
/* The middle of the bounds; never 0. */
uint64_t calibrate_ticks(const struct calibration *c);
/* Ticks of the timer to one of the TSC, as 32.32. */
uint64_t calibrate_timer_rate(const struct calibration *c);

#endif
