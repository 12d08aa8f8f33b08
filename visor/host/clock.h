/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The visor's clock is the TSC, measured against the PIT's crystal: what CPUID
 * says of its rate is not true on every machine (Bochs counts instructions and
 * claims 3.5 GHz).
 */
#ifndef VISOR_HOST_CLOCK_H
#define VISOR_HOST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Measures; takes about 50 ms, up to 500 ms where the machine is disturbed. Interrupts must
 * be off. Without a PIT that counts, CPUID's word is taken; false: there is none either.
 */
bool clock_init(void);

uint64_t clock_tsc_hz(void);

uint64_t clock_ticks_to_ns(uint64_t ticks);
uint64_t clock_ns_to_ticks(uint64_t ns); /* rounded up */

/* Seconds since 1970 by the battery clock when the visor started, plus what has passed since. */
uint64_t clock_wall(void);

#endif
