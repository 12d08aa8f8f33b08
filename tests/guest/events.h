/* SPDX-License-Identifier: BSD-2-Clause */
/* Events of each kind, and what a handler saw of their delivery. */
#ifndef GUEST_EVENTS_H
#define GUEST_EVENTS_H

#include "guest.h"

#define EVENT_NOT_MAPPED 0x400000000000ull /* a linear address without a PML4 entry */

struct event {
	const char *name;
	void (*raise)(void);
	unsigned vector;
	uint64_t error;
	bool exact_return; /* synchronous: the return address is known */
	unsigned skipped;  /* bytes of a trigger before the instruction that faults */
};
enum { EVENTS = 7 };
extern const struct event events[EVENTS];

/* Handles any of them: counts, notes what it was given, and lets the trigger go on. */
void record_event(struct frame *frame);
extern volatile unsigned deliveries;
extern struct frame seen;
extern uint64_t seen_cr2;

/* Set by each trigger: its instruction, where the event's return address must point. */
extern uint64_t trigger_address, return_address;

#endif
