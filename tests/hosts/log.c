/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dirty log fetched in parts (vmmu_dirty_next): slots of any length, parts of any size,
 * and pages that are marked while it is fetched.
 */
#include "host.h"

MODES;

/* ---- each page once, in order ------------------------------------------------------------- */

#define PAGES_MOST (1ull << 28) /* 1 TiB */

/* All that is dirty from *page on, `room` words at a time, must be these pages in this order. */
static void assert_dirty(struct host *host, uint64_t page, size_t room, const uint64_t *expected, size_t pages)
{
	struct vmmu_dirty part[16];
	size_t count, seen = 0;

	do {
		uint64_t from = page;

		assert_ok(vmmu_dirty_next(host->vm, 0, &page, part, room, &count));
		assert_true(count <= room);
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(part[i].first % 64, 0);
			assert_true(part[i].first >= from && part[i].first < page);
			assert_true(part[i].pages != 0);
			for (uint64_t bits = part[i].pages; bits; bits &= bits - 1) {
				assert_true(seen < pages);
				assert_int_equal(part[i].first + (unsigned)__builtin_ctzll(bits), expected[seen++]);
			}
		}
	} while (count == room);
	assert_int_equal(seen, pages);
}

static void mark(struct host *host, uint64_t page)
{
	vmmu_mark_dirty(host->vm, page % 3 ? host->vcpu[0] : NULL, vmmu_gfn_of(5 + page));
}

static void slots_of_any_length(void **state)
{
	static const uint64_t lengths[] = {1, 63, 64, 65, 4096, 4097, 262144, 262145, 1ull << 24, PAGES_MOST};
	static const uint64_t edges[] = {0, 1, 63, 64, 127, 4095, 4096, 8191, 8192, 262143, 262144, 524288,
	                                 (1ull << 24) - 1, 1ull << 24, (1ull << 27) + 77};

	for (unsigned l = 0; l < sizeof(lengths) / sizeof(*lengths); l++) {
		struct host *host = host_with(mode_of(state), 1, 0);
		uint64_t page[32];
		size_t pages = 0;

		assert_ok(host_slot(host, 0, 5 * K, lengths[l] * K, VMMU_SLOT_LOG_DIRTY));
		for (unsigned i = 0; i < sizeof(edges) / sizeof(*edges); i++)
			if (edges[i] < lengths[l])
				page[pages++] = edges[i];
		if (page[pages - 1] != lengths[l] - 1)
			page[pages++] = lengths[l] - 1;
		for (size_t room = 1; room <= 16; room++) {
			assert_dirty(host, 0, room, NULL, 0);
			/* Marked in any order. */
			for (size_t i = 0; i < pages; i++)
				mark(host, page[(i * 7 + room) % pages]);
			for (size_t i = 0; i < pages; i++)
				mark(host, page[i]);
			assert_int_equal(host_audit(host), 0);
			assert_dirty(host, 0, room, page, pages);
			/* Each alone. */
			mark(host, page[room % pages]);
			assert_dirty(host, 0, room, &page[room % pages], 1);
		}
		assert_dirty(host, lengths[l] / 64 * 64 + 64, 4, NULL, 0);
		host_end(host);
	}
}

/* What is before the place where one begins stays for another time. */
static void from_any_page_on(void **state)
{
	static const uint64_t page[] = {3, 70, 300, 5000, 5100, 9999};
	struct host *host = host_with(mode_of(state), 1, 0);

	assert_ok(host_slot(host, 0, 5 * K, 10000 * K, VMMU_SLOT_LOG_DIRTY));
	for (unsigned i = 0; i < 6; i++)
		mark(host, page[i]);
	assert_dirty(host, 5056, 2, page + 4, 2);
	assert_dirty(host, 64, 1, page + 1, 3);
	assert_dirty(host, 0, 5, page, 1);
	assert_dirty(host, 0, 5, NULL, 0);
	host_end(host);
}

static void refusals(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	struct vmmu_dirty part[4];
	uint64_t page = 0;
	size_t count = 9;

	assert_ok(host_slot(host, 0, 0, 100 * K, 0));
	assert_int_equal(vmmu_dirty_next(host->vm, 0, &page, part, 4, &count), VMMU_ERR_INVALID);
	assert_int_equal(count, 0);
	assert_int_equal(vmmu_dirty_next(host->vm, 7, &page, part, 4, &count), VMMU_ERR_SLOT_MISSING);
	assert_ok(vmmu_slot_set_flags(host->vm, 0, VMMU_SLOT_LOG_DIRTY));
	page = 5;
	assert_int_equal(vmmu_dirty_next(host->vm, 0, &page, part, 4, &count), VMMU_ERR_INVALID);
	page = 1ull << 63;
	assert_ok(vmmu_dirty_next(host->vm, 0, &page, part, 4, &count));
	assert_int_equal(count, 0);
	/* No room: nothing is lost. */
	page = 0;
	vmmu_mark_dirty(host->vm, NULL, vmmu_gfn_of(1));
	assert_ok(vmmu_dirty_next(host->vm, 0, &page, part, 0, &count));
	assert_int_equal(count, 0);
	assert_int_equal(page, 0);
	assert_ok(vmmu_dirty_next(host->vm, 0, &page, part, 1, &count));
	assert_int_equal(count, 1);
	host_end(host);
}

/* What is reported can be written only by way of a fault, and is in the next round then. */
static void reported_pages_are_protected(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	const uint64_t page[] = {0, 64, 700};

	assert_ok(host_slot(host, 0, 5 * K, 1000 * K, VMMU_SLOT_LOG_DIRTY));
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 3; i++)
			assert_result(host_touch(host, 0, (5 + page[i]) * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_dirty(host, 0, 1 + round, page, 3);
	}
	host_end(host);
}

static uint64_t *log_object;

static void *remember_object(void *ctx, size_t size)
{
	return log_object = host_object_alloc(ctx, size);
}

/* A log that has lost its summaries: the audit says so. */
static void lost_pages_are_found_by_the_audit(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	const uint64_t page = 4096; /* in word 64 of 65, behind which are summaries of two words and of one */

	assert_ok(host_slot(host, 0, 5 * K, 4097 * K, 0));
	host->calls.object_alloc = remember_object;
	assert_ok(vmmu_slot_set_flags(host->vm, 0, VMMU_SLOT_LOG_DIRTY));
	mark(host, page);
	assert_int_equal(host_audit(host), 0);
	for (unsigned word = 66; word < 68; word++) {
		uint64_t was = log_object[word];

		assert_true(was != 0);
		log_object[word] = 0;
		assert_int_equal(vmmu_audit(host->vm, NULL, NULL), 1);
		log_object[word] = was;
	}
	assert_dirty(host, 0, 2, &page, 1);
	host->calls.object_alloc = host_object_alloc;
	host_end(host);
}

/* ---- pages that are marked meanwhile ---------------------------------------------------------- */

enum { SHARED_PAGES = 1 << 14,
       MARKS = 20000 };

struct marker {
	struct host *host;
	unsigned vcpu;
	uint32_t marks[SHARED_PAGES];
};

static _Atomic bool marking_ends;

static void *mark_many(void *arg)
{
	struct marker *m = arg;
	uint64_t seed = m->vcpu + 1;

	for (unsigned i = 0; i < MARKS; i++) {
		uint64_t page;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		page = seed >> 40;
		/* Often in words that are empty, and that another marks at the same time. */
		page = page % 4 ? page % SHARED_PAGES : i / 8 * 64 % SHARED_PAGES;
		vmmu_mark_dirty(m->host->vm, m->host->vcpu[m->vcpu], vmmu_gfn_of(page));
		m->marks[page]++;
	}
	return NULL;
}

static uint64_t seen[SHARED_PAGES];

static void fetch_parts(struct host *host)
{
	struct vmmu_dirty part[5];
	uint64_t page = 0;
	size_t count;

	do {
		assert_ok(vmmu_dirty_next(host->vm, 0, &page, part, 5, &count));
		for (size_t i = 0; i < count; i++)
			for (uint64_t bits = part[i].pages; bits; bits &= bits - 1)
				seen[part[i].first + (unsigned)__builtin_ctzll(bits)]++;
	} while (count == 5);
}

static void *fetch_until_the_end(void *arg)
{
	while (!marking_ends)
		fetch_parts(arg);
	return NULL;
}

static void none_is_lost(void **state)
{
	struct host *host = host_with(mode_of(state), 3, 0);
	static struct marker marker[3];
	pthread_t thread[4];

	assert_ok(host_slot(host, 0, 0, SHARED_PAGES * K, VMMU_SLOT_LOG_DIRTY));
	memset(seen, 0, sizeof(seen));
	marking_ends = false;
	for (unsigned i = 0; i < 3; i++) {
		marker[i] = (struct marker){.host = host, .vcpu = i};
		assert_int_equal(pthread_create(&thread[i], NULL, mark_many, &marker[i]), 0);
	}
	assert_int_equal(pthread_create(&thread[3], NULL, fetch_until_the_end, host), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	marking_ends = true;
	pthread_join(thread[3], NULL);
	assert_int_equal(host_audit(host), 0);
	fetch_parts(host);
	for (unsigned page = 0; page < SHARED_PAGES; page++) {
		uint64_t marks = marker[0].marks[page] + marker[1].marks[page] + marker[2].marks[page];

		assert_true(!marks == !seen[page] && seen[page] <= marks);
	}
	assert_dirty(host, 0, 1, NULL, 0);
	host_end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DIRECT(slots_of_any_length),
		DIRECT(from_any_page_on),
		DIRECT(refusals),
		DIRECT(reported_pages_are_protected),
		DIRECT(lost_pages_are_found_by_the_audit),
		DIRECT(none_is_lost),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
