/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real threads: vCPUs that fault, and one that changes slots, takes frames
 * back and reads the dirty log beneath them. Built with ThreadSanitizer. Each
 * thread checks what the header promises it: a vCPU, that its accesses end in
 * a way that some state of the slots allows; the manager, that when its call
 * returns nothing of what it took away is in the tables.
 *
 *   VMMU_SEED=N      first seed (default 1)
 *   VMMU_SECONDS=N   go on with further seeds for so long
 */
#include "case.h"

#include "random.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

MODES;

#define VCPUS 3
#define ROUNDS 300
#define SPAN (64 * M)

struct crew {
	struct sim *sim;
	atomic_bool stop;
	atomic_uint started;
	uint64_t seed;
};

struct member {
	struct crew *crew;
	unsigned n;
	uint64_t accesses;
};

/* One vCPU: accesses all over two slots and the hole behind them. */
static void *vcpu_main(void *arg)
{
	struct member *me = arg;
	struct sim *sim = me->crew->sim;
	uint64_t seed = me->crew->seed * VCPUS + me->n;

	atomic_fetch_add(&me->crew->started, 1);
	while (!atomic_load(&me->crew->stop) && !__atomic_load_n(&sim->failed, __ATOMIC_ACQUIRE)) {
		uint64_t gpa = sim_random_below(&seed, SPAN + 8 * M);
		unsigned access = 1u << sim_random_below(&seed, 3);
		enum vmmu_fault_result result = sim_access(sim, me->n, gpa, access);

		me->accesses++;
		if (result != SIM_OK && result != VMMU_FAULT_EMULATE_MMIO &&
		    result != VMMU_FAULT_READ_ONLY && result != VMMU_FAULT_RETRY)
			sim_fail(sim, 0, "vCPU %u: %#lx ended with %s", me->n, gpa,
			         vmmu_fault_result_name(result));
	}
	return NULL;
}

static void expect_unmapped(struct sim *sim, uint64_t base, uint64_t bytes, unsigned access,
                            const char *call)
{
	for (uint64_t gpa = base; gpa < base + bytes; gpa += 64 * K) {
		struct sim_walk walk;

		pthread_rwlock_rdlock(&sim->walks);
		sim_look(sim, gpa, access, &walk);
		pthread_rwlock_unlock(&sim->walks);
		if (walk.end == SIM_WALK_MAPPED)
			sim_fail(sim, 0, "%s has returned, yet %#lx is mapped", call, gpa);
	}
}

static void create(struct sim *sim, uint32_t id, uint64_t base, uint64_t bytes, uint32_t flags)
{
	struct vmmu_slot_info info = {
		.id = id,
		.flags = flags,
		.base = vmmu_gpa_of(base),
		.bytes = bytes,
		.backing = id,
	};

	assert_int_equal(vmmu_slot_create(sim->vm, &info), VMMU_OK);
}

static void one_round(struct sim *sim, uint64_t *seed)
{
	static uint64_t bitmap[SPAN / K / 64];
	uint64_t gpa = sim_random_below(seed, SPAN / 2) & ~(K - 1);
	uint64_t bytes = K << sim_random_below(seed, 10);

	switch (sim_random_below(seed, 6)) {
	case 0:
		assert_int_equal(vmmu_slot_delete(sim->vm, 1), VMMU_OK);
		expect_unmapped(sim, SPAN / 2, SPAN / 2, 0, "vmmu_slot_delete");
		create(sim, 1, SPAN / 2, SPAN / 2, 0);
		break;
	case 1:
		assert_int_equal(vmmu_slot_move(sim->vm, 1, vmmu_gpa_of(SPAN / 2 + 4 * M)), VMMU_OK);
		expect_unmapped(sim, SPAN / 2, 4 * M, 0, "vmmu_slot_move");
		assert_int_equal(vmmu_slot_move(sim->vm, 1, vmmu_gpa_of(SPAN / 2)), VMMU_OK);
		break;
	case 2:
		assert_int_equal(vmmu_slot_set_flags(sim->vm, 1, VMMU_SLOT_READONLY), VMMU_OK);
		expect_unmapped(sim, SPAN / 2, SPAN / 2, VMMU_W, "vmmu_slot_set_flags");
		assert_int_equal(vmmu_slot_set_flags(sim->vm, 1, 0), VMMU_OK);
		break;
	case 3:
		assert_int_equal(vmmu_invalidate_begin(sim->vm, vmmu_gpa_of(gpa), bytes), VMMU_OK);
		expect_unmapped(sim, gpa, bytes, 0, "vmmu_invalidate_begin");
		pthread_mutex_lock(&sim->lock);
		sim_backing_take(&sim->backing[0], (int64_t)(gpa / K), bytes / K);
		pthread_mutex_unlock(&sim->lock);
		expect_unmapped(sim, gpa, bytes, 0, "vmmu_invalidate_begin");
		assert_int_equal(vmmu_invalidate_end(sim->vm, vmmu_gpa_of(gpa), bytes), VMMU_OK);
		break;
	case 4:
		assert_int_equal(vmmu_dirty_log(sim->vm, 0, bitmap, SPAN / 2 / K / 64), VMMU_OK);
		break;
	case 5:
		assert_int_equal(vmmu_range_restrict(sim->vm, vmmu_gpa_of(SPAN / 2), SPAN / 2,
		                                     1 + (unsigned)sim_random_below(seed, 3)),
		                 VMMU_OK);
		break;
	}
}

static void storm(enum vmmu_mode mode, uint64_t seed)
{
	struct sim_config config = sim_config_default(mode);
	struct member member[VCPUS];
	pthread_t thread[VCPUS];
	uint64_t accesses = 0, random = seed;

	config.threads = true;
	config.vcpus = VCPUS;
	config.ring_records = 1024;
	config.seed = seed;
	struct sim *sim = sim_start(&config);
	struct crew crew = {.sim = sim, .seed = seed};

	on_demand(sim, 0, 5);
	contiguous(sim, SPAN / 2, 9);
	create(sim, 0, 0, SPAN / 2, VMMU_SLOT_LOG_DIRTY);
	create(sim, 1, SPAN / 2, SPAN / 2, 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		member[i] = (struct member){.crew = &crew, .n = i};
		assert_int_equal(pthread_create(&thread[i], NULL, vcpu_main, &member[i]), 0);
	}
	while (atomic_load(&crew.started) < VCPUS)
		sched_yield();
	for (unsigned i = 0; i < ROUNDS && !__atomic_load_n(&sim->failed, __ATOMIC_ACQUIRE); i++)
		one_round(sim, &random);
	atomic_store(&crew.stop, true);
	for (unsigned i = 0; i < VCPUS; i++) {
		pthread_join(thread[i], NULL);
		accesses += member[i].accesses;
	}
	assert_true(accesses > VCPUS);
	/* The reference was not kept; tell it where things stand, for the last look. */
	sim_ref_slot_create(&sim->ref, &(struct vmmu_slot_info){.bytes = SPAN / 2}, &sim->backing[0]);
	sim_ref_slot_create(&sim->ref, &(struct vmmu_slot_info){.id = 1, .base = vmmu_gpa_of(SPAN / 2), .bytes = SPAN / 2}, &sim->backing[1]);
	assert_sound(sim);
}

static void change_everything_under_running_vcpus(void **state)
{
	uint64_t seed = from_environment("VMMU_SEED", 1);
	time_t end = time(NULL) + (time_t)from_environment("VMMU_SECONDS", 0);

	do
		storm(mode_of(state), seed++);
	while (time(NULL) < end);
}

/* Faults of several vCPUs on the same path: one link of each table wins. */
static void *same_pages_main(void *arg)
{
	struct member *me = arg;

	atomic_fetch_add(&me->crew->started, 1);
	while (atomic_load(&me->crew->started) < VCPUS)
		;
	for (uint64_t i = 0; i < ROUNDS; i++) {
		enum vmmu_fault_result result =
			sim_access(me->crew->sim, me->n, i * 2 * M + i * K, VMMU_W);

		if (result != SIM_OK)
			sim_fail(me->crew->sim, 0, "%s", vmmu_fault_result_name(result));
	}
	return NULL;
}

static void the_same_pages_at_once(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct member member[VCPUS];
	pthread_t thread[VCPUS];
	struct sim_census census;

	config.threads = true;
	config.vcpus = VCPUS;
	struct sim *sim = sim_start(&config);
	struct crew crew = {.sim = sim};

	on_demand(sim, 0, 0);
	create(sim, 0, 0, 4 * G, 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		member[i] = (struct member){.crew = &crew, .n = i};
		assert_int_equal(pthread_create(&thread[i], NULL, same_pages_main, &member[i]), 0);
	}
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(thread[i], NULL);
	sim_census(sim, &census);
	assert_int_equal(census.leaves[1], ROUNDS);
	assert_int_equal(census.tables[1], ROUNDS);
	sim_ref_slot_create(&sim->ref, &(struct vmmu_slot_info){.bytes = 4 * G}, &sim->backing[0]);
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(change_everything_under_running_vcpus),
		BOTH(the_same_pages_at_once),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
