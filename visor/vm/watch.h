/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long the guest's CPU stands still for an exit: the longest one is named in the
 * summary, and what takes longer than WATCH_LIMIT_NS has a line on the log. Exits that
 * are settled at once (memory faults that the engine answers) are not measured.
 *
 * An exit that does not end at all is noticed by the visor's timer, which is let in while
 * exits are handled: a line on the log says which exit, where the guest is and where the
 * visor, and if it goes on the visor says that it has failed, instead of nothing.
 */
#ifndef VISOR_VM_WATCH_H
#define VISOR_VM_WATCH_H

#include <stddef.h>

#include "visor/cpu/x86.h"
#include "visor/vm/vm.h"

#define WATCH_LIMIT_NS 10000000ull
#define WATCH_LINES 5u /* on the log, for one VM */

/* A stuck exit: looked at so often, from the first interrupt on. A host that stands still is seen once only. */
#define WATCH_LOOK_NS 500000000ull
#define WATCH_TELL 3u
#define WATCH_GIVE_UP 8u

/* In whose exit the visor is; NULL: in none, or it may take its time. */
extern struct vcpu *volatile watched;

/* The timer may look from now on. */
void watch_init(void);

/* What follows is not the exit's own time: the guest or a test has asked for it ... */
static inline void watch_pause(void)
{
	watched = NULL;
}

/* ... and this is over. */
static inline void watch_resume(struct vcpu *v)
{
	v->vm->watch.start = rdtsc();
	watched = v;
}

/* So much of the exit was none of its own: the trace going to its disk, which is as fast as the host's. */
static inline void watch_leave_out(struct vcpu *v, uint64_t ticks)
{
	v->vm->watch.start += ticks;
}

/* An exit begins. */
static inline void watch_begin(struct vcpu *v)
{
	v->vm->watch.kind = EXIT_OTHER; /* until it is known */
	watch_resume(v);
}

void watch_longest_yet(struct vcpu *vcpu, uint64_t ticks);

/* It is over, but for the entry. */
static inline void watch_end(struct vcpu *v)
{
	uint64_t ticks = rdtsc() - v->vm->watch.start;

	watch_pause();
	if (unlikely(ticks > v->vm->watch.longest))
		watch_longest_yet(v, ticks);
}

/* The member `longest_exit` of the event that is being written. */
void watch_write(struct vcpu *vcpu);

#endif
