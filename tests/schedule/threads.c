/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scenarios of schedule.c on real threads, to be built with
 * ThreadSanitizer: it sees orderings of plain and atomic accesses that no
 * schedule of fibers can show.
 *
 *   threads [ROUNDS]
 */
#include "scenarios.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct actor {
	struct sim *sim;
	explore_actor act;
	pthread_barrier_t *ready;
	pthread_t thread;
};

/* Threads do not take turns; the kernel schedules them. */
void explore_point(void)
{
}

static void *actor_main(void *arg)
{
	struct actor *a = arg;

	pthread_barrier_wait(a->ready);
	a->act(a->sim);
	return NULL;
}

static void run_actors(const struct scenario *s, struct sim *sim)
{
	struct actor actor[EXPLORE_ACTORS];
	pthread_barrier_t ready;
	unsigned actors = 0;

	while (actors < EXPLORE_ACTORS && s->actor[actors])
		actors++;
	pthread_barrier_init(&ready, NULL, actors);
	for (unsigned i = 0; i < actors; i++) {
		actor[i] = (struct actor){.sim = sim, .act = s->actor[i], .ready = &ready};
		if (pthread_create(&actor[i].thread, NULL, actor_main, &actor[i]))
			abort();
	}
	for (unsigned i = 0; i < actors; i++)
		pthread_join(actor[i].thread, NULL);
	pthread_barrier_destroy(&ready);
}

static bool one_round(const struct scenario *s, enum vmmu_mode mode, uint64_t seed)
{
	struct sim_config config = sim_config_default(mode);
	struct sim *sim;

	config.vcpus = s->vcpus;
	config.table_frames = 48;
	config.threads = true;
	config.seed = seed;
	sim = sim_new(&config, NULL);
	s->before(sim);
	run_actors(s, sim);
	if (s->after && !sim->failed)
		s->after(sim);
	return sim_end(sim);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 20;
	unsigned passed = 0, failed = 0;

	for (unsigned i = 0; i < scenario_count; i++)
		for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++) {
			bool sound = true;

			for (unsigned round = 0; round < rounds && sound; round++)
				sound = one_round(&scenarios[i], mode, round + 1);
			if (!sound)
				printf("FAIL %s [%s] on threads\n", scenarios[i].name,
				       mode == VMMU_MODE_EPT ? "ept" : "npt");
			passed += sound;
			failed += !sound;
		}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed || !passed;
}
