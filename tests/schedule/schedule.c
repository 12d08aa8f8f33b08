/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Promise 5: the scenarios over all schedules with a bounded number of
 * interruptions. Each runs in a process of its own, so that one that crashes
 * costs the others nothing.
 *
 *   schedule [--bound N] [--runs N] [--samples N] [--seed N] [--seconds N] [--only NAME]
 *            [--mode ept|npt|32-bit|pae|4-level|5-level|nested-ept|nested-npt]
 *            [--direct] [--shadow] [--nested] [--jobs N]
 *   schedule --only NAME --mode ept --schedule a12b3a2
 *   schedule --list
 */
#include "cases.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

struct options {
	struct explore_budget budget;
	double seconds;
	const char *only;
	const char *schedule;
	const char *mode;
	unsigned jobs;
	bool list;
	unsigned kinds; /* enum schedule_kind; 0: all */
	bool verbose;
};

/* The nth of all cases, those of direct maps first. */
static bool case_number(unsigned n, struct schedule_case *out)
{
	static bool (*const cases[])(unsigned n, struct schedule_case *out) = {direct_case, shadow_case, nested_case};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (unsigned k = 0; cases[i](k, out); k++)
			if (n-- == 0)
				return true;
	return false;
}

/* ---- one scenario ---------------------------------------------------------------------- */

static const struct schedule_case *case_now;

static void print_failure(const char *schedule)
{
	fprintf(stderr, "  schedule: %s\n  again:    schedule --only %s --mode %s --schedule %s\n",
	        schedule, case_now->scenario, case_now->mode, schedule);
}

#if defined(__SANITIZE_ADDRESS__)
/* A world is made and unmade for every run: to keep what is freed for long would cost half the time. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4";
}

static void on_death(void)
{
	static char schedule[2 * EXPLORE_POINTS];

	explore_current(schedule, sizeof(schedule));
	print_failure(schedule);
}
#endif

static void watch_for_death(void)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_set_death_callback(on_death);
#endif
}

/* The exit status of the scenario's process: 0 sound. */
static int run_scenario(const struct options *o, const struct schedule_case *c)
{
	case_now = c;
	watch_for_death();
	if (o->schedule) {
		bool fits, sound = explore_replay(&c->job, o->schedule, &fits);

		if (!fits)
			fprintf(stderr, "this schedule does not fit scenario %s\n", c->scenario);
		return sound && fits ? 0 : 1;
	}
	struct explore_result r = explore(&c->job, &o->budget);

	printf("%s %s [%s]: %lu schedules, %s %u interruption%s", r.sound ? "ok  " : "FAIL",
	       c->scenario, c->mode, r.runs,
	       r.exhausted ? "all with up to" : "in part with", r.bound, r.bound == 1 ? "" : "s");
	if (r.sampled)
		printf(", %lu drawn", r.sampled);
	printf("\n");
	if (!r.sound)
		print_failure(r.schedule);
	fflush(stdout);
	return r.sound ? 0 : 1;
}

/* ---- all of them ------------------------------------------------------------------------ */

struct tally {
	unsigned running, passed, failed;
};

static void reap(struct tally *t)
{
	int status;

	if (wait(&status) < 0)
		abort();
	t->running--;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		t->passed++;
	else
		t->failed++;
}

#if defined(VMMU_COVERAGE)
void __gcov_dump(void); /* libgcov's: what _exit would lose */
#else
static void __gcov_dump(void)
{
}
#endif

static void start(const struct options *o, const struct schedule_case *c, struct tally *t)
{
	if (t->running == o->jobs)
		reap(t);
	t->running++;
	if (fork() == 0) {
		int status = run_scenario(o, c);

		fflush(NULL);
		__gcov_dump();
		_exit(status);
	}
}

static bool wanted(const struct options *o, const struct schedule_case *c)
{
	return (!o->only || !strcmp(o->only, c->scenario)) && (!o->mode || !strcmp(o->mode, c->mode)) &&
	       (!o->kinds || (o->kinds & c->kind));
}

static unsigned count_wanted(const struct options *o)
{
	struct schedule_case c;
	unsigned count = 0;

	for (unsigned i = 0; case_number(i, &c); i++)
		count += wanted(o, &c);
	return count;
}

static int run_all(struct options *o)
{
	struct tally t = {0};
	struct schedule_case c;

	if (o->seconds > 0)
		o->budget.seconds = o->seconds * o->jobs / (count_wanted(o) + 1);
	for (unsigned i = 0; case_number(i, &c); i++)
		if (wanted(o, &c))
			start(o, &c, &t);
	while (t.running)
		reap(&t);
	printf("%u passed, %u failed, 0 skipped\n", t.passed, t.failed);
	if (!t.passed && !t.failed)
		fprintf(stderr, "no scenario of that name and mode; schedule --list names them\n");
	return t.failed || !t.passed;
}

/* ---- arguments ---------------------------------------------------------------------------- */

enum { KEY_BOUND = 'b',
       KEY_RUNS = 'r',
       KEY_SAMPLES = 'n',
       KEY_SEED = 's',
       KEY_ONLY = 'o',
       KEY_MODE = 'm',
       KEY_SCHEDULE = 'S',
       KEY_LIST = 'l',
       KEY_JOBS = 'j',
       KEY_SECONDS = 't',
       KEY_SHADOW = 'x',
       KEY_DIRECT = 'd',
       KEY_NESTED = 'N' };

static const struct argp_option argp_options[] = {
	{"bound", KEY_BOUND, "N", 0, "interruptions per schedule, at most (2)", 0},
	{"runs", KEY_RUNS, "N", 0, "schedules to try in order, per scenario and mode (1000)", 0},
	{"samples", KEY_SAMPLES, "N", 0, "when these are not all: further ones drawn at random (0)", 0},
	{"seed", KEY_SEED, "N", 0, "for the drawing (1)", 0},
	{"seconds", KEY_SECONDS, "N", 0, "for all together, instead of runs and samples: in order for half "
                                         "of the time, at random for the rest",
         0},
	{"only", KEY_ONLY, "NAME", 0, "this scenario", 0},
	{"mode", KEY_MODE, "NAME", 0, "this format: ept, npt; or guest under shadow paging: 32-bit, pae, "
                                      "4-level, 5-level; nested-ept, nested-npt",
         0},
	{"direct", KEY_DIRECT, NULL, 0, "direct maps only", 0},
	{"shadow", KEY_SHADOW, NULL, 0, "shadow paging only", 0},
	{"nested", KEY_NESTED, NULL, 0, "nested maps only", 0},
	{"schedule", KEY_SCHEDULE, "STRING", 0, "one run by the schedule that a failure printed", 0},
	{"jobs", KEY_JOBS, "N", 0, "processes at once (2)", 0},
	{"list", KEY_LIST, NULL, 0, "name the scenarios", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case KEY_BOUND:
		o->budget.bound = (unsigned)strtoul(arg, NULL, 0);
		return 0;
	case KEY_RUNS:
		o->budget.runs = strtoull(arg, NULL, 0);
		return 0;
	case KEY_SAMPLES:
		o->budget.samples = strtoull(arg, NULL, 0);
		return 0;
	case KEY_SEED:
		o->budget.seed = strtoull(arg, NULL, 0);
		return 0;
	case KEY_SECONDS:
		o->seconds = strtod(arg, NULL);
		return 0;
	case KEY_ONLY:
		o->only = arg;
		return 0;
	case KEY_MODE:
		o->mode = arg;
		return 0;
	case KEY_DIRECT:
		o->kinds |= SCHEDULE_DIRECT;
		return 0;
	case KEY_SHADOW:
		o->kinds |= SCHEDULE_SHADOW;
		return 0;
	case KEY_NESTED:
		o->kinds |= SCHEDULE_NESTED;
		return 0;
	case KEY_SCHEDULE:
		o->schedule = arg;
		return 0;
	case KEY_JOBS:
		o->jobs = (unsigned)strtoul(arg, NULL, 0);
		if (!o->jobs)
			argp_error(state, "--jobs needs a number above 0");
		return 0;
	case KEY_LIST:
		o->list = true;
		return 0;
	case ARGP_KEY_END:
		if (o->schedule && (!o->only || !o->mode))
			argp_error(state, "--schedule needs --only and --mode");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {argp_options, parse, NULL,
	                                 "Run scenarios over all schedules of their actors.", NULL,
	                                 NULL, NULL};
	struct options o = {.budget = {.bound = 2, .runs = 1000, .seed = 1}, .jobs = 2};
	struct schedule_case c;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!o.list)
		return run_all(&o);
	for (unsigned i = 0; case_number(i, &c); i++)
		printf("%s [%s]\n", c.scenario, c.mode);
	return 0;
}
