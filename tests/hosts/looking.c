/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Management calls of every kind from one thread while vCPUs fault on others: dumps,
 * traces, paths, statistics, audits, slots, vCPUs that come and go. Also built with
 * ThreadSanitizer.
 */
#include "host.h"

MODES;

enum { TREES = 16,
       FIRST_TREE = 100,
       TABLES = 400,
       DATA = 1000,
       RAM = 4096 };

/* Page tables of guests: so many of them that tables come and go with each switch. */
static void make_trees(struct host *host)
{
	for (unsigned tree = 0; tree < TREES; tree++) {
		uint64_t root = FIRST_TREE + 8 * tree;

		host_set(host, root, 0, (root + 1) * K | GFULL);
		host_set(host, root + 1, 0, (root + 2) * K | GFULL);
		for (unsigned i = 0; i < 512; i++)
			host_set(host, root + 2, i, (TABLES + i) * K | GFULL);
	}
	for (unsigned i = 0; i < 512; i++)
		for (unsigned n = 0; n < 64; n++)
			host_set(host, TABLES + i, n, (DATA + (i * 64 + n) % (RAM - DATA)) * K | GFULL | GD);
}

struct storm {
	struct host *host;
	_Atomic bool stop;
	_Atomic uint64_t faults;
	uint64_t looks, entries;
};

/* And the host copies pages on write, is busy at times, and has words that cannot be read just then. */
static _Atomic bool copied[RAM];
static _Atomic unsigned questions, reads;

static enum vmmu_backing_result answer(struct host *host, const struct vmmu_slot_info *slot, uint64_t gfn,
                                       unsigned access, struct vmmu_backing *out)
{
	uint64_t page = gfn % RAM;

	(void)host;
	if (access & VMMU_W)
		copied[page] = true;
	host_plain_answer(slot, gfn, out);
	if (!copied[page]) {
		out->pfn.v += RAM;
		out->rights &= ~VMMU_W;
	}
	return ++questions % 64 ? VMMU_BACKING_OK : VMMU_BACKING_RETRY;
}

static bool is_busy_at_times(struct host *host, uint64_t gpa)
{
	(void)host;
	(void)gpa;
	return ++reads % 512 == 0;
}

struct member {
	struct storm *storm;
	unsigned vcpu;
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

static void *run_vcpu(void *arg)
{
	struct member *me = arg;
	struct host *host = me->storm->host;
	bool shadow = !host->arg;
	uint64_t seed = me->vcpu * 104729 + 3;

	while (!me->storm->stop) {
		uint64_t r = next_random(&seed);
		uint64_t address = (r >> 10 & 511) * 2 * M + (r >> 30 & 63) * K;

		if (shadow && r % 8 == 0) {
			struct vmmu_paging paging = host_long_mode(FIRST_TREE + 8 * (r >> 8 & 15));

			vmmu_vcpu_set_paging(host->vcpu[me->vcpu], &paging);
		} else {
			host_fault(host, me->vcpu, shadow ? address : address % (RAM * K),
			           (r >> 50 & 3 ? VMMU_R : VMMU_W) | VMMU_ACCESS_USER);
		}
		me->storm->faults++;
	}
	return NULL;
}

static void see(void *arg, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	struct storm *storm = arg;

	(void)gfn;
	storm->entries += step->entry != 0;
}

static void one_look(struct storm *storm, unsigned what)
{
	struct host *host = storm->host;
	struct vmmu_path path;
	struct vmmu_stats stats;
	struct vmmu_vcpu *vcpu;

	switch (what) {
	case 0: vmmu_dump(host->vm, see, storm); break;
	case 1: vmmu_trace_dump(host->vm); break;
	case 2: vmmu_path_of(host->vm, vmmu_gpa_of(DATA * K), &path); break;
	case 3: vmmu_stats_read(host->vm, &stats); break;
	case 4: vmmu_trace_enable(host->vm, true); break;
	case 5: vmmu_trace_enable(host->vm, false); break;
	case 6: assert_int_equal(host_audit(host), 0); break;
	case 7:
		assert_ok(host_slot(host, 1, 64 * G, M, 0));
		assert_ok(vmmu_slot_move(host->vm, 1, vmmu_gpa_of(65 * G)));
		assert_ok(vmmu_slot_delete(host->vm, 1));
		break;
	case 8:
		assert_ok(vmmu_slot_set_flags(host->vm, 0, VMMU_SLOT_LOG_DIRTY));
		assert_ok(vmmu_slot_set_flags(host->vm, 0, 0));
		break;
	case 9:
		assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(TABLES * K), 64 * K));
		assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of(TABLES * K), 64 * K));
		break;
	case 10:
		assert_ok(vmmu_vcpu_create(host->vm, 9, NULL, &vcpu));
		vmmu_vcpu_destroy(vcpu);
		break;
	case 11:
		assert_ok(vmmu_range_restrict(host->vm, vmmu_gpa_of(0), RAM * K, VMMU_LEVEL_4K));
		break;
	}
	storm->looks++;
}

static void anything_goes_while_vcpus_fault(void **state)
{
	enum { WHAT = 12,
	       VCPUS = 2 };
	static struct vmmu_trace_record record[1024];
	struct vmmu_trace_ring ring = {.records = record, .size = 1024};
	struct host *host = host_new(RAM);
	struct vmmu_config config = host_config(host, mode_of(state));
	struct storm storm = {.host = host};
	struct member member[VCPUS];
	pthread_t thread[VCPUS];

	host->backing = answer;
	host->is_busy = is_busy_at_times;
	config.max_shadow_tables = VMMU_SHADOW_TABLES_MIN;
	config.ring = &ring;
	host_make(host, &config, VCPUS);
	host->arg = mode_of(state) == VMMU_MODE_SHADOW ? NULL : host;
	assert_ok(host_slot(host, 0, 0, RAM * K, 0));
	make_trees(host);
	for (unsigned i = 0; i < VCPUS; i++) {
		struct vmmu_paging paging = host_long_mode(FIRST_TREE);

		if (mode_of(state) == VMMU_MODE_SHADOW)
			assert_ok(vmmu_vcpu_set_paging(host->vcpu[i], &paging));
		member[i] = (struct member){&storm, i};
		assert_int_equal(pthread_create(&thread[i], NULL, run_vcpu, &member[i]), 0);
	}
	while (storm.faults < 100)
		usleep(100);
	/* Each alone for a while, then all by turns; the vCPUs get on meanwhile. */
	for (unsigned what = 0; what < WHAT; what++)
		for (unsigned i = 0; i < 60; i++)
			one_look(&storm, what);
	for (unsigned i = 0; i < 20 * WHAT; i++)
		one_look(&storm, i % WHAT);
	while (storm.faults < 2000)
		usleep(100);
	storm.stop = true;
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(thread[i], NULL);
	assert_true(storm.entries > 0);
	host_end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {ALL(anything_goes_while_vcpus_fault)};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("looking", tests, NULL, NULL);
}
