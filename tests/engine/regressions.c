/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bugs that another memory-virtualization engine has had, asked of this one.
 * Each test bears the name of the bug: a CVE number, or "commit_" and the
 * commit that mended it. Those of shadow paging stand in tests/shadow/regressions.c.
 */
#include "case.h"

#include <string.h>

MODES;

static struct sim *with_vcpus(void **state, unsigned vcpus)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = vcpus;
	return sim_start(&config);
}

static uint64_t raw_entry(struct sim *sim, uint64_t gpa)
{
	struct sim_walk walk;

	sim_look(sim, gpa, 0, &walk);
	return walk.step[walk.steps - 1].entry;
}

static uint8_t rights_at(struct sim *sim, uint64_t gpa)
{
	struct sim_walk walk;

	sim_look(sim, gpa, 0, &walk);
	return walk.end == SIM_WALK_MAPPED ? walk.rights : 0;
}

/* ---- something happens while the engine asks its host --------------------------- */

static struct {
	struct sim *sim;
	void (*then)(struct sim *sim);
	enum vmmu_backing_result (*backing)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
	                                    unsigned access, struct vmmu_backing *out);
	bool (*table_alloc)(void *ctx, vmmu_hpa *out);
} during;

static void now(void)
{
	void (*then)(struct sim * sim) = during.then;

	during.then = NULL;
	if (then)
		then(during.sim);
}

static enum vmmu_backing_result answer_then_act(void *ctx, const struct vmmu_slot_info *slot,
                                                vmmu_gfn gfn, unsigned access,
                                                struct vmmu_backing *out)
{
	enum vmmu_backing_result result = during.backing(ctx, slot, gfn, access, out);

	now();
	return result;
}

static bool act_then_allocate(void *ctx, vmmu_hpa *out)
{
	now();
	return during.table_alloc(ctx, out);
}

/* Another thread's call, in the middle of a fault. */
static void in_the_middle(struct sim *sim)
{
	during.sim = sim;
	during.then = NULL;
	during.backing = sim->host.backing;
	during.table_alloc = sim->host.table_alloc;
	sim->host.backing = answer_then_act;
	sim->host.table_alloc = act_then_allocate;
	sim->config.interleaved = true; /* results depend on the moment; tables are judged all the same */
}

static void take_5m(struct sim *sim)
{
	assert_int_equal(sim_swap_out(sim, 5 * M, 2 * K), VMMU_OK);
}

/* A frame that was looked up before an invalidation must not be installed after it. */
static void cve_2026_64561_staleness_is_judged_last(void **state)
{
	struct sim *sim = with_vcpus(state, 2);
	uint64_t calls;

	in_the_middle(sim);
	sim_slot_create(sim, 0, 0, 16 * M, 0, on_demand(sim, 0, 0));
	/* While it waits for memory: whatever it knows by then is old. */
	during.then = take_5m;
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_W), SIM_OK);
	assert_null(during.then);
	/* The answer itself is overtaken: the host has to be asked again. */
	sim->host.table_alloc = during.table_alloc;
	during.then = take_5m;
	calls = sim->backing_calls;
	assert_int_equal(sim_access(sim, 1, 5 * M + K, VMMU_W), SIM_OK);
	assert_int_equal(sim->backing_calls - calls, 2);
	sim->config.interleaved = false;
	assert_sound(sim);
}

/* No right comes back by another way than the host's word. */
static void cve_2021_22543_what_the_host_withholds_stays_withheld(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_backing_config config = {.order = 9, .rights = VMMU_R};
	uint64_t done;

	sim_slot_create(sim, 0, 0, 16 * M, 0, sim_backing_new(sim, 0, &config));
	assert_int_equal(sim_access(sim, 0, 0, VMMU_R), SIM_OK);
	assert_int_equal(sim_access(sim, 0, 0, VMMU_W), VMMU_FAULT_DENIED);
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 0, VMMU_W), VMMU_FAULT_DENIED);
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY), VMMU_OK);
	assert_int_equal(sim_slot_set_flags(sim, 0, 0), VMMU_OK);
	assert_int_equal(sim_prefault(sim, 0, 0, K, VMMU_W, &done), VMMU_FAULT_DENIED);
	assert_int_equal(sim_access(sim, 0, 0, VMMU_R), SIM_OK);
	assert_false(rights_at(sim, 0) & VMMU_W);
	assert_sound(sim);
}

/* ---- invalidation ------------------------------------------------------------------ */

/* Between the change of the entries and the flush that they owe. */
static void act_before_flush(void *arg, unsigned point, uint64_t table, unsigned index)
{
	(void)arg;
	(void)table;
	(void)index;
	if (point == VMMU_POINT_FLUSH_BEFORE)
		now();
}

static void before_the_flush(struct sim *sim, void (*then)(struct sim *sim))
{
	during.sim = sim;
	during.then = then;
	sim->on_point = act_before_flush;
	sim->config.interleaved = true;
}

static void flush_is_done(struct sim *sim)
{
	assert_null(during.then);
	sim->on_point = NULL;
	sim->config.interleaved = false;
}

static void use_all_vcpus(struct sim *sim)
{
	/* The entry is gone, the flush is still to come: TLBs may serve, walks must not. */
	for (unsigned v = 0; v < sim->vcpus; v++)
		sim_access(sim, v, 6 * M, VMMU_R);
}

static void cve_2021_47639_an_idle_vcpu_counts_too(void **state)
{
	struct sim *sim = with_vcpus(state, 4);

	sim_slot_create(sim, 0, 0, 16 * M, 0, on_demand(sim, 0, 9));
	for (unsigned v = 0; v < 4; v++)
		assert_int_equal(sim_access(sim, v, 5 * M, VMMU_W), SIM_OK);
	/* What is not mapped then would not be before the flush. */
	assert_int_equal(sim_access(sim, 0, 6 * M, VMMU_R), SIM_OK);
	before_the_flush(sim, use_all_vcpus);
	assert_int_equal(sim_invalidate_begin(sim, 5 * M, K), VMMU_OK);
	flush_is_done(sim);
	/* vCPU 3 has not run since; whatever it remembered of the page is gone. */
	assert_int_equal(sim_access(sim, 3, 5 * M, VMMU_R), VMMU_FAULT_RETRY);
	sim_backing_take(&sim->backing[0], 5 * M / K, 1);
	assert_int_equal(sim_invalidate_end(sim, 5 * M, K), VMMU_OK);
	assert_int_equal(sim_access(sim, 3, 5 * M, VMMU_R), SIM_OK);
	assert_sound(sim);
}

/* One page of a large leaf: all that the leaf translated must be flushed. */
static void commit_c61baeaa2a14_the_whole_leaf_is_flushed(void **state)
{
	struct sim *sim = with_vcpus(state, 2);
	bool found = false;

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	assert_int_equal(sim_access(sim, 0, 4 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 1, 6 * M - K, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 1, 5 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim_invalidate_begin(sim, 5 * M, K), VMMU_OK);
	sim_drain(sim);
	for (size_t i = 0; i < sim->trace.records; i++) {
		const struct vmmu_trace_record *r = &sim->trace.record[i];

		if (r->event == VMMU_TRACE_FLUSH_OWED) {
			found = true;
			assert_in_range(r->flush.start_gfn, 0, 4 * M / K);
			assert_in_range(r->flush.start_gfn + r->flush.pages, 6 * M / K, ~0ull);
		}
	}
	assert_true(found);
	assert_int_equal(sim_invalidate_end(sim, 5 * M, K), VMMU_OK);
	assert_sound(sim);
}

/* ---- long sweeps ------------------------------------------------------------------- */

enum { MANY_PAGES = 40000 }; /* several closings of the gate, whatever they hold */

static struct sim *many_pages(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	uint64_t done;

	config.vcpus = 2;
	config.unwatched = true; /* the full look after each write takes too long; sim_end looks once */
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 3 * K, MANY_PAGES * K, 0, contiguous(sim, 3 * K, 0));
	assert_int_equal(sim_prefault(sim, 0, 3 * K, MANY_PAGES * K, VMMU_W, &done),
	                 VMMU_FAULT_FIXED);
	assert_int_equal(done, MANY_PAGES * K);
	/* Both ends and the middle are in TLBs. */
	for (uint64_t gpa = 3 * K; gpa < MANY_PAGES * K; gpa += 16 * M - K)
		assert_int_equal(sim_access(sim, 1, gpa, VMMU_W), SIM_OK);
	return sim;
}

static unsigned count_rights(struct sim *sim, unsigned right)
{
	unsigned count = 0;

	for (uint64_t page = 0; page < MANY_PAGES; page++)
		count += !!(rights_at(sim, 3 * K + page * K) & right);
	return count;
}

/* A sweep that pauses goes on where it stopped: no entry is passed over. */
static void cve_2021_47094_nothing_is_skipped_after_a_pause(void **state)
{
	struct sim *sim = many_pages(state);

	assert_int_equal(count_rights(sim, VMMU_W), MANY_PAGES);
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY), VMMU_OK);
	assert_int_equal(count_rights(sim, VMMU_W), 0);
	assert_int_equal(count_rights(sim, VMMU_R), MANY_PAGES);
	assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	assert_int_equal(count_rights(sim, VMMU_R), 0);
	assert_sound(sim);
}

/* What the first steps of a sweep owe is not forgotten by the later ones. */
static void commit_d381b05e8605_flushes_owed_add_up(void **state)
{
	struct sim *sim = many_pages(state);
	uint64_t flushes = sim->flushes;

	sim->config.unwatched = false;
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY), VMMU_OK); /* checks all TLBs */
	assert_int_not_equal(sim->flushes, flushes);
	assert_int_equal(sim_invalidate_begin(sim, 3 * K, MANY_PAGES * K - 2 * K), VMMU_OK);
	assert_int_equal(sim_invalidate_end(sim, 3 * K, MANY_PAGES * K - 2 * K), VMMU_OK);
	assert_sound(sim);
}

/* Tables that lose their last entry, or their VM, come back to the host. */
static void commit_524a1e4e381f_no_table_is_left_behind(void **state)
{
	struct sim *sim = sim_default(state);
	struct sim_census census;

	sim_slot_create(sim, 0, 0, 2 * G, 0, on_demand(sim, 0, 0));
	for (uint64_t gpa = 0; gpa < 2 * G; gpa += 64 * M)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_W), SIM_OK);
	assert_int_equal(sim_swap_out(sim, 0, 2 * G), VMMU_OK);
	sim_census(sim, &census);
	assert_int_equal(census.leaves[1], 0);
	assert_int_equal(census.tables[1], 0);
	assert_int_equal(census.tables[2], 0);
	assert_sound(sim); /* and with the VM, the rest */
}

/* ---- page sizes ----------------------------------------------------------------------- */

/* No CPU may go on using the large page once small ones stand in its place. */
static void commit_3be2264be3c0_a_change_of_size_is_flushed(void **state)
{
	struct sim *sim = with_vcpus(state, 2);
	struct sim_census census;
	uint64_t flushes;

	sim_slot_create(sim, 0, 0, 8 * M, 0, contiguous(sim, 0, 9));
	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(sim_access(sim, v, 2 * M + v * 16 * K, VMMU_W), SIM_OK);
	assert_int_equal(sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(sim_access(sim, v, 3 * M, VMMU_R), SIM_OK);
	sim_census(sim, &census);
	assert_int_equal(census.leaves[2], 1);
	flushes = sim->flushes;
	assert_int_equal(sim_access(sim, 0, 2 * M + 16 * K, VMMU_W), SIM_OK); /* splits */
	sim_census(sim, &census);
	assert_int_equal(census.leaves[2], 0);
	assert_int_equal(census.leaves[1], 512);
	assert_int_equal(sim->flushes - flushes, 1);
	assert_sound(sim);
}

static void commit_93a423e7045c_a_cap_is_flushed(void **state)
{
	struct sim *sim = with_vcpus(state, 2);

	sim_slot_create(sim, 0, 0, 8 * M, 0, contiguous(sim, 0, 9));
	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(sim_access(sim, v, 2 * M, VMMU_X), SIM_OK);
	assert_int_equal(sim_restrict(sim, 2 * M, 16 * K, VMMU_LEVEL_4K), VMMU_OK);
	for (unsigned v = 0; v < 2; v++)
		assert_int_equal(sim_access(sim, v, 2 * M + v * K, VMMU_W), SIM_OK);
	assert_sound(sim);
}

/* ---- arithmetic at the edges ------------------------------------------------------------ */

/* What is kept per block of a slot covers slots that begin and end inside a block. */
static void cve_2024_26991_caps_at_an_unaligned_tail(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t base = 6 * M - 3 * K, bytes = 4 * M + 5 * K;

	sim_slot_create(sim, 0, base, bytes, 0, contiguous(sim, base, 9));
	assert_int_equal(sim_restrict(sim, base, bytes, VMMU_LEVEL_4K), VMMU_OK);
	for (uint64_t gpa = base; gpa < base + bytes; gpa += K)
		assert_int_equal(sim_access(sim, 0, gpa, VMMU_R), SIM_OK);
	assert_int_equal(sim_restrict(sim, base + bytes - K, K, VMMU_LEVEL_1G), VMMU_OK);
	assert_int_equal(sim_restrict(sim, base, K, VMMU_LEVEL_2M), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, base + bytes - K, 2 * K, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_not_equal(sim_restrict(sim, base, ~0ull << 12, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, base + bytes - K, VMMU_W), SIM_OK);
	assert_sound(sim);
}

/* The highest pages that a guest can name, and the dirty bits of odd sizes. */
static void cve_2021_47277_the_last_page_of_all(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	uint64_t top, done;

	config.guest_maxphyaddr = 40;
	struct sim *sim = sim_start(&config);

	top = 1ull << 40;
	sim_slot_create(sim, 0, top - 65 * K, 65 * K, VMMU_SLOT_LOG_DIRTY,
	                contiguous(sim, top - 65 * K, 0));
	assert_int_equal(sim_access(sim, 0, top - K, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 0, top, VMMU_W), VMMU_FAULT_BEYOND);
	assert_int_equal(sim_access(sim, 0, ~0xfffull, VMMU_R), VMMU_FAULT_BEYOND);
	assert_int_equal(sim_prefault(sim, 0, top - 2 * K, 4 * K, VMMU_W, &done), VMMU_FAULT_BEYOND);
	assert_int_equal(done, 2 * K);
	sim_mark_dirty(sim, 0, top - 65 * K);
	sim_mark_dirty(sim, -1, top);
	sim_mark_dirty(sim, -1, ~0xfffull);
	assert_int_equal(sim_dirty_log(sim, 0, &done), VMMU_OK);
	assert_int_equal(done, 3);
	assert_sound(sim);
}

/* A lookup behind the last slot, right after slots have gone. */
static void cve_2020_36313_lookup_after_deletion(void **state)
{
	struct sim *sim = sim_default(state);
	struct vmmu_slot_info info;

	for (uint32_t id = 0; id < 20; id++)
		sim_slot_create(sim, id, id * 2 * M, 1 * M, 0, contiguous(sim, id * 2 * M, 0));
	assert_int_equal(sim_access(sim, 0, 38 * M, VMMU_W), SIM_OK);
	for (uint32_t id = 20; id-- > 0;) {
		assert_int_equal(sim_slot_delete(sim, id), VMMU_OK);
		assert_int_equal(sim_access(sim, 0, id * 2 * M, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
		assert_int_equal(sim_access(sim, 0, 38 * M, VMMU_W), VMMU_FAULT_EMULATE_MMIO);
		assert_int_equal(vmmu_slot_find(sim->vm, vmmu_gpa_of(id * 2 * M), &info),
		                 VMMU_ERR_SLOT_MISSING);
		if (id)
			assert_int_equal(sim_access(sim, 0, (id - 1) * 2 * M, VMMU_W), SIM_OK);
	}
	assert_sound(sim);
}

/* Five levels where four were usual. */
static void commit_f6ab0107a494_five_levels_have_five_steps(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct vmmu_path path;

	config.cpu.levels5 = true;
	config.cpu.maxphyaddr = 52;
	config.levels = 5;
	struct sim *sim = sim_start(&config);
	uint64_t base = (1ull << 50) + 2 * M;

	sim_slot_create(sim, 0, base, 4 * M, 0, contiguous(sim, base, 0));
	assert_int_equal(sim_access(sim, 0, base + 3 * M, VMMU_W), SIM_OK);
	vmmu_path_of(sim->vm, vmmu_gpa_of(base + 3 * M), &path);
	assert_int_equal(path.steps, 5);
	assert_int_equal(path.step[0].level, 5);
	assert_int_equal(path.step[4].level, 1);
	assert_sound(sim);
}

/* ---- MMIO ------------------------------------------------------------------------------------ */

static void access_5m(struct sim *sim)
{
	sim_access(sim, 1, 5 * M, VMMU_R);
}

/* Of a leaf the CPU may remember something: an MMIO entry never takes its place. */
static void cve_2026_23401_no_mmio_entry_over_a_leaf(void **state)
{
	struct sim *sim = with_vcpus(state, 2);

	sim_slot_create(sim, 0, 4 * M, 4 * M, 0, contiguous(sim, 4 * M, 0));
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), SIM_OK);
	/* Before the leaf is out of the tables and flushed, a vCPU that knows nothing looks again. */
	before_the_flush(sim, access_5m);
	assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK);
	flush_is_done(sim);
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	for (size_t i = 0; i < sim->trace.records; i++) {
		const struct vmmu_trace_record *r = &sim->trace.record[i];

		if (r->event == VMMU_TRACE_SPTE_CHANGED && r->cause == VMMU_CAUSE_MMIO && r->level == 1)
			assert_int_equal(r->spte.old_spte, 0);
	}
	assert_sound(sim);
}

/* One vCPU's MMIO answer is of no use once a slot has come, whoever cached it. */
static void cve_2026_99082_a_new_slot_ends_every_cached_mmio(void **state)
{
	struct sim *sim = with_vcpus(state, 3);

	for (unsigned v = 0; v < 3; v++)
		assert_int_equal(sim_access(sim, v, 5 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	sim_slot_create(sim, 7, 4 * M, 4 * M, 0, contiguous(sim, 4 * M, 0));
	for (unsigned v = 0; v < 3; v++)
		assert_int_equal(sim_access(sim, v, 5 * M, VMMU_R), SIM_OK);
	assert_sound(sim);
}

/* L1 terminal fault: an entry that is refused must not lead the CPU's loads anywhere. */
static void cve_2018_3646_refused_entries_point_past_memory(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t address = (1ull << sim->config.cpu.maxphyaddr) - K;

	sim_slot_create(sim, 0, 0, 4 * M, 0, contiguous(sim, 0, 0));
	assert_int_equal(sim_access(sim, 0, 16 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	assert_int_not_equal(raw_entry(sim, 16 * M), 0);
	assert_int_equal(raw_entry(sim, 16 * M) & address, address);
	assert_int_equal(sim_access(sim, 0, 0, VMMU_W), SIM_OK);
	assert_int_equal(sim_invalidate_begin(sim, 0, K), VMMU_OK);
	assert_int_equal(raw_entry(sim, 0), 0); /* and one that is gone has no address at all */
	assert_int_equal(sim_invalidate_end(sim, 0, K), VMMU_OK);
	assert_sound(sim);
}

/* ---- dirty log ------------------------------------------------------------------------------- */

/* A write that the hypervisor carries out itself is a write. */
static void cve_2024_35804_emulated_writes_are_logged(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t pages;

	sim_slot_create(sim, 0, 4 * M, 4 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 4 * M, 0));
	sim_mark_dirty(sim, 0, 4 * M); /* not mapped at all */
	assert_int_equal(sim_access(sim, 0, 5 * M, VMMU_R), SIM_OK);
	sim_mark_dirty(sim, 0, 5 * M);      /* mapped for reading */
	sim_mark_dirty(sim, -1, 8 * M - K); /* by a device */
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 3);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 0);
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(cve_2026_64561_staleness_is_judged_last),
		BOTH(cve_2021_22543_what_the_host_withholds_stays_withheld),
		BOTH(cve_2021_47639_an_idle_vcpu_counts_too),
		BOTH(commit_c61baeaa2a14_the_whole_leaf_is_flushed),
		BOTH(cve_2021_47094_nothing_is_skipped_after_a_pause),
		BOTH(commit_d381b05e8605_flushes_owed_add_up),
		BOTH(commit_524a1e4e381f_no_table_is_left_behind),
		BOTH(commit_3be2264be3c0_a_change_of_size_is_flushed),
		BOTH(commit_93a423e7045c_a_cap_is_flushed),
		BOTH(cve_2024_26991_caps_at_an_unaligned_tail),
		BOTH(cve_2021_47277_the_last_page_of_all),
		BOTH(cve_2020_36313_lookup_after_deletion),
		BOTH(commit_f6ab0107a494_five_levels_have_five_steps),
		BOTH(cve_2026_23401_no_mmio_entry_over_a_leaf),
		BOTH(cve_2026_99082_a_new_slot_ends_every_cached_mmio),
		BOTH(cve_2018_3646_refused_entries_point_past_memory),
		BOTH(cve_2024_35804_emulated_writes_are_logged),
	};

	return cmocka_run_group_tests_name("regressions", tests, NULL, NULL);
}
