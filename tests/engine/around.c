/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Neighbours that a violation maps with its page (config.fault_around): which ones, with what
 * rights, and what keeps them away. With the test hook and without.
 */
#include "case.h"

static struct {
	struct sim *sim;
	enum vmmu_backing_result (*backing)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
	                                    unsigned access, struct vmmu_backing *out);
	void (*then)(struct sim *sim); /* after the next answer */
} host;

static enum vmmu_backing_result answer(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                       struct vmmu_backing *out)
{
	enum vmmu_backing_result result = host.backing(ctx, slot, gfn, access, out);
	void (*then)(struct sim * sim) = host.then;

	host.then = NULL;
	if (then)
		then(host.sim);
	return result;
}

static struct sim *machine(void **state, enum way way, unsigned around)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim *sim;

	config.vcpus = 2;
	go_by(&config, way);
	config.fault_around = (uint8_t)around;
	sim = sim_start(&config);
	host.sim = sim;
	host.then = NULL;
	host.backing = sim->host.backing;
	sim->host.backing = answer;
	return sim;
}

/*
 * A slot of [12 KiB, 16 MiB - 12 KiB). A vCPU's first page of each kind comes alone: what the host
 * grants is only known after it.
 */
#define FIRST (3 * K)
#define END (16 * M - 3 * K)

static void warm_up(struct sim *sim, uint64_t gpa, uint32_t flags)
{
	for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
		sim_access(sim, vcpu, gpa + vcpu * 256 * K, VMMU_R);
		sim_access(sim, vcpu, gpa + vcpu * 256 * K + 128 * K, flags & VMMU_SLOT_READONLY ? VMMU_R : VMMU_W);
	}
}

static struct sim *begin(void **state, enum way way, unsigned around, uint32_t flags, unsigned order)
{
	struct sim *sim = machine(state, way, around);

	sim_slot_create(sim, 0, FIRST, END - FIRST, flags, contiguous(sim, FIRST, order));
	warm_up(sim, 8 * M, flags);
	return sim;
}

static bool mapped(struct sim *sim, uint64_t page, unsigned access)
{
	struct sim_walk walk;

	sim_look(sim, page * K, access, &walk);
	return walk.end == SIM_WALK_MAPPED;
}

/* Of pages [first, end) exactly those in [from, to) may be read. */
static void assert_mapped(struct sim *sim, uint64_t first, uint64_t end, uint64_t from, uint64_t to)
{
	for (uint64_t page = first; page < end; page++)
		assert_int_equal(mapped(sim, page, VMMU_R), page >= from && page < to);
}

static enum vmmu_fault_result touch(struct sim *sim, unsigned vcpu, uint64_t gpa, uint32_t access)
{
	sim->fault = vmmu_fault_of(vmmu_gpa_of(gpa), access, 0, 0);
	if (access & VMMU_W)
		sim_ref_mark(&sim->ref, gpa / K, SIM_MAY_WRITE);
	return vmmu_fault(sim->vcpu[vcpu].engine, &sim->fault);
}

/* ---- which ones ------------------------------------------------------------------------- */

static void as_many_as_are_configured(void **state, enum way way)
{
	for (unsigned around = 0; around <= 6; around++)
		for (unsigned order = 0; order <= 8; order += 2) {
			struct sim *sim = begin(state, way, around, 0, order);
			uint64_t pages = 1ull << (order < around ? order : around);
			uint64_t from = 1100 / pages * pages;

			assert_int_equal(touch(sim, 0, 1100 * K, VMMU_W), VMMU_FAULT_FIXED);
			assert_int_equal(sim->fault.level, VMMU_LEVEL_4K);
			assert_mapped(sim, 1024, 1180, from, from + pages);
			/* For every access: they need no fault of their own. */
			for (uint64_t page = from; page < from + pages; page++) {
				assert_int_equal(mapped(sim, page, VMMU_W), true);
				assert_int_equal(mapped(sim, page, VMMU_X), true);
			}
			assert_int_equal(touch(sim, 1, from * K, VMMU_R), VMMU_FAULT_SPURIOUS);
			assert_sound(sim);
		}
}

static void within_the_slot(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 6, 0, 8);

	assert_int_equal(touch(sim, 0, 5 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_mapped(sim, 0, 100, 3, 64);
	assert_int_equal(touch(sim, 0, END - K, VMMU_W), VMMU_FAULT_FIXED);
	assert_mapped(sim, END / K - 80, END / K + 3, END / K - 61, END / K);
	assert_sound(sim);
}

/* Frames out of step with their gfns: no page gets its neighbour's. */
static void within_the_run(void **state, enum way way)
{
	for (unsigned skew = 1; skew < 70; skew += 3) {
		struct sim *sim = machine(state, way, 6);
		uint64_t pages = skew & -skew & 63 ? skew & -skew : 64;

		sim_slot_create(sim, 0, 0, 4 * M, 0,
		                sim_backing_new(sim, 0, &(struct sim_backing_config){.order = 9, .skew = skew}));
		warm_up(sim, 2 * M, 0);
		assert_int_equal(touch(sim, 0, 300 * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_mapped(sim, 200, 400, 300 / pages * pages, 300 / pages * pages + pages);
		assert_sound(sim);
	}
}

static void no_neighbours_of_large_pages(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 4, 0, 9);

	assert_int_equal(touch(sim, 0, 2 * M + 5 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(sim->fault.level, VMMU_LEVEL_2M);
	assert_false(mapped(sim, 1024, VMMU_R));
	/* A cap makes small pages of the same run. */
	assert_int_equal(sim_restrict(sim, 4 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_equal(touch(sim, 0, 4 * M + 21 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(sim->fault.level, VMMU_LEVEL_4K);
	assert_mapped(sim, 1024, 1100, 1024 + 16, 1024 + 32);
	assert_sound(sim);
}

/* The host asks for pages: these, and no others. */
static void no_neighbours_of_a_prefault(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 6, VMMU_SLOT_LOG_DIRTY, 8);
	uint64_t done;

	assert_int_equal(sim_prefault(sim, 0, 1100 * K, 3 * K, VMMU_W, &done), VMMU_FAULT_FIXED);
	assert_mapped(sim, 1024, 1180, 1100, 1103);
	assert_int_equal(sim_prefault(sim, 0, 1110 * K, 3 * K, VMMU_R, &done), VMMU_FAULT_FIXED);
	assert_mapped(sim, 1104, 1180, 1110, 1113);
	assert_sound(sim);
}

/* ---- with what rights ---------------------------------------------------------------------- */

static void logged(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 4, VMMU_SLOT_LOG_DIRTY, 8);
	uint64_t pages;

	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(sim_access(sim, 0, 1100 * K, VMMU_W), SIM_OK);
	assert_mapped(sim, 1024, 1180, 1088, 1104);
	for (uint64_t page = 1088; page < 1104; page++)
		assert_int_equal(mapped(sim, page, VMMU_W), page == 1100);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 1);
	/* The first write of a neighbour comes to be seen. */
	assert_int_equal(sim_access(sim, 1, 1101 * K, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(sim, 1, 1090 * K, VMMU_R), SIM_OK);
	assert_int_equal(sim_dirty_log(sim, 0, &pages), VMMU_OK);
	assert_int_equal(pages, 1);
	assert_sound(sim);
}

static void read_only(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 4, VMMU_SLOT_READONLY, 8);

	assert_int_equal(touch(sim, 0, 1100 * K, VMMU_R), VMMU_FAULT_FIXED);
	for (uint64_t page = 1088; page < 1104; page++) {
		assert_true(mapped(sim, page, VMMU_R));
		assert_false(mapped(sim, page, VMMU_W));
	}
	assert_int_equal(touch(sim, 0, 1101 * K, VMMU_W | VMMU_ACCESS_PRESENT), VMMU_FAULT_READ_ONLY);
	assert_sound(sim);
}

/* Copy on write: what is shared stays so, until each is written. */
static void shared(void **state, enum way way)
{
	struct sim *sim = machine(state, way, 4);

	sim_slot_create(sim, 0, 0, 16 * M, 0,
	                sim_backing_new(sim, 0, &(struct sim_backing_config){.copy_on_write = true, .order = 8}));
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(sim_access(sim, i % 2, (1100 + i % 20) * K, VMMU_R), SIM_OK);
		assert_int_equal(sim_access(sim, 0, (1100 + i * 7 % 20) * K, i % 3 ? VMMU_R : VMMU_W), SIM_OK);
	}
	assert_sound(sim);
}

/* ---- what keeps them away ----------------------------------------------------------------------- */

static void what_is_there_stays(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 4, VMMU_SLOT_LOG_DIRTY, 8);
	struct sim_walk before[16], after;

	/* Some are there: read, written, and one that the log has protected since. */
	sim_prefault(sim, 0, 1088 * K, K, VMMU_R, NULL);
	sim_prefault(sim, 0, 1091 * K, K, VMMU_W, NULL);
	assert_int_equal(sim_dirty_log(sim, 0, NULL), VMMU_OK);
	sim_prefault(sim, 0, 1103 * K, K, VMMU_W, NULL);
	for (unsigned i = 0; i < 16; i++)
		sim_look(sim, (1088 + i) * K, 0, &before[i]);
	assert_int_equal(touch(sim, 1, 1093 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_mapped(sim, 1080, 1110, 1088, 1104);
	for (unsigned i = 0; i < 16; i++) {
		sim_look(sim, (1088 + i) * K, 0, &after);
		if (before[i].end == SIM_WALK_MAPPED)
			assert_int_equal(after.rights, before[i].rights);
		else
			assert_int_equal(after.rights & VMMU_W, i == 5 ? VMMU_W : 0);
	}
	assert_sound(sim);
}

static void swap_a_neighbour(struct sim *sim) { assert_int_equal(sim_swap_out(sim, 1090 * K, K), VMMU_OK); }

static void old_answers(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 4, 0, 8);

	sim_access(sim, 1, 1090 * K, VMMU_W);
	assert_int_equal(sim_swap_out(sim, 1088 * K, 16 * K), VMMU_OK);
	sim_access(sim, 1, 1105 * K, VMMU_W);
	host.then = swap_a_neighbour;
	assert_int_equal(touch(sim, 0, 1100 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_mapped(sim, 1088, 1104, 0, 0);
	assert_int_equal(touch(sim, 0, 1100 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_sound(sim);
}

/* A neighbour is being taken back: the page is mapped, and it alone. */
static void open_ranges(void **state, enum way way)
{
	struct sim *sim = begin(state, way, 4, 0, 8);

	assert_int_equal(sim_invalidate_begin(sim, 1090 * K, K), VMMU_OK);
	assert_int_equal(touch(sim, 0, 1100 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_false(mapped(sim, 1090, VMMU_R));
	assert_int_equal(touch(sim, 0, 1090 * K, VMMU_W), VMMU_FAULT_RETRY);
	assert_int_equal(sim_invalidate_end(sim, 1090 * K, K), VMMU_OK);
	assert_int_equal(touch(sim, 0, 1090 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_mapped(sim, 1080, 1110, 1088, 1104);
	assert_sound(sim);
}

/* ---- told ---------------------------------------------------------------------------------------- */

static void each_is_told(void **state)
{
	struct sim *sim = begin(state, HOOKED_AND_TRACED, 4, 0, 8);
	uint64_t seen = 0;
	struct vmmu_stats before, after;

	vmmu_trace_enable(sim->vm, true);
	sim_drain(sim);
	vmmu_stats_read(sim->vm, &before);
	assert_int_equal(touch(sim, 0, 1100 * K, VMMU_W), VMMU_FAULT_FIXED);
	vmmu_stats_read(sim->vm, &after);
	sim_drain(sim);
	for (size_t i = 0; i < sim->trace.records; i++) {
		const struct vmmu_trace_record *r = &sim->trace.record[i];

		if (r->event != VMMU_TRACE_SPTE_CHANGED || r->spte.gfn < 1088 || r->spte.gfn >= 1104 ||
		    r->level != VMMU_LEVEL_4K)
			continue;
		assert_int_equal(r->cause, r->spte.gfn == 1100 ? VMMU_CAUSE_VIOLATION : VMMU_CAUSE_PREFETCH);
		assert_int_equal(r->fault, sim->fault.id);
		assert_int_equal(r->index, r->spte.gfn % 512);
		seen |= 1ull << (r->spte.gfn - 1088);
	}
	assert_int_equal(seen, 0xffff);
	assert_int_equal(after.faults[VMMU_FAULT_FIXED] - before.faults[VMMU_FAULT_FIXED], 1);
	assert_int_equal(after.pages[VMMU_LEVEL_4K] - before.pages[VMMU_LEVEL_4K], 16);
	assert_int_equal(after.entries[VMMU_CAUSE_PREFETCH][VMMU_LEVEL_4K], 15);
	assert_sound(sim);
}

/* Tracing begins between the answer and the entry: nothing that is written is missing. */
static void begin_to_trace(struct sim *sim) { vmmu_trace_enable(sim->vm, true); }

static void watched_meanwhile(void **state)
{
	struct sim *sim = begin(state, UNWATCHED, 4, 0, 8);

	host.then = begin_to_trace;
	while (touch(sim, 0, 1100 * K, VMMU_W) == VMMU_FAULT_RETRY)
		;
	assert_mapped(sim, 1100, 1101, 1100, 1101);
	sim_drain(sim);
	for (uint64_t page = 1088; page < 1104; page++) {
		unsigned told = 0;

		for (size_t i = 0; i < sim->trace.records; i++)
			told += sim->trace.record[i].event == VMMU_TRACE_SPTE_CHANGED &&
			        sim->trace.record[i].spte.gfn == page &&
			        sim->trace.record[i].level == VMMU_LEVEL_4K;
		assert_int_equal(told, mapped(sim, page, VMMU_R));
	}
	assert_sound(sim);
}

static void no_more_than_64(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	enum vmmu_status status;

	config.fault_around = 7;
	config.silent = true;
	sim_end(sim_new(&config, &status));
	assert_int_equal(status, VMMU_ERR_INVALID);
}

EACH_WAY(as_many_as_are_configured)
EACH_WAY(within_the_slot)
EACH_WAY(within_the_run)
EACH_WAY(no_neighbours_of_large_pages)
EACH_WAY(no_neighbours_of_a_prefault)
EACH_WAY(logged)
EACH_WAY(read_only)
EACH_WAY(shared)
EACH_WAY(what_is_there_stays)
EACH_WAY(old_answers)
EACH_WAY(open_ranges)

MODES;

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_EACH_WAY(as_many_as_are_configured),
		BOTH_EACH_WAY(within_the_slot),
		BOTH_EACH_WAY(within_the_run),
		BOTH_EACH_WAY(no_neighbours_of_large_pages),
		BOTH_EACH_WAY(no_neighbours_of_a_prefault),
		BOTH_EACH_WAY(logged),
		BOTH_EACH_WAY(read_only),
		BOTH_EACH_WAY(shared),
		BOTH_EACH_WAY(what_is_there_stays),
		BOTH_EACH_WAY(old_answers),
		BOTH_EACH_WAY(open_ranges),
		BOTH(each_is_told),
		BOTH(watched_meanwhile),
		BOTH(no_more_than_64),
	};

	return cmocka_run_group_tests_name("around", tests, NULL, NULL);
}
