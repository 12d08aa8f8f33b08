/* SPDX-License-Identifier: BSD-2-Clause */
/* The scenarios of direct maps (scenarios.c) as cases for the explorer, under EPT and under NPT. */
#include "cases.h"
#include "scenarios.h"

struct run_config {
	const struct scenario *scenario;
	enum vmmu_mode mode;
};

static const struct scenario *running;

static enum vmmu_backing_result (*sim_backing)(void *ctx, const struct vmmu_slot_info *slot,
                                               vmmu_gfn gfn, unsigned access,
                                               struct vmmu_backing *out);

/* The host takes its time to answer, and the answer may be old when it comes. */
static enum vmmu_backing_result slow_backing(void *ctx, const struct vmmu_slot_info *slot,
                                             vmmu_gfn gfn, unsigned access,
                                             struct vmmu_backing *out)
{
	enum vmmu_backing_result result;

	explore_point();
	result = sim_backing(ctx, slot, gfn, access, out);
	explore_point();
	return result;
}

static void on_point(void *arg, unsigned point, uint64_t table, unsigned index)
{
	(void)arg;
	(void)point;
	(void)table;
	(void)index;
	explore_point();
}

static void on_flush(void *arg)
{
	(void)arg;
	explore_point();
}

static void on_relax(void *arg)
{
	(void)arg;
	explore_wait();
}

static void *begin(const void *arg)
{
	const struct run_config *run = arg;
	struct sim_config config = sim_config_default(run->mode);
	struct sim *sim;

	running = run->scenario;
	config.vcpus = run->scenario->vcpus;
	config.table_frames = 48;
	config.interleaved = true;
	if (run->scenario->config)
		run->scenario->config(&config);
	sim = sim_new(&config, NULL);
	sim_backing = sim->host.backing;
	sim->host.backing = slow_backing;
	sim->on_point = on_point;
	sim->on_flush = on_flush;
	sim->on_relax = on_relax;
	sim->config.interleaved = false;
	run->scenario->before(sim);
	sim->config.interleaved = true;
	return sim;
}

static bool end(void *world)
{
	struct sim *sim = world;

	sim->config.interleaved = false;
	if (running->after && !sim->failed)
		running->after(sim);
	return sim_end(sim);
}

static void stuck(void *world)
{
	sim_fail(world, 0, "no actor gets any further");
}

static struct explore_job job_of(const struct run_config *run)
{
	struct explore_job job = {.begin = begin, .end = end, .stuck = stuck, .arg = run};

	while (job.actors < EXPLORE_ACTORS && run->scenario->actor[job.actors]) {
		job.actor[job.actors] = run->scenario->actor[job.actors];
		job.actors++;
	}
	return job;
}

bool direct_case(unsigned n, struct schedule_case *out)
{
	static struct run_config run; /* one case at a time */

	if (n / 2 >= scenario_count)
		return false;
	run = (struct run_config){&scenarios[n / 2], n % 2 ? VMMU_MODE_NPT : VMMU_MODE_EPT};
	*out = (struct schedule_case){
		.scenario = run.scenario->name,
		.mode = n % 2 ? "npt" : "ept",
		.kind = SCHEDULE_DIRECT,
		.job = job_of(&run),
	};
	return true;
}
