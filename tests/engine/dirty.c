/* SPDX-License-Identifier: BSD-2-Clause */
/* The dirty log: each page written since the last round, once, and no other. */
#include "case.h"

#include "random.h"

MODES;

static void each_write_is_reported_once(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t pages;

	sim_slot_create(sim, 0, 0, 1 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 0));
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 0);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), SIM_OK);
		assert_int_equal(sim_access(sim, 0, 5 * K + 8, VMMU_W), SIM_OK);
		assert_int_equal(sim_access(sim, 0, 6 * K, VMMU_R), SIM_OK);
		assert_int_equal(sim_access(sim, 0, 7 * K, VMMU_X), SIM_OK);
		assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
		assert_int_equal(pages, 1);
		assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
		assert_int_equal(pages, 0);
	}
	assert_sound(sim);
}

static void the_first_and_last_page_of_odd_slots(void **state)
{
	static const unsigned lengths[] = {1, 63, 64, 65, 127, 128, 129, 1000};
	struct sim *sim = sim_default(state);
	uint64_t pages;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint64_t base = (7 + 5 * i) * 2 * M + 3 * K, bytes = lengths[i] * K;

		sim_slot_create(sim, i, base, bytes, VMMU_SLOT_LOG_DIRTY, contiguous(sim, base, 9));
		assert_int_equal(sim_access(sim, 0, base, VMMU_W), SIM_OK);
		assert_int_equal(sim_access(sim, 0, base + bytes - 1, VMMU_W), SIM_OK);
		assert_int_equal(sim_dirty_log(sim, i, &pages), VMMU_OK);
		assert_int_equal(pages, lengths[i] == 1 ? 1 : 2);
	}
	assert_sound(sim);
}

/* Large leaves from before the log began: each 4 KiB page is still seen on its own. */
static void large_leaves_are_split_to_see_single_pages(void **state)
{
	for (unsigned order = 9; order <= 18; order += 9) {
		struct sim_config config = sim_config_default(mode_of(state));
		struct sim_walk walk;
		uint64_t pages;

		config.vcpus = 2;
		struct sim *sim = sim_start(&config);

		sim_slot_create(sim, 0, 0, 2 * G, 0, contiguous(sim, 0, order));
		for (unsigned v = 0; v < 2; v++)
			assert_int_equal(sim_access(sim, v, 1 * G + 5 * K, VMMU_W), SIM_OK);
		sim_look(sim, 1 * G + 5 * K, VMMU_W, &walk);
		assert_int_equal(walk.level, 1 + order / 9);
		assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
		sim_look(sim, 1 * G + 5 * K, VMMU_W, &walk);
		assert_int_not_equal(walk.end, SIM_WALK_MAPPED);
		for (unsigned v = 0; v < 2; v++)
			for (uint64_t page = 0; page < 4; page++)
				assert_int_equal(sim_access(sim, v, 1 * G + (5 + 2 * page + v) * K, VMMU_W), SIM_OK);
		sim_look(sim, 1 * G + 5 * K, VMMU_W, &walk);
		assert_int_equal(walk.level, 1);
		assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
		assert_int_equal(pages, 8);
		assert_int_equal(sim_slot_set_flags(sim, 0, 0), VMMU_OK);
		for (unsigned v = 0; v < 2; v++)
			assert_int_equal(sim_access(sim, v, 1 * G + 5 * K, VMMU_W), SIM_OK);
		sim_look(sim, 1 * G + 5 * K, VMMU_W, &walk);
		assert_int_equal(walk.level, 1 + order / 9); /* large again once nobody logs */
		assert_sound(sim);
	}
}

/* The CPU that wrote in the last round still has a writable translation, until the flush. */
static void a_new_round_reaches_every_tlb(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	uint64_t pages;

	config.vcpus = 4;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 8 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 0));
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned v = 0; v < 4; v++)
			for (uint64_t page = 0; page < 8; page++)
				assert_int_equal(sim_access(sim, v, page * 17 * K, VMMU_W), SIM_OK);
		assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
		assert_int_equal(pages, 8);
	}
	assert_sound(sim);
}

static void the_hosts_own_writes_count(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t pages;

	sim_slot_create(sim, 0, 16 * M, 1 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 16 * M, 0));
	sim_slot_create(sim, 1, 32 * M, 1 * M, 0, contiguous(sim, 32 * M, 0));
	sim_mark_dirty(sim, 0, 16 * M + 9 * K);
	sim_mark_dirty(sim, -1, 17 * M - 1);
	sim_mark_dirty(sim, 0, 16 * M - 1);
	sim_mark_dirty(sim, -1, 17 * M);
	sim_mark_dirty(sim, 0, 32 * M);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 2);
	assert_sound(sim);
}

static void refusals(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t bitmap[4] = {~0ull, ~0ull, ~0ull, ~0ull};

	sim_slot_create(sim, 0, 0, 1 * M, 0, contiguous(sim, 0, 0));
	assert_int_not_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK); /* it does not log */
	sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY);
	assert_int_equal(vmmu_dirty_log(sim->vm, 0, bitmap, 3), VMMU_ERR_INVALID); /* too short */
	assert_int_equal(bitmap[0], ~0ull);
	assert_int_equal(vmmu_dirty_log(sim->vm, 0, bitmap, 4), VMMU_OK);
	assert_int_equal(bitmap[0] | bitmap[1] | bitmap[2] | bitmap[3], 0);
	assert_sound(sim);
}

/* Turning the log off and on again starts with nothing dirty and nothing writable. */
static void off_and_on_starts_afresh(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t pages;

	sim_slot_create(sim, 0, 0, 8 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 9));
	sim_access(sim, 0, 5 * K, VMMU_W);
	sim_slot_set_flags(sim, 0, 0);
	sim_access(sim, 0, 4 * M, VMMU_W);
	sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 0);
	sim_access(sim, 0, 4 * M, VMMU_W);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 1);
	assert_sound(sim);
}

/* Many pages, more than one closing of the gate takes. */
static void thousands_of_pages(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	uint64_t pages, seed = 5, expected = 0;
	static bool written[20000];

	config.unwatched = true;
	config.untraced = true;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 3 * K, sizeof(written) * K, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 9));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3000; i++) {
			uint64_t page = sim_random_below(&seed, sizeof(written));

			expected += !written[page];
			written[page] = true;
			assert_int_equal(sim_access(sim, 0, (3 + page) * K, VMMU_W), SIM_OK);
		}
		assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
		assert_int_equal(pages, expected);
		expected = 0;
		for (unsigned i = 0; i < sizeof(written); i++)
			written[i] = false;
	}
	assert_sound(sim);
}

static void prefaulted_writes_are_dirty(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t pages;

	sim_slot_create(sim, 0, 0, 8 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 9));
	assert_int_equal(sim_prefault(sim, 0, 0, 64 * K, VMMU_W, NULL), VMMU_FAULT_FIXED);
	assert_int_equal(sim_prefault(sim, 0, 1 * M, 64 * K, VMMU_R, NULL), VMMU_FAULT_FIXED);
	assert_int_equal(sim_access(sim, 0, 8 * K, VMMU_W), SIM_OK);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_in_range(pages, 1, 64); /* prefaulted for writing: allowed to count as written */
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(each_write_is_reported_once),
		BOTH(the_first_and_last_page_of_odd_slots),
		BOTH(large_leaves_are_split_to_see_single_pages),
		BOTH(a_new_round_reaches_every_tlb),
		BOTH(the_hosts_own_writes_count),
		BOTH(refusals),
		BOTH(off_and_on_starts_afresh),
		BOTH(thousands_of_pages),
		BOTH(prefaulted_writes_are_dirty),
	};

	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
