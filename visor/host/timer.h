/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine's own local APIC: a one-shot timer that gets the visor back from a guest. */
#ifndef VISOR_HOST_TIMER_H
#define VISOR_HOST_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/* False: the CPU has no local APIC. */
bool timer_init(void);

/* Raw counter for measuring its rate: start at the top, then read how far it got. */
void timer_counter_start(void);
uint32_t timer_counter_elapsed(void);

/* The timer counts `rate` / 2^32 to one of the TSC; wanted before timer_set. */
void timer_set_rate(uint64_t rate);

/* `function` is called at each of its interrupts, interrupts off. */
void timer_call(void (*function)(void));
/* It has come since somebody has set this to false. */
extern volatile bool timer_fired;

/* Interrupt once, `ticks` of the TSC from now; replaces what was set before. */
void timer_set(uint64_t tsc_ticks);

#endif
