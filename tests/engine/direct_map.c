/* SPDX-License-Identifier: BSD-2-Clause */
/* Building a direct map, one fault at a time. */
#include "case.h"

#include "random.h"

MODES;

static void tables_start_empty(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_census census;

	sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, 18));
	sim_census(sim, &census);
	assert_int_equal(census.nonzero, 0);
	assert_int_equal(sim->writes, 0);
	assert_int_equal(sim->backing_calls, 0);
	assert_sound(sim);
}

/* Exactly the missing part of a path, counted in writes. */
static void a_fault_builds_only_what_is_missing(void **state)
{
	static const struct {
		uint64_t gpa;
		unsigned writes;
	} touch[] = {
		{5 * M, 4},     /* all levels */
		{5 * M, 0},     /* nothing */
		{5 * M + K, 1}, /* the leaf */
		{7 * M, 2},     /* another level-1 table */
		{3 * G, 3},     /* another level-2 table */
		{600 * G, 4},   /* another level-3 table */
		{600 * G + 4 * M, 2},
	};
	struct sim *sim = sim_default(state);
	struct vmmu_stats stats;

	sim_slot_create(sim, 0, 0, 1024 * G, 0, on_demand(sim, 0, 0));
	for (unsigned i = 0; i < sizeof(touch) / sizeof(touch[0]); i++) {
		uint64_t before = sim->writes;

		assert_int_equal(sim_access(sim, 0, touch[i].gpa, VMMU_W), SIM_OK);
		assert_int_equal(sim->writes - before, touch[i].writes);
		assert_true(sim_check(sim));
	}
	vmmu_stats_read(sim->vm, &stats);
	assert_int_equal(stats.entries[VMMU_CAUSE_VIOLATION][1], 6);
	assert_int_equal(stats.entries[VMMU_CAUSE_VIOLATION][2], 5);
	assert_int_equal(stats.entries[VMMU_CAUSE_VIOLATION][3], 3);
	assert_int_equal(stats.entries[VMMU_CAUSE_VIOLATION][4], 2);
	assert_int_equal(stats.faults[VMMU_FAULT_FIXED], 6);
	assert_sound(sim);
}

/* Touch one page of slot 0: its leaf must be the largest that slot, host and config allow. */
static void expect_best_level(struct sim *sim, uint64_t gpa, uint64_t base, uint64_t backing)
{
	struct vmmu_backing answer;
	struct sim_walk walk;
	uint64_t gfn = gpa / K;

	sim_look(sim, gpa, 0, &walk);
	if (walk.end == SIM_WALK_MAPPED)
		return; /* a neighbour's fault has brought it */
	sim_backing_ask(&sim->backing[backing], &sim->memory, gfn, (int64_t)(gfn - base / K), VMMU_R,
	                NULL, NULL, &answer);
	unsigned best = sim_ref_best_level(&sim->ref, gfn, answer.order);

	assert_int_equal(sim_access(sim, 0, gpa, VMMU_R), SIM_OK);
	sim_look(sim, gpa, VMMU_R, &walk);
	if (walk.level != best)
		fail_msg("host order %u: %#lx is mapped at level %u, could be %u", answer.order, gpa,
		         walk.level, best);
}

/* Slots of several sizes at one place, on a host of one alignment. */
static void try_sizes(const struct sim_config *config, uint64_t base, unsigned order, uint64_t skew)
{
	static const uint64_t sizes[] = {K, 2 * M, 4 * M + K, 1 * G, 2 * G + 2 * M};
	struct sim *sim = sim_start(config);
	uint64_t backing = sim_backing_new(sim, base, &(struct sim_backing_config){.order = (uint8_t)order, .skew = skew});

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		sim_slot_create(sim, 0, base, sizes[i], 0, backing);
		expect_best_level(sim, base, base, backing);
		expect_best_level(sim, base + sizes[i] - 1, base, backing);
		expect_best_level(sim, base + sizes[i] / 2, base, backing);
		assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	}
	assert_sound(sim);
}

/*
 * Page size: the slot's alignment x the host's run x the host's alignment x
 * the config's largest leaf. The reference has the expectation from the
 * header's words.
 */
static void leaves_are_as_large_as_allowed(void **state)
{
	static const uint64_t bases[] = {0, 2 * G, 2 * G + 2 * M, 3 * G + 5 * K};
	static const unsigned orders[] = {0, 5, 9, 13, 18};
	static const uint64_t skews[] = {0, 1, 512};
	const unsigned combinations = 4 * 4 * 5 * 3;

	for (unsigned i = 0; i < combinations; i++) {
		struct sim_config config = sim_config_default(mode_of(state));

		config.max_level = (uint8_t)(i % 4);
		config.untraced = true;
		try_sizes(&config, bases[i / 4 % 4], orders[i / 16 % 5], skews[i / 80]);
	}
}

static void page_sizes_the_cpu_lacks_are_not_used(void **state)
{
	for (unsigned bits = 0; bits < 4; bits++) {
		struct sim_config config = sim_config_default(mode_of(state));
		struct sim_census census;

		config.cpu.page_1g = bits & 1;
		config.cpu.page_2m = mode_of(state) == VMMU_MODE_NPT || (bits & 2);
		struct sim *sim = sim_start(&config);

		sim_slot_create(sim, 0, 0, 2 * G, 0, contiguous(sim, 0, 18));
		assert_int_equal(sim_access(sim, 0, 1 * G + 5 * M, VMMU_W), SIM_OK);
		sim_census(sim, &census);
		assert_int_equal(census.leaves[1], !config.cpu.page_2m);
		assert_int_equal(census.leaves[2], config.cpu.page_2m && !config.cpu.page_1g);
		assert_int_equal(census.leaves[3], config.cpu.page_2m && config.cpu.page_1g);
		assert_sound(sim);
	}
}

/* A cap splits what is there, keeps large leaves out, and lets them back in. */
static void caps_hold_and_can_be_taken_off(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 4 * G, 0, contiguous(sim, 0, 18));
	sim_access(sim, 0, 1 * G, VMMU_W);
	sim_look(sim, 1 * G, VMMU_W, &walk);
	assert_int_equal(walk.level, 3);
	assert_int_equal(sim_restrict(sim, 1 * G + 6 * M, 4 * K, VMMU_LEVEL_4K), VMMU_OK);
	sim_access(sim, 0, 1 * G + 6 * M + K, VMMU_W);
	sim_look(sim, 1 * G + 6 * M + K, VMMU_W, &walk);
	assert_int_equal(walk.level, 1);
	sim_access(sim, 0, 1 * G + 64 * M, VMMU_W);
	sim_look(sim, 1 * G + 64 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 2);
	sim_access(sim, 0, 2 * G, VMMU_W);
	sim_look(sim, 2 * G, VMMU_W, &walk);
	assert_int_equal(walk.level, 3);
	assert_int_equal(sim_restrict(sim, 1 * G + 6 * M, 4 * K, VMMU_LEVEL_1G), VMMU_OK);
	sim_access(sim, 0, 1 * G + 6 * M, VMMU_W);
	sim_look(sim, 1 * G + 6 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 2); /* its 1 GiB has 2 MiB leaves by now */
	assert_int_equal(sim_restrict(sim, 2 * G, 1 * G, VMMU_LEVEL_2M), VMMU_OK);
	sim_access(sim, 0, 2 * G + 5 * M, VMMU_W);
	sim_look(sim, 2 * G + 5 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 2);
	assert_int_equal(sim_restrict(sim, 2 * G, 1 * G, VMMU_LEVEL_1G), VMMU_OK);
	sim_access(sim, 0, 2 * G + 5 * M, VMMU_W);
	sim_look(sim, 2 * G + 5 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 3);
	assert_sound(sim);
}

/* A cap counts for its whole 2 MiB block, and the last call wins there. */
static void caps_are_kept_by_block(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 1 * G, 0, contiguous(sim, 0, 18));
	assert_int_equal(sim_restrict(sim, 2 * M, K, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_equal(sim_restrict(sim, 5 * M, K, VMMU_LEVEL_4K), VMMU_OK);
	sim_access(sim, 0, 3 * M, VMMU_W);
	sim_look(sim, 3 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 1);
	assert_int_equal(sim_restrict(sim, 4 * M - K, K, VMMU_LEVEL_2M), VMMU_OK);
	sim_access(sim, 0, 3 * M, VMMU_W);
	sim_look(sim, 3 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 1); /* the small leaves are no reason to start again */
	assert_int_equal(sim_restrict(sim, 2 * M, 4 * M, VMMU_LEVEL_1G), VMMU_OK);
	sim_access(sim, 0, 3 * M, VMMU_W);
	sim_look(sim, 3 * M, VMMU_W, &walk);
	assert_int_equal(walk.level, 2);
	assert_sound(sim);
}

static void caps_refuse_what_is_no_range_of_a_slot(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 16 * M, 4 * M, 0, contiguous(sim, 16 * M, 9));
	sim_slot_create(sim, 1, 20 * M, 4 * M, 0, contiguous(sim, 20 * M, 9));
	assert_int_not_equal(sim_restrict(sim, 16 * M, 8 * M, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 0, M, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 15 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 23 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 16 * M, 0, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 16 * M, ~0ull << 12, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 16 * M, M, 0), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, 16 * M, M, 4), VMMU_OK);
	assert_sound(sim);
}

static void a_second_vcpu_finds_it_spurious(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct vmmu_fault fault;

	config.vcpus = 2;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 4, 0, 64 * M, 0, contiguous(sim, 0, 9));
	for (unsigned present = 0; present < 2; present++) {
		fault = (struct vmmu_fault){.gpa = vmmu_gpa_of(5 * M), .access = VMMU_W};
		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault),
		                 present ? VMMU_FAULT_SPURIOUS : VMMU_FAULT_FIXED);
		uint64_t entry = fault.entry;

		fault = (struct vmmu_fault){
			.gpa = vmmu_gpa_of(5 * M + 0x123),
			.access = VMMU_R | (present ? VMMU_ACCESS_PRESENT : 0),
		};
		assert_int_equal(vmmu_fault(sim->vcpu[1].engine, &fault), VMMU_FAULT_SPURIOUS);
		assert_int_equal(fault.entry, entry);
		assert_int_equal(fault.level, 2);
		assert_int_equal(fault.slot, 4);
	}
	assert_sound(sim);
}

static void both_vcpus_have_the_same_root(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 4;
	struct sim *sim = sim_start(&config);

	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(sim->vcpu[i].root.pointer, sim->vcpu[0].root.pointer);
	assert_sound(sim);
}

static void prefault_builds_without_an_exit(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t done, calls;

	sim_slot_create(sim, 0, 0, 8 * M, 0, contiguous(sim, 0, 0));
	sim_slot_create(sim, 1, 8 * M, 1 * G, 0, contiguous(sim, 8 * M, 9));
	assert_int_equal(sim_prefault(sim, 0, 4 * M + 0x800, 8 * M, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 8 * M);
	calls = sim->backing_calls;
	for (uint64_t gpa = 4 * M; gpa < 12 * M; gpa += 64 * K)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
	assert_int_equal(sim->backing_calls, calls);
	assert_int_equal(sim_prefault(sim, 0, 4 * M, 8 * M, VMMU_R, &done), VMMU_FAULT_SPURIOUS);
	assert_int_equal(done, 8 * M);
	assert_sound(sim);
}

static void prefault_stops_where_it_must(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t done;

	sim_slot_create(sim, 0, 0, 64 * K, 0, contiguous(sim, 0, 0));
	sim_slot_create(sim, 1, 64 * K, 64 * K, VMMU_SLOT_READONLY, contiguous(sim, 64 * K, 0));
	assert_int_equal(sim_prefault(sim, 0, 32 * K, 64 * K, VMMU_W, &done), VMMU_FAULT_READ_ONLY);
	assert_int_equal(done, 32 * K);
	assert_int_equal(sim_prefault(sim, 0, 96 * K, 64 * K, VMMU_R, &done), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(done, 32 * K);
	assert_int_equal(sim_prefault(sim, 0, 1ull << 50, K, VMMU_R, &done), VMMU_FAULT_BEYOND);
	assert_int_equal(done, 0);
	assert_sound(sim);
}

static void five_levels(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim_census census;

	config.cpu.levels5 = true;
	config.levels = 5;
	config.cpu.maxphyaddr = 52;
	struct sim *sim = sim_start(&config);
	uint64_t high = (1ull << 52) - 64 * M;

	assert_int_equal(sim->vcpu[0].root.levels, 5);
	sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, 9));
	sim_slot_create(sim, 1, high, 64 * M, 0, contiguous(sim, high, 0));
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 0, high + 5 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 1ull << 49, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(sim_access(sim, 0, 1ull << 52, VMMU_W), VMMU_FAULT_BEYOND);
	sim_census(sim, &census);
	assert_int_equal(census.tables[5], 1);
	assert_int_equal(sim_slot_delete(sim, 1), VMMU_OK);
	assert_sound(sim);
}

static void levels_must_be_the_cpus(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	enum vmmu_status status;

	config.levels = 5;
	struct sim *sim = sim_new(&config, &status);

	assert_int_equal(status, VMMU_ERR_UNSUPPORTED);
	assert_sound(sim);
	config.levels = 3;
	sim = sim_new(&config, &status);
	assert_int_equal(status, VMMU_ERR_INVALID);
	assert_sound(sim);
	/* Under NPT the CPU walks as many levels as the host's CR4.LA57 says, asked or not. */
	config.levels = 4;
	config.cpu.levels5 = true;
	sim = sim_new(&config, &status);
	assert_int_equal(status == VMMU_OK, mode_of(state) == VMMU_MODE_EPT);
	assert_sound(sim);
	config.levels = 0;
	sim = sim_new(&config, &status);
	assert_int_equal(status, VMMU_OK);
	assert_int_equal(sim->vcpu[0].root.levels, mode_of(state) == VMMU_MODE_EPT ? 4 : 5);
	assert_sound(sim);
}

static void bad_configurations_are_refused(void **state)
{
	enum vmmu_status status;
	struct sim_config config = sim_config_default(mode_of(state));

	config.max_level = 4;
	struct sim *sim = sim_new(&config, &status);
	assert_int_equal(status, VMMU_ERR_INVALID);
	assert_sound(sim);
	config = sim_config_default((enum vmmu_mode)7);
	sim = sim_new(&config, &status);
	assert_int_equal(status, VMMU_ERR_INVALID);
	assert_sound(sim);
	config = sim_config_default(mode_of(state));
	config.cpu.maxphyaddr = 53;
	sim = sim_new(&config, &status);
	assert_int_equal(status, VMMU_ERR_INVALID);
	assert_sound(sim);
	config.cpu.maxphyaddr = 31;
	sim = sim_new(&config, &status);
	assert_int_equal(status, VMMU_ERR_INVALID);
	assert_sound(sim);
}

static void an_incomplete_host_is_refused(void **state)
{
	struct sim *sim = sim_default(state);
	struct vmmu_host whole = sim->host, host;
	struct vmmu_config config = {
		.host = &host,
		.host_ctx = sim,
		.mode = mode_of(state),
		.cpu = sim_cpu_full(),
	};
	struct vmmu_vm *vm = NULL;

	for (unsigned missing = 0; missing < 6; missing++) {
		host = whole;
		switch (missing) {
		case 0: host.object_alloc = NULL; break;
		case 1: host.object_free = NULL; break;
		case 2: host.table_alloc = NULL; break;
		case 3: host.table_free = NULL; break;
		case 4: host.backing = NULL; break;
		case 5: host.flush = NULL; break;
		}
		assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_ERR_INVALID);
	}
	config.host = NULL;
	assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vm_create(NULL, &vm), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vm_create(&config, NULL), VMMU_ERR_INVALID);
	assert_null(vm);
	assert_sound(sim);
}

/* What a host may leave out: clock, hook, waiting, audit's question. */
static void a_minimal_host_will_do(void **state)
{
	struct sim *sim = sim_default(state);
	struct vmmu_host host = sim->host;
	struct vmmu_config config = {
		.host = &host,
		.host_ctx = sim,
		.mode = mode_of(state),
		.cpu = sim_cpu_full(),
		.max_vcpus = 2,
	};
	struct vmmu_slot_info slot = {.bytes = 16 * M, .backing = contiguous(sim, 0, 9)};
	struct vmmu_fault fault = {.gpa = vmmu_gpa_of(5 * M), .access = VMMU_W};
	struct vmmu_vcpu *vcpu[3];
	struct vmmu_vm *vm;

	host.time = NULL;
	host.trace_full = NULL;
	host.relax = NULL;
	host.point = NULL;
	host.owns_frame = NULL;
	assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_OK);
	vmmu_trace_enable(vm, true); /* with no ring at all */
	assert_int_equal(vmmu_slot_create(vm, &slot), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(vm, VMMU_TRACE_NO_VCPU, NULL, &vcpu[0]), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vcpu_create(vm, 0, NULL, &vcpu[0]), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(vm, 1, NULL, &vcpu[1]), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(vm, 2, NULL, &vcpu[2]), VMMU_ERR_INVALID); /* one too many */
	assert_int_equal(vmmu_fault(vcpu[0], &fault), VMMU_FAULT_FIXED);
	assert_int_equal(vmmu_fault(vcpu[1], &fault), VMMU_FAULT_SPURIOUS);
	assert_int_equal(vmmu_audit(vm, NULL, NULL), 0);
	vmmu_trace_dump(vm);
	assert_int_equal(vmmu_slot_delete(vm, 0), VMMU_OK);
	assert_int_equal(vmmu_vm_destroy(vm), VMMU_ERR_BUSY);
	vmmu_vcpu_destroy(vcpu[0]);
	vmmu_vcpu_destroy(vcpu[1]);
	assert_int_equal(vmmu_vm_destroy(vm), VMMU_OK);
	sim->flushes = 0; /* of the other VM */
	assert_sound(sim);
}

static void every_address_width_works(void **state)
{
	for (unsigned width = 36; width <= 52; width++) {
		struct sim_config config = sim_config_default(mode_of(state));

		config.cpu.maxphyaddr = (uint8_t)width;
		struct sim *sim = sim_start(&config);
		uint64_t top = 1ull << (width < 48 ? width : 48);

		sim_slot_create(sim, 0, top - 16 * M, 16 * M, 0, contiguous(sim, top - 16 * M, 18));
		assert_int_equal(sim_access(sim, 0, top - 1, VMMU_W), SIM_OK);
		assert_int_equal(sim_access(sim, 0, top - 16 * M - 1, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
		assert_int_equal(sim_access(sim, 0, top - 16 * M - 1, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
		assert_int_equal(sim_access(sim, 0, top, VMMU_R), VMMU_FAULT_BEYOND);
		assert_sound(sim);
	}
}

/* A and D are set beforehand: the CPU never has a reason to write the tables itself. */
static void the_cpu_never_sets_accessed_or_dirty_itself(void **state)
{
	struct sim *sim = sim_default(state);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	sim_slot_create(sim, 1, 16 * M, 16 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 16 * M, 0));
	sim_slot_create(sim, 2, 32 * M, 16 * M, VMMU_SLOT_READONLY, contiguous(sim, 32 * M, 0));
	for (uint64_t gpa = 0; gpa < 48 * M; gpa += 512 * K) {
		sim_access(sim, 0, gpa, VMMU_R);
		sim_access(sim, 0, gpa, VMMU_X);
		sim_access(sim, 0, gpa, VMMU_W);
	}
	sim_dirty_log(sim, 1, NULL);
	for (uint64_t gpa = 16 * M; gpa < 32 * M; gpa += 512 * K)
		sim_access(sim, 0, gpa, VMMU_W);
	assert_int_equal(sim->ad_writes, 0);
	assert_sound(sim);
}

static void without_accessed_and_dirty_bits(void **state)
{
	struct sim_config config = sim_config_default(VMMU_MODE_EPT);

	(void)state;
	config.cpu.ad = false;
	struct sim *sim = sim_start(&config);

	assert_false(sim->vcpu[0].walker.ad);
	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 9));
	for (uint64_t gpa = 0; gpa < 16 * M; gpa += 512 * K)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
	assert_int_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK);
	assert_sound(sim);
}

/* A large leaf loses W, D with it, and CPUs forget both; with A and D in the tables or without. */
static void a_large_leaf_is_protected_in_place(void **state)
{
	for (unsigned ad = mode_of(state) == VMMU_MODE_NPT; ad < 2; ad++) {
		struct sim_config config = sim_config_default(mode_of(state));
		struct sim_walk walk;
		uint64_t before;

		config.cpu.ad = ad;
		struct sim *sim = sim_start(&config);

		sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
		assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), SIM_OK);
		before = sim->flushes;
		assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY), VMMU_OK); /* checks all TLBs */
		assert_int_equal(sim->flushes, before + 1);
		sim_look(sim, 5 * K, VMMU_R, &walk);
		assert_int_equal(walk.end, SIM_WALK_MAPPED);
		assert_int_equal(walk.level, VMMU_LEVEL_2M);
		assert_false(walk.rights & VMMU_W);
		assert_int_equal(walk.dirty, !ad);
		assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), VMMU_FAULT_READ_ONLY);
		assert_sound(sim);
	}
}

/* Nothing was there before, or less: no CPU has anything to forget (SDM vol. 3, 29.4.3.3). */
static void building_owes_no_flush(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 2;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 64 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 9));
	sim_slot_create(sim, 1, 1 * G, 2 * G, 0, on_demand(sim, 1 * G, 18));
	uint64_t before = sim->flushes;

	for (uint64_t gpa = 0; gpa < 64 * M; gpa += 3 * M) {
		sim_access(sim, 0, gpa, VMMU_R);         /* built */
		sim_access(sim, 1, gpa, VMMU_W);         /* widened */
		sim_access(sim, 0, gpa, VMMU_W);         /* spurious, from a stale TLB */
		sim_access(sim, 1, 4 * G + gpa, VMMU_R); /* MMIO cached */
	}
	sim_access(sim, 0, 2 * G, VMMU_W);
	sim_prefault(sim, 1, 32 * M, 8 * M, VMMU_W, NULL);
	assert_int_equal(sim->flushes, before);
	assert_sound(sim);
}

static void vcpus_come_and_go(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct vmmu_stats before, after;

	config.untraced = true; /* the visitors have no ring */
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, 0));
	for (unsigned round = 0; round < 5; round++) {
		struct vmmu_vcpu *visitor;
		struct vmmu_root root;

		assert_int_equal(vmmu_vcpu_create(sim->vm, (uint16_t)(10 + round), NULL, &visitor), VMMU_OK);
		assert_int_equal(vmmu_vcpu_load(visitor, &root), VMMU_OK);
		assert_int_equal(root.pointer, sim->vcpu[0].root.pointer);
		for (uint64_t i = 0; i < 8; i++) {
			struct vmmu_fault fault = {.gpa = vmmu_gpa_of((round * 8 + i) * M), .access = VMMU_W};

			assert_int_equal(vmmu_fault(visitor, &fault), VMMU_FAULT_FIXED);
		}
		vmmu_stats_read(sim->vm, &before);
		vmmu_vcpu_destroy(visitor);
		vmmu_stats_read(sim->vm, &after);
		/* What it counted stays counted. */
		assert_memory_equal(&before, &after, sizeof(before));
		assert_true(sim_check(sim));
	}
	assert_sound(sim);
}

static void a_slot_as_large_as_the_address_space(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t random = 3;

	assert_int_equal(sim_slot_create(sim, 0, 0, 1ull << 46, 0, on_demand(sim, 0, 0)), VMMU_OK);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(sim_access(sim, 0, sim_random_below(&random, 1ull << 46), VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 0, (1ull << 46) - 1, VMMU_W), SIM_OK);
	assert_int_equal(sim_swap_out(sim, 0, 1ull << 45), VMMU_OK);
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY), VMMU_OK);
	assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	assert_sound(sim);
}

static void destroy_frees_everything_whatever_is_mapped(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct sim_config config = sim_config_default(mode_of(state));

		config.seed = seed;
		config.vcpus = 2;
		struct sim *sim = sim_start(&config);
		uint64_t random = seed;

		sim_slot_create(sim, 0, 0, 8 * G, 0, on_demand(sim, 0, 9 * (unsigned)(seed % 3)));
		for (unsigned i = 0; i < 60; i++)
			sim_access(sim, i % 2, sim_random_below(&random, 9 * G), VMMU_W);
		assert_sound(sim); /* tears down with everything in place, then counts */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(tables_start_empty),
		BOTH(a_fault_builds_only_what_is_missing),
		BOTH(leaves_are_as_large_as_allowed),
		BOTH(page_sizes_the_cpu_lacks_are_not_used),
		BOTH(caps_hold_and_can_be_taken_off),
		BOTH(caps_are_kept_by_block),
		BOTH(caps_refuse_what_is_no_range_of_a_slot),
		BOTH(a_second_vcpu_finds_it_spurious),
		BOTH(both_vcpus_have_the_same_root),
		BOTH(prefault_builds_without_an_exit),
		BOTH(prefault_stops_where_it_must),
		BOTH(five_levels),
		BOTH(levels_must_be_the_cpus),
		BOTH(bad_configurations_are_refused),
		BOTH(an_incomplete_host_is_refused),
		BOTH(a_minimal_host_will_do),
		BOTH(every_address_width_works),
		BOTH(the_cpu_never_sets_accessed_or_dirty_itself),
		EPT(without_accessed_and_dirty_bits),
		BOTH(a_large_leaf_is_protected_in_place),
		BOTH(building_owes_no_flush),
		BOTH(vcpus_come_and_go),
		BOTH(a_slot_as_large_as_the_address_space),
		BOTH(destroy_frees_everything_whatever_is_mapped),
	};

	return cmocka_run_group_tests_name("direct_map", tests, NULL, NULL);
}
