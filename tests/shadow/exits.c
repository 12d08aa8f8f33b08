/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest's own memory management costs under shadow paging, in exits: the
 * figures that docs/architecture.md gives for a held and a parked table. The
 * guest is a small kernel: user space in the lower half, and its tables mapped
 * for itself in the upper one, through tables that all address spaces share.
 */
#include <vmmu/exit.h>
#include <vmmu/guest.h>

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

/* How often a handler must have written one word, until the next one's write is emulated. */
enum { OF_MISSING = 2,
       OF_PRESENT = 16 };

/* Two, so that no handler can have written them as one word. */
static void use_pages(struct sim_gm *gm)
{
	set(gm, TABLE, 500, DATA * K | FULL | D);
	set(gm, TABLE, 501, DATA * K | FULL | D);
	exits_of(gm, 500 * K, &user_read, 0);
}

static struct sim_gm *machine_with_pages(void)
{
	struct sim_gm *gm = machine();

	use_pages(gm);
	return gm;
}

/* Page i is missing, and the handler writes `words` entries. Exits up to the access. */
static uint64_t demand_fault(struct sim_gm *gm, unsigned i, unsigned words, uint64_t bits)
{
	uint64_t exits = exits_of(gm, i * K, &user_write, 1);

	for (unsigned n = 0; n < words; n++)
		exits += store(gm, TABLE, i + n, (DATA + 1 + i + n) * K | bits);
	return exits + exits_of(gm, i * K, &user_write, 1);
}

static void a_demand_fault_costs_two(void **state)
{
	struct sim_gm *gm = machine_with_pages();

	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(demand_fault(gm, i, 1, FULL | D), 2);
		assert_int_equal(gm->emulated, i < OF_MISSING ? 0 : i + 1 - OF_MISSING);
	}
	assert_int_equal(gm->injected, 32);
	end(gm);
}

/* In a table that the guest's kernel sees through a large page, too. */
static void a_demand_fault_beside_large_pages_costs_two(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, K_DIRECTORY, 0, KERNEL | PS);
	store(gm, TABLE, 0, 0);
	use_pages(gm);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(demand_fault(gm, i, 1, FULL | D), 2);
	assert_int_equal(gm->emulated, 32 - OF_MISSING);
	end(gm);
}

/* Of a guest that fills several entries at once none is emulated. */
static void a_demand_fault_of_many_entries_costs_two(void **state)
{
	struct sim_gm *gm = machine_with_pages();

	(void)state;
	for (unsigned i = 0; i < 128; i += 8)
		assert_int_equal(demand_fault(gm, i, 8, FULL | D), 2);
	assert_int_equal(gm->emulated, 0);
	end(gm);
}

/* What does not spare a fault is done less and less often: entries without A, and handlers of two words. */
static void mistakes_become_rare(void **state)
{
	(void)state;
	for (unsigned words = 1; words <= 2; words++) {
		struct sim_gm *gm = machine_with_pages();
		uint64_t exits = 0;

		for (unsigned i = 0; i < 8; i++) {
			exits += demand_fault(gm, i, 1, FULL | D);
			assert_int_equal(exits, 2 * (i + 1));
		}
		for (unsigned i = 0; i < 256; i++)
			exits += demand_fault(gm, 10 + i, 1, words == 1 ? P | W | U : FULL | D) +
			         (words == 2 ? store(gm, TABLE, 300 + i % 100, (DATA + i) * K | FULL | D) : 0);
		assert_in_range(exits - 2 * 8, 2 * 256, 2 * 256 + (words == 1 ? 8 : 256));
		end(gm);
	}
}

/* Where the host knows that more will follow, the guest has its table for itself. */
static void a_fault_that_repeats_parks(void **state)
{
	struct sim_gm *gm = machine_with_pages();

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		demand_fault(gm, i, 1, FULL | D);
	assert_int_equal(gm->emulated, 8 - OF_MISSING);
	for (unsigned i = 8; i < 16; i++) {
		struct vmmu_fault f = vmmu_fault_from_pf(VMMU_PF_WRITE | VMMU_PF_USER, vmmu_gva_of(i * K), 3, 0, 0);

		f.access |= VMMU_ACCESS_REPEATS;
		assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_INJECT_PF);
		assert_int_equal(store(gm, TABLE, i, (DATA + i) * K | FULL | D), 0);
		assert_int_equal(exits_of(gm, i * K, &user_write, 1), 1);
	}
	end(gm);
}

/* As kernels do it: the entry is cleared, the page invalidated, the entry written anew. Or in one store. */
static void a_copy_on_write_costs_two(void **state)
{
	(void)state;
	for (unsigned clears = 0; clears < 2; clears++) {
		struct sim_gm *gm = machine();

		for (unsigned i = 0; i < 64; i++)
			set(gm, TABLE, i, (DATA + i) * K | P | U | A);
		exits_of(gm, 0, &user_read, 0);
		for (unsigned i = 0; i < 64; i++) {
			uint64_t exits = exits_of(gm, i * K, &user_write, 1);

			if (clears) {
				exits += store(gm, TABLE, i, 0);
				sim_gm_invlpg(gm, 0, i * K);
			}
			exits += store(gm, TABLE, i, (DATA + 100 + i) * K | FULL | D);
			sim_gm_invlpg(gm, 0, i * K);
			exits += exits_of(gm, i * K, &user_write, 1);
			/* Once it is thought that one word will do, and then not soon again. */
			assert_int_equal(exits, clears && (i == OF_PRESENT || i == 3 * OF_PRESENT + 1) ? 4 : 2);
		}
		assert_int_equal(gm->emulated, clears ? 2 : 64 - OF_PRESENT);
		assert_int_equal(gm->injected, 64);
		end(gm);
	}
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
		cmocka_unit_test(a_demand_fault_beside_large_pages_costs_two),
		cmocka_unit_test(a_demand_fault_of_many_entries_costs_two),
		cmocka_unit_test(mistakes_become_rare),
		cmocka_unit_test(a_fault_that_repeats_parks),
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
