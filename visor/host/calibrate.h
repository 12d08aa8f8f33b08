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

#include "visor/cpu/x86.h"

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

/* What CPUID tells of clocks, where a leaf is not there all zero. */
struct calibrate_cpuid {
	struct cpuid crystal;    /* leaf 15h: TSC to crystal is EBX to EAX, the crystal's Hz in ECX */
	struct cpuid frequency;  /* leaf 16h: the CPU's base MHz in EAX, at which the TSC counts */
	struct cpuid hypervisor; /* leaf 4000_0010h of a hypervisor that has it: the TSC's kHz in EAX */
};

/*
 * Hz of the TSC for a machine without a PIT; 0: CPUID does not tell. SDM vol. 2, CPUID leaves
 * 15h and 16h, and vol. 3, 19.7.3 "Determining the Processor Base Frequency".
 */
uint64_t calibrate_stated_hz(const struct calibrate_cpuid *c);

#endif
