/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest tables in memory that the host is taking back. What is read of them then is
 * nobody's word: nothing may follow from it, and nothing is to be stored there.
 */
#include "host.h"

MODES;

enum { PAGE = 100,
       HOLE = 300,
       GARBAGE = 0x5a };

static struct host *paging_host(void **state, unsigned vcpus)
{
	struct host *host = host_with(mode_of(state), vcpus, 512);

	assert_ok(host_slot(host, 0, 0, 256 * K, 0));
	assert_ok(host_slot(host, 1, 256 * K, 16 * K, VMMU_SLOT_READONLY));
	host_start_paging(host);
	return host;
}

/* The guest's entry for PAGE as the page looks while the host has it. */
static const uint64_t scraps[] = {
	0,                                 /* a #PF would be the guest's own */
	GP | GU | GA,                      /* page 0, read only: one of a protection */
	PAGE *K | GFULL | GD | 1ull << 50, /* a reserved bit */
	HOLE *K | GFULL | GD,              /* no memory: MMIO */
	260 * K | GFULL | GD,              /* the read-only slot */
	(1ull << 45) | GFULL | GD,         /* past all slots */
	PAGE *K | GP | GW | GU,            /* A and D to be set */
};
enum { SCRAPS = sizeof(scraps) / sizeof(*scraps) };

static const unsigned levels[] = {G_ROOT, G_PDPT, G_DIRECTORY, G_TABLE};

static void nothing_follows_from_a_table_that_is_taken_back(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		for (unsigned n = 0; n < SCRAPS; n++) {
			struct host *host = paging_host(state, 1);
			unsigned index = levels[i] == G_TABLE ? PAGE : 0;
			uint64_t good = host_get(host, levels[i], index);

			assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(levels[i] * K), K));
			host_set(host, levels[i], index, scraps[n]);
			assert_result(host_fault(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER), VMMU_FAULT_RETRY);
			assert_int_equal(host_get(host, levels[i], index), scraps[n]);
			assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), 0);
			host_set(host, levels[i], index, good);
			assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of(levels[i] * K), K));
			assert_true(host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER) == VMMU_FAULT_FIXED);
			assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), HOST_FRAMES + PAGE);
			host_end(host);
		}
}

/* The host says so itself, of memory that no call names as being taken. */
static bool busy;
static uint64_t busy_page;

static bool is_the_busy_page(struct host *host, uint64_t gpa)
{
	(void)host;
	return busy && gpa / K == busy_page;
}

static void a_read_that_is_busy_is_tried_again(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct host *host = paging_host(state, 1);

		host->is_busy = is_the_busy_page;
		busy_page = levels[i];
		busy = true;
		assert_result(host_fault(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER), VMMU_FAULT_RETRY);
		assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), 0);
		busy = false;
		assert_true(host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER) == VMMU_FAULT_FIXED);
		/* A table that is to be compared again, and cannot be read just then. */
		host_set(host, G_TABLE, PAGE, (PAGE + 1) * K | GFULL | GD);
		assert_true(vmmu_guest_release(host->vcpu[0], vmmu_gpa_of(G_TABLE * K)));
		host_set(host, G_TABLE, PAGE, (PAGE + 2) * K | GFULL | GD);
		busy = true;
		assert_result(host_fault(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER), VMMU_FAULT_RETRY);
		busy = false;
		host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER);
		assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), HOST_FRAMES + PAGE + 2);
		host_end(host);
	}
}

/* The words that the walk needs can be read, the rest of the table cannot: it is not linked. */
static bool is_beside_the_walk(struct host *host, uint64_t gpa)
{
	(void)host;
	return busy && gpa / K == G_TABLE && gpa % K != PAGE * 8;
}

static void a_table_read_in_part_stays_out_of_reach(void **state)
{
	struct host *host = paging_host(state, 1);

	host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER);
	host_touch(host, 0, (PAGE + 1) * K, VMMU_W | VMMU_ACCESS_USER);
	assert_true(vmmu_guest_release(host->vcpu[0], vmmu_gpa_of(G_TABLE * K)));
	host_set(host, G_TABLE, PAGE + 1, (PAGE + 9) * K | GFULL | GD);
	host->is_busy = is_beside_the_walk;
	busy = true;
	assert_result(host_fault(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER), VMMU_FAULT_RETRY);
	assert_int_equal(host_frame_of(host, 0, (PAGE + 1) * K, NULL), 0);
	busy = false;
	host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER);
	host_touch(host, 0, (PAGE + 1) * K, VMMU_W | VMMU_ACCESS_USER);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), HOST_FRAMES + PAGE);
	assert_int_equal(host_frame_of(host, 0, (PAGE + 1) * K, NULL), HOST_FRAMES + PAGE + 9);
	host_end(host);
}

/*
 * The guest writes a root's table while no vCPU remembers the root. Then a vCPU runs on it again
 * while the flush of another vCPU is still to come, so that the table is not compared yet: nothing
 * may be reached by what it has said.
 */
enum { OTHER_ROOTS = 40,
       ELSEWHERE = 6 };

static void run_on_the_root(struct host *host)
{
	struct vmmu_paging paging = host_long_mode(G_ROOT);

	host->on_flush = NULL;
	assert_ok(vmmu_vcpu_set_paging(host->vcpu[0], &paging));
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), 0);
	*(bool *)host->arg = true;
}

static void a_root_written_while_it_was_forgotten(void **state)
{
	struct host *host = paging_host(state, 2);
	bool has_run = false;

	assert_result(host_touch(host, 0, PAGE * K, VMMU_R | VMMU_ACCESS_USER), VMMU_FAULT_FIXED);
	for (unsigned i = 0; i < 8; i++) {
		struct vmmu_paging paging = host_long_mode(OTHER_ROOTS + i);

		host_set(host, OTHER_ROOTS + i, 0, G_PDPT * K | GFULL);
		for (unsigned vcpu = 0; vcpu < host->vcpus; vcpu++)
			assert_ok(vmmu_vcpu_set_paging(host->vcpu[vcpu], &paging));
	}
	host_set(host, G_DIRECTORY, 1, G_OTHER_TABLE * K | GFULL);
	host_set(host, G_OTHER_TABLE, 0, GFULL | GD);
	assert_result(host_touch(host, 1, 512 * K, VMMU_R | VMMU_ACCESS_USER), VMMU_FAULT_FIXED);
	/* Tables of the root's own, in which PAGE is another. */
	host_set(host, G_FREE, 0, (G_FREE + 1) * K | GFULL);
	host_set(host, G_FREE + 1, 0, (G_FREE + 2) * K | GFULL);
	host_set(host, G_FREE + 2, PAGE, ELSEWHERE * K | GFULL | GD);
	assert_true(vmmu_guest_release(host->vcpu[1], vmmu_gpa_of(G_ROOT * K)));
	host_set(host, G_ROOT, 0, G_FREE * K | GFULL);
	host->arg = &has_run;
	host->on_flush = run_on_the_root;
	assert_true(vmmu_guest_release(host->vcpu[1], vmmu_gpa_of(G_OTHER_TABLE * K)));
	assert_true(has_run);
	host_touch(host, 0, PAGE * K, VMMU_R | VMMU_ACCESS_USER);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), HOST_FRAMES + ELSEWHERE);
	host_end(host);
}

/* The page is taken just as the walk reads it; what the walk then has is as good as nothing. */
static bool taken;

static void take_the_table(struct host *host)
{
	assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(G_TABLE * K), K));
	memset(host->ram + G_TABLE * K, GARBAGE, K);
	taken = true;
}

/* Begin it beside the fault that is reading: a call that waits for walkers must not be waited for here. */
static pthread_t taker;
static bool taking;

static void *take(void *arg)
{
	take_the_table(arg);
	return NULL;
}

static void when_it_is_read(struct host *host, uint64_t gpa)
{
	if (gpa / K != G_TABLE || taking)
		return;
	taking = true;
	assert_int_equal(pthread_create(&taker, NULL, take, host), 0);
	usleep(20000);
}

static void a_table_taken_under_the_walk_is_left_alone(void **state)
{
	struct host *host = paging_host(state, 1);
	uint64_t good[512];

	taking = taken = false;
	memcpy(good, host->ram + G_TABLE * K, K);
	good[PAGE] = PAGE * K | GP | GW | GU; /* A and D to be set */
	host_set(host, G_TABLE, PAGE, good[PAGE]);
	host->on_guest_read = when_it_is_read;
	/* Whatever it does, once the host has the page it stores nothing there. */
	host_fault(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER);
	pthread_join(taker, NULL);
	assert_true(taken);
	host->on_guest_read = NULL;
	assert_result(host_fault(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER), VMMU_FAULT_RETRY);
	for (unsigned i = 0; i < K; i++)
		assert_int_equal(host->ram[G_TABLE * K + i], GARBAGE);
	memcpy(host->ram + G_TABLE * K, good, K);
	assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of(G_TABLE * K), K));
	host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_USER);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), HOST_FRAMES + PAGE);
	host_end(host);
}

/* ---- a table in no slot --------------------------------------------------------------------- */

/* The host still answers guest_read there: it frees what was in the slot after the call. */
static void nothing_is_reached_through_a_table_whose_slot_has_gone(void **state)
{
	for (unsigned how = 0; how < 2; how++) {
		struct host *host = host_with(mode_of(state), 2, 512);

		assert_ok(host_slot(host, 0, 0, G_TABLE * K, 0));
		assert_ok(host_slot(host, 1, G_TABLE * K, K, 0));
		assert_ok(host_slot(host, 2, (G_TABLE + 1) * K, 256 * K, 0));
		host_start_paging(host);
		for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
			assert_true(host_touch(host, vcpu, PAGE * K, VMMU_W) <= VMMU_FAULT_SPURIOUS);
			assert_true(host_frame_of(host, vcpu, PAGE * K, NULL) != 0);
		}
		assert_ok(how ? vmmu_slot_move(host->vm, 1, vmmu_gpa_of(G)) : vmmu_slot_delete(host->vm, 1));
		for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
			assert_int_equal(host_frame_of(host, vcpu, PAGE * K, NULL), 0);
			assert_result(host_touch(host, vcpu, PAGE * K, VMMU_W), VMMU_FAULT_INJECT_PF);
		}
		host_set(host, G_TABLE, PAGE, 0);
		vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(G_TABLE * K + PAGE * 8), 8);
		assert_int_equal(host_audit(host), 0);
		host_end(host);
	}
}

static void the_slot_goes_now(struct host *host, unsigned point)
{
	if (point != VMMU_POINT_GATE_LEAVE)
		return;
	host->on_point = NULL;
	assert_ok(vmmu_slot_delete(host->vm, 1));
}

/* Between the walk of the guest's tables and what is built by it. A root stays the vCPU's, although its slot goes. */
static void a_table_whose_slot_goes_after_the_walk_is_not_held(void **state)
{
	static const unsigned gone[] = {G_TABLE, G_ROOT};

	for (unsigned i = 0; i < 2; i++) {
		struct host *host = host_with(mode_of(state), 1, 512);

		assert_ok(host_slot(host, 0, 0, gone[i] * K, 0));
		assert_ok(host_slot(host, 1, gone[i] * K, K, 0));
		assert_ok(host_slot(host, 2, (gone[i] + 1) * K, 256 * K, 0));
		host_start_paging(host);
		if (gone[i] == G_ROOT)
			assert_true(host_touch(host, 0, (PAGE + 1) * K, VMMU_W) == VMMU_FAULT_FIXED);
		host->on_point = the_slot_goes_now;
		assert_result(host_fault(host, 0, PAGE * K, VMMU_W), VMMU_FAULT_INJECT_PF);
		assert_null(host->on_point);
		assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), 0);
		assert_int_equal(host_audit(host), 0);
		host_end(host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHADOW(nothing_follows_from_a_table_that_is_taken_back),
		SHADOW(a_read_that_is_busy_is_tried_again),
		SHADOW(a_table_read_in_part_stays_out_of_reach),
		SHADOW(a_root_written_while_it_was_forgotten),
		SHADOW(a_table_taken_under_the_walk_is_left_alone),
		SHADOW(nothing_is_reached_through_a_table_whose_slot_has_gone),
		SHADOW(a_table_whose_slot_goes_after_the_walk_is_not_held),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
