/* SPDX-License-Identifier: BSD-2-Clause */
/* Corners that planted faults (tests/mutation) showed to be unwatched. */
#include "case.h"

MODES;

static struct sim *two_vcpus(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 2;
	return sim_start(&config);
}

/* Invalidations of the same begin or the same end are not each other's. */
static void an_end_takes_its_own_range(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	assert_int_equal(sim_invalidate_begin(sim, 0, 8 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 0, 4 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_end(sim, 0, 8 * M), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 1 * M, VMMU_R), VMMU_FAULT_RETRY);
	assert_int_equal(sim_invalidate_end(sim, 0, 8 * M), VMMU_ERR_INVALID);
	assert_int_equal(sim_invalidate_end(sim, 0, 4 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 4 * M, 4 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 2 * M, 6 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_end(sim, 4 * M, 4 * M), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 3 * M, VMMU_R), VMMU_FAULT_RETRY);
	assert_int_equal(sim_invalidate_end(sim, 2 * M, 6 * M), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 3 * M, VMMU_R), SIM_OK);
	assert_sound(sim);
}

/* A right that is added may come with another memory type: what CPUs remember has to go. */
static void a_new_memory_type_is_flushed(void **state)
{
	struct sim *sim = two_vcpus(state);
	uint64_t backing = contiguous(sim, 0, 0), flushes;

	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_READONLY, backing);
	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(sim_access(sim, v, 5 * M, VMMU_R), SIM_OK);
	assert_int_equal(sim_slot_set_flags(sim, 0, 0), VMMU_OK);
	sim->backing[backing].config.memtype = VMMU_MEMTYPE_UC;
	flushes = sim->flushes;
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim->flushes - flushes, 1);
	assert_int_equal(sim_access(sim, 1, 5 * M, VMMU_R), SIM_OK);
	assert_sound(sim);
}

/* A page too few at either end, and a large leaf would hold one that is not the slot's. */
static void one_page_short_of_a_large_leaf(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 2 * M + K, 6 * M - 2 * K, 0, contiguous(sim, 2 * M + K, 9));
	for (uint64_t gpa = 3 * M; gpa < 8 * M; gpa += 2 * M) {
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
		sim_look(sim, gpa, VMMU_W, &walk);
		assert_int_equal(walk.level, gpa == 5 * M ? VMMU_LEVEL_2M : VMMU_LEVEL_4K);
	}
	sim_slot_create(sim, 1, 1 * G, 1 * G - K, 0, contiguous(sim, 1 * G, 18));
	sim_slot_create(sim, 2, 3 * G + K, 1 * G - K, 0, contiguous(sim, 3 * G + K, 18));
	for (uint64_t gpa = 1 * G + 64 * M; gpa < 4 * G; gpa += 2 * G) {
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
		sim_look(sim, gpa, VMMU_W, &walk);
		assert_int_equal(walk.level, VMMU_LEVEL_2M);
	}
	assert_sound(sim);
}

static enum vmmu_backing_result (*honest)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                          unsigned access, struct vmmu_backing *out);

static enum vmmu_backing_result boastful(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                         unsigned access, struct vmmu_backing *out)
{
	enum vmmu_backing_result result = honest(ctx, slot, gfn, access, out);

	out->order = 18;
	return result;
}

/* Frames out of step with gfns cannot back a large leaf, whatever the host says of their run. */
static void frames_out_of_step_get_small_leaves(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 2 * G, 0,
	                sim_backing_new(sim, 0, &(struct sim_backing_config){.skew = 1}));
	honest = sim->host.backing;
	sim->host.backing = boastful;
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 1 * G + 5 * M, VMMU_R), SIM_OK);
	sim_look(sim, 5 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, VMMU_LEVEL_4K);
	assert_sound(sim);
}

/* D only where W is: a CPU's own D would come at the first write, and a host may read it. */
static void dirty_goes_with_write(void **state)
{
	struct sim *sim = sim_default(state);
	struct vmmu_path path;

	sim_slot_create(sim, 0, 0, 4 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 0));
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(sim_access(sim, 0, 1 * M, round ? VMMU_W : VMMU_R), SIM_OK);
		vmmu_path_of(sim->vm, vmmu_gpa_of(1 * M), &path);
		assert_int_equal(path.step[path.steps - 1].info.dirty, round);
	}
	assert_int_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK);
	vmmu_path_of(sim->vm, vmmu_gpa_of(1 * M), &path);
	assert_false(path.step[path.steps - 1].info.dirty);
	assert_sound(sim);
}

/* Bit 7 marks a large leaf; in a small one it chooses among the PAT's upper half (APM vol. 2, 5.4.2). */
static void parts_of_a_large_leaf_are_small(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 2 * G, 0, contiguous(sim, 0, 18));
	assert_int_equal(sim_access(sim, 0, 1 * G, VMMU_R), SIM_OK);
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 1 * G + 4 * M, VMMU_W), SIM_OK);
	for (uint64_t gpa = 1 * G + 4 * M; gpa < 1 * G + 6 * M; gpa += K) {
		sim_look(sim, gpa, VMMU_R, &walk);
		assert_int_equal(walk.level, VMMU_LEVEL_4K);
		assert_int_equal(walk.step[walk.steps - 1].entry & 1 << 7, 0);
	}
	assert_sound(sim);
}

/* What the CPU refuses it does not remember: memory in place of MMIO costs no flush. */
static void replacing_mmio_owes_no_flush(void **state)
{
	struct sim *sim = two_vcpus(state);
	uint64_t flushes;

	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(sim_access(sim, v, 5 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	flushes = sim->flushes;
	/* A slot beside it: the entry stays, of an older generation, and is made anew. */
	sim_slot_create(sim, 0, 8 * M, 2 * M, 0, contiguous(sim, 8 * M, 0));
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(sim->flushes, flushes);
	assert_sound(sim);
}

/* A move to the same place used to take the caps off; found by a soak (seed 20261122). */
static void a_move_to_the_same_place_keeps_caps(void **state)
{
	struct sim *sim = sim_default(state);
	struct vmmu_stats stats;

	sim_slot_create(sim, 0, 0, 8 * M, 0, contiguous(sim, 0, 9));
	assert_int_equal(sim_restrict(sim, 2 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_equal(sim_slot_move(sim, 0, 0), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 3 * M, VMMU_W), SIM_OK);
	vmmu_stats_read(sim->vm, &stats);
	assert_int_equal(stats.pages[VMMU_LEVEL_4K], 1);
	assert_int_equal(stats.pages[VMMU_LEVEL_2M], 0);
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(an_end_takes_its_own_range),
		BOTH(a_new_memory_type_is_flushed),
		BOTH(one_page_short_of_a_large_leaf),
		BOTH(frames_out_of_step_get_small_leaves),
		BOTH(dirty_goes_with_write),
		BOTH(parts_of_a_large_leaf_are_small),
		BOTH(replacing_mmio_owes_no_flush),
		BOTH(a_move_to_the_same_place_keeps_caps),
	};

	return cmocka_run_group_tests_name("edges", tests, NULL, NULL);
}
