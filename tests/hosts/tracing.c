/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracing, switched from anywhere at any moment, into rings of every size. */
#include "host.h"

MODES;

enum { RECORDS = 16384 };

static unsigned count_events(const struct vmmu_trace_ring *ring, unsigned event)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < vmmu_trace_ring_waiting(ring); i++) {
		struct vmmu_trace_record parts[VMMU_TRACE_EXPANDED];
		unsigned n = vmmu_trace_expand(vmmu_trace_ring_at(ring, i), parts);

		while (n--)
			count += parts[n].event == event;
	}
	return count;
}

static struct host *traced_host(void **state, struct vmmu_trace_ring *manager, struct vmmu_trace_ring *ring)
{
	struct host *host = host_new(512);
	struct vmmu_config config = host_config(host, mode_of(state));

	config.ring = manager;
	assert_ok(vmmu_vm_create(&config, &host->vm));
	assert_ok(vmmu_vcpu_create(host->vm, 0, ring, &host->vcpu[0]));
	host->vcpus = 1;
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	if (mode_of(state) == VMMU_MODE_SHADOW)
		host_start_paging(host);
	return host;
}

/* ---- switched on ----------------------------------------------------------------------- */

static pthread_barrier_t together;

static void *switch_on(void *arg)
{
	struct host *host = arg;

	pthread_barrier_wait(&together);
	vmmu_trace_enable(host->vm, true);
	return NULL;
}

static uint64_t slow_time(void *ctx)
{
	(void)ctx;
	usleep(200);
	return 1;
}

static void what_is_found_is_told_once(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		static struct vmmu_trace_record record[RECORDS];
		struct vmmu_trace_ring manager = {.records = record, .size = RECORDS};
		struct host *host = traced_host(state, &manager, NULL);
		pthread_t thread[2];

		host->calls.time = slow_time;
		for (unsigned page = 0; page < 8; page++)
			host_touch(host, 0, page * K, VMMU_W);
		pthread_barrier_init(&together, NULL, 2);
		for (unsigned n = 0; n < 2; n++)
			pthread_create(&thread[n], NULL, switch_on, host);
		for (unsigned n = 0; n < 2; n++)
			pthread_join(thread[n], NULL);
		assert_int_equal(count_events(&manager, VMMU_TRACE_VM), 1);
		assert_int_equal(count_events(&manager, VMMU_TRACE_SLOT), 1);
		pthread_barrier_destroy(&together);
		host_end(host);
	}
}

static bool switching;

static void enable(struct host *host)
{
	vmmu_trace_enable(host->vm, true);
}

static enum vmmu_backing_result switch_while_asked(struct host *host, const struct vmmu_slot_info *slot,
                                                   uint64_t gfn, unsigned access, struct vmmu_backing *out)
{
	(void)access;
	if (switching)
		host_elsewhere(host, enable);
	switching = false;
	host_plain_answer(slot, gfn, out);
	return VMMU_BACKING_OK;
}

static bool tells_of_entry(const struct vmmu_trace_record *r, const struct vmmu_path_step *step)
{
	struct vmmu_trace_record parts[VMMU_TRACE_EXPANDED];
	unsigned n = vmmu_trace_expand(r, parts);

	while (n--) {
		bool written = parts[n].event == VMMU_TRACE_SPTE_CHANGED && parts[n].spte.table == step->table.v &&
		               parts[n].spte.new_spte == step->entry;
		bool found = parts[n].event == VMMU_TRACE_FOUND && parts[n].entry.table == step->table.v &&
		             parts[n].entry.spte == step->entry;

		if ((written || found) && parts[n].index == step->index)
			return true;
	}
	return false;
}

/* Every entry is told of: as written, or as found when it began. */
static void see_entry(void *arg, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	struct vmmu_trace_ring *const *rings = arg;

	(void)gfn;
	for (unsigned n = 0; n < 2; n++)
		for (uint32_t i = 0; i < vmmu_trace_ring_waiting(rings[n]); i++)
			if (tells_of_entry(vmmu_trace_ring_at(rings[n], i), step))
				return;
	fail_msg("nothing tells of entry %u of table %#lx", step->index, step->table.v);
}

static void a_fault_under_way_tells_what_it_writes(void **state)
{
	static struct vmmu_trace_record record[2][RECORDS];
	struct vmmu_trace_ring manager = {.records = record[0], .size = RECORDS};
	struct vmmu_trace_ring ring = {.records = record[1], .size = RECORDS};
	struct vmmu_trace_ring *rings[] = {&manager, &ring};
	struct host *host = traced_host(state, &manager, &ring);

	host->backing = switch_while_asked;
	switching = true;
	assert_result(host_touch(host, 0, 5 * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_false(switching);
	vmmu_dump(host->vm, see_entry, rings);
	assert_int_equal(vmmu_trace_ring_dropped(&manager) + vmmu_trace_ring_dropped(&ring), 0);
	/* Told of in whole or not at all. */
	assert_int_equal(count_events(&ring, VMMU_TRACE_PAGE_FAULT), count_events(&ring, VMMU_TRACE_FAULT_END));
	host_end(host);
}

/* When the operation exists, and is not inside yet. */
static void switch_at_the_gate(struct host *host, unsigned point)
{
	if (point != VMMU_POINT_GATE_ENTER || !switching)
		return;
	switching = false;
	host_elsewhere(host, enable);
}

/* W comes back to a page that is there: nothing is asked of the host, so no answer can be too old. */
static void a_permission_given_meanwhile_is_told(void **state)
{
	static struct vmmu_trace_record record[2][RECORDS];
	struct vmmu_trace_ring manager = {.records = record[0], .size = RECORDS};
	struct vmmu_trace_ring ring = {.records = record[1], .size = RECORDS};
	struct vmmu_trace_ring *rings[] = {&manager, &ring};
	struct host *host = traced_host(state, &manager, &ring);

	assert_ok(vmmu_slot_set_flags(host->vm, 0, VMMU_SLOT_LOG_DIRTY));
	assert_result(host_touch(host, 0, 5 * K, VMMU_R), VMMU_FAULT_FIXED);
	switching = true;
	host->on_point = switch_at_the_gate;
	assert_result(host_touch(host, 0, 5 * K, VMMU_W | VMMU_ACCESS_PRESENT), VMMU_FAULT_FIXED);
	host->on_point = NULL;
	assert_false(switching);
	vmmu_dump(host->vm, see_entry, rings);
	host_end(host);
}

/* ---- rings ----------------------------------------------------------------------------- */

/* All numbers that are missing are told of, by the ring or in it; and the next record is there. */
static void run_ring(void **state, uint32_t start, uint32_t size)
{
	static struct vmmu_trace_record record[64];
	struct vmmu_trace_ring ring = {.records = record, .size = size, .head = start, .tail = start};
	struct host *host = traced_host(state, NULL, &ring);
	uint32_t next = 0, gaps = 0, last_gap = 0;
	uint64_t got = 0, told = 0;

	vmmu_trace_enable(host->vm, true);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t before = got;

		host_fault(host, 0, i * K, VMMU_W);
		for (uint32_t n = vmmu_trace_ring_waiting(&ring); n; n--) {
			const struct vmmu_trace_record *r = vmmu_trace_ring_at(&ring, 0);

			gaps += last_gap = r->seq - next;
			next = r->seq + vmmu_trace_numbers(r);
			if (r->event == VMMU_TRACE_DROPS)
				told += r->drops.records;
			got++;
			vmmu_trace_ring_take(&ring, 1);
		}
		/* Drained, it records again. */
		assert_true(got > before);
	}
	/* What was lost after the last record that is there can only be told of by the next. */
	assert_true(vmmu_trace_ring_dropped(&ring) >= gaps);
	if (size > 1)
		assert_int_equal(told, gaps);
	host_end(host);
}

static void rings_of_every_size_go_on(void **state)
{
	for (uint32_t size = 1; size <= 64; size *= 2) {
		run_ring(state, 0, size);
		run_ring(state, 0xfffffffd, size);
	}
}

static void rings_that_cannot_be_are_refused(void **state)
{
	static struct vmmu_trace_record record[8];
	struct vmmu_trace_ring bad[] = {
		{.records = record, .size = 0},
		{.records = record, .size = 3},
		{.records = record, .size = 6},
		{.records = NULL, .size = 8},
	};
	struct host *host = traced_host(state, NULL, NULL);

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct vmmu_config config = host_config(host, mode_of(state));
		struct vmmu_vcpu *vcpu;
		struct vmmu_vm *vm;

		config.ring = &bad[i];
		assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_ERR_INVALID);
		assert_int_equal(vmmu_vcpu_create(host->vm, 7, &bad[i], &vcpu), VMMU_ERR_INVALID);
	}
	host_end(host);
}

/* A reader that has gone mad: its numbers cost records, and nothing is written beside the ring. */
static void any_head_and_tail_cost_records_only(void **state)
{
	static const uint32_t numbers[] = {0, 1, 63, 64, 65, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
	enum { SIZE = 64,
	       COUNT = sizeof(numbers) / sizeof(*numbers) };
	static struct vmmu_trace_record around[3 * SIZE], zero[SIZE];
	struct vmmu_trace_ring ring = {.records = around + SIZE, .size = SIZE};
	struct host *host = traced_host(state, NULL, &ring);

	memset(around, 0, sizeof(around));
	vmmu_trace_enable(host->vm, true);
	for (unsigned i = 0; i < COUNT * COUNT; i++) {
		__atomic_store_n(&ring.head, numbers[i / COUNT], __ATOMIC_RELAXED);
		__atomic_store_n(&ring.tail, numbers[i % COUNT], __ATOMIC_RELAXED);
		host_touch(host, 0, (32 + i % 64) * K, VMMU_W);
		assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of((32 + i % 64) * K), K));
		assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of((32 + i % 64) * K), K));
		host_touch(host, 0, (32 + i % 64) * K, VMMU_R);
	}
	assert_memory_equal(around, zero, sizeof(zero));
	assert_memory_equal(around + 2 * SIZE, zero, sizeof(zero));
	/* It comes to its senses, and what is written from now on can be read. */
	vmmu_trace_ring_take(&ring, vmmu_trace_ring_waiting(&ring));
	vmmu_trace_mark(host->vcpu[0], 1);
	assert_int_equal(count_events(&ring, VMMU_TRACE_MARK), 1);
	host_end(host);
}

/* ---- vCPUs that come and go -------------------------------------------------------------- */

/* seq and fault of the ring's records go on from `*seq` and `*fault`. */
static void assert_goes_on(const struct vmmu_trace_ring *ring, uint32_t *seq, uint32_t *fault)
{
	for (uint32_t i = 0; i < vmmu_trace_ring_waiting(ring); i++) {
		const struct vmmu_trace_record *r = vmmu_trace_ring_at(ring, i);

		assert_int_equal(r->seq, *seq);
		*seq += vmmu_trace_numbers(r);
		if (r->event == VMMU_TRACE_PAGE_FAULT || r->event == VMMU_TRACE_FAULT_FIXED) {
			assert_true(r->fault > *fault);
			*fault = r->fault;
		}
	}
}

static void a_vcpu_under_an_old_id_goes_on_in_its_stream(void **state)
{
	static struct vmmu_trace_record record[2][64], managers[RECORDS];
	struct vmmu_trace_ring manager = {.records = managers, .size = RECORDS};
	struct vmmu_trace_ring ring[2] = {{.records = record[0], .size = 64}, {.records = record[1], .size = 64}};
	struct host *host = traced_host(state, &manager, &ring[0]);
	uint32_t seq = 0, fault = 0;

	assert_ok(vmmu_vcpu_create(host->vm, 9, NULL, &host->vcpu[1]));
	host->vcpus = 2;
	vmmu_trace_enable(host->vm, true);
	for (unsigned times = 0; times < 4; times++) {
		struct vmmu_trace_ring *now = &ring[times & 1];

		/* It is another one with each time, and may have another ring. */
		vmmu_vcpu_destroy(host->vcpu[0]);
		*now = (struct vmmu_trace_ring){.records = record[times & 1], .size = 64};
		assert_ok(vmmu_vcpu_create(host->vm, 0, now, &host->vcpu[0]));
		if (mode_of(state) == VMMU_MODE_SHADOW)
			host_start_paging(host);
		for (unsigned page = 0; page < 3; page++)
			host_touch(host, 0, (32 + 4 * times + page) * K, VMMU_W);
		assert_true(vmmu_trace_ring_waiting(now) >= 3);
		assert_int_equal(vmmu_trace_ring_dropped(now), 0);
		assert_goes_on(now, &seq, &fault);
	}
	host_end(host);
}

/* Records that found no room are told of, even when the vCPU that lost them is gone. */
static void what_a_vcpu_has_lost_is_told_by_the_next(void **state)
{
	static struct vmmu_trace_record record[64];
	struct vmmu_trace_ring small = {.records = record, .size = 2}, large = {.records = record, .size = 64};
	struct host *host = traced_host(state, NULL, &small);
	const struct vmmu_trace_record *first;
	uint64_t lost;

	vmmu_trace_enable(host->vm, true);
	for (unsigned page = 32; page < 36; page++)
		host_touch(host, 0, page * K, VMMU_W);
	lost = vmmu_trace_ring_dropped(&small);
	assert_true(lost > 0);
	vmmu_vcpu_destroy(host->vcpu[0]);
	assert_ok(vmmu_vcpu_create(host->vm, 0, &large, &host->vcpu[0]));
	vmmu_trace_mark(host->vcpu[0], 5);
	first = vmmu_trace_ring_at(&large, 0);
	assert_int_equal(vmmu_trace_ring_waiting(&large), 2);
	assert_int_equal(first->event, VMMU_TRACE_DROPS);
	assert_int_equal(first->drops.records, lost);
	assert_int_equal(first->seq, lost + 2);
	host_end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(what_is_found_is_told_once),
		ALL(a_fault_under_way_tells_what_it_writes),
		ALL(a_permission_given_meanwhile_is_told),
		ALL(rings_of_every_size_go_on),
		ALL(rings_that_cannot_be_are_refused),
		ALL(any_head_and_tail_cost_records_only),
		ALL(a_vcpu_under_an_old_id_goes_on_in_its_stream),
		ALL(what_a_vcpu_has_lost_is_told_by_the_next),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("tracing", tests, NULL, NULL);
}
