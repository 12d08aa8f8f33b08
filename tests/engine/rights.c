/* SPDX-License-Identifier: BSD-2-Clause */
/* Rights and memory types: what slot, host and CPU allow, and copy on write. */
#include "case.h"

MODES;

static uint64_t typed(struct sim *sim, uint64_t base, unsigned type, bool ignore_pat, unsigned order)
{
	return sim_backing_new(sim, base, &(struct sim_backing_config){.order = (uint8_t)order, .memtype = (uint8_t)type, .memtype_set = true, .ignore_pat = ignore_pat});
}

static uint64_t granting(struct sim *sim, uint64_t base, unsigned rights, unsigned order)
{
	return sim_backing_new(sim, base, &(struct sim_backing_config){.order = (uint8_t)order, .rights = (uint8_t)rights});
}

static void memory_types_reach_the_cpu(void **state)
{
	static const uint8_t types[] = {VMMU_MEMTYPE_UC, VMMU_MEMTYPE_WC, VMMU_MEMTYPE_WT,
	                                VMMU_MEMTYPE_WP, VMMU_MEMTYPE_WB};
	struct sim *sim = sim_default(state);
	unsigned id = 0;

	for (unsigned t = 0; t < 5; t++)
		for (unsigned ignore = 0; ignore < 2; ignore++)
			for (unsigned order = 0; order <= 18; order += 9) {
				uint64_t base = id * 2 * G;
				struct sim_walk walk;

				sim_slot_create(sim, id++, base, 1 * G, 0, typed(sim, base, types[t], ignore, order));
				assert_int_equal(sim_access(sim, 0, base + 5 * M, VMMU_R), SIM_OK);
				sim_look(sim, base + 5 * M, VMMU_R, &walk);
				assert_int_equal(walk.level, 1 + order / 9);
				assert_int_equal(walk.memtype, types[t]);
				assert_int_equal(walk.ignore_pat, ignore);
			}
	assert_sound(sim);
}

/* What the reset PAT can express; the rest must be something no more cacheable than asked for. */
static void nested_memory_types_go_through_the_pat(void **state)
{
	static const struct {
		uint8_t asked, seen;
	} types[] = {
		{VMMU_MEMTYPE_WB, VMMU_MEMTYPE_WB},
		{VMMU_MEMTYPE_WT, VMMU_MEMTYPE_WT},
		{VMMU_MEMTYPE_UC, VMMU_MEMTYPE_UC},
	};
	struct sim *sim = sim_default(state);

	for (unsigned t = 0; t < 3; t++)
		for (unsigned order = 0; order <= 18; order += 9) {
			unsigned id = 3 * t + order / 9;
			uint64_t base = id * 2 * G;
			struct sim_walk walk;

			sim_slot_create(sim, id, base, 1 * G, 0, typed(sim, base, types[t].asked, false, order));
			assert_int_equal(sim_access(sim, 0, base + 5 * M, VMMU_R), SIM_OK);
			sim_look(sim, base + 5 * M, VMMU_R, &walk);
			assert_int_equal(walk.memtype, types[t].seen);
		}
	assert_sound(sim);
}

static void every_expressible_combination_of_rights(void **state)
{
	bool ept = mode_of(state) == VMMU_MODE_EPT;
	struct sim *sim = sim_default(state);

	for (unsigned rights = 1; rights <= VMMU_RWX; rights++) {
		uint64_t base = rights * 2 * G;
		/* EPT: W needs R. NPT: present is readable. */
		bool expressible = ept ? !(rights & VMMU_W) || (rights & VMMU_R) : (rights & VMMU_R) != 0;

		if (!expressible)
			continue;
		sim_slot_create(sim, rights, base, 64 * M, 0, granting(sim, base, rights, rights % 2 * 9));
		for (unsigned access = 1; access <= VMMU_X; access <<= 1)
			assert_int_equal(sim_access(sim, 0, base + 5 * K, access),
			                 access & rights ? SIM_OK : VMMU_FAULT_DENIED);
		for (unsigned access = VMMU_X; access >= 1; access >>= 1)
			assert_int_equal(sim_access(sim, 0, base + 7 * M, access),
			                 access & rights ? SIM_OK : VMMU_FAULT_DENIED);
	}
	assert_sound(sim);
}

/* No CPU can map W without R, nor X alone without support: then not at all, never wider. */
static void what_cannot_be_expressed_is_denied(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.cpu.exec_only = false;
	struct sim *sim = sim_start(&config);
	static const unsigned rights[] = {VMMU_W, VMMU_X, VMMU_W | VMMU_X};

	for (unsigned i = 0; i < 3; i++) {
		uint64_t base = i * 2 * G;
		struct sim_walk walk;

		sim_slot_create(sim, i, base, 64 * M, 0, granting(sim, base, rights[i], 9));
		for (unsigned access = 1; access <= VMMU_X; access <<= 1) {
			struct vmmu_fault fault = {.gpa = vmmu_gpa_of(base), .access = access};

			assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_DENIED);
			sim_look(sim, base, 0, &walk);
			assert_int_not_equal(walk.end, SIM_WALK_MAPPED);
		}
	}
	assert_sound(sim);
}

static void execute_only_pages(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 64 * M, 0, granting(sim, 0, VMMU_X, 9));
	assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_X), SIM_OK);
	sim_look(sim, 5 * K, VMMU_X, &walk);
	assert_int_equal(walk.rights, VMMU_X);
	assert_int_equal(walk.level, 2);
	assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_R), VMMU_FAULT_DENIED);
	assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), VMMU_FAULT_DENIED);
	assert_sound(sim);
}

static void denied_by_the_host(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t b = contiguous(sim, 0, 0);

	sim_slot_create(sim, 0, 0, 16 * M, 0, b);
	sim->backing[b].denied_offset = 5;
	sim->backing[b].denied_pages = 2;
	sim->backing[b].denied_access = VMMU_RWX;
	assert_int_equal(sim_access(sim, 0, 4 * K, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), VMMU_FAULT_DENIED);
	assert_int_equal(sim_access(sim, 0, 6 * K, VMMU_R), VMMU_FAULT_DENIED);
	assert_int_equal(sim_access(sim, 0, 7 * K, VMMU_R), SIM_OK);
	assert_int_equal(sim->fault.slot, 0);
	sim->backing[b].denied_pages = 0;
	assert_int_equal(sim_access(sim, 0, 6 * K, VMMU_R), SIM_OK);
	assert_sound(sim);
}

static void a_busy_host_is_asked_again(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t b = contiguous(sim, 0, 9);
	uint64_t writes;

	sim_slot_create(sim, 0, 0, 16 * M, 0, b);
	sim->backing[b].retries = 2;
	writes = sim->writes;
	assert_int_equal(sim_access(sim, 0, 4 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_int_equal(sim_access(sim, 0, 4 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_int_equal(sim->writes, writes);
	assert_int_equal(sim_access(sim, 0, 4 * K, VMMU_W), SIM_OK);
	assert_sound(sim);
}

/*
 * Read-only until written, then another frame: at every order, with the old
 * translation in several TLBs. A CPU that goes on seeing the old frame is found
 * by the judge.
 */
static void copy_on_write(void **state)
{
	for (unsigned order = 0; order <= 18; order += 9) {
		struct sim_config config = sim_config_default(mode_of(state));
		struct sim_walk before, after;

		config.vcpus = 3;
		struct sim *sim = sim_start(&config);
		uint64_t b = sim_backing_new(sim, 0, &(struct sim_backing_config){.order = (uint8_t)order, .copy_on_write = true});

		sim_slot_create(sim, 0, 0, 2 * G, 0, b);
		for (unsigned v = 0; v < 3; v++)
			for (uint64_t gpa = 0; gpa < 16 * K; gpa += K)
				assert_int_equal(sim_access(sim, v, gpa, v == 1 ? VMMU_X : VMMU_R), SIM_OK);
		sim_look(sim, 5 * K, 0, &before);
		assert_int_equal(before.level, 1 + order / 9);
		assert_int_equal(before.rights & VMMU_W, 0);
		assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), SIM_OK);
		sim_look(sim, 5 * K, VMMU_W, &after);
		assert_int_equal(after.end, SIM_WALK_MAPPED);
		assert_int_not_equal(after.pfn, before.pfn);
		assert_true(sim_check(sim));
		for (unsigned v = 0; v < 3; v++) {
			assert_int_equal(sim_access(sim, v, 4 * K, VMMU_R), SIM_OK);
			assert_int_equal(sim_access(sim, v, 5 * K, VMMU_R), SIM_OK);
			assert_int_equal(sim_access(sim, v, 6 * K, VMMU_W), SIM_OK);
			assert_int_equal(sim_access(sim, v, (8 + v) * K, VMMU_W), SIM_OK);
		}
		assert_sound(sim);
	}
}

static void copy_on_write_in_a_logging_slot(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	uint64_t pages;

	config.vcpus = 2;
	struct sim *sim = sim_start(&config);
	uint64_t b = sim_backing_new(sim, 0, &(struct sim_backing_config){.order = 9, .copy_on_write = true});

	sim_slot_create(sim, 0, 0, 8 * M, VMMU_SLOT_LOG_DIRTY, b);
	for (uint64_t gpa = 0; gpa < 32 * K; gpa += K)
		assert_int_equal(sim_access(sim, gpa / K % 2, gpa, VMMU_R), SIM_OK);
	for (uint64_t gpa = 0; gpa < 32 * K; gpa += 2 * K)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 16);
	for (uint64_t gpa = 0; gpa < 32 * K; gpa += K)
		assert_int_equal(sim_access(sim, 1, gpa, VMMU_W), SIM_OK);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 32);
	assert_sound(sim);
}

/* The copy is made in the call, and the call gets no further: nobody may see the frame from before. */
static void copy_on_write_and_then_busy(void **state)
{
	for (unsigned order = 0; order <= 18; order += 9) {
		struct sim *sim = sim_default(state);
		uint64_t b = sim_backing_new(sim, 0, &(struct sim_backing_config){.order = (uint8_t)order, .copy_on_write = true, .busy_then = true});
		uint64_t done;

		sim_slot_create(sim, 0, 0, 2 * G, 0, b);
		assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_R), SIM_OK);
		assert_int_equal(sim_prefault(sim, 0, 5 * K, K, VMMU_W, &done), VMMU_FAULT_RETRY);
		assert_int_equal(done, 0);
		assert_int_equal(sim_access(sim, 0, 5 * K, VMMU_W), SIM_OK);
		assert_sound(sim);
	}
}

/* The guest's own walks count as writes while A/D bits are on. */
static void guest_walks_are_writes(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t pages;

	sim_slot_create(sim, 0, 0, 8 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 0));
	assert_int_equal(sim_access_walk(sim, 0, 5 * K), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 6 * K, VMMU_R), SIM_OK);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 1);
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EPT(memory_types_reach_the_cpu),
		NPT(nested_memory_types_go_through_the_pat),
		BOTH(every_expressible_combination_of_rights),
		BOTH(what_cannot_be_expressed_is_denied),
		EPT(execute_only_pages),
		BOTH(denied_by_the_host),
		BOTH(a_busy_host_is_asked_again),
		BOTH(copy_on_write),
		BOTH(copy_on_write_in_a_logging_slot),
		BOTH(copy_on_write_and_then_busy),
		BOTH(guest_walks_are_writes),
	};

	return cmocka_run_group_tests_name("rights", tests, NULL, NULL);
}
