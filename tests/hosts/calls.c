/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Management and vCPU calls with arguments at the edges of their types, calls that are
 * refused, calls as long as their argument says, and what vCPUs meet while a call is
 * under way.
 */
#include "host.h"

#include <vmmu/nested.h>

#include <signal.h>

MODES;

/* ---- slots --------------------------------------------------------------------------- */

static void any_slot_id_is_answered(void **state)
{
	static const uint32_t ids[] = {0, 1, 1u << 20, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff};
	struct host *host = host_new(0);
	struct vmmu_config config = host_config(host, mode_of(state));

	config.max_slots = UINT32_MAX;
	host_make(host, &config, 1);
	alarm(60); /* it used to loop for ever */
	for (unsigned i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		enum vmmu_status expected = ids[i] == UINT32_MAX ? VMMU_ERR_SLOT_ID : VMMU_OK;

		assert_int_equal(host_slot(host, ids[i], i * M, M, 0), expected);
	}
	alarm(0);
	assert_result(host_touch(host, 0, M, VMMU_W), VMMU_FAULT_FIXED);
	host_end(host);
}

/*
 * Another vCPU touches memory that stands before and after the move: never is it a
 * hole. It may have to come again until the move is done.
 */
struct move {
	enum vmmu_fault_result seen[64];
	unsigned count;
	uint64_t at, frame;
};

static void touch_during_move(struct host *host)
{
	struct move *move = host->arg;

	if (move->count == 64)
		return;
	move->seen[move->count++] = host_fault(host, 1, move->at, VMMU_W);
	/* What is mapped during the move is what will be there. */
	if (move->seen[move->count - 1] == VMMU_FAULT_FIXED)
		assert_int_equal(host_frame_of(host, 1, move->at, NULL), move->frame);
}

static void at_each_point(struct host *host, unsigned point)
{
	static __thread bool busy;

	if (busy || (point != VMMU_POINT_GATE_OPEN && point != VMMU_POINT_FLUSH_BEFORE &&
	             point != VMMU_POINT_FLUSH_DONE))
		return;
	busy = true;
	host->on_point = NULL;
	host_elsewhere(host, touch_during_move);
	host->on_point = at_each_point;
	busy = false;
}

static void memory_on_both_sides_of_a_move_is_no_hole(void **state)
{
	for (unsigned way = 0; way < 2; way++) {
		uint64_t from = way ? 2 * M : 0, to = way ? 0 : 2 * M;
		struct move move = {.at = 3 * M, .frame = HOST_FRAMES + (3 * M - to) / K};
		struct host *host = host_with(mode_of(state), 2, 0);

		assert_ok(host_slot(host, 0, from, 8 * M, 0));
		assert_result(host_touch(host, 0, 3 * M, VMMU_W), VMMU_FAULT_FIXED);
		host->arg = &move;
		host->on_point = at_each_point;
		assert_ok(vmmu_slot_move(host->vm, 0, vmmu_gpa_of(to)));
		host->on_point = NULL;
		assert_true(move.count > 0);
		for (unsigned i = 0; i < move.count; i++)
			assert_true(move.seen[i] == VMMU_FAULT_RETRY || move.seen[i] == VMMU_FAULT_FIXED ||
			            move.seen[i] == VMMU_FAULT_SPURIOUS);
		assert_true(host_touch(host, 1, 3 * M, VMMU_W) <= VMMU_FAULT_SPURIOUS);
		assert_int_equal(host_frame_of(host, 1, 3 * M, NULL), move.frame);
		host_end(host);
	}
}

/* An invalidation of just the range that a move keeps busy is another's, and stays. */
static void a_move_leaves_invalidations_alone(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);

	assert_ok(host_slot(host, 0, 0, 4 * M, 0));
	assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(0), 4 * M));
	assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(2 * M), 4 * M));
	assert_ok(vmmu_slot_move(host->vm, 0, vmmu_gpa_of(2 * M)));
	assert_result(host_fault(host, 0, 3 * M, VMMU_W), VMMU_FAULT_RETRY);
	assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of(0), 4 * M));
	assert_result(host_fault(host, 0, 5 * M, VMMU_W), VMMU_FAULT_RETRY);
	assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of(2 * M), 4 * M));
	assert_result(host_touch(host, 0, 3 * M, VMMU_W), VMMU_FAULT_FIXED);
	host_end(host);
}

/* ---- prefault ------------------------------------------------------------------------- */

static void prefault_ends_where_the_tables_do(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	bool shadow = mode_of(state) == VMMU_MODE_SHADOW;
	uint64_t reach = shadow ? 4 * G : 64 * (1024 * G), done = 77;

	assert_ok(host_slot(host, 0, 0, 8 * G, 0));
	if (!shadow) {
		assert_ok(host_slot(host, 1, reach - 2 * M, 2 * M, 0));
	} else {
		assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(5 * G), 4 * M, VMMU_W, &done),
		              VMMU_FAULT_BEYOND);
		assert_int_equal(done, 0);
		/* Nothing was mapped at the same place modulo 4 GiB. */
		assert_int_equal(host_frame_of(host, 0, G, NULL), 0);
	}
	assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(reach - K), 3 * K, VMMU_W, &done),
	              VMMU_FAULT_BEYOND);
	assert_int_equal(done, K);
	assert_int_equal(host_frame_of(host, 0, 0, NULL), 0);
	assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(~0ull - K + 1), K, VMMU_W, &done),
	              VMMU_FAULT_BEYOND);
	assert_int_equal(done, 0);
	host_end(host);
}

/* ---- refused calls ---------------------------------------------------------------------- */

static bool no_table(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	(void)out;
	return false;
}

/* A vCPU's registers are refused for each reason there is; then a CPU of another kind is as good as ever. */
static void refused_registers_leave_nothing_behind(void **state)
{
	for (unsigned reason = 0; reason < 3; reason++) {
		struct host *host = host_with(mode_of(state), 2, 64);
		struct vmmu_paging paging = host_long_mode(G_ROOT), other;

		assert_ok(host_slot(host, 0, 0, 64 * K, 0));
		other = paging;
		other.cpu.maxphyaddr = 40;
		other.cpu.page_1g = false;
		switch (reason) {
		case 0: /* five levels, of which the VM has four */
			paging.cr4 |= 1u << 12;
			assert_int_equal(vmmu_vcpu_set_paging(host->vcpu[0], &paging), VMMU_ERR_UNSUPPORTED);
			break;
		case 1:
			host->calls.table_alloc = no_table;
			assert_int_equal(vmmu_vcpu_set_paging(host->vcpu[0], &paging), VMMU_ERR_NO_MEMORY);
			host->calls.table_alloc = host_table_alloc;
			break;
		case 2:
			paging.cpu.maxphyaddr = 53;
			assert_int_equal(vmmu_vcpu_set_paging(host->vcpu[0], &paging), VMMU_ERR_INVALID);
			break;
		}
		assert_ok(vmmu_vcpu_set_paging(host->vcpu[0], &other));
		/* Now it is agreed upon. */
		paging = host_long_mode(G_ROOT);
		assert_int_equal(vmmu_vcpu_set_paging(host->vcpu[1], &paging), VMMU_ERR_INVALID);
		assert_ok(vmmu_vcpu_set_paging(host->vcpu[1], &other));
		host_end(host);
	}
}

/* ---- calls that are about something else ---------------------------------------------------- */

/* A VM without nested maps has no L2; one without shadow tables no guest table to let go of. */
static void calls_for_other_modes_change_nothing(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 64);
	struct vmmu_nested nested = {.root = 16 * K, .cpu = {.maxphyaddr = 40}};
	struct vmmu_stats before, after;
	uint64_t log[1] = {0};

	assert_ok(host_slot(host, 0, 0, 64 * K, VMMU_SLOT_LOG_DIRTY));
	vmmu_stats_read(host->vm, &before);
	assert_int_equal(vmmu_vcpu_set_nested(host->vcpu[0], &nested), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vcpu_set_nested(host->vcpu[0], NULL), VMMU_ERR_INVALID);
	for (uint16_t tag = 0; tag < 3; tag++)
		assert_true(vmmu_nested_tag(host->vcpu[0], tag, VMMU_NESTED_FLUSH_NONE, 0));
	assert_true(vmmu_guest_release(host->vcpu[0], vmmu_gpa_of(5 * K)));
	/* Nothing, and what would wrap around. */
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(5 * K), 0);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(UINT64_MAX), 2);
	vmmu_stats_read(host->vm, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_ok(vmmu_dirty_log(host->vm, 0, log, 1));
	assert_int_equal(log[0], 0);
	host_end(host);
}

/* An entry is asked for at a level that there is not, or by a decoder that there cannot be. */
static void decoding_without_sense_is_answered(void **state)
{
	const struct vmmu_decoder good = {.mode = mode_of(state), .levels = 4, .cpu = {.maxphyaddr = 40, .nx = true}};
	struct vmmu_entry_info info;
	struct vmmu_decoder bad;

	for (uint64_t entry = 0; entry < 2; entry++) {
		const enum vmmu_entry_kind kind = entry ? VMMU_ENTRY_BAD : VMMU_ENTRY_EMPTY;

		vmmu_entry_decode(&good, 0, entry, &info);
		assert_int_equal(info.kind, kind);
		vmmu_entry_decode(&good, 6, entry, &info);
		assert_int_equal(info.kind, kind);
		bad = good;
		bad.mode = (enum vmmu_mode)99;
		vmmu_entry_decode(&bad, 1, entry, &info);
		assert_int_equal(info.kind, kind);
		bad = good;
		bad.cpu.maxphyaddr = 20;
		vmmu_entry_decode(&bad, 1, entry, &info);
		assert_int_equal(info.kind, kind);
	}
	vmmu_entry_decode(&good, 1, 0x1007, &info);
	assert_int_equal(info.kind, VMMU_ENTRY_LEAF);
}

/* No guest can name it, or the tables do not reach so far: there is no way to it. */
static void a_path_beyond_the_tables_has_no_steps(void **state)
{
	static const uint64_t beyond[] = {1ull << 52, UINT64_MAX};
	struct host *host = host_with(mode_of(state), 1, 64);
	struct vmmu_path path;

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	for (unsigned i = 0; i < 2; i++) {
		vmmu_path_of(host->vm, vmmu_gpa_of(beyond[i]), &path);
		assert_int_equal(path.steps, 0);
	}
	vmmu_path_of(host->vm, vmmu_gpa_of(0), &path);
	assert_true(path.steps > 0);
	/* The root for guests without paging covers no more than 512 GiB. */
	vmmu_path_of(host->vm, vmmu_gpa_of(512 * G), &path);
	assert_int_equal(path.steps > 0, mode_of(state) != VMMU_MODE_SHADOW);
	host_end(host);
}

/* Each thing that a VM cannot be made with; then one that it can. */
static void configurations_that_are_refused(void **state)
{
	enum { REASONS = 13 };
	const bool shadow = mode_of(state) == VMMU_MODE_SHADOW;

	for (unsigned reason = 0; reason <= REASONS; reason++) {
		struct host *host = host_with(mode_of(state), 1, 64);
		struct vmmu_host calls = host->calls;
		struct vmmu_config c = {
			.host = &calls,
			.host_ctx = host,
			.mode = mode_of(state),
			.cpu = {.maxphyaddr = 40, .page_2m = true, .nx = true},
		};
		enum vmmu_status wanted = VMMU_ERR_INVALID, status;
		struct vmmu_vm *vm = NULL;

		switch (reason) {
		case 0: c.mode = (enum vmmu_mode)99; break;
		case 1: c.max_level = VMMU_LEVEL_1G + 1; break;
		case 2: c.max_vcpus = 1u << 20; break;
		case 3: c.guest_maxphyaddr = 31; break;
		case 4: calls.object_alloc = NULL; break;
		case 5: calls.object_free = NULL; break;
		case 6: calls.table_alloc = NULL; break;
		case 7: calls.table_free = NULL; break;
		case 8: calls.backing = NULL; break;
		case 9: calls.flush = NULL; break;
		case 10: /* shadow tables are not for a guest's guest */
			c.nested = true;
			wanted = shadow ? VMMU_ERR_INVALID : VMMU_OK;
			break;
		case 11:
			calls.guest_read = NULL;
			c.nested = !shadow;
			break;
		case 12:
			calls.guest_cmpxchg = NULL;
			c.nested = !shadow;
			break;
		default: /* narrower than the CPU, and nothing wrong with it */
			c.guest_maxphyaddr = 36;
			wanted = VMMU_OK;
			break;
		}
		status = vmmu_vm_create(&c, &vm);
		assert_string_equal(vmmu_status_name(status), vmmu_status_name(wanted));
		if (status == VMMU_OK && reason == REASONS) {
			struct vmmu_slot_info over = {.id = 0, .base = {1ull << 36}, .bytes = K};

			assert_int_equal(vmmu_slot_create(vm, &over), VMMU_ERR_SLOT_BEYOND);
			over.base.v -= K;
			assert_ok(vmmu_slot_create(vm, &over));
		}
		if (status == VMMU_OK)
			assert_ok(vmmu_vm_destroy(vm));
		host_end(host);
	}
}

/* ---- long calls -------------------------------------------------------------------------- */

/* How often the gate has been entered: in between whoever waits for it has it. */
static unsigned entered;

static void count_entries(struct host *host, unsigned point)
{
	(void)host;
	entered += point == VMMU_POINT_GATE_ENTER;
}

static void a_long_write_holds_nobody_up(void **state)
{
	enum { PAGES_AT_ONCE = 1 << 16 };

	for (unsigned logging = 0; logging <= 1; logging++) {
		struct host *host = host_with(mode_of(state), 1, 64);

		assert_ok(host_slot(host, 0, 0, 64 * K, 0));
		assert_ok(host_slot(host, 1, G, 2 * G, logging ? VMMU_SLOT_LOG_DIRTY : 0));
		host->on_point = count_entries;
		entered = 0;
		/* 2^33 pages, of which 2^19 are memory: page by page it would be minutes. */
		alarm(120);
		vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(0), 1ull << 45);
		alarm(0);
		host->on_point = NULL;
		assert_true(entered >= 2 * G / K / PAGES_AT_ONCE);
		host_end(host);
	}
}

/* Each page that it touches is dirty, and no other. */
static void a_long_write_marks_what_it_touches(void **state)
{
	enum { FIRST = 3,
	       LAST = 200 };
	uint64_t bitmap[8];
	struct host *host = host_with(mode_of(state), 1, 64);

	assert_ok(host_slot(host, 0, 0, 256 * K, VMMU_SLOT_LOG_DIRTY));
	assert_ok(host_slot(host, 1, 300 * K, 512 * K, VMMU_SLOT_LOG_DIRTY));
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(FIRST * K + 5), (LAST - FIRST) * K);
	assert_ok(vmmu_dirty_log(host->vm, 0, bitmap, 4));
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(bitmap[i / 64] >> i % 64 & 1, i >= FIRST && i <= LAST);
	/* Across a hole. */
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(255 * K), 46 * K + 1);
	assert_ok(vmmu_dirty_log(host->vm, 0, bitmap, 4));
	assert_true(bitmap[0] == 0 && bitmap[1] == 0 && bitmap[2] == 0 && bitmap[3] == 1ull << 63);
	assert_ok(vmmu_dirty_log(host->vm, 1, bitmap, 8));
	assert_int_equal(bitmap[0], 3);
	for (unsigned i = 1; i < 8; i++)
		assert_int_equal(bitmap[i], 0);
	/* All that there is, and beyond. */
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(0), ~0ull);
	assert_ok(vmmu_dirty_log(host->vm, 1, bitmap, 8));
	for (unsigned i = 0; i < 8; i++)
		assert_true(bitmap[i] == ~0ull);
	host_end(host);
}

/* A guest table far along in the range is seen to all the same. */
static void a_long_write_reaches_guest_tables(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 8192);

	assert_ok(host_slot(host, 0, 0, 8192 * K, 0));
	host_start_paging(host);
	assert_result(host_touch(host, 0, 100 * K, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(host_frame_of(host, 0, 100 * K, NULL), HOST_FRAMES + 100);
	/* The directory names another table, in the last page of memory. */
	host_set(host, G_DIRECTORY, 0, 8191 * K | GFULL);
	host_set(host, 8191, 100, 200 * K | GFULL | GD);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(0), 32 * K);
	host_touch(host, 0, 100 * K, VMMU_R);
	assert_int_equal(host_frame_of(host, 0, 100 * K, NULL), HOST_FRAMES + 200);
	host_set(host, 8191, 100, 300 * K | GFULL | GD);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(64 * K), 1ull << 40);
	host_touch(host, 0, 100 * K, VMMU_R);
	assert_int_equal(host_frame_of(host, 0, 100 * K, NULL), HOST_FRAMES + 300);
	host_end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(any_slot_id_is_answered),
		ALL(memory_on_both_sides_of_a_move_is_no_hole),
		ALL(a_move_leaves_invalidations_alone),
		ALL(prefault_ends_where_the_tables_do),
		SHADOW(refused_registers_leave_nothing_behind),
		ALL(calls_for_other_modes_change_nothing),
		ALL(decoding_without_sense_is_answered),
		ALL(a_path_beyond_the_tables_has_no_steps),
		ALL(configurations_that_are_refused),
		ALL(a_long_write_holds_nobody_up),
		ALL(a_long_write_marks_what_it_touches),
		SHADOW(a_long_write_reaches_guest_tables),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
