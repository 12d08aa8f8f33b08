/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest's own memory management costs under shadow paging, in exits: the
 * figures that docs/architecture.md gives for a held and a parked table. The
 * guest is a small kernel: user space in the lower half, and its tables mapped
 * for itself in the upper one, through tables that all address spaces share.
 */
#include "machine.h"

enum { K_PDPT = 40,
       K_DIRECTORY,
       K_TABLE };

#define UPPER 0xffff800000000000ull

/* The guest's kernel writes an entry of one of its tables. */
static uint64_t store(struct sim_gm *gm, unsigned table, unsigned index, uint64_t entry)
{
	return exits_of(gm, UPPER + table * K + 8 * index, &write_, entry);
}

static void address_space(struct sim_gm *gm, unsigned root)
{
	set(gm, root, 0, (root + 1) * K | FULL);
	set(gm, root, 256, K_PDPT * K | KERNEL);
	set(gm, root + 1, 0, (root + 2) * K | FULL);
	set(gm, root + 2, 0, (root + 3) * K | FULL);
}

static struct sim_gm *machine(void)
{
	struct sim_gm *gm = bare_machine(1, 12, 0);

	set(gm, K_PDPT, 0, K_DIRECTORY * K | KERNEL);
	set(gm, K_DIRECTORY, 0, K_TABLE * K | KERNEL);
	for (unsigned i = ROOT; i < DATA; i++)
		set(gm, K_TABLE, i, i * K | KERNEL);
	address_space(gm, ROOT);
	address_space(gm, ROOT2);
	start_paging(gm);
	exits_of(gm, UPPER + DATA * K - K, &write_, 0); /* the kernel's half is there from now on */
	return gm;
}

/* ---- faults of the guest's own ------------------------------------------------------- */

static void a_demand_fault_costs_two(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, TABLE, 100, DATA * K | FULL | D);
	exits_of(gm, 100 * K, &user_read, 0);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t exits = exits_of(gm, i * K, &user_write, 1);

		exits += store(gm, TABLE, i, (DATA + 1 + i) * K | FULL | D);
		exits += exits_of(gm, i * K, &user_write, 1);
		assert_int_equal(exits, 2);
	}
	assert_int_equal(gm->injected, 32);
	end(gm);
}

/* Clear the entry, invalidate the page, write it anew: as kernels do it. */
static void a_copy_on_write_costs_two(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		set(gm, TABLE, i, (DATA + i) * K | P | U | A);
	exits_of(gm, 0, &user_read, 0);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t exits = exits_of(gm, i * K, &user_write, 1);

		exits += store(gm, TABLE, i, 0);
		sim_gm_invlpg(gm, 0, i * K);
		exits += store(gm, TABLE, i, (DATA + 100 + i) * K | FULL | D);
		exits += exits_of(gm, i * K, &user_write, 1);
		assert_int_equal(exits, 2);
	}
	assert_int_equal(gm->injected, 32);
	end(gm);
}

/* The first fault in a region for which the guest has no table yet. */
static void a_new_table_costs_two(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	exits = exits_of(gm, 7 * M2, &user_write, 1);
	exits += store(gm, 50, 0, (DATA + 1) * K | FULL | D);
	exits += store(gm, DIRECTORY, 7, 50 * K | FULL);
	exits += exits_of(gm, 7 * M2, &user_write, 1);
	assert_int_equal(exits, 2);
	assert_int_equal(exits_of(gm, 0, &user_read, 0), 0);
	end(gm);
}

/* ---- many entries at once ------------------------------------------------------------ */

enum { MANY = 400 }; /* all of them in one run of frames */

static void write_protecting_a_table_costs_two(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0;

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		set(gm, TABLE, i, (DATA + i) * K | FULL | D);
	for (unsigned i = 0; i < MANY; i++)
		exits += exits_of(gm, i * K, &user_write, i);
	assert_int_equal(exits, 1);
	for (unsigned i = 0; i < MANY; i++)
		exits += store(gm, TABLE, i, (DATA + i) * K | P | U | A | D);
	assert_int_equal(exits, 2);
	sim_gm_load_cr3(gm, 0, ROOT * K, false);
	for (unsigned i = 0; i < MANY; i++)
		exits += exits_of(gm, i * K, &user_read, 0);
	assert_int_equal(exits, 3);
	exits_of(gm, 5 * K, &user_write, 0);
	assert_int_equal(gm->injected, 1);
	end(gm);
}

/* Where the last parking was in vain a moment ago. */
static void single_writes_are_emulated(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0, emulated;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	store(gm, TABLE, 1, (DATA + 1) * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	emulated = gm->emulated;
	exits += store(gm, TABLE, 2, (DATA + 2) * K | FULL | D);
	exits += exits_of(gm, 2 * K, &user_read, 0);
	assert_int_equal(exits, 1);
	assert_int_equal(gm->emulated, emulated + 1);
	end(gm);
}

/* ---- address spaces ------------------------------------------------------------------ */

static void a_new_root_has_the_kernel_in_it(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	sim_gm_load_cr3(gm, 0, ROOT2 * K, false);
	assert_int_equal(exits_of(gm, UPPER + DATA * K - K, &write_, 0), 0);
	end(gm);
}

/* From the bottom up, as kernels do it, and not the one they run on. */
static void taking_an_address_space_down_costs_two(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0;

	(void)state;
	sim_gm_load_cr3(gm, 0, ROOT2 * K, false);
	for (unsigned i = 0; i < 64; i++)
		set(gm, TABLE2, i, (DATA + i) * K | FULL | D);
	for (unsigned i = 0; i < 64; i++)
		exits_of(gm, i * K, &user_write, 0);
	sim_gm_load_cr3(gm, 0, ROOT * K, false);
	for (unsigned i = 0; i < 64; i++)
		exits += store(gm, TABLE2, i, 0);
	assert_int_equal(exits, 1);
	exits += store(gm, DIRECTORY2, 0, 0);
	exits += store(gm, PDPT2, 0, 0);
	exits += store(gm, ROOT2, 0, 0);
	for (unsigned table = ROOT2; table <= TABLE2; table++)
		for (unsigned i = 0; i < 512; i++)
			exits += store(gm, table, i, 0x1234567);
	assert_int_equal(exits, 2);
	end(gm);
}

static void a_remembered_root_may_become_data(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0;

	(void)state;
	sim_gm_load_cr3(gm, 0, ROOT2 * K, false);
	sim_gm_load_cr3(gm, 0, ROOT * K, false);
	for (unsigned i = 0; i < 512; i++)
		exits += store(gm, ROOT2, i, i);
	assert_int_equal(exits, 1);
	address_space(gm, ROOT2);
	sim_gm_load_cr3(gm, 0, ROOT2 * K, false);
	set(gm, TABLE2, 0, DATA * K | FULL | D);
	assert_int_equal(exits_of(gm, 0, &user_read, 0), 1);
	end(gm);
}

/* Kernels patch their text through an address space that is entered for it alone. */
static void a_page_entered_for_again_and_again_costs_one(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		uint64_t now = store(gm, TABLE2, 3, (DATA + i) * K | KERNEL);

		sim_gm_load_cr3(gm, 0, ROOT2 * K, false);
		now += exits_of(gm, 3 * K, &write_, i);
		now += store(gm, TABLE2, 3, 0);
		sim_gm_load_cr3(gm, 0, ROOT * K, false);
		exits += i < 10 ? 0 : now;
		assert_in_range(now, 1, 3);
	}
	assert_int_equal(exits, 10);
	assert_int_equal(gm->injected, 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(*(uint64_t *)(gm->ram + (DATA + i) * K), i);
	end(gm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_demand_fault_costs_two),
		cmocka_unit_test(a_copy_on_write_costs_two),
		cmocka_unit_test(a_new_table_costs_two),
		cmocka_unit_test(write_protecting_a_table_costs_two),
		cmocka_unit_test(single_writes_are_emulated),
		cmocka_unit_test(a_new_root_has_the_kernel_in_it),
		cmocka_unit_test(taking_an_address_space_down_costs_two),
		cmocka_unit_test(a_remembered_root_may_become_data),
		cmocka_unit_test(a_page_entered_for_again_and_again_costs_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
