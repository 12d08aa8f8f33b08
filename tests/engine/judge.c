/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The judge itself: for each thing it promises to find, a machine in which
 * that thing is wrong. A check that cannot fail would pass every other test.
 */
#include "case.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

MODES;

static struct sim *quiet(void **state, unsigned vcpus)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = vcpus;
	config.silent = true;
	return sim_start(&config);
}

/* The run is condemned, and for the right reason. */
static void expect_conviction(struct sim *sim, const char *words)
{
	char message[512];

	assert_false(sim_end_saying(sim, message, sizeof(message)));
	if (!strstr(message, words))
		fail_msg("convicted of \"%s\" instead of \"%s\"", message, words);
}

/* ---- hosts that cheat -------------------------------------------------------------- */

static void (*honest_flush)(void *ctx, const struct vmmu_flush *flush);

static void no_flush(void *ctx, const struct vmmu_flush *flush)
{
	(void)flush;
	((struct sim *)ctx)->flushes++;
}

static void flush_without_tables(void *ctx, const struct vmmu_flush *flush)
{
	struct vmmu_flush less = *flush;

	less.tables_freed = false;
	honest_flush(ctx, &less);
}

static void flush_half(void *ctx, const struct vmmu_flush *flush)
{
	struct vmmu_flush less = *flush;

	less.pages = (less.pages + 1) / 2;
	honest_flush(ctx, &less);
}

static void flush_with(struct sim *sim, void (*flush)(void *, const struct vmmu_flush *))
{
	honest_flush = sim->host.flush;
	sim->host.flush = flush;
}

static void a_flush_left_out(void **state)
{
	struct sim *sim = quiet(state, 2);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	for (unsigned v = 0; v < 2; v++)
		sim_access(sim, v, 5 * M, VMMU_W);
	flush_with(sim, no_flush);
	sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY);
	expect_conviction(sim, "no flush is owed, yet vCPU");
}

static void a_stale_translation_in_use(void **state)
{
	struct sim *sim = quiet(state, 2);

	sim->config.unwatched = true; /* so that the use is what is found */
	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	sim_access(sim, 1, 5 * M, VMMU_W);
	flush_with(sim, no_flush);
	sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY);
	sim_access(sim, 1, 5 * M, VMMU_W);
	expect_conviction(sim, "used a translation");
}

static void a_table_freed_while_remembered(void **state)
{
	struct sim *sim = quiet(state, 1);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_W);
	flush_with(sim, flush_without_tables);
	sim_slot_delete(sim, 0);
	expect_conviction(sim, "may still remember it");
}

static void a_flush_of_half_the_range(void **state)
{
	struct sim *sim = quiet(state, 1);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	for (uint64_t gpa = 0; gpa < 16 * M; gpa += 1 * M)
		sim_access(sim, 0, gpa, VMMU_W);
	flush_with(sim, flush_half);
	sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY);
	expect_conviction(sim, "no flush is owed, yet vCPU");
}

/* ---- tables that are wrong ------------------------------------------------------------ */

static uint64_t leaf_entry(struct sim *sim, uint64_t gpa, uint64_t *hpa)
{
	struct sim_walk walk;

	sim_look(sim, gpa, 0, &walk);
	*hpa = walk.step[walk.steps - 1].entry_hpa;
	return walk.step[walk.steps - 1].entry;
}

static void planted(void **state, uint32_t flags, uint64_t flip, const char *words)
{
	struct sim *sim = quiet(state, 1);
	uint64_t hpa, entry;

	sim_slot_create(sim, 0, 0, 16 * M, flags, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_R);
	entry = leaf_entry(sim, 5 * M, &hpa);
	sim_memory_store(&sim->memory, hpa, entry ^ flip);
	assert_false(sim_check(sim));
	expect_conviction(sim, words);
}

static void another_frame(void **state)
{
	planted(state, 0, 0x1000, "maps a frame that is not this page's");
}

static void a_right_too_many(void **state)
{
	planted(state, VMMU_SLOT_READONLY, 2, "grants write to a read-only slot");
	planted(state, VMMU_SLOT_LOG_DIRTY, 2, "the dirty log does not have");
}

static void another_memory_type(void **state)
{
	planted(state, 0, 8, mode_of(state) == VMMU_MODE_EPT ? "no CPU accepts it" : "memory type");
}

static void an_entry_from_nowhere(void **state)
{
	struct sim *sim = quiet(state, 1);
	uint64_t hpa, entry;

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_W);
	entry = leaf_entry(sim, 5 * M, &hpa);
	sim->config.unwatched = true;
	sim_memory_store(&sim->memory, hpa + 8, entry + 0x1000);
	assert_false(sim_check_provenance(sim));
	expect_conviction(sim, "replay gives 0");
}

/* Right before a split is published: give its first page a right that nobody granted. */
static void spoil_unpublished_table(void *arg, unsigned point, uint64_t table, unsigned index)
{
	struct sim *sim = arg;
	const struct sim_frame *frame = sim_memory_frame(&sim->memory, table);

	(void)index;
	if (point != VMMU_POINT_ENTRY_BEFORE || !frame || frame->level != 2)
		return;
	for (unsigned i = 0; i < sim->memory.config.frames; i++) {
		uint64_t hpa = sim->memory.config.base + (uint64_t)i * VMMU_PAGE_SIZE, entry;

		if (sim->memory.frame[i].in_use && !sim->memory.frame[i].level &&
		    sim_memory_load(&sim->memory, hpa, &entry) && entry)
			sim_memory_store(&sim->memory, hpa, entry | 2);
	}
}

static void a_third_thing_in_between(void **state)
{
	struct sim *sim = quiet(state, 1);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 9));
	sim_access(sim, 0, 5 * M, VMMU_W);
	sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY);
	sim->on_point = spoil_unpublished_table;
	sim->on_point_arg = sim;
	sim_access(sim, 0, 5 * M, VMMU_W);
	sim->on_point = NULL;
	expect_conviction(sim, "in between");
}

/* ---- calls that lie --------------------------------------------------------------------- */

static void a_call_with_another_meaning(void **state)
{
	struct sim *sim = quiet(state, 1);
	struct vmmu_slot_info info = {.bytes = 16 * M, .backing = contiguous(sim, 0, 0)};

	assert_int_equal(vmmu_slot_create(sim->vm, &info), VMMU_OK); /* the reference is not told */
	sim_access(sim, 0, 5 * M, VMMU_W);
	expect_conviction(sim, "outside every slot");
}

static void a_wrong_status(void **state)
{
	struct sim *sim = quiet(state, 1);
	struct vmmu_slot_info info = {.bytes = 16 * M, .backing = contiguous(sim, 0, 0)};

	assert_int_equal(vmmu_slot_create(sim->vm, &info), VMMU_OK);
	sim_slot_create(sim, 0, 0, 16 * M, 0, info.backing);
	expect_conviction(sim, "vmmu_slot_create answers");
}

static void a_write_the_log_has_lost(void **state)
{
	struct sim *sim = quiet(state, 1);
	uint64_t bitmap[64];

	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_W);
	assert_int_equal(vmmu_dirty_log(sim->vm, 0, bitmap, 64), VMMU_OK); /* someone else took it */
	sim_dirty_log(sim, 0, NULL);
	expect_conviction(sim, "misses the write");
}

static void a_write_no_one_made(void **state)
{
	struct sim *sim = quiet(state, 1);

	sim_slot_create(sim, 0, 0, 16 * M, VMMU_SLOT_LOG_DIRTY, contiguous(sim, 0, 0));
	vmmu_mark_dirty(sim->vm, NULL, vmmu_gfn_of(7));
	sim_dirty_log(sim, 0, NULL);
	expect_conviction(sim, "which no one wrote");
}

/* ---- what is lost ------------------------------------------------------------------------ */

static void lose_records(void *ctx, struct vmmu_trace_ring *ring)
{
	(void)ctx;
	vmmu_trace_ring_take(ring, vmmu_trace_ring_waiting(ring));
}

static void lost_records(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.silent = true;
	config.ring_records = 16;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	sim->host.trace_full = lose_records;
	for (uint64_t gpa = 0; gpa < 64 * K; gpa += K)
		sim_access(sim, 0, gpa, VMMU_W);
	expect_conviction(sim, "trace:");
}

static void a_lost_frame_and_a_lost_object(void **state)
{
	struct sim *sim = quiet(state, 1);
	vmmu_hpa frame;

	assert_true(sim_memory_table_alloc(&sim->memory, &frame));
	expect_conviction(sim, "1 table frames were never given back");
	sim = quiet(state, 1);
	assert_non_null(sim_memory_object_alloc(&sim->memory, 100));
	expect_conviction(sim, "1 objects (100 bytes) were never given back");
}

static void frames_and_objects_freed_wrongly(void **state)
{
	struct sim *sim = quiet(state, 1);
	vmmu_hpa frame;

	assert_true(sim_memory_table_alloc(&sim->memory, &frame));
	sim_memory_table_free(&sim->memory, frame);
	sim_memory_table_free(&sim->memory, frame);
	expect_conviction(sim, "that the host had not handed out");
	sim = quiet(state, 1);
	sim_memory_object_free(&sim->memory, sim_memory_object_alloc(&sim->memory, 64), 65);
	expect_conviction(sim, "another size");
}

/* ---- the read-only view -------------------------------------------------------------------- */

static void a_stray_store_faults(void **state)
{
	struct sim *sim = quiet(state, 1);
	int status;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint64_t *)(sim->host.table_read_base + sim->vcpu[0].root.table.v) = 7;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_sound(sim);
}

/* ---- a host whose frames are not zero -------------------------------------------------------- */

static struct sim_memory *lying;

static bool give_a_word_too_many(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	if (!sim_memory_table_alloc(lying, out))
		return false;
	sim_memory_store(lying, out->v + VMMU_PAGE_SIZE - 8, 1);
	return true;
}

/* The engine does not clear what the host has promised to be zero; where contracts are asserted it looks. */
static void a_frame_that_is_not_zero(void **state)
{
	struct sim *sim = quiet(state, 1);
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(512 * G), VMMU_R, 0, 0);

		for (int signal_number = 1; signal_number < 32; signal_number++)
			signal(signal_number, SIG_DFL);
		lying = &sim->memory;
		sim->host.table_alloc = give_a_word_too_many;
		vmmu_fault(sim->vcpu[0].engine, &fault);
		for (uint64_t gpa = 1 * G; gpa < 16 * G; gpa += G) {
			fault = vmmu_fault_of(vmmu_gpa_of(gpa), VMMU_R, 0, 0);
			vmmu_fault(sim->vcpu[0].engine, &fault);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_sound(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_flush_left_out),
		BOTH(a_stale_translation_in_use),
		BOTH(a_table_freed_while_remembered),
		BOTH(a_flush_of_half_the_range),
		BOTH(another_frame),
		BOTH(a_right_too_many),
		BOTH(another_memory_type),
		BOTH(an_entry_from_nowhere),
		BOTH(a_third_thing_in_between),
		BOTH(a_call_with_another_meaning),
		BOTH(a_wrong_status),
		BOTH(a_write_the_log_has_lost),
		BOTH(a_write_no_one_made),
		BOTH(lost_records),
		BOTH(a_lost_frame_and_a_lost_object),
		BOTH(frames_and_objects_freed_wrongly),
		EPT(a_stray_store_faults),
		BOTH(a_frame_that_is_not_zero),
	};

	return cmocka_run_group_tests_name("judge", tests, NULL, NULL);
}
