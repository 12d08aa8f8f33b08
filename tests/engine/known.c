/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs that the host has named before (engine/map/direct/direct_known.h): its pages are mapped without
 * a question, and only as long as the answer stands. With the test hook and without, as in quick.c.
 */
#include "case.h"

enum { ORDER = 6,
       RUN = 1 << ORDER };

static struct {
	enum vmmu_backing_result (*backing)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
	                                    unsigned access, struct vmmu_backing *out);
	unsigned asked;
} host;

static enum vmmu_backing_result answer(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                       struct vmmu_backing *out)
{
	host.asked++;
	return host.backing(ctx, slot, gfn, access, out);
}

static struct sim *machine(void **state, enum way way, unsigned max_level)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim *sim;

	config.vcpus = 2;
	go_by(&config, way);
	config.max_level = (uint8_t)max_level;
	sim = sim_start(&config);
	host.backing = sim->host.backing;
	host.asked = 0;
	sim->host.backing = answer;
	return sim;
}

/* So many questions are asked for writes to `pages` pages from gpa on, which all are mapped afterwards. */
static unsigned questions(struct sim *sim, uint64_t gpa, unsigned pages)
{
	unsigned before = host.asked;
	struct sim_walk walk;

	for (unsigned i = 0; i < pages; i++) {
		assert_int_equal(sim_access(sim, 0, gpa + i * K, VMMU_W), SIM_OK);
		sim_look(sim, gpa + i * K, 0, &walk);
		assert_int_equal(walk.end, SIM_WALK_MAPPED);
	}
	return host.asked - before;
}

/* Slot 0: 16 MiB at 0, of runs of RUN pages; the one at 0 is known. */
static struct sim *begin(void **state, enum way way, uint32_t flags)
{
	struct sim *sim = machine(state, way, VMMU_LEVEL_4K);

	sim_slot_create(sim, 0, 0, 16 * M, flags, contiguous(sim, 0, ORDER));
	assert_int_equal(questions(sim, 0, 1), 1);
	/* A first fault that misses the copy of the slot takes the long way, which learns nothing. */
	questions(sim, K, 1);
	return sim;
}

static void asked_once(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	assert_int_equal(questions(sim, 2 * K, RUN - 2), 0);
	assert_int_equal(sim->fault.slot, 0);
	assert_int_equal(questions(sim, RUN * K, RUN), 1);
	assert_sound(sim);
}

/* The frame that each fault names is its own. */
static void what_the_caller_is_told(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);
	struct sim_walk walk;

	sim->fault = vmmu_fault_of(vmmu_gpa_of(9 * K), VMMU_R, 0, 0);
	assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &sim->fault), VMMU_FAULT_FIXED);
	sim_look(sim, 9 * K, 0, &walk);
	assert_int_equal(sim->fault.pfn.v, walk.pfn);
	assert_int_equal(sim->fault.level, VMMU_LEVEL_4K);
	assert_int_equal(sim->fault.slot, 0);
	assert_true(sim->fault.entry);
	assert_sound(sim);
}

/* Several runs, one after the other and in turns. */
static void several(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	for (unsigned run = 1; run < 4; run++)
		assert_int_equal(questions(sim, run * RUN * K, 1), 1);
	for (unsigned i = 2; i < 8; i++)
		for (unsigned run = 0; run < 4; run++)
			assert_int_equal(questions(sim, (run * RUN + i) * K, 1), 0);
	/* More than there is room for: what was forgotten is asked for again. */
	for (unsigned run = 4; run < 12; run++)
		assert_int_equal(questions(sim, run * RUN * K, 1), 1);
	assert_int_equal(questions(sim, (0 * RUN + 9) * K, 1), 1);
	assert_int_equal(questions(sim, (0 * RUN + 10) * K, 1), 0);
	assert_sound(sim);
}

static void after_an_invalidation(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	assert_int_equal(questions(sim, 2 * K, 1), 0);
	/* Another frame for one page: the run is not what it was. */
	assert_int_equal(sim_swap_out(sim, 5 * K, K), VMMU_OK);
	assert_int_equal(questions(sim, 5 * K, 1), 1);
	assert_true(questions(sim, 6 * K, 10) > 0);
	assert_sound(sim);
}

static void while_a_range_is_open(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);
	struct sim_walk walk;

	assert_int_equal(sim_invalidate_begin(sim, 4 * K, K), VMMU_OK);
	/* Elsewhere in the run a page is mapped, but nothing is learned from it. */
	assert_int_equal(questions(sim, 2 * K, 1), 1);
	sim->fault = vmmu_fault_of(vmmu_gpa_of(4 * K), VMMU_R, 0, 0);
	assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &sim->fault), VMMU_FAULT_RETRY);
	sim_look(sim, 4 * K, 0, &walk);
	assert_int_not_equal(walk.end, SIM_WALK_MAPPED);
	assert_int_equal(sim_invalidate_end(sim, 4 * K, K), VMMU_OK);
	assert_int_equal(questions(sim, 4 * K, 1), 1);
	assert_sound(sim);
}

static void after_the_slot(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 8 * K, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	sim_slot_create(sim, 1, 0, 16 * M, 0, contiguous(sim, 0, ORDER));
	assert_true(questions(sim, 8 * K, 2) > 0);
	assert_int_equal(questions(sim, 10 * K, 2), 0);
	assert_int_equal(sim->fault.slot, 1);
	assert_sound(sim);
}

static void when_a_log_begins(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);
	uint64_t pages;

	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	assert_int_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK);
	assert_int_equal(questions(sim, 8 * K, 6), 6);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 6);
	assert_sound(sim);
}

static void never_without_a_write(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);
	struct sim_backing_config config = {.order = ORDER, .rights = VMMU_R | VMMU_X};

	sim_slot_create(sim, 1, 64 * M, 16 * M, 0, sim_backing_new(sim, 64 * M, &config));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(sim_access(sim, 0, 64 * M + i * K, VMMU_R), SIM_OK);
	assert_int_equal(host.asked, 2 + 8);
	assert_sound(sim);
}

static void never_of_what_is_read_only(void **state, enum way way)
{
	struct sim *sim = machine(state, way, VMMU_LEVEL_4K);

	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_READONLY, contiguous(sim, 0, ORDER));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(sim_access(sim, 0, i * K, VMMU_R), SIM_OK);
	assert_int_equal(host.asked, 8);
	assert_int_equal(sim_access(sim, 0, 9 * K, VMMU_W), VMMU_FAULT_READ_ONLY);
	assert_sound(sim);
}

/* The host's run goes on past the slot, on both sides. What is there belongs to others. */
static void not_past_the_slot(void **state, enum way way)
{
	struct sim *sim = machine(state, way, VMMU_LEVEL_4K);

	sim_slot_create(sim, 0, 8 * K, 8 * K, 0, contiguous(sim, 8 * K, ORDER));
	assert_true(questions(sim, 8 * K, 4) <= 2);
	assert_int_equal(sim_access(sim, 0, 4 * K, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(sim_access(sim, 0, 16 * K, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	assert_sound(sim);
}

/* Frames and gfns that are out of step: what they share is a shorter run. */
static void out_of_step(void **state, enum way way)
{
	struct sim *sim = machine(state, way, VMMU_LEVEL_4K);
	struct sim_backing_config config = {.order = ORDER, .skew = 4};

	sim_slot_create(sim, 0, 0, 16 * M, 0, sim_backing_new(sim, 0, &config));
	questions(sim, 0, 4 * RUN);
	assert_sound(sim);
}

/* Where larger pages may come elsewhere in the run, only what is around the small one is known. */
static void beside_large_pages(void **state, enum way way)
{
	struct sim *sim = machine(state, way, VMMU_LEVEL_2M);
	struct sim_walk walk;

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 12));
	assert_int_equal(sim_restrict(sim, 2 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	assert_true(questions(sim, 2 * M, 16) <= 2);
	sim_access(sim, 0, 4 * M + K, VMMU_W);
	sim_look(sim, 4 * M + K, 0, &walk);
	assert_int_equal(walk.level, VMMU_LEVEL_2M);
	assert_sound(sim);
}

/* A table is missing, and the vCPU has no spare one; then the host has none either. */
static void without_tables(void **state, enum way way)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim *sim;
	enum vmmu_fault_result result;
	unsigned mapped = 0;

	config.vcpus = 1;
	go_by(&config, way);
	config.max_level = VMMU_LEVEL_4K;
	config.fail = (struct sim_fail_plan){.at = {24}, .from_first_on = true};
	sim = sim_start(&config);
	sim_slot_create(sim, 0, 0, 128 * M, 0, contiguous(sim, 0, 18));
	while ((result = sim_access(sim, 0, mapped * 2 * M, VMMU_W)) == SIM_OK)
		mapped++;
	assert_in_range(mapped, 4, 12);
	assert_int_equal(result, VMMU_FAULT_NO_MEMORY);
	/* Where there is a table all is well. */
	assert_int_equal(sim_access(sim, 0, 8 * K, VMMU_W), SIM_OK);
	assert_sound(sim);
}

/* Another vCPU's flush is pending: nothing comes where an entry went. */
static enum vmmu_fault_result while_pending;

static void fault_during_flush(void *arg)
{
	struct sim *sim = arg;

	sim->fault = vmmu_fault_of(vmmu_gpa_of(9 * K), VMMU_R, 0, 0);
	while_pending = vmmu_fault(sim->vcpu[1].engine, &sim->fault);
}

static void pending_flush(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sim_access(sim, 1, (11 + i) * K, VMMU_W), SIM_OK);
	sim_slot_create(sim, 1, 64 * M, 16 * M, 0,
	                sim_backing_new(sim, 64 * M, &(struct sim_backing_config){.copy_on_write = true}));
	sim_access(sim, 0, 64 * M, VMMU_R);
	sim_access(sim, 1, 13 * K, VMMU_W);
	sim_access(sim, 1, 14 * K, VMMU_W);
	sim->on_flush = fault_during_flush;
	sim->on_point_arg = sim;
	while_pending = 0;
	sim->config.interleaved = true;
	assert_int_equal(sim_access(sim, 0, 64 * M, VMMU_W), SIM_OK);
	assert_int_equal(while_pending, VMMU_FAULT_RETRY);
	sim->on_flush = NULL;
	sim->config.interleaved = false;
	assert_sound(sim);
}

/* What is learned unwatched is not used while somebody watches: each entry has its record. */
static void records_all_the_same(void **state)
{
	struct sim *sim = begin(state, UNWATCHED, 0);
	uint64_t changes;

	assert_int_equal(questions(sim, 2 * K, 2), 0);
	vmmu_trace_enable(sim->vm, true);
	sim_drain(sim);
	changes = sim_trace_count(&sim->trace, VMMU_TRACE_SPTE_CHANGED);
	questions(sim, 8 * K, 6);
	sim_drain(sim);
	assert_int_equal(sim_trace_count(&sim->trace, VMMU_TRACE_SPTE_CHANGED) - changes, 6);
	vmmu_trace_enable(sim->vm, false);
	assert_true(questions(sim, 16 * K, 8) <= 2);
	assert_sound(sim);
}

EACH_WAY(asked_once)
EACH_WAY(what_the_caller_is_told)
EACH_WAY(several)
EACH_WAY(after_an_invalidation)
EACH_WAY(while_a_range_is_open)
EACH_WAY(after_the_slot)
EACH_WAY(when_a_log_begins)
EACH_WAY(never_without_a_write)
EACH_WAY(never_of_what_is_read_only)
EACH_WAY(not_past_the_slot)
EACH_WAY(out_of_step)
EACH_WAY(beside_large_pages)
EACH_WAY(without_tables)
EACH_WAY(pending_flush)

MODES;

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_EACH_WAY(asked_once),
		BOTH_EACH_WAY(what_the_caller_is_told),
		BOTH_EACH_WAY(several),
		BOTH_EACH_WAY(after_an_invalidation),
		BOTH_EACH_WAY(while_a_range_is_open),
		BOTH_EACH_WAY(after_the_slot),
		BOTH_EACH_WAY(when_a_log_begins),
		BOTH_EACH_WAY(never_without_a_write),
		BOTH_EACH_WAY(never_of_what_is_read_only),
		BOTH_EACH_WAY(not_past_the_slot),
		BOTH_EACH_WAY(out_of_step),
		BOTH_EACH_WAY(beside_large_pages),
		BOTH_EACH_WAY(without_tables),
		BOTH_EACH_WAY(pending_flush),
		BOTH(records_all_the_same),
	};

	return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}
