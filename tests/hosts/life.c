/* SPDX-License-Identifier: BSD-2-Clause */
/* Who frees what, when; and how much memory a guest can make its host spend. */
#include "host.h"

MODES;

/* ---- the last user ------------------------------------------------------------------- */

static __thread bool slow;

static void free_slowly(struct host *host)
{
	(void)host;
	if (slow)
		usleep(20000);
}

static void *destroy_vcpu(void *vcpu)
{
	slow = true; /* a thread that is preempted there */
	vmmu_vcpu_destroy(vcpu);
	return NULL;
}

/* BUSY says that a vCPU is there; anything else, that none is, nor anybody in its last call. */
static void a_vm_outlives_its_last_vcpus_destroy(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		struct host *host = host_with(mode_of(state), 2, 64);
		pthread_t thread[2];

		assert_ok(host_slot(host, 0, 0, G, 0));
		for (unsigned n = 0; n < 2; n++)
			host_touch(host, n, n * 600 * M, VMMU_W);
		host->on_table_free = free_slowly;
		for (unsigned n = 0; n < 2; n++)
			pthread_create(&thread[n], NULL, destroy_vcpu, host->vcpu[n]);
		while (vmmu_vm_destroy(host->vm) == VMMU_ERR_BUSY)
			usleep(100);
		/* At this moment: what belonged to the VM has come back. */
		assert_int_equal(host->tables_live, 0);
		assert_int_equal(host->objects_live, 0);
		for (unsigned n = 0; n < 2; n++)
			pthread_join(thread[n], NULL);
		munmap(host->tables, HOST_TABLES * K);
		munmap(host->ram, (host->ram_pages + 1) * K);
		free(host);
	}
}

/* ---- what a guest can make the host spend ---------------------------------------------- */

/* A device's register block is moved about by its guest, and touched at each place. */
static void a_slot_on_the_move_costs_no_more_each_time(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 64);
	int64_t tables = 0, bytes = 0;

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	assert_ok(host_slot(host, 1, G, K, 0));
	if (mode_of(state) == VMMU_MODE_SHADOW)
		host_start_paging(host);
	for (unsigned i = 1; i <= 600; i++) {
		uint64_t at = G + i * 2 * M;

		assert_ok(vmmu_slot_move(host->vm, 1, vmmu_gpa_of(at)));
		if (mode_of(state) == VMMU_MODE_SHADOW) {
			host_set(host, G_TABLE, 0, at | GFULL | GD);
			vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(G_TABLE * K), 8);
			host_touch(host, 0, 0, VMMU_W);
			assert_int_not_equal(host_frame_of(host, 0, 0, NULL), 0);
		} else {
			assert_result(host_touch(host, 0, at, VMMU_W), VMMU_FAULT_FIXED);
		}
		if (i == 100) {
			tables = host->tables_live;
			bytes = host->object_bytes;
		}
	}
	/* A table for each GiB that it has been in may stay. */
	assert_true(host->tables_live <= tables + 4);
	assert_true(host->object_bytes <= bytes + 4096);
	host_end(host);
}

/* Slots that come and go, with a page of each mapped. */
static void a_slot_that_goes_takes_all_with_it(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 64);
	int64_t bytes = 0;

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	if (mode_of(state) == VMMU_MODE_SHADOW)
		host_start_paging(host);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t at = G + i * 4 * M;

		assert_ok(host_slot(host, 1, at, 4 * M, 0));
		for (unsigned n = 0; n < 2; n++) {
			if (mode_of(state) == VMMU_MODE_SHADOW) {
				host_set(host, G_TABLE, n, (at + n * 2 * M) | GFULL | GD);
				vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(G_TABLE * K), 16);
				host_touch(host, 0, n * K, VMMU_W);
			} else {
				host_touch(host, 0, at + n * 2 * M, VMMU_W);
			}
		}
		assert_ok(vmmu_slot_delete(host->vm, 1));
		if (i == 20)
			bytes = host->object_bytes;
	}
	assert_true(host->object_bytes <= bytes + 4096);
	host_end(host);
}

/* A guest reads wherever nothing is: what remembers these holes is bounded. */
static void holes_cost_no_more_than_so_much(void **state)
{
	enum { TOUCHES = 12000,
	       BOUND = 4096 + 64 };
	struct host *host = host_with(mode_of(state), 1, 64);

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	for (unsigned i = 0; i < TOUCHES; i++)
		assert_result(host_fault(host, 0, 64 * G + i * 2 * M, VMMU_R), VMMU_FAULT_EMULATE_MMIO);
	assert_true(host->tables_live <= BOUND);
	/* A slot there is as good as ever. */
	assert_ok(host_slot(host, 1, 64 * G, G, 0));
	assert_result(host_touch(host, 0, 64 * G + 5 * M, VMMU_W), VMMU_FAULT_FIXED);
	host_end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(a_vm_outlives_its_last_vcpus_destroy),
		ALL(a_slot_on_the_move_costs_no_more_each_time),
		ALL(a_slot_that_goes_takes_all_with_it),
		DIRECT(holes_cost_no_more_than_so_much),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
