/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All schedules of a few actors, one after the other.
 *
 * Each actor is a fiber. Control passes from one to another only at points:
 * each compare-exchange, gate and flush point of the engine, before and after
 * each question to the host, and wherever an actor waits. So a run is fully
 * described by who goes on at each point, and can be repeated from that.
 *
 * Schedules are tried in the order of how often an actor is interrupted while
 * it could go on, or the one whose turn it is while another waits is passed
 * over: first none, then one interruption at each place, then two.
 * Most races need one or two (Musuvathi and Qadeer, "Iterative context bounding
 * for systematic testing of multithreaded programs", PLDI 2007).
 */
#ifndef TESTS_EXPLORE_H
#define TESTS_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

#define EXPLORE_ACTORS 4
#define EXPLORE_POINTS 4096

typedef void (*explore_actor)(void *world);

/* The world that one run happens in. */
struct explore_job {
	void *(*begin)(const void *arg); /* makes a fresh world */
	bool (*end)(void *world);        /* judges and unmakes it; true: sound */
	void (*stuck)(void *world);      /* no actor gets anywhere: record it as a finding */
	const void *arg;
	unsigned actors;
	explore_actor actor[EXPLORE_ACTORS];
};

struct explore_result {
	uint64_t runs;
	unsigned bound;   /* highest number of interruptions begun with */
	bool exhausted;   /* every schedule up to it was run */
	uint64_t sampled; /* further ones, taken at random */
	bool sound;
	char schedule[2 * EXPLORE_POINTS]; /* of the run that failed */
};

struct explore_budget {
	unsigned bound;   /* interruptions at most */
	uint64_t runs;    /* schedules in order */
	uint64_t samples; /* when these were not all: so many more, with places and actors drawn by */
	uint64_t seed;
	double seconds; /* instead of runs and samples: half of this time for each; 0 = not */
};

/* Run schedules until one fails or the budget is used up. */
struct explore_result explore(const struct explore_job *job, const struct explore_budget *budget);

/* One run by a schedule that explore_result or explore_current gave. *fits: false when it names an
 * actor that cannot go on there. */
bool explore_replay(const struct explore_job *job, const char *schedule, bool *fits);

/* The run under way, as far as it has come: for a crash handler. */
void explore_current(char *out, unsigned size);

/* A point: another actor may go on here. Outside a run: nothing. */
void explore_point(void);
/* The actor waits for another: someone else goes on here, if anyone can. */
void explore_wait(void);

#endif
