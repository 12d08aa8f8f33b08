/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens at once. The same scenarios are run by fibers over all
 * schedules (schedule.c) and by threads under ThreadSanitizer (threads.c).
 */
#ifndef TESTS_SCENARIOS_H
#define TESTS_SCENARIOS_H

#include "explore.h"
#include "sim.h"

struct scenario {
	const char *name;
	unsigned vcpus;
	/* May be NULL: changes to the machine before it is made. */
	void (*config)(struct sim_config *config);
	/* Alone, before the actors begin. */
	void (*before)(struct sim *sim);
	/*
	 * At most one of them makes management calls through the sim, since the
	 * reference is changed by one call at a time.
	 */
	explore_actor actor[EXPLORE_ACTORS];
	/* Alone, when all are done. May be NULL. */
	void (*after)(struct sim *sim);
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

#endif
