/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/watch.h"

#include "visor/cpu/vcpu.h"
#include "visor/cpu/x86.h"
#include "visor/host/clock.h"
#include "visor/host/interrupts.h"
#include "visor/host/log.h"
#include "visor/host/timer.h"
#include "visor/lib/format.h"
#include "visor/vm/counters.h"
#include "visor/vm/vm.h"

struct vcpu *volatile watched;

/* It has come again and again, and it is the same exit. */
static void stuck(struct vcpu *v, bool give_up)
{
	const struct watch *w = &v->vm->watch;
	const void *at = (const void *)(uintptr_t)interrupts_interrupted();
	char text[VM_REASON_BYTES];

	snprintf(text, sizeof(text), "an exit (%s, guest at %llx) does not end, after %llu ms", exit_kind_name(v, w->kind),
	         (unsigned long long)v->state.rip, (unsigned long long)clock_ticks_to_ns(rdtsc() - w->start) / 1000000);
	if (give_up)
		interrupts_die(text, at);
	log_line("visor: %s: the visor is at %llx", text, (unsigned long long)(uintptr_t)at);
}

/* The timer has come while an exit is handled. */
static void look(void)
{
	struct vcpu *v = watched;
	struct watch *w;

	if (!v)
		return;
	w = &v->vm->watch;
	if (w->looked_at != w->start) {
		w->looked_at = w->start;
		w->looks = 0;
	}
	w->looks++;
	timer_set(clock_ns_to_ticks(WATCH_LOOK_NS));
	if (w->looks == WATCH_TELL || w->looks >= WATCH_GIVE_UP)
		stuck(v, w->looks >= WATCH_GIVE_UP);
}

void watch_init(void)
{
	timer_call(look);
}

void watch_longest_yet(struct vcpu *v, uint64_t ticks)
{
	struct watch *w = &v->vm->watch;
	uint64_t ns = clock_ticks_to_ns(ticks);

	w->longest = ticks;
	w->longest_kind = w->kind;
	w->longest_rip = v->state.rip;
	if (ns < WATCH_LIMIT_NS || w->told == WATCH_LINES)
		return;
	w->told++;
	log_line("visor: an exit (%s, guest now at %llx) has taken %llu us", exit_kind_name(v, w->kind),
	         (unsigned long long)v->state.rip, (unsigned long long)ns / 1000);
}

void watch_write(struct vcpu *v)
{
	const struct watch *w = &v->vm->watch;
	char rip[17];

	json_open("longest_exit");
	json_string("kind", w->longest ? exit_kind_name(v, w->longest_kind) : "");
	json_number("ns", clock_ticks_to_ns(w->longest));
	/* As in `end`: readers of JSON take numbers of 63 bits at most. */
	snprintf(rip, sizeof(rip), "%llx", (unsigned long long)w->longest_rip);
	json_string("rip", rip);
	json_close();
}
