/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short ways of a fault (engine/map/direct/direct_quick.h): what each of their
 * checks is for, with the test hook, and without it as production has them: traced and untraced.
 */
#include "case.h"

static struct sim *machine(void **state, enum way way)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 2;
	go_by(&config, way);
	return sim_start(&config);
}

/* ---- something happens after the host has answered --------------------------------- */

static struct {
	struct sim *sim;
	void (*then)(struct sim *sim);
	enum vmmu_backing_result (*backing)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
	                                    unsigned access, struct vmmu_backing *out);
	enum vmmu_backing_result result;
	struct vmmu_backing *instead;
	unsigned asked;
} host;

static enum vmmu_backing_result answer(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                       struct vmmu_backing *out)
{
	enum vmmu_backing_result result = host.backing(ctx, slot, gfn, access, out);
	void (*then)(struct sim * sim) = host.then;

	host.asked++;
	host.then = NULL;
	if (then)
		then(host.sim);
	if (host.instead)
		*out = *host.instead;
	return result ? result : host.result;
}

/* Slot 0 of small pages; the first page is mapped, so that tables, hint and copies are there. */
static struct sim *begin(void **state, enum way way, uint32_t flags)
{
	struct sim *sim = machine(state, way);

	sim_slot_create(sim, 0, 0, 16 * M, flags, on_demand(sim, 0, 0));
	sim_access(sim, 0, 0, flags & VMMU_SLOT_READONLY ? VMMU_R : VMMU_W);
	sim_access(sim, 0, K, VMMU_R);
	sim_access(sim, 1, 2 * K, VMMU_R);
	host.sim = sim;
	host.then = NULL;
	host.backing = sim->host.backing;
	host.result = VMMU_BACKING_OK;
	host.instead = NULL;
	host.asked = 0;
	sim->host.backing = answer;
	return sim;
}

static enum vmmu_fault_result touch(struct sim *sim, unsigned vcpu, uint64_t gpa, uint32_t access)
{
	sim->fault = vmmu_fault_of(vmmu_gpa_of(gpa), access, 0, 0);
	if (access & VMMU_W)
		sim_ref_mark(&sim->ref, gpa / K, SIM_MAY_WRITE);
	return vmmu_fault(sim->vcpu[vcpu].engine, &sim->fault);
}

static bool is_mapped(struct sim *sim, uint64_t gpa)
{
	struct sim_walk walk;

	sim_look(sim, gpa, 0, &walk);
	return walk.end == SIM_WALK_MAPPED;
}

static void swap_5m(struct sim *sim) { assert_int_equal(sim_swap_out(sim, 5 * M, K), VMMU_OK); }

static void old_answer(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	sim_access(sim, 0, 5 * M + K, VMMU_W);
	host.then = swap_5m;
	assert_int_equal(touch(sim, 0, 5 * M, VMMU_W), VMMU_FAULT_RETRY);
	assert_false(is_mapped(sim, 5 * M));
	assert_int_equal(touch(sim, 0, 5 * M, VMMU_W), VMMU_FAULT_FIXED);
	assert_sound(sim);
}

static void open_range(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	assert_int_equal(sim_invalidate_begin(sim, 4 * K, K), VMMU_OK);
	assert_int_equal(touch(sim, 0, 4 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_false(is_mapped(sim, 4 * K));
	assert_int_equal(touch(sim, 0, 5 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(sim_invalidate_end(sim, 4 * K, K), VMMU_OK);
	assert_int_equal(touch(sim, 0, 4 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_sound(sim);
}

static void delete_slot(struct sim *sim) { assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK); }

static void other_slot(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	host.then = delete_slot;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(touch(sim, 1, 3 * K, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(host.asked, 1);
	/* The old tables are gone; the hint may not lead into them. */
	sim_slot_create(sim, 1, 0, 16 * M, 0, on_demand(sim, 0, 0));
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(sim->fault.slot, 1);
	assert_true(is_mapped(sim, 3 * K));
	assert_sound(sim);
}

/* The slot's other flags: what the copy said of it is old. */
static void other_flags(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY), VMMU_OK);
	assert_int_equal(touch(sim, 0, 9 * K, VMMU_W), VMMU_FAULT_READ_ONLY);
	assert_int_equal(host.asked, 0);
	assert_int_equal(touch(sim, 0, 9 * K, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(touch(sim, 0, 9 * K, VMMU_W | VMMU_ACCESS_PRESENT), VMMU_FAULT_READ_ONLY);
	/* With a copy of the slot as it is now. */
	assert_int_equal(touch(sim, 0, 10 * K, VMMU_W), VMMU_FAULT_READ_ONLY);
	assert_int_equal(host.asked, 1);
	assert_sound(sim);
}

static void neighbouring_block(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	sim_slot_create(sim, 1, 1 * G, 16 * M, 0, on_demand(sim, 1 * G, 0));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(touch(sim, 0, (10 + i) * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_int_equal(touch(sim, 0, 1 * G + i * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_true(is_mapped(sim, 1 * G + i * K));
	}
	assert_sound(sim);
}

static void first_writes_are_logged(void **state, enum way way)
{
	struct sim *sim = begin(state, way, VMMU_SLOT_LOG_DIRTY);
	uint64_t pages;

	assert_int_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK);
	sim_access(sim, 0, 0, VMMU_W);     /* protected: gets W back */
	sim_access(sim, 0, 7 * K, VMMU_W); /* not there yet */
	sim_access(sim, 0, 8 * K, VMMU_R);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 2);
	sim_access(sim, 1, 7 * K, VMMU_W);
	sim_access(sim, 1, 8 * K, VMMU_W);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 2);
	assert_sound(sim);
}

/* Copy on write: W is missing, and no fault may give it without asking. */
static void shared_frames_stay_so(void **state, enum way way)
{
	struct sim *sim = machine(state, way);
	uint64_t calls;

	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_LOG_DIRTY,
	                sim_backing_new(sim, 0, &(struct sim_backing_config){.copy_on_write = true}));
	sim_access(sim, 0, 0, VMMU_R);
	sim_access(sim, 1, 0, VMMU_R);
	calls = sim->backing_calls;
	sim_access(sim, 0, 0, VMMU_W);
	assert_true(sim->backing_calls > calls);
	sim_access(sim, 1, 0, VMMU_R);
	assert_sound(sim);
}

static void map_3_by_1(struct sim *sim) { assert_int_equal(touch(sim, 1, 3 * K, VMMU_W), VMMU_FAULT_FIXED); }

static void lost_race(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);
	struct vmmu_backing other = {.pfn = {0x77000}, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};

	host.then = map_3_by_1;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_SPURIOUS);
	assert_true(is_mapped(sim, 3 * K));
	/* Another frame stands there: the host is asked anew, and says the same as for the other vCPU. */
	host.asked = 0;
	host.instead = &other;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_true(host.asked > 1);
	host.instead = NULL;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_sound(sim);
}

static void answers_are_looked_at(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);
	struct vmmu_backing odd = {.pfn = {1ull << 46}, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	struct sim_walk walk;

	host.instead = &odd;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_BAD_BACKING);
	odd = (struct vmmu_backing){.pfn = {0x500}, .rights = VMMU_R, .memtype = VMMU_MEMTYPE_WB};
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_DENIED);
	host.result = VMMU_BACKING_RETRY;
	odd.rights = VMMU_RWX;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_RETRY);
	host.result = VMMU_BACKING_NO_MEMORY;
	assert_int_equal(touch(sim, 0, 3 * K, VMMU_W), VMMU_FAULT_NO_MEMORY);
	assert_false(is_mapped(sim, 3 * K));
	/* One of less rights, after one of all: each page has what the host said of it. */
	host.result = VMMU_BACKING_OK;
	host.instead = NULL;
	host.backing = sim->host.backing == answer ? host.backing : sim->host.backing;
	sim_look(sim, K, 0, &walk);
	assert_true(walk.rights & VMMU_X);
	assert_sound(sim);
}

static void mmio_of_another_generation(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 0);

	assert_int_equal(sim_access(sim, 0, 64 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(sim_access(sim, 0, 64 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	sim_slot_create(sim, 1, 64 * M, 4 * M, 0, on_demand(sim, 64 * M, 0));
	assert_int_equal(sim_access(sim, 0, 64 * M, VMMU_W), SIM_OK);
	assert_sound(sim);
}

/* What a fault that began unwatched writes is in the trace that has begun since. */
static void begin_to_trace(struct sim *sim) { vmmu_trace_enable(sim->vm, true); }

static uint64_t changes(struct sim *sim)
{
	sim_drain(sim);
	return sim_trace_count(&sim->trace, VMMU_TRACE_SPTE_CHANGED);
}

static void watched_meanwhile(void **state)
{
	struct sim *sim = begin(state, UNWATCHED, VMMU_SLOT_LOG_DIRTY);

	assert_int_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK);
	assert_int_equal(changes(sim), 0);
	host.then = begin_to_trace;
	while (touch(sim, 0, 3 * K, VMMU_W) == VMMU_FAULT_RETRY)
		;
	assert_true(is_mapped(sim, 3 * K));
	assert_int_equal(changes(sim), 1);
	assert_int_equal(touch(sim, 0, 0, VMMU_W | VMMU_ACCESS_PRESENT), VMMU_FAULT_FIXED);
	assert_int_equal(changes(sim), 2);
	assert_sound(sim);
}

/* ---- the flush of another vCPU's fault is pending ---------------------------------------- */

static enum vmmu_fault_result while_pending;

static void fault_during_flush(void *arg)
{
	while_pending = touch(arg, 1, 0, VMMU_R);
}

static void pending_flush(void **state, enum way way)
{
	struct sim *sim = machine(state, way);

	sim_slot_create(sim, 0, 0, 16 * M, 0,
	                sim_backing_new(sim, 0, &(struct sim_backing_config){.copy_on_write = true}));
	sim_access(sim, 0, K, VMMU_R);
	sim_access(sim, 1, K, VMMU_R);
	sim_access(sim, 0, 0, VMMU_R);
	sim_access(sim, 1, 0, VMMU_R);
	/* A read of what is no more shared: the same will be said of the page under test. */
	sim_access(sim, 0, 2 * K, VMMU_W);
	assert_int_equal(touch(sim, 1, 2 * K, VMMU_R), VMMU_FAULT_SPURIOUS);
	sim->on_flush = fault_during_flush;
	sim->on_point_arg = sim;
	while_pending = 0;
	sim->config.interleaved = true;
	/* The shared frame is dropped; until every CPU has forgotten it nothing comes in its place. */
	assert_int_equal(sim_access(sim, 0, 0, VMMU_W), SIM_OK);
	assert_int_equal(while_pending, VMMU_FAULT_RETRY);
	sim->on_flush = NULL;
	sim->config.interleaved = false;
	assert_sound(sim);
}

/* One table, three slots and what an access found before there were any: the log is one slot's. */
static void neighbours_of_a_log(void **state, enum way way)
{
	struct sim *sim = machine(state, way);
	struct sim_walk walk;

	sim_access(sim, 0, 5 * K, VMMU_R); /* an MMIO entry, in the middle of what is to be slot 1 */
	for (unsigned i = 0; i < 3; i++)
		sim_slot_create(sim, i, i * 4 * K, 4 * K, 0, on_demand(sim, i * 4 * K, 0));
	for (unsigned i = 0; i < 12; i++)
		if (i != 5)
			sim_access(sim, 0, i * K, VMMU_W);
	assert_int_equal(sim_slot_set_flags(sim, 1, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	for (unsigned i = 0; i < 12; i++) {
		sim_look(sim, i * K, 0, &walk);
		if (i == 5)
			assert_int_not_equal(walk.end, SIM_WALK_MAPPED);
		else
			assert_int_equal(!!(walk.rights & VMMU_W), i < 4 || i >= 8);
	}
	assert_sound(sim);
}

/* An MMIO entry is only believed where the way to it is whole. */
static void damage_above_mmio(void **state, enum way way)
{
	struct sim *sim = machine(state, way);
	struct vmmu_fault fault;
	struct sim_walk walk;
	uint64_t was;

	sim_access(sim, 0, 64 * M, VMMU_R);
	sim_look(sim, 64 * M, 0, &walk);
	assert_int_equal(walk.steps, 4);
	for (unsigned i = 0; i < 3; i++) {
		sim_memory_load(&sim->memory, walk.step[i].entry_hpa, &was);
		sim_memory_store(&sim->memory, walk.step[i].entry_hpa, was | 1ull << 48);
		fault = vmmu_fault_of(vmmu_gpa_of(64 * M), VMMU_R | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED, 0, 0);
		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_BAD_ENTRY);
		sim_memory_store(&sim->memory, walk.step[i].entry_hpa, was);
	}
	assert_sound(sim);
}

EACH_WAY(old_answer)
EACH_WAY(open_range)
EACH_WAY(other_slot)
EACH_WAY(other_flags)
EACH_WAY(neighbouring_block)
EACH_WAY(first_writes_are_logged)
EACH_WAY(shared_frames_stay_so)
EACH_WAY(lost_race)
EACH_WAY(answers_are_looked_at)
EACH_WAY(mmio_of_another_generation)
EACH_WAY(pending_flush)
EACH_WAY(neighbours_of_a_log)
EACH_WAY(damage_above_mmio)

MODES;

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_EACH_WAY(old_answer),
		BOTH_EACH_WAY(open_range),
		BOTH_EACH_WAY(other_slot),
		BOTH_EACH_WAY(other_flags),
		BOTH_EACH_WAY(neighbouring_block),
		BOTH_EACH_WAY(first_writes_are_logged),
		BOTH_EACH_WAY(shared_frames_stay_so),
		BOTH_EACH_WAY(lost_race),
		BOTH_EACH_WAY(answers_are_looked_at),
		BOTH_EACH_WAY(mmio_of_another_generation),
		BOTH_EACH_WAY(pending_flush),
		BOTH_EACH_WAY(neighbours_of_a_log),
		BOTH_EACH_WAY(damage_above_mmio),
		BOTH(watched_meanwhile),
	};

	return cmocka_run_group_tests_name("quick", tests, NULL, NULL);
}
