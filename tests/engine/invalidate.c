/* SPDX-License-Identifier: BSD-2-Clause */
/* The host takes frames back. */
#include "case.h"

#include "random.h"

/* Pages at the same place in two parts of 1 GiB, taken away one by one: each is looked for in its own table. */
static void page_by_page_in_turns(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 2 * G, 0, contiguous(sim, 0, 0));
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(sim_access(sim, 0, i * K, VMMU_W), SIM_OK);
		assert_int_equal(sim_access(sim, 0, 1 * G + i * K, VMMU_W), SIM_OK);
	}
	for (unsigned i = 0; i < 8; i++) {
		const uint64_t first = i % 2 ? 0 : 1 * G, other = i % 2 ? 1 * G : 0;

		assert_int_equal(sim_invalidate_begin(sim, first + i * K, K), VMMU_OK);
		assert_int_equal(sim_invalidate_end(sim, first + i * K, K), VMMU_OK);
		sim_look(sim, first + i * K, 0, &walk);
		assert_int_not_equal(walk.end, SIM_WALK_MAPPED);
		sim_look(sim, other + i * K, 0, &walk);
		assert_int_equal(walk.end, SIM_WALK_MAPPED);
	}
	assert_sound(sim);
}

MODES;

static void nothing_maps_the_range_until_the_end(void **state)
{
	for (unsigned order = 0; order <= 18; order += 9) {
		struct sim_config config = sim_config_default(mode_of(state));
		struct sim_walk before, after;

		config.vcpus = 3;
		struct sim *sim = sim_start(&config);

		sim_slot_create(sim, 0, 0, 4 * G, 0, on_demand(sim, 0, order));
		for (unsigned v = 0; v < 3; v++)
			for (uint64_t gpa = 1 * G; gpa < 1 * G + 8 * M; gpa += 512 * K)
				assert_int_equal(sim_access(sim, v, gpa, VMMU_W), SIM_OK);
		sim_look(sim, 1 * G + 2 * M, VMMU_R, &before);
		assert_int_equal(sim_invalidate_begin(sim, 1 * G + 2 * M, 2 * M), VMMU_OK);
		for (unsigned v = 0; v < 3; v++)
			assert_int_equal(sim_access(sim, v, 1 * G + 2 * M + v * 64 * K, VMMU_R),
			                 VMMU_FAULT_RETRY);
		assert_int_equal(sim_access(sim, 0, 1 * G + 6 * M, VMMU_W), SIM_OK);
		sim_backing_take(&sim->backing[0], (int64_t)((1 * G + 2 * M) / K), 512);
		sim_invalidate_end(sim, 1 * G + 2 * M, 2 * M);
		for (unsigned v = 0; v < 3; v++)
			assert_int_equal(sim_access(sim, v, 1 * G + 2 * M, VMMU_R), SIM_OK);
		sim_look(sim, 1 * G + 2 * M, VMMU_R, &after);
		assert_int_not_equal(after.pfn, before.pfn);
		assert_sound(sim);
	}
}

static void pairs_nest_and_overlap(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, 0));
	for (uint64_t gpa = 0; gpa < 64 * M; gpa += 1 * M)
		sim_access(sim, 0, gpa, VMMU_W);
	assert_int_equal(sim_invalidate_begin(sim, 0, 8 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 4 * M, 8 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 4 * M, 8 * M), VMMU_OK);
	sim_invalidate_end(sim, 0, 8 * M);
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), VMMU_FAULT_RETRY);
	sim_invalidate_end(sim, 4 * M, 8 * M);
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), VMMU_FAULT_RETRY);
	assert_int_equal(sim_access(sim, 0, 11 * M, VMMU_R), VMMU_FAULT_RETRY);
	sim_invalidate_end(sim, 4 * M, 8 * M);
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 0, VMMU_W), SIM_OK);
	assert_int_equal(sim_invalidate_end(sim, 4 * M, 8 * M), VMMU_ERR_INVALID); /* one too many */
	assert_sound(sim);
}

/* What lies between two ranges under invalidation is mapped and stays so. */
static void two_ranges_leave_what_is_between(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, 0));
	for (uint64_t gpa = 0; gpa < 64 * M; gpa += 1 * M)
		sim_access(sim, 0, gpa, VMMU_W);
	assert_int_equal(sim_invalidate_begin(sim, 0, 8 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 48 * M, 8 * M), VMMU_OK);
	sim_look(sim, 20 * M, VMMU_W, &walk);
	assert_int_equal(walk.end, SIM_WALK_MAPPED);
	assert_int_equal(sim_access(sim, 0, 20 * M, VMMU_W), SIM_OK);
	assert_true(sim_check(sim));
	sim_invalidate_end(sim, 48 * M, 8 * M);
	sim_invalidate_end(sim, 0, 8 * M);
	assert_sound(sim);
}

static void ranges_need_not_fit_slots(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 16 * M, 16 * M, 0, contiguous(sim, 16 * M, 9));
	sim_slot_create(sim, 1, 32 * M, 16 * M, 0, contiguous(sim, 32 * M, 9));
	for (uint64_t gpa = 0; gpa < 64 * M; gpa += 1 * M)
		sim_access(sim, 0, gpa, VMMU_W);
	assert_int_equal(sim_invalidate_begin(sim, 0, 1ull << 46), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 31 * M, VMMU_W), VMMU_FAULT_RETRY);
	sim_invalidate_end(sim, 0, 1ull << 46);
	assert_int_equal(sim_invalidate_begin(sim, 31 * M, 2 * M), VMMU_OK);
	sim_invalidate_end(sim, 31 * M, 2 * M);
	assert_int_equal(sim_invalidate_begin(sim, 8 * M, 1ull << 50), VMMU_OK); /* past all memory */
	assert_int_equal(sim_access(sim, 0, 31 * M, VMMU_W), VMMU_FAULT_RETRY);
	assert_int_equal(sim_invalidate_end(sim, 8 * M, 1ull << 50), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 1ull << 50, K), VMMU_ERR_INVALID);
	assert_int_equal(sim_invalidate_end(sim, 0, 0), VMMU_ERR_INVALID);
	assert_int_equal(sim_invalidate_begin(sim, 0, 0), VMMU_ERR_INVALID);
	assert_int_equal(sim_invalidate_begin(sim, ~0ull << 12, 8 * K), VMMU_ERR_INVALID);
	for (uint64_t gpa = 16 * M; gpa < 48 * M; gpa += 1 * M)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
	assert_sound(sim);
}

static void one_page_out_of_a_large_leaf(void **state)
{
	for (unsigned order = 9; order <= 18; order += 9) {
		struct sim_config config = sim_config_default(mode_of(state));

		config.vcpus = 2;
		struct sim *sim = sim_start(&config);

		sim_slot_create(sim, 0, 0, 4 * G, 0, contiguous(sim, 0, order));
		for (unsigned v = 0; v < 2; v++)
			for (unsigned i = 0; i < 8; i++)
				assert_int_equal(sim_access(sim, v, 1 * G + (i * 131) * K, VMMU_W), SIM_OK);
		assert_int_equal(sim_swap_out(sim, 1 * G + 5 * K, K), VMMU_OK);
		for (unsigned v = 0; v < 2; v++)
			for (uint64_t page = 0; page < 8; page++)
				assert_int_equal(sim_access(sim, v, 1 * G + page * K, VMMU_W), SIM_OK);
		assert_sound(sim);
	}
}

static void slots_change_during_an_invalidation(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_W);
	assert_int_equal(sim_invalidate_begin(sim, 4 * M, 4 * M), VMMU_OK);
	assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), VMMU_FAULT_RETRY);
	assert_int_equal(sim_access(sim, 0, 12 * M, VMMU_W), SIM_OK);
	sim_invalidate_end(sim, 4 * M, 4 * M);
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), SIM_OK);
	assert_sound(sim);
}

static void a_vm_may_end_with_a_range_open(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	assert_int_equal(sim_invalidate_begin(sim, 4 * M, 4 * M), VMMU_OK);
	assert_int_equal(sim_invalidate_begin(sim, 4 * M, 4 * M), VMMU_OK);
	assert_sound(sim);
}

/* As many ranges as there may be, begun and ended in any order: the array that holds them grows. */
static void many_ranges(void **state)
{
	enum { RANGES = 60,
	       PAGES = 64 };
	struct sim *sim = sim_default(state);
	struct {
		uint64_t first, pages;
		bool open;
	} range[RANGES] = {{0, 0, false}};
	uint64_t random = 12;

	sim_slot_create(sim, 0, 0, PAGES * K, 0, contiguous(sim, 0, 0));
	for (unsigned step = 0; step < 400 && !sim->failed; step++) {
		unsigned i = (unsigned)sim_random_below(&random, step < 200 ? RANGES : 20);
		uint64_t gfn = sim_random_below(&random, PAGES);
		bool busy = false;

		if (range[i].open) {
			assert_int_equal(sim_invalidate_end(sim, range[i].first * K, range[i].pages * K), VMMU_OK);
			range[i].open = false;
		} else {
			range[i].first = sim_random_below(&random, PAGES);
			range[i].pages = 1 + sim_random_below(&random, sim_random_below(&random, 3) ? 2 : 24);
			assert_int_equal(sim_invalidate_begin(sim, range[i].first * K, range[i].pages * K), VMMU_OK);
			range[i].open = true;
		}
		for (unsigned j = 0; j < RANGES; j++)
			busy |= range[j].open && gfn >= range[j].first && gfn < range[j].first + range[j].pages;
		assert_int_equal(sim_access(sim, 0, gfn * K, VMMU_W), busy ? VMMU_FAULT_RETRY : SIM_OK);
	}
	/* What was never begun, or only partly, ends nothing. */
	assert_int_equal(sim_invalidate_end(sim, 0, 1000 * K), VMMU_ERR_INVALID);
	assert_sound(sim);
}

/* Where the array cannot grow nothing is begun; a slot that moves needs no memory for its two ranges. */
static void no_room_for_a_range(void **state)
{
	struct sim *sim = sim_default(state);
	unsigned open = 0;

	sim_slot_create(sim, 0, 0, 64 * K, 0, contiguous(sim, 0, 0));
	sim_access(sim, 0, 0, VMMU_W);
	sim->memory.plan = (struct sim_fail_plan){.at = {sim->memory.attempts + 1}, .from_first_on = true};
	while (sim_invalidate_begin(sim, (open + 1) * K, K) == VMMU_OK)
		open++;
	assert_int_equal(open, 6);
	assert_int_equal(sim_access(sim, 0, 0, VMMU_R), SIM_OK);
	assert_int_equal(sim_slot_move(sim, 0, 1 * M), VMMU_OK);
	assert_int_equal(sim_slot_move(sim, 0, 0), VMMU_OK);
	sim->memory.plan = (struct sim_fail_plan){.at = {0}};
	assert_int_equal(sim_invalidate_begin(sim, (open + 1) * K, K), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, (open + 1) * K, VMMU_R), VMMU_FAULT_RETRY);
	for (unsigned i = 0; i <= open; i++)
		assert_int_equal(sim_invalidate_end(sim, (i + 1) * K, K), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, K, VMMU_W), SIM_OK);
	assert_sound(sim);
}

/* One page out of each size of leaf, out of nothing, of an MMIO entry, and past the tables' end. */
static void single_pages(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 2;
	config.unhooked = config.untraced = true;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 16 * K, 0, on_demand(sim, 0, 0));
	sim_slot_create(sim, 1, 2 * M, 2 * M, 0, contiguous(sim, 2 * M, 9));
	sim_slot_create(sim, 2, 1 * G, 1 * G, 0, contiguous(sim, 1 * G, 18));
	sim_access(sim, 0, 3 * G, VMMU_R);
	for (unsigned round = 0; round < 2; round++) {
		static const uint64_t at[] = {2 * K, 2 * M + 5 * K, 1 * G + 777 * K, 3 * G, 64 * M, (1ull << 46) - K};

		for (unsigned v = 0; v < 2; v++)
			for (unsigned i = 0; i < 3; i++)
				assert_int_equal(sim_access(sim, v, at[i], VMMU_W), SIM_OK);
		for (unsigned i = 0; i < 6; i++) {
			assert_int_equal(sim_swap_out(sim, at[i], K), VMMU_OK);
			if (i < 3)
				assert_int_equal(sim_access(sim, i % 2, at[i], VMMU_R), SIM_OK);
		}
		/* Of two places in turn, each in a table of its own. */
		for (unsigned i = 0; i < 3; i++) {
			sim_access(sim, 0, 3 * G, VMMU_R);
			assert_int_equal(sim_access(sim, 0, 2 * K, VMMU_W), SIM_OK);
			assert_int_equal(sim_swap_out(sim, 3 * G, K), VMMU_OK);
			assert_int_equal(sim_swap_out(sim, 2 * K, K), VMMU_OK);
		}
		sim_slot_delete(sim, 0);
		sim_slot_create(sim, 0, 0, 16 * K, 0, on_demand(sim, 0, 0));
	}
	assert_sound(sim);
}

static void swapping_at_random(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct sim_config config = sim_config_default(mode_of(state));
		uint64_t random = seed;

		config.vcpus = 3;
		config.seed = seed;
		struct sim *sim = sim_start(&config);

		sim_slot_create(sim, 0, 0, 64 * M, 0, on_demand(sim, 0, (unsigned)sim_random_below(&random, 10)));
		for (unsigned i = 0; i < 150 && !sim->failed; i++) {
			uint64_t gpa = sim_random_below(&random, 64 * M) & ~(K - 1);

			if (sim_random_below(&random, 4))
				sim_access(sim, i % 3, gpa, VMMU_W);
			else
				sim_swap_out(sim, gpa, K << sim_random_below(&random, 8));
		}
		assert_sound(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(nothing_maps_the_range_until_the_end),
		BOTH(pairs_nest_and_overlap),
		BOTH(two_ranges_leave_what_is_between),
		BOTH(ranges_need_not_fit_slots),
		BOTH(one_page_out_of_a_large_leaf),
		BOTH(slots_change_during_an_invalidation),
		BOTH(a_vm_may_end_with_a_range_open),
		BOTH(many_ranges),
		BOTH(no_room_for_a_range),
		BOTH(single_pages),
		BOTH(swapping_at_random),
		BOTH(page_by_page_in_turns),
	};

	return cmocka_run_group_tests_name("invalidate", tests, NULL, NULL);
}
