/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages that are mapped before they are touched, many at once (engine/map/direct/direct_ahead.c):
 * what each of its checks is for, with the test hook and without.
 */
#include "case.h"

#define END (16 * M - 3 * K)

static struct {
	struct sim *sim;
	enum vmmu_backing_result (*backing)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
	                                    unsigned access, struct vmmu_backing *out);
	unsigned asked;
	/* At the question number `at`, from 1: */
	unsigned at;
	void (*then)(struct sim *sim);
	enum vmmu_backing_result result;
	struct vmmu_backing *instead; /* and from then on */
	uint64_t hooked;              /* a gfn that the guest may not write */
} host;

static enum vmmu_backing_result answer(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                       struct vmmu_backing *out)
{
	enum vmmu_backing_result result = host.backing(ctx, slot, gfn, access, out);

	host.asked++;
	if (host.asked == host.at && host.then)
		host.then(host.sim);
	if (host.asked >= host.at && host.instead)
		*out = *host.instead;
	if (host.hooked && gfn.v == host.hooked)
		out->rights = VMMU_R | VMMU_X;
	return host.asked == host.at && host.result ? host.result : result;
}

static void watch(struct sim *sim, unsigned at, void (*then)(struct sim *sim))
{
	if (sim->host.backing != answer)
		host.backing = sim->host.backing;
	sim->host.backing = answer;
	host.sim = sim;
	host.asked = 0;
	host.at = at;
	host.then = then;
	host.result = VMMU_BACKING_OK;
	host.instead = NULL;
	host.hooked = 0;
}

/* Slot 0, [4 KiB, 16 MiB - 12 KiB), whose frames come in runs of 2^order; a table is there. */
static struct sim *begin(void **state, bool unhooked, uint32_t flags, unsigned order)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim *sim;

	config.vcpus = 2;
	config.unhooked = config.untraced = unhooked;
	sim = sim_start(&config);
	sim_slot_create(sim, 0, K, END - K, flags, contiguous(sim, K, order));
	sim_access(sim, 0, END - K, VMMU_R);
	sim_access(sim, 0, K, VMMU_R);
	sim_access(sim, 1, K, VMMU_R);
	watch(sim, 0, NULL);
	return sim;
}

static unsigned mapped(struct sim *sim, uint64_t base, unsigned pages)
{
	unsigned count = 0;

	for (unsigned i = 0; i < pages; i++) {
		struct sim_walk walk;

		sim_look(sim, base + i * K, 0, &walk);
		count += walk.end == SIM_WALK_MAPPED;
	}
	return count;
}

static enum vmmu_fault_result prefault(struct sim *sim, uint64_t base, uint64_t pages, unsigned access, uint64_t *done)
{
	enum vmmu_fault_result result = sim_prefault(sim, 0, base, pages * K, access, done);

	*done /= K;
	return result;
}

/* ---- what is usual ------------------------------------------------------------------ */

static void one_by_one(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 0);
	uint64_t done;

	assert_int_equal(prefault(sim, 100 * K, 1000, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 1000);
	assert_int_equal(host.asked, 1000);
	assert_int_equal(mapped(sim, 99 * K, 1002), 1000);
	host.asked = 0;
	assert_int_equal(prefault(sim, 100 * K, 1000, VMMU_W, &done), VMMU_FAULT_SPURIOUS);
	assert_int_equal(done, 1000);
	assert_sound(sim);
}

/* One question for each run, or for each 64 pages of a longer one. */
static void by_runs(void **state, bool unhooked)
{
	static const struct {
		unsigned order, asked;
	} each[] = {{1, 257}, {3, 65}, {5, 17}, {6, 9}, {8, 9}};

	for (unsigned i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		struct sim *sim = begin(state, unhooked, 0, each[i].order);
		uint64_t done;

		assert_int_equal(prefault(sim, 2 * M + 3 * K, 512, VMMU_W, &done), VMMU_FAULT_FIXED);
		assert_int_equal(done, 512);
		assert_int_equal(mapped(sim, 2 * M, 520), 512);
		assert_in_range(host.asked, each[i].asked - 2, each[i].asked + 2);
		assert_sound(sim);
	}
}

/* Frames that are out of step with their gfns: the run is shorter, and no page gets its neighbour's frame. */
static void out_of_step(void **state, bool unhooked)
{
	for (unsigned skew = 1; skew < 12; skew++) {
		struct sim_config config = sim_config_default(mode_of(state));
		struct sim *sim;
		uint64_t done;

		config.unhooked = config.untraced = unhooked;
		sim = sim_start(&config);
		sim_slot_create(sim, 0, 0, 4 * M, 0,
		                sim_backing_new(sim, 0, &(struct sim_backing_config){.order = 9, .skew = skew}));
		sim_access(sim, 0, 0, VMMU_R);
		assert_int_equal(prefault(sim, 5 * K, 200, VMMU_W, &done), VMMU_FAULT_FIXED);
		assert_int_equal(done, 200);
		assert_int_equal(mapped(sim, 0, 300), 201);
		assert_sound(sim);
	}
}

static void up_to_the_slots_end(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 6);
	uint64_t done;

	assert_int_equal(prefault(sim, END - 7 * K, 20, VMMU_W, &done), VMMU_FAULT_EMULATE_MMIO);
	assert_int_equal(done, 7);
	sim_slot_create(sim, 1, END, 4 * M, VMMU_SLOT_READONLY, contiguous(sim, END, 6));
	assert_int_equal(prefault(sim, END - 7 * K, 20, VMMU_W, &done), VMMU_FAULT_READ_ONLY);
	assert_int_equal(done, 7);
	assert_int_equal(prefault(sim, END - 7 * K, 20, VMMU_R, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 20);
	assert_int_equal(mapped(sim, END - 7 * K, 30), 20);
	assert_sound(sim);
}

/* Neither end on a page: each page that is met is mapped, and no other. */
static void parts_of_pages(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 6);
	uint64_t done;

	assert_int_equal(sim_prefault(sim, 0, 10 * K + 0xfff, 2, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 2);
	assert_int_equal(mapped(sim, 9 * K, 6), 2);
	assert_int_equal(sim_prefault(sim, 0, 20 * K + 1, 3 * K, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 3 * K);
	assert_int_equal(mapped(sim, 19 * K, 10), 4);
	/* Nothing is not one page. */
	assert_int_equal(vmmu_prefault(sim->vcpu[0].engine, vmmu_gpa_of(30 * K + 1), 0, VMMU_W, &done),
	                 VMMU_FAULT_SPURIOUS);
	assert_int_equal(done, 0);
	assert_int_equal(mapped(sim, 29 * K, 3), 0);
	assert_sound(sim);
}

/* Where a large page may be, there is one; where a cap or the log forbids it, its small pages come together. */
static void large_where_it_may_be(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 9);
	struct sim_walk walk;
	uint64_t done;

	assert_int_equal(prefault(sim, 2 * M, 1024, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 1024);
	assert_int_equal(host.asked, 2);
	sim_look(sim, 4 * M, 0, &walk);
	assert_int_equal(walk.level, VMMU_LEVEL_2M);
	/* A large page is counted from where it was asked for. */
	assert_int_equal(prefault(sim, 8 * M + 5 * K, 1024, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 1024);
	assert_int_equal(mapped(sim, 8 * M, 1536), 1536);
	assert_int_equal(sim_restrict(sim, 6 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	host.asked = 0;
	assert_int_equal(prefault(sim, 6 * M, 512, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 512);
	/* The first page makes the table on its own at most. */
	assert_in_range(host.asked, 8, 9);
	sim_look(sim, 6 * M, 0, &walk);
	assert_int_equal(walk.level, VMMU_LEVEL_4K);
	assert_sound(sim);
}

static void logged(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, VMMU_SLOT_LOG_DIRTY, 6);
	uint64_t done, pages;

	assert_int_equal(prefault(sim, 10 * K, 40, VMMU_R, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 40);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 0);
	sim_access(sim, 0, 20 * K, VMMU_W);
	assert_int_equal(prefault(sim, 100 * K, 40, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 40);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 41);
	/* Written after the log was fetched: they are in the next one. */
	for (unsigned i = 0; i < 40; i++)
		sim_access(sim, 1, (100 + i) * K, VMMU_W);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 40);
	assert_sound(sim);
}

/* ---- something happens after the host has answered ------------------------------------- */

static void swap_page_20(struct sim *sim) { assert_int_equal(sim_swap_out(sim, 20 * K, K), VMMU_OK); }

static void old_answers(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 0);
	uint64_t done;

	sim_access(sim, 1, 20 * K, VMMU_W);
	watch(sim, 15, swap_page_20);
	assert_int_equal(prefault(sim, 10 * K, 30, VMMU_W, &done), VMMU_FAULT_RETRY);
	assert_int_equal(done, 0);
	assert_int_equal(mapped(sim, 10 * K, 30), 0);
	assert_int_equal(prefault(sim, 10 * K, 30, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, 30);
	assert_sound(sim);
}

static void delete_slot(struct sim *sim) { assert_int_equal(sim_slot_delete(sim, 0), VMMU_OK); }

static void the_slot_goes(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 0);
	uint64_t done;

	watch(sim, 15, delete_slot);
	assert_int_equal(prefault(sim, 10 * K, 30, VMMU_W, &done), VMMU_FAULT_RETRY);
	assert_int_equal(done, 0);
	assert_int_equal(mapped(sim, 0, 100), 0);
	assert_int_equal(prefault(sim, 10 * K, 30, VMMU_W, &done), VMMU_FAULT_EMULATE_MMIO);
	/* The tables are gone, too: what leads into them may not be used. */
	sim_slot_create(sim, 1, 0, 16 * M, 0, on_demand(sim, 0, 0));
	assert_int_equal(prefault(sim, 10 * K, 30, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_int_equal(mapped(sim, 10 * K, 30), 30);
	assert_sound(sim);
}

static void open_ranges(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 6);
	uint64_t done;

	for (unsigned page = 10; page < 50; page++) {
		assert_int_equal(sim_invalidate_begin(sim, page * K, K), VMMU_OK);
		assert_int_equal(prefault(sim, 10 * K, 40, VMMU_W, &done), VMMU_FAULT_RETRY);
		assert_int_equal(done, page - 10);
		assert_int_equal(mapped(sim, 10 * K, 40), done);
		assert_int_equal(sim_invalidate_end(sim, page * K, K), VMMU_OK);
		assert_int_equal(sim_swap_out(sim, 10 * K, 40 * K), VMMU_OK);
	}
	assert_sound(sim);
}

/* ---- neighbours that are not alike -------------------------------------------------------- */

/* A page that the host has hooked is in no run, and what it says of that page holds for no other. */
static void a_page_of_other_rights(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 0);
	uint64_t done;

	for (uint64_t page = 10; page < 20; page += 3) {
		host.hooked = page;
		assert_int_equal(prefault(sim, 10 * K, 10, VMMU_R, &done), VMMU_FAULT_FIXED);
		assert_int_equal(done, 10);
		for (unsigned i = 10; i < 20; i++) {
			struct sim_walk walk;

			sim_look(sim, i * K, 0, &walk);
			assert_int_equal(walk.rights & VMMU_W, i == page ? 0 : VMMU_W);
		}
		assert_int_equal(prefault(sim, 10 * K, 10, VMMU_W, &done), VMMU_FAULT_DENIED);
		assert_int_equal(done, page - 10);
		assert_int_equal(sim_swap_out(sim, 10 * K, 10 * K), VMMU_OK);
	}
	assert_sound(sim);
}

static void answers_are_looked_at(void **state, bool unhooked)
{
	struct sim *sim = begin(state, unhooked, 0, 0);
	struct vmmu_backing odd = {.pfn = {1ull << 46}, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	static const struct {
		enum vmmu_backing_result said;
		enum vmmu_fault_result result;
	} refusal[] = {
		{VMMU_BACKING_RETRY, VMMU_FAULT_RETRY},
		{VMMU_BACKING_NO_MEMORY, VMMU_FAULT_NO_MEMORY},
		{VMMU_BACKING_DENIED, VMMU_FAULT_DENIED},
	};
	uint64_t done;

	watch(sim, 5, NULL);
	host.instead = &odd;
	assert_int_equal(prefault(sim, 10 * K, 30, VMMU_R, &done), VMMU_FAULT_BAD_BACKING);
	assert_int_equal(done, 4);
	assert_int_equal(mapped(sim, 10 * K, 30), 4);
	odd.pfn.v = 0x77000;
	odd.memtype = 2;
	assert_int_equal(prefault(sim, 14 * K, 30, VMMU_R, &done), VMMU_FAULT_BAD_BACKING);
	assert_int_equal(done, 0);
	odd.memtype = VMMU_MEMTYPE_WB;
	odd.rights = VMMU_R;
	assert_int_equal(prefault(sim, 14 * K, 30, VMMU_W, &done), VMMU_FAULT_DENIED);
	assert_int_equal(done, 0);
	/* The first page is refused: so is the call. A later one: what is before it is there, and it is asked for again. */
	for (unsigned i = 0; i < sizeof(refusal) / sizeof(refusal[0]); i++) {
		watch(sim, 1, NULL);
		host.result = refusal[i].said;
		assert_int_equal(prefault(sim, 100 * (i + 1) * K, 30, VMMU_R, &done), refusal[i].result);
		assert_int_equal(done, 0);
		watch(sim, 5, NULL);
		host.result = refusal[i].said;
		assert_int_equal(prefault(sim, 100 * (i + 1) * K, 30, VMMU_R, &done), VMMU_FAULT_FIXED);
		assert_int_equal(done, 30);
		assert_int_equal(host.asked, 31);
	}
	assert_sound(sim);
}

/* What stands there stays: another vCPU's page, one without W, one of another frame. */
static void entries_that_are_there(void **state, bool unhooked)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim *sim;
	uint64_t done, calls;

	config.vcpus = 2;
	config.unhooked = config.untraced = unhooked;
	sim = sim_start(&config);
	sim_slot_create(sim, 0, 0, 16 * M, 0,
	                sim_backing_new(sim, 0, &(struct sim_backing_config){.copy_on_write = true}));
	sim_access(sim, 0, 5 * K, VMMU_R);
	sim_access(sim, 1, 12 * K, VMMU_R); /* shared: a write brings another frame */
	sim_access(sim, 1, 13 * K, VMMU_W);
	calls = sim->backing_calls;
	while (prefault(sim, 10 * K, 8, VMMU_W, &done) == VMMU_FAULT_RETRY)
		;
	assert_int_equal(done, 8);
	assert_true(sim->backing_calls >= calls + 8);
	for (unsigned i = 10; i < 18; i++) {
		struct sim_walk walk;

		sim_look(sim, i * K, VMMU_W, &walk);
		assert_int_equal(walk.end, SIM_WALK_MAPPED);
	}
	assert_sound(sim);
}

/* ---- the flush of another vCPU's fault is pending ---------------------------------------- */

static struct {
	enum vmmu_fault_result result;
	uint64_t done;
} while_pending;

static void prefault_during_flush(void *arg)
{
	struct sim *sim = arg;

	while_pending.result = vmmu_prefault(sim->vcpu[1].engine, vmmu_gpa_of(0), 8 * K, VMMU_R, &while_pending.done);
}

static void pending_flush(void **state, bool unhooked)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim *sim;

	config.vcpus = 2;
	config.unhooked = config.untraced = unhooked;
	sim = sim_start(&config);
	sim_slot_create(sim, 0, 0, 16 * M, 0,
	                sim_backing_new(sim, 0, &(struct sim_backing_config){.copy_on_write = true}));
	for (unsigned vcpu = 0; vcpu < 2; vcpu++)
		for (unsigned i = 0; i < 2; i++)
			sim_access(sim, vcpu, i * K, VMMU_R);
	sim->on_flush = prefault_during_flush;
	sim->on_point_arg = sim;
	sim->config.interleaved = true;
	/* The shared frame of page 1 is dropped; until every CPU has forgotten it nothing comes in its place. */
	assert_int_equal(sim_access(sim, 0, K, VMMU_W), SIM_OK);
	assert_int_equal(while_pending.result, VMMU_FAULT_RETRY);
	assert_int_equal(while_pending.done, K);
	sim->on_flush = NULL;
	sim->config.interleaved = false;
	assert_sound(sim);
}

/* ---- told ------------------------------------------------------------------------------------ */

/* Each entry has its record, those of one preparation one fault. */
static void each_entry_is_told(void **state)
{
	struct sim *sim = begin(state, false, 0, 6);
	struct vmmu_stats before, after;
	uint64_t done, changed, gfn = 64;

	vmmu_trace_enable(sim->vm, true);
	sim_drain(sim);
	changed = sim_trace_count(&sim->trace, VMMU_TRACE_SPTE_CHANGED);
	vmmu_stats_read(sim->vm, &before);
	assert_int_equal(prefault(sim, 64 * K, 100, VMMU_W, &done), VMMU_FAULT_FIXED);
	vmmu_stats_read(sim->vm, &after);
	sim_drain(sim);
	assert_int_equal(sim_trace_count(&sim->trace, VMMU_TRACE_SPTE_CHANGED) - changed, 100);
	for (size_t i = 0; i < sim->trace.records; i++) {
		const struct vmmu_trace_record *r = &sim->trace.record[i];

		if (r->event == VMMU_TRACE_SPTE_CHANGED && r->cause == VMMU_CAUSE_PREFAULT && r->level == VMMU_LEVEL_4K) {
			assert_int_equal(r->spte.gfn, gfn);
			assert_int_equal(r->index, gfn);
			gfn++;
		}
	}
	assert_int_equal(gfn, 164);
	assert_int_equal(after.pages[VMMU_LEVEL_4K] - before.pages[VMMU_LEVEL_4K], 100);
	assert_int_equal(after.entries[VMMU_CAUSE_PREFAULT][VMMU_LEVEL_4K] -
	                         before.entries[VMMU_CAUSE_PREFAULT][VMMU_LEVEL_4K],
	                 100);
	assert_int_equal(after.faults[VMMU_FAULT_FIXED] - before.faults[VMMU_FAULT_FIXED], 2);
	assert_sound(sim);
}

#define HOOKED(name) \
	static void name##_hooked(void **state) { name(state, false); } \
	static void name##_unhooked(void **state) { name(state, true); }

HOOKED(one_by_one)
HOOKED(by_runs)
HOOKED(out_of_step)
HOOKED(up_to_the_slots_end)
HOOKED(parts_of_pages)
HOOKED(large_where_it_may_be)
HOOKED(logged)
HOOKED(old_answers)
HOOKED(the_slot_goes)
HOOKED(open_ranges)
HOOKED(a_page_of_other_rights)
HOOKED(answers_are_looked_at)
HOOKED(entries_that_are_there)
HOOKED(pending_flush)

MODES;

int main(void)
{
	const struct CMUnitTest tests[] = {
#define EACH(name) BOTH(name##_hooked), BOTH(name##_unhooked)
		EACH(one_by_one),
		EACH(by_runs),
		EACH(out_of_step),
		EACH(up_to_the_slots_end),
		EACH(parts_of_pages),
		EACH(large_where_it_may_be),
		EACH(logged),
		EACH(old_answers),
		EACH(the_slot_goes),
		EACH(open_ranges),
		EACH(a_page_of_other_rights),
		EACH(answers_are_looked_at),
		EACH(entries_that_are_there),
		EACH(pending_flush),
		BOTH(each_entry_is_told),
	};

	return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
