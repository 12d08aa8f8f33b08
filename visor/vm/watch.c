/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/watch.h"

#include "visor/cpu/vcpu.h"
#include "visor/cpu/x86.h"
#include "visor/host/clock.h"
#include "visor/host/log.h"
#include "visor/lib/format.h"
#include "visor/vm/counters.h"
#include "visor/vm/vm.h"

void watch_begin(struct vcpu *v)
{
	v->vm->watch.start = rdtsc();
}

static __attribute__((noinline)) void longest_yet(struct vcpu *v, uint64_t ticks)
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

void watch_end(struct vcpu *v)
{
	uint64_t ticks = rdtsc() - v->vm->watch.start;

	if (unlikely(ticks > v->vm->watch.longest))
		longest_yet(v, ticks);
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
