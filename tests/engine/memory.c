/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No memory: every allocation of every scenario is refused in turn, every pair
 * of allocations of the short ones, and memory that runs out for good and
 * comes back. Each time the call says NO_MEMORY, nothing changes, the same
 * call succeeds once there is memory, and nothing is leaked at the end.
 */
#include "case.h"

#include <string.h>

MODES;

#define TRIES 4

/* Memory has come back: only for the plan that takes all of it. */
static void memory_is_back(struct sim *sim)
{
	if (sim->memory.plan.from_first_on)
		sim->memory.plan = (struct sim_fail_plan){0};
}

/* Repeat a management call until it has memory. The calls judge themselves. */
#define MUST(sim, call) \
	do { \
		unsigned tries = 0; \
		enum vmmu_status got; \
		while ((got = (call)) == VMMU_ERR_NO_MEMORY && ++tries < TRIES) \
			memory_is_back(sim); \
		if (got != VMMU_OK && !(sim)->failed) \
			sim_fail(sim, 0, "%s: %s", #call, vmmu_status_name(got)); \
	} while (0)

static void touch(struct sim *sim, unsigned vcpu, uint64_t gpa, unsigned access,
                  enum vmmu_fault_result expected)
{
	enum vmmu_fault_result got;
	unsigned tries = 0;

	while ((got = sim_access(sim, vcpu, gpa, access)) == VMMU_FAULT_NO_MEMORY && ++tries < TRIES) {
		sim_check(sim);
		memory_is_back(sim);
	}
	if (got != expected && !sim->failed)
		sim_fail(sim, 0, "touching %#lx: result %d instead of %d", gpa, got, expected);
}

static void prefault(struct sim *sim, uint64_t gpa, uint64_t bytes, unsigned access)
{
	unsigned tries = 0;

	while (sim_prefault(sim, 0, gpa, bytes, access, NULL) == VMMU_FAULT_NO_MEMORY && ++tries < TRIES)
		memory_is_back(sim);
}

/* ---- scenarios --------------------------------------------------------------- */

static void faults(struct sim *sim)
{
	MUST(sim, sim_slot_create(sim, 0, 0, 8 * G, 0, on_demand(sim, 0, 0)));
	touch(sim, 0, 5 * M, VMMU_W, SIM_OK);
	touch(sim, 1, 5 * M + K, VMMU_R, SIM_OK);
	touch(sim, 1, 3 * G, VMMU_W, SIM_OK);
	touch(sim, 0, 9 * G, VMMU_W, VMMU_FAULT_EMULATE_MMIO);
	touch(sim, 0, 9 * G, VMMU_W, VMMU_FAULT_EMULATE_MMIO);
	touch(sim, 1, 1ull << 47, VMMU_W, VMMU_FAULT_BEYOND);
}

static void slots(struct sim *sim)
{
	uint64_t b = contiguous(sim, 0, 9);

	for (unsigned i = 0; i < 20; i++)
		MUST(sim, sim_slot_create(sim, i * 3, i * 16 * M, 8 * M, i % 3, b));
	touch(sim, 0, 6 * M, VMMU_W, SIM_OK);
	MUST(sim, sim_slot_move(sim, 0, 8 * M));
	touch(sim, 0, 14 * M, VMMU_W, SIM_OK);
	MUST(sim, sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY));
	touch(sim, 0, 14 * M, VMMU_W, SIM_OK);
	MUST(sim, sim_dirty_log(sim, 0, NULL));
	MUST(sim, sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY));
	touch(sim, 0, 14 * M, VMMU_W, VMMU_FAULT_READ_ONLY);
	for (unsigned i = 0; i < 20; i++)
		MUST(sim, sim_slot_delete(sim, i * 3));
}

static void splits_and_caps(struct sim *sim)
{
	MUST(sim, sim_slot_create(sim, 0, 0, 4 * G, 0, contiguous(sim, 0, 18)));
	touch(sim, 0, 1 * G, VMMU_W, SIM_OK);
	touch(sim, 1, 2 * G, VMMU_W, SIM_OK);
	MUST(sim, sim_restrict(sim, 1 * G, 2 * M, VMMU_LEVEL_4K));
	touch(sim, 0, 1 * G, VMMU_W, SIM_OK);
	MUST(sim, sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY));
	touch(sim, 0, 2 * G + 5 * K, VMMU_W, SIM_OK);
	MUST(sim, sim_dirty_log(sim, 0, NULL));
	touch(sim, 1, 2 * G + 5 * K, VMMU_W, SIM_OK);
}

static void frames_come_and_go(struct sim *sim)
{
	uint64_t cow = sim_backing_new(sim, 1 * G, &(struct sim_backing_config){.order = 9, .copy_on_write = true});

	MUST(sim, sim_slot_create(sim, 0, 0, 16 * M, 0, on_demand(sim, 0, 9)));
	MUST(sim, sim_slot_create(sim, 1, 1 * G, 16 * M, 0, cow));
	touch(sim, 0, 5 * M, VMMU_W, SIM_OK);
	touch(sim, 1, 1 * G + 5 * M, VMMU_R, SIM_OK);
	touch(sim, 0, 1 * G + 5 * M, VMMU_W, SIM_OK);
	MUST(sim, sim_invalidate_begin(sim, 4 * M, 2 * M));
	touch(sim, 0, 5 * M, VMMU_W, VMMU_FAULT_RETRY);
	MUST(sim, sim_invalidate_end(sim, 4 * M, 2 * M));
	touch(sim, 1, 5 * M, VMMU_W, SIM_OK);
	prefault(sim, 6 * M, 6 * M, VMMU_W);
}

static void (*const scenarios[])(struct sim *) = {faults, slots, splits_and_caps, frames_come_and_go};
static const char *const names[] = {"faults", "slots", "splits_and_caps", "frames_come_and_go"};

/* ---- plans ---------------------------------------------------------------------- */

/* True while the plan's last number was reached: there are more allocations to refuse. */
static bool run(enum vmmu_mode mode, unsigned scenario, struct sim_fail_plan plan, bool cheap)
{
	struct sim_config config = sim_config_default(mode);
	enum vmmu_status status = VMMU_ERR_NO_MEMORY;
	struct sim *sim = NULL;
	bool reached;

	config.vcpus = 2;
	config.fail = plan;
	config.unwatched = cheap;
	config.untraced = cheap;
	config.table_frames = 64;
	sim = sim_new(&config, &status);
	if (status == VMMU_OK)
		scenarios[scenario](sim);
	else if (status != VMMU_ERR_NO_MEMORY)
		fail_msg("a VM without memory: %s", vmmu_status_name(status));
	uint64_t last = plan.at[1] > plan.at[0] ? plan.at[1] : plan.at[0];

	/* A machine that could not be made never got further than the number that stopped it. */
	reached = sim->memory.attempts >= last || (status != VMMU_OK && plan.at[1]);
	if (!sim_end(sim))
		fail_msg("scenario %s with allocation %lu and %lu refused", names[scenario], plan.at[0],
		         plan.at[1]);
	return reached;
}

static void every_allocation_fails_in_turn(void **state)
{
	for (unsigned scenario = 0; scenario < 4; scenario++) {
		uint64_t n = 1;

		while (run(mode_of(state), scenario, (struct sim_fail_plan){.at = {n}}, false))
			n++;
		assert_true(n > 10); /* or there was nothing to refuse */
	}
}

static void memory_runs_out_and_comes_back(void **state)
{
	for (unsigned scenario = 0; scenario < 4; scenario++) {
		uint64_t n = 1;

		while (run(mode_of(state), scenario,
		           (struct sim_fail_plan){.at = {n}, .from_first_on = true}, false))
			n++;
		assert_true(n > 10);
	}
}

static void every_pair_of_allocations_fails(void **state)
{
	static const unsigned shorts[] = {0, 2};

	for (unsigned i = 0; i < 2; i++)
		for (uint64_t first = 1;; first++) {
			uint64_t second = first + 1;

			if (!run(mode_of(state), shorts[i], (struct sim_fail_plan){.at = {first}}, true))
				break;
			while (second < first + 40 &&
			       run(mode_of(state), shorts[i], (struct sim_fail_plan){.at = {first, second}}, true))
				second++;
		}
}

/* Nothing is left for a fault but what its vCPU has put by: it must still be clear. */
static void a_vm_without_a_single_frame(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	enum vmmu_status status;

	config.table_frames = 1;
	struct sim *sim = sim_new(&config, &status);

	assert_int_equal(status, VMMU_OK); /* the root fits */
	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	struct vmmu_fault fault = {.gpa = vmmu_gpa_of(5 * M), .access = VMMU_W};

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_NO_MEMORY);
	assert_int_equal(sim->writes, 0);
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(every_allocation_fails_in_turn),
		BOTH(memory_runs_out_and_comes_back),
		BOTH(every_pair_of_allocations_fails),
		BOTH(a_vm_without_a_single_frame),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
