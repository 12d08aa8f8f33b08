/* SPDX-License-Identifier: BSD-2-Clause */
#include "explore.h"

#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK (256u * 1024)
#define SPINS 2000 /* points in a row at which every actor waits */

struct fiber {
	void *sp; /* while it rests */
	void *stack;
	void *shadow; /* the sanitizer's own record of a fiber that rests */
	bool done;
	bool waiting;
};

/* What could have been chosen at a point, and what was. */
struct choice {
	uint8_t option[EXPLORE_ACTORS];
	uint8_t options;
	uint8_t taken; /* index into option */
};

static struct {
	const struct explore_job *job;
	void *world;
	struct fiber fiber[EXPLORE_ACTORS];
	struct fiber main;
	int current; /* -1: no run under way */
	struct choice choice[EXPLORE_POINTS];
	unsigned points;
	unsigned forced; /* leading choices that are given */
	unsigned bound, interruptions;
	unsigned spins;
	bool is_stuck;
	bool misfit;
	const uint8_t *replay; /* actors by point, instead of choices */
	unsigned replay_points;
	bool sampling;
	uint64_t random;
	unsigned usual_points; /* of the runs before, to draw places from */
} x = {.current = -1};

/* ---- fibers ------------------------------------------------------------------ */

/*
 * Save what a call must preserve, go on with another stack. The library's
 * swapcontext would enter the kernel twice, millions of times over.
 */
void explore_switch(void **save_sp, void *load_sp);
__asm__(".text\n"
        ".globl explore_switch\n"
        ".type explore_switch, @function\n"
        "explore_switch:\n"
        "	push %rbp\n"
        "	push %rbx\n"
        "	push %r12\n"
        "	push %r13\n"
        "	push %r14\n"
        "	push %r15\n"
        "	mov %rsp, (%rdi)\n"
        "	mov %rsi, %rsp\n"
        "	pop %r15\n"
        "	pop %r14\n"
        "	pop %r13\n"
        "	pop %r12\n"
        "	pop %rbx\n"
        "	pop %rbp\n"
        "	ret\n"
        ".size explore_switch, . - explore_switch\n");

#if defined(__SANITIZE_ADDRESS__)
static const void *main_stack;
static size_t main_stack_size;

static void leave(struct fiber *from, const struct fiber *to)
{
	const void *bottom = to == &x.main ? main_stack : to->stack;

	__sanitizer_start_switch_fiber(from && from->done ? NULL : &from->shadow, bottom,
	                               to == &x.main ? main_stack_size : STACK);
}

static void arrive(struct fiber *at)
{
	const void *bottom;
	size_t size;

	__sanitizer_finish_switch_fiber(at->shadow, &bottom, &size);
	if (!main_stack) {
		main_stack = bottom;
		main_stack_size = size;
	}
}
#else
static void leave(struct fiber *from, const struct fiber *to)
{
	(void)from;
	(void)to;
}

static void arrive(struct fiber *at)
{
	(void)at;
}
#endif

static struct fiber *fiber_of(int n)
{
	return n < 0 ? &x.main : &x.fiber[n];
}

static void switch_to(int n)
{
	struct fiber *from = fiber_of(x.current), *to = fiber_of(n);

	if (from == to)
		return;
	x.current = n;
	leave(from, to);
	explore_switch(&from->sp, to->sp);
	arrive(from);
}

/* ---- who goes on ---------------------------------------------------------------- */

static bool ready(unsigned n)
{
	return !x.fiber[n].done && !x.fiber[n].waiting;
}

enum passing {
	AT_POINT, /* could go on itself: passing control is an interruption */
	WAITS,    /* the next in turn goes on, so that no two wait for ever on each other */
	ENDED,    /* whoever */
};

/* Those that may go on here; the first of them does so without an interruption. */
static void list_options(struct choice *c, enum passing why)
{
	unsigned me = (unsigned)x.current;
	bool spent = x.interruptions == x.bound && !x.replay && why != ENDED;

	c->options = 0;
	if (why == AT_POINT)
		c->option[c->options++] = (uint8_t)me;
	for (unsigned i = 1; i < x.job->actors; i++) {
		unsigned n = (me + i) % x.job->actors;

		if (ready(n) && !(spent && c->options))
			c->option[c->options++] = (uint8_t)n;
	}
}

static void follow_replay(struct choice *c, unsigned point)
{
	if (point >= x.replay_points)
		return;
	for (unsigned i = 0; i < c->options; i++)
		if (c->option[i] == x.replay[point]) {
			c->taken = (uint8_t)i;
			return;
		}
	x.misfit = true;
}

/* Interrupt here? On average as often as the bound allows, at any place alike. */
static void draw(struct choice *c, enum passing why)
{
	if (why == ENDED)
		c->taken = (uint8_t)sim_random_below(&x.random, c->options);
	else if (c->options > 1 && sim_random_below(&x.random, x.usual_points) < x.bound)
		c->taken = (uint8_t)(1 + sim_random_below(&x.random, c->options - 1u));
	else
		c->taken = 0;
}

static unsigned choose(enum passing why)
{
	unsigned point = x.points < EXPLORE_POINTS - 1 ? x.points++ : x.points;
	struct choice *c = &x.choice[point];

	if (point >= x.forced)
		c->taken = 0;
	list_options(c, why);
	if (x.replay)
		follow_replay(c, point);
	if (x.sampling)
		draw(c, why);
	if (why != ENDED && c->taken > 0)
		x.interruptions++;
	return c->option[c->taken];
}

static bool anyone_ready(void)
{
	for (unsigned n = 0; n < x.job->actors; n++)
		if (ready(n))
			return true;
	return false;
}

static bool anyone_left(void)
{
	for (unsigned n = 0; n < x.job->actors; n++)
		if (!x.fiber[n].done)
			return true;
	return false;
}

/* Whoever waits looks again once another has gone on. */
static void wake_others(void)
{
	for (unsigned n = 0; n < x.job->actors; n++)
		if ((int)n != x.current)
			x.fiber[n].waiting = false;
}

void explore_point(void)
{
	if (x.current < 0)
		return;
	x.spins = 0;
	wake_others();
	if (x.points >= EXPLORE_POINTS - 1)
		x.is_stuck = true;
	switch_to(x.is_stuck ? -1 : (int)choose(AT_POINT));
}

void explore_wait(void)
{
	if (x.current < 0)
		return;
	x.fiber[x.current].waiting = true;
	if (!anyone_ready()) {
		/* All wait: let them all look again, in turn, but not for ever. */
		int me = x.current;

		wake_others();
		if (anyone_ready())
			x.fiber[me].waiting = true;
		else
			x.fiber[me].waiting = false;
		if (++x.spins > SPINS)
			x.is_stuck = true;
	}
	switch_to(x.is_stuck ? -1 : ready((unsigned)x.current) ? x.current
	                                                       : (int)choose(WAITS));
}

/* ---- a run ------------------------------------------------------------------------ */

static void fiber_main(void)
{
	struct fiber *me = fiber_of(x.current);

	arrive(me);
	x.job->actor[x.current](x.world);
	me->done = true;
	x.spins = 0;
	wake_others();
	/* Waiting ones have just been woken, so someone is ready or all are done. */
	switch_to(anyone_left() ? (int)choose(ENDED) : -1);
}

static void start_fiber(struct fiber *f)
{
	if (!f->stack)
		f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
		                MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (f->stack == MAP_FAILED)
		abort();
	f->done = f->waiting = false;
	f->shadow = NULL;
	/* Six registers, then where to return to; the stack as a call leaves it. */
	void **top = (void **)((char *)f->stack + STACK) - 8;

	memset(top, 0, 8 * sizeof(*top));
	top[6] = (void *)fiber_main;
	f->sp = top;
}

static bool run(const struct explore_job *job, unsigned forced)
{
	x.job = job;
	x.world = job->begin(job->arg);
	x.points = x.interruptions = x.spins = 0;
	x.forced = forced;
	x.is_stuck = x.misfit = false;
	for (unsigned n = 0; n < job->actors; n++)
		start_fiber(&x.fiber[n]);
	/* As if the last actor had just finished: any of them may begin. */
	struct choice *first = &x.choice[x.points++];

	if (!forced)
		first->taken = 0;
	first->options = (uint8_t)job->actors;
	for (unsigned n = 0; n < job->actors; n++)
		first->option[n] = (uint8_t)n;
	if (x.replay)
		follow_replay(first, 0);
	if (x.sampling)
		draw(first, ENDED);
	switch_to(first->option[first->taken]);
	x.current = -1;
	if (x.is_stuck)
		job->stuck(x.world);
	return job->end(x.world);
}

/* ---- which schedules -------------------------------------------------------------- */

/* The next schedule in depth-first order: number of choices to force; 0 = there is none. */
static unsigned next_schedule(void)
{
	for (unsigned i = x.points; i-- > 0;)
		if (x.choice[i].taken + 1u < x.choice[i].options) {
			x.choice[i].taken++;
			return i + 1;
		}
	return 0;
}

static void print_schedule(char *out, unsigned size)
{
	unsigned used = 0;

	out[0] = 0;
	for (unsigned i = 0; i < x.points && used + 16 < size;) {
		unsigned actor = x.choice[i].option[x.choice[i].taken], same = i;

		while (same < x.points && x.choice[same].option[x.choice[same].taken] == actor)
			same++;
		used += (unsigned)snprintf(out + used, size - used, "%c%u", 'a' + (int)actor, same - i);
		i = same;
	}
}

void explore_current(char *out, unsigned size)
{
	print_schedule(out, size);
}

static bool one_run(const struct explore_job *job, unsigned forced, struct explore_result *r)
{
	r->sound = run(job, forced);
	if (!r->sound)
		print_schedule(r->schedule, sizeof(r->schedule));
	return r->sound;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool spent(const struct explore_budget *b, uint64_t done, uint64_t most, double until)
{
	return b->seconds > 0 ? now() >= until : done >= most;
}

/* All schedules with x.bound interruptions, as far as the budget goes. */
static void exhaust(const struct explore_job *job, const struct explore_budget *b, double until,
                    struct explore_result *r)
{
	unsigned forced = 0;

	do {
		if (spent(b, r->runs, b->runs, until)) {
			r->exhausted = false;
			return;
		}
		r->runs++;
		if (!one_run(job, forced, r))
			return;
		forced = next_schedule();
	} while (forced);
}

static void sample(const struct explore_job *job, const struct explore_budget *b, double until,
                   struct explore_result *r)
{
	x.sampling = true;
	x.random = b->seed;
	x.bound = b->bound;
	x.usual_points = x.points ? x.points : 1;
	while (r->sound && !spent(b, r->sampled, b->samples, until)) {
		r->sampled++;
		one_run(job, 0, r);
	}
	x.sampling = false;
}

struct explore_result explore(const struct explore_job *job, const struct explore_budget *b)
{
	struct explore_result r = {.exhausted = true, .sound = true};
	double begin = now();

	for (x.bound = 0; x.bound <= b->bound && r.sound && r.exhausted; x.bound++) {
		r.bound = x.bound;
		exhaust(job, b, begin + b->seconds / 2, &r);
	}
	if (!r.exhausted && r.sound)
		sample(job, b, begin + b->seconds, &r);
	return r;
}

bool explore_replay(const struct explore_job *job, const char *schedule, bool *fits)
{
	static uint8_t actors[EXPLORE_POINTS];
	unsigned count = 0;

	*fits = true;
	while (*schedule) {
		int actor = *schedule++ - 'a';
		char *end;
		unsigned long n = strtoul(schedule, &end, 10);

		if (actor < 0 || actor >= (int)job->actors || end == schedule ||
		    n > EXPLORE_POINTS - count) {
			*fits = false;
			return false;
		}
		memset(actors + count, actor, n);
		count += (unsigned)n;
		schedule = end;
	}
	x.replay = actors;
	x.replay_points = count;
	bool sound = run(job, 0);

	x.replay = NULL;
	*fits = !x.misfit;
	return sound;
}
