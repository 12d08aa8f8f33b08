/* SPDX-License-Identifier: BSD-2-Clause */
/* Accesses outside slots, and the entries that remember them. */
#include "case.h"

MODES;

static uint64_t hits(struct sim *sim)
{
	struct vmmu_stats stats;

	vmmu_stats_read(sim->vm, &stats);
	return stats.mmio_hits;
}

static void the_second_access_is_answered_by_the_entry(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_census census;

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	assert_int_equal(sim_access(sim, 0, 0xfee00000, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(sim->fault.slot, UINT32_MAX);
	sim_census(sim, &census);
	assert_int_equal(census.mmio, 1);
	assert_int_equal(hits(sim), 0);
	for (unsigned i = 1; i <= 5; i++) {
		uint64_t writes = sim->writes;

		assert_int_equal(sim_access(sim, 0, 0xfee00000 + 0x80 * i, i % 2 ? VMMU_R : VMMU_W),
		                 VMMU_FAULT_EMULATE_MMIO);
		assert_int_equal(hits(sim), i);
		assert_int_equal(sim->writes, writes);
	}
	assert_sound(sim);
}

static void nothing_is_cached_when_asked_not_to(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim_census census;

	config.no_mmio_cache = true;
	struct sim *sim = sim_start(&config);

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sim_access(sim, 0, 0xfee00000, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	sim_census(sim, &census);
	assert_int_equal(census.nonzero, 0);
	assert_int_equal(hits(sim), 0);
	assert_sound(sim);
}

/* With 52 address bits no reserved one is left: NPT cannot cache, and must not try. */
static void a_cpu_without_a_spare_bit_still_works(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.cpu.maxphyaddr = 52;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sim_access(sim, 0, 0xfee00000, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
		assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), SIM_OK);
	}
	assert_sound(sim);
}

static void a_new_slot_makes_cached_entries_stale(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	for (uint64_t gpa = 30 * M; gpa < 40 * M; gpa += M)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	sim_slot_create(sim, 0, 32 * M, 4 * M, 0, contiguous(sim, 32 * M, 9));
	for (uint64_t gpa = 30 * M; gpa < 40 * M; gpa += M)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W),
		                 gpa >= 32 * M && gpa < 36 * M ? SIM_OK : VMMU_FAULT_EMULATE_MMIO);
	/* What MMIO left behind does not keep large pages out. */
	sim_look(sim, 32 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 2);
	assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	for (uint64_t gpa = 30 * M; gpa < 40 * M; gpa += M)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	assert_sound(sim);
}

static void every_slot_change_counts(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t before;

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	sim_slot_create(sim, 1, 64 * M, 16 * M, 0, contiguous(sim, 64 * M, 9));
	sim_access(sim, 0, 1 * G, VMMU_R);
	before = sim_trace_count(&sim->trace, VMMU_TRACE_CHECK_MMIO);
	sim_slot_move(sim, 1, 128 * M);
	assert_int_equal(sim_access(sim, 0, 1 * G, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	sim_slot_delete(sim, 1);
	assert_int_equal(sim_access(sim, 0, 1 * G, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	sim_slot_create(sim, 1, 64 * M, 16 * M, 0, contiguous(sim, 64 * M, 9));
	assert_int_equal(sim_access(sim, 0, 1 * G, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	sim_drain(sim);
	assert_int_equal(sim_trace_count(&sim->trace, VMMU_TRACE_CHECK_MMIO), before + 3);
	assert_sound(sim);
}

/*
 * The generation in an entry is finite. An entry from one turn ago must never
 * be taken for a fresh one: the page has become memory in between.
 */
static void the_generation_comes_round(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.unwatched = true;
	config.untraced = true;
	struct sim *sim = sim_start(&config);
	struct vmmu_slot_info info = {
		.id = 1,
		.base = vmmu_gpa_of(1 * G),
		.bytes = K,
		.backing = contiguous(sim, 1 * G, 0),
	};
	uint64_t lone = contiguous(sim, 8 * G, 0);
	uint32_t generation = 0;

	/* Read it off an entry. */
	for (unsigned turn = 0; turn < 2; turn++) {
		struct vmmu_fault fault = {.gpa = vmmu_gpa_of(8 * G), .access = VMMU_R};
		struct vmmu_path path;

		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_EMULATE_MMIO);
		vmmu_path_of(sim->vm, fault.gpa, &path);
		assert_int_equal(path.step[path.steps - 1].info.kind, VMMU_ENTRY_MMIO);
		generation = path.step[path.steps - 1].info.mmio_gen;
	}
	/* One turn of 2^20 changes: it ends on the very number that is in the entry. */
	assert_int_equal(vmmu_slot_create(sim->vm, &info), VMMU_OK);
	for (uint32_t i = 1; i < 1u << 20; i++)
		if (vmmu_slot_set_flags(sim->vm, 1, i & 1 ? VMMU_SLOT_READONLY : 0) != VMMU_OK)
			fail_msg("change %u failed", i);
	struct vmmu_slot_info over = {.id = 2, .base = vmmu_gpa_of(8 * G), .bytes = K, .backing = lone};
	struct vmmu_path path;

	vmmu_path_of(sim->vm, vmmu_gpa_of(8 * G), &path);
	assert_int_not_equal(path.step[path.steps - 1].info.kind, VMMU_ENTRY_MMIO);
	assert_int_equal(vmmu_slot_create(sim->vm, &over), VMMU_OK);
	for (unsigned i = 0; i < 2; i++) {
		struct vmmu_fault fault = {.gpa = vmmu_gpa_of(8 * G),
		                           .access = VMMU_R | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED};

		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault),
		                 i ? VMMU_FAULT_SPURIOUS : VMMU_FAULT_FIXED);
	}
	assert_true(generation < 1u << 20);
	assert_int_equal(vmmu_slot_delete(sim->vm, 2), VMMU_OK);
	assert_int_equal(vmmu_slot_delete(sim->vm, 1), VMMU_OK);
	assert_sound(sim);
}

/* A read-only slot is memory: its refused writes are no MMIO entries. */
static void refused_writes_are_not_cached(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_census census;

	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_READONLY, contiguous(sim, 0, 0));
	assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), VMMU_FAULT_READ_ONLY);
	assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_R), SIM_OK);
	sim_census(sim, &census);
	assert_int_equal(census.mmio, 0);
	assert_sound(sim);
}

static void prefault_reports_but_does_not_cache(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t done;

	assert_int_equal(sim_prefault(sim, 0, 1 * G, 64 * K, VMMU_R, &done), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(done, 0);
	assert_sound(sim);
}

static void look_into_holes(struct sim *sim, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		struct vmmu_fault fault = {.gpa = vmmu_gpa_of(64 * G + i * 2 * M), .access = VMMU_R};

		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_EMULATE_MMIO);
	}
}

static bool is_cached(const struct sim *sim, unsigned i)
{
	struct vmmu_path path;

	vmmu_path_of(sim->vm, vmmu_gpa_of(64 * G + i * 2 * M), &path);
	return path.step[path.steps - 1].info.kind == VMMU_ENTRY_MMIO;
}

/* A guest that looks about costs its host so many tables and no more; those that go make room for others. */
static void holes_cost_few_tables_at_a_time(void **state)
{
	struct sim *sim = sim_default(state);
	const unsigned many = 4096;
	unsigned cached = 0;

	look_into_holes(sim, 0, many);
	while (is_cached(sim, cached))
		cached++;
	assert_in_range(cached, 1024, many - 1);
	assert_false(is_cached(sim, many - 1));
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(vmmu_invalidate_begin(sim->vm, vmmu_gpa_of(64 * G), many * 2 * M), VMMU_OK);
		assert_int_equal(vmmu_invalidate_end(sim->vm, vmmu_gpa_of(64 * G), many * 2 * M), VMMU_OK);
		/* The others this time: as many as before, and not one more. */
		look_into_holes(sim, many - 1024, many);
		assert_true(is_cached(sim, many - 1024));
		assert_true(is_cached(sim, many - 1));
		look_into_holes(sim, 0, many);
		assert_false(is_cached(sim, many - 1025));
	}
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(the_second_access_is_answered_by_the_entry),
		BOTH(nothing_is_cached_when_asked_not_to),
		BOTH(a_cpu_without_a_spare_bit_still_works),
		BOTH(a_new_slot_makes_cached_entries_stale),
		BOTH(every_slot_change_counts),
		EPT(the_generation_comes_round), /* a million changes; the format has no part in it */
		BOTH(refused_writes_are_not_cached),
		BOTH(prefault_reports_but_does_not_cache),
		BOTH(holes_cost_few_tables_at_a_time),
	};

	return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}
