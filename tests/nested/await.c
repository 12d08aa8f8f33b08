/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L1's fault handler writes one entry for each fault of L2. Where it has done so time and again its table
 * stays held, its write is emulated, and L2 goes on without a fault of its own.
 */
#include "machine.h"

/* So many pages of one run of frames: what the host has said of one it has said of all. */
enum { ORDER = 9,
       TRAINED = 4 };

static uint64_t entry_for(const struct sim_nm *nm, unsigned page)
{
	return leaf(nm, DATA + page, full(nm)) | (nm->config.mode == VMMU_MODE_EPT ? 0x300 : 0);
}

static void run_l1(struct sim_nm *nm)
{
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
}

static void l2_faults_at(struct sim_nm *nm, unsigned page)
{
	assert_int_equal(sim_nm_access(nm, page * K, VMMU_W, page), VMMU_FAULT_REFLECT);
	run_l1(nm);
}

/* True: with an exit, and the host emulated it. */
static bool is_emulated(struct sim_nm *nm, unsigned page, uint64_t entry)
{
	unsigned long emulated = nm->emulated;

	sim_nm_access(nm, LEVEL_1 * K + page * 8, VMMU_W, entry);
	return nm->emulated != emulated;
}

/* L2 has a page; how many exits did that take? */
static unsigned long exits_at(struct sim_nm *nm, unsigned page)
{
	unsigned long exits = nm->exits;

	enter(nm, ROOT, true);
	assert_int_equal(sim_nm_access(nm, page * K, VMMU_W, page), 0);
	return nm->exits - exits;
}

/* Pages [0, TRAINED), one by one. */
static struct sim_nm *trained(enum vmmu_mode mode)
{
	struct sim_nm *nm = machine(mode, ORDER);

	enter(nm, ROOT, true);
	for (unsigned page = 0; page < TRAINED; page++) {
		l2_faults_at(nm, page);
		is_emulated(nm, page, entry_for(nm, page));
		exits_at(nm, page);
	}
	return nm;
}

#define each_mode(mode) for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++)

static void one_write_a_fault(void **state)
{
	(void)state;
	each_mode(mode)
	{
		struct sim_nm *nm = trained(mode);

		for (unsigned page = TRAINED; page < 64; page++) {
			l2_faults_at(nm, page);
			assert_true(is_emulated(nm, page, entry_for(nm, page)));
			assert_int_equal(exits_at(nm, page), 0);
		}
		end(nm);
	}
}

/* The third fault in a row is treated so, and nothing is emulated before. */
static void not_at_once(void **state)
{
	(void)state;
	each_mode(mode)
	{
		struct sim_nm *nm = machine(mode, ORDER);

		enter(nm, ROOT, true);
		for (unsigned page = 0; page < 8; page++) {
			l2_faults_at(nm, page);
			assert_int_equal(is_emulated(nm, page, entry_for(nm, page)), page >= 2);
			assert_int_equal(exits_at(nm, page), page < 2);
		}
		end(nm);
	}
}

/* A handler that maps some pages around the one that faulted has its table for itself. */
static void many_writes_a_fault(void **state)
{
	(void)state;
	each_mode(mode)
	{
		struct sim_nm *nm = machine(mode, ORDER);

		enter(nm, ROOT, true);
		for (unsigned page = 0; page < 64; page += 4) {
			l2_faults_at(nm, page);
			for (unsigned i = 0; i < 4; i++)
				assert_false(is_emulated(nm, page + i, entry_for(nm, page + i)));
			for (unsigned i = 0; i < 4; i++)
				assert_int_equal(exits_at(nm, page + i), i == 0);
		}
		end(nm);
	}
}

/* What L1 writes besides is no single write: then its table is its own until L2 needs it. */
static void a_second_write_parks(void **state)
{
	(void)state;
	each_mode(mode)
	{
		struct sim_nm *nm = trained(mode);
		unsigned long exits;

		l2_faults_at(nm, 10);
		assert_true(is_emulated(nm, 10, entry_for(nm, 10)));
		assert_false(is_emulated(nm, 11, entry_for(nm, 11)));
		exits = nm->exits;
		for (unsigned page = 12; page < 40; page++)
			assert_false(is_emulated(nm, page, entry_for(nm, page)));
		assert_int_equal(nm->exits, exits);
		for (unsigned page = 10; page < 40; page++)
			assert_int_equal(exits_at(nm, page), page == 10);
		/* That was not of one entry: the next fault parks the table again. */
		l2_faults_at(nm, 50);
		assert_false(is_emulated(nm, 50, entry_for(nm, 50)));
		assert_int_equal(exits_at(nm, 50), 1);
		end(nm);
	}
}

/* A fault has announced one write. Later ones, of which none has, are L1's own affair. */
static void what_no_fault_has_announced(void **state)
{
	(void)state;
	each_mode(mode)
	{
		struct sim_nm *nm = trained(mode);

		l2_faults_at(nm, 10);
		assert_true(is_emulated(nm, 10, entry_for(nm, 10)));
		assert_int_equal(exits_at(nm, 10), 0);
		/* A fault that is ours comes through the table: nothing that was written is remembered. */
		set(nm, LEVEL_1, 600 % BLOCK, leaf(nm, 600, full(nm)) | (mode == VMMU_MODE_EPT ? 0x300 : 0));
		assert_true(exits_at(nm, 600 % BLOCK) > 0);
		run_l1(nm);
		assert_false(is_emulated(nm, 20, entry_for(nm, 20)));
		end(nm);
	}
}

/* A host that gives L1 its table instead of emulating is not offered it again. */
static void a_host_that_releases(void **state)
{
	(void)state;
	each_mode(mode)
	{
		struct sim_nm *nm = trained(mode);

		l2_faults_at(nm, 10);
		assert_true(vmmu_guest_release(nm->at->vcpu, vmmu_gpa_of(LEVEL_1 * K)));
		for (unsigned page = 10; page < 20; page++) {
			assert_false(is_emulated(nm, page, entry_for(nm, page)));
			assert_int_equal(exits_at(nm, page), 1);
			l2_faults_at(nm, page + 1);
		}
		end(nm);
	}
}

/* L1 reads its tables in two ways, by EFER.NXE. What it writes is followed in the way that it entered last, and in no other. */
static void read_in_two_ways(void **state)
{
	struct sim_nm *nm = trained(VMMU_MODE_NPT);
	struct vmmu_nested without = root_at(nm, ROOT, true);

	(void)state;
	without.efer &= ~(UINT64_C(1) << 11);
	for (unsigned page = 0; page < TRAINED; page++) {
		assert_int_equal(sim_nm_enter(nm, &without), VMMU_OK);
		assert_int_equal(sim_nm_access(nm, page * K, VMMU_W, 1), 0);
	}
	for (unsigned page = 10; page < 20; page++) {
		uint64_t entry = entry_for(nm, page) | UINT64_C(1) << 63;

		enter(nm, ROOT, true);
		l2_faults_at(nm, page);
		sim_nm_access(nm, LEVEL_1 * K + page * 8, VMMU_W, entry);
		/* Bit 63 is reserved there. */
		assert_int_equal(sim_nm_enter(nm, &without), VMMU_OK);
		assert_int_equal(sim_nm_access(nm, page * K, VMMU_W, 1), VMMU_FAULT_REFLECT);
		run_l1(nm);
		sim_nm_access(nm, LEVEL_1 * K + page * 8, VMMU_W, entry_for(nm, page));
		assert_int_equal(sim_nm_enter(nm, &without), VMMU_OK);
		assert_int_equal(sim_nm_access(nm, page * K, VMMU_W, 1), 0);
	}
	end(nm);
}

/* No L2 has run, or none may: nothing is followed. */
static void no_way_yet(void **state)
{
	struct sim_nm *nm = trained(VMMU_MODE_EPT);
	struct vmmu_nested wrong = root_at(nm, ROOT, true);

	(void)state;
	wrong.root |= UINT64_C(1) << 11;
	l2_faults_at(nm, 10);
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &wrong), VMMU_ERR_INVALID);
	assert_true(is_emulated(nm, 10, entry_for(nm, 10)));
	assert_int_equal(exits_at(nm, 10), 1);
	end(nm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_write_a_fault),
		cmocka_unit_test(not_at_once),
		cmocka_unit_test(many_writes_a_fault),
		cmocka_unit_test(a_second_write_parks),
		cmocka_unit_test(what_no_fault_has_announced),
		cmocka_unit_test(a_host_that_releases),
		cmocka_unit_test(read_in_two_ways),
		cmocka_unit_test(no_way_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
