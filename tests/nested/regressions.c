/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults that KVM's nested MMU had, by their numbers or commits: what went wrong there, done to
 * a nested map here. And faults that this engine had.
 */
#include "machine.h"

static const enum vmmu_mode modes[] = {VMMU_MODE_EPT, VMMU_MODE_NPT};
#define EACH_MODE(mode) for (enum vmmu_mode mode = modes[0]; mode <= modes[1]; mode++)

static struct sim_nm *machine_of(struct sim_nm_config config, uint64_t pages)
{
	struct sim_nm *nm;

	config.seed = 5;
	config.memtype = VMMU_MEMTYPE_WB;
	config.ram_pages = pages > 2048 ? pages : 2048;
	nm = sim_nm_new(&config);
	sim_nm_slot_create(nm, 0, 0, 1024, 0);
	set(nm, ROOT, 0, LEVEL_3 * K | full(nm));
	set(nm, LEVEL_3, 0, LEVEL_2 * K | full(nm));
	set(nm, LEVEL_2, 0, LEVEL_1 * K | full(nm));
	return nm;
}

/* ---- roles of tables: CVE-2026-53359, CVE-2026-46113, CVE-2026-80726 ------------------------ */

/* A table was found again by its frame alone: that of a large page's part, and the table at the same frame. */
static void cve_2026_53359_roles(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine(mode, 0);

		for (unsigned i = 0; i < 512; i++)
			set(nm, BLOCK, i, leaf(nm, DATA + i % 64, full(nm)));
		enter(nm, ROOT, true);
		for (unsigned i = 0; i < 8; i++) {
			set(nm, LEVEL_2, 3, i % 2 ? BLOCK * K | full(nm) : leaf(nm, BLOCK, full(nm) | LARGE));
			for (unsigned page = 0; page < 4; page++)
				assert_int_equal(sim_nm_access(nm, (3 * 512 + page) * K, VMMU_R, 0), 0);
			sim_nm_audit(nm);
		}
		end(nm);
	}
}

/*
 * The entry of a large page was written from outside to name other memory. The tables for its
 * parts stayed linked, and the reverse map was looked up by the new address.
 */
static void cve_2026_46113_large_page_moved(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine_of((struct sim_nm_config){.mode = mode}, 0);

		sim_nm_slot_create(nm, 1, 1024, 1024, 0);
		enter(nm, ROOT, true);
		for (unsigned i = 0; i < 6; i++) {
			unsigned frame = i % 2 ? 1536 : 1024;

			/* By the host, as KVM_SET_MEMORY or a device would. */
			set(nm, LEVEL_2, 3, leaf(nm, frame, full(nm) | LARGE));
			for (unsigned page = 0; page < 512; page += 73) {
				assert_int_equal(sim_nm_access(nm, (3 * 512 + page) * K, VMMU_W, 77 + i), 0);
				assert_int_equal(sim_nm_word(nm, (frame + page) * K), 77 + i);
			}
		}
		/* What the reverse map lost stayed reachable when the memory went. */
		sim_nm_slot_delete(nm, 1);
		assert_int_equal(sim_nm_access(nm, 3 * 512 * K, VMMU_R, 0), VMMU_FAULT_EMULATE_MMIO);
		end(nm);
	}
}

/* The mark of a root that is being taken down was inherited by tables made below it. */
static void cve_2026_80726_below_a_root_that_goes(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine_of((struct sim_nm_config){.mode = mode, .vcpus = 2, .look_percent = 50}, 0);

		set(nm, LEVEL_1, 5, leaf(nm, DATA, full(nm)));
		for (unsigned n = 0; n < 2; n++) {
			sim_nm_by(nm, n);
			enter(nm, ROOT, true);
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, n), 0);
		}
		for (unsigned i = 0; i < 20; i++) {
			/* The first root goes out of one vCPU's memory while the other makes tables below it. */
			sim_nm_by(nm, 0);
			set(nm, 40 + i, 0, LEVEL_3 * K | full(nm));
			enter(nm, 40 + i, true);
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i), 0);
			sim_nm_by(nm, 1);
			set(nm, LEVEL_2, 4 + i, LEVEL_1 * K | full(nm));
			assert_int_equal(sim_nm_access(nm, ((4ull + i) * 512 + 5) * K, VMMU_W, i), 0);
			sim_nm_audit(nm);
		}
		end(nm);
	}
}

/* ---- room: CVE-2026-64561, CVE-2022-45869 --------------------------------------------------------- */

/* Whether the root still counts was asked before room was made, and making room took it down. */
static void cve_2026_64561_quota(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine_of((struct sim_nm_config){.mode = mode, .max_shadow_tables = 64}, 0);

		for (unsigned i = 0; i < 128; i++) {
			set(nm, 600 + i, 0, (300 + i) * K | full(nm));
			set(nm, 300 + i, 0, leaf(nm, DATA, full(nm)));
			set(nm, LEVEL_2, i, (300 + i) * K | full(nm));
		}
		for (unsigned i = 0; i < 128; i++) {
			enter(nm, ROOT, false);
			assert_int_equal(sim_nm_access(nm, i * 512 * K, VMMU_W, i), 0);
			if (i % 16 == 0)
				sim_nm_migrate(nm);
			assert_int_equal(sim_nm_access(nm, i * 512 * K, VMMU_W, i), 0);
		}
		end(nm);
	}
}

/* Tables ran out below one vCPU while another, in L1, was on the map beside it. */
static void cve_2022_45869_room_beside_l1(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine_of(
			(struct sim_nm_config){.mode = mode, .vcpus = 2, .max_shadow_tables = 64, .look_percent = 50}, 0);

		for (unsigned i = 0; i < 128; i++) {
			set(nm, 300 + i, 0, leaf(nm, DATA + i % 8, full(nm)));
			set(nm, LEVEL_2, i, (300 + i) * K | full(nm));
		}
		for (unsigned i = 0; i < 256; i++) {
			sim_nm_by(nm, 0);
			enter(nm, ROOT, true);
			assert_int_equal(sim_nm_access(nm, i % 128 * 512 * K, VMMU_W, i), 0);
			/* Writes to the tables of the other's guest: they are parked, or it is emulated. */
			sim_nm_by(nm, 1);
			sim_nm_access(nm, (300 + i % 128) * K + 8, VMMU_W, leaf(nm, DATA + i % 8, full(nm)));
			assert_int_equal(sim_nm_access(nm, (DATA + i % 8) * K, VMMU_W, i), 0);
		}
		end(nm);
	}
}

/* ---- the log: CVE-2024-26990 ------------------------------------------------------------------------- */

/* What L2 wrote was not in the host's log, where the CPU's own log was thought to see it. */
static void cve_2024_26990_log(void **state)
{
	(void)state;
	EACH_MODE(mode)
	for (unsigned ad = 0; ad < 2; ad++) {
		struct sim_nm *nm = machine(mode, 0);

		set(nm, LEVEL_1, 0, leaf(nm, DATA, full(nm)));
		enter(nm, ROOT, ad);
		assert_int_equal(sim_nm_access(nm, 0, VMMU_W, 1), 0);
		sim_nm_slot_flags(nm, 0, VMMU_SLOT_LOG_DIRTY);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(sim_nm_access(nm, 0, VMMU_W, i), 0);
			sim_nm_log(nm, 0);
		}
		/* Through a large page of L1's, and in L1 itself. */
		set(nm, LEVEL_2, 3, leaf(nm, BLOCK, full(nm) | LARGE));
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(sim_nm_access(nm, (3 * 512 + 9) * K, VMMU_W, i), 0);
			assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
			assert_int_equal(sim_nm_access(nm, (BLOCK + 10) * K, VMMU_W, i), 0);
			sim_nm_log(nm, 0);
			enter(nm, ROOT, ad);
		}
		end(nm);
	}
}

/* ---- nCR3: CVE-2024-50115, a3322d5cd87f ----------------------------------------------------------------- */

static struct vmmu_nested pae_root(const struct sim_nm *nm, uint64_t at)
{
	struct vmmu_nested n = root_at(nm, ROOT, true);

	n.efer = 1u << 11;
	n.root = at;
	return n;
}

/* Low bits of a PAE nCR3 were taken for part of the address: the four entries were read beyond the page. */
static void cve_2024_50115_pdptes(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);
	struct vmmu_nested n = pae_root(nm, 40 * K | 0xfe0 | 0x18);

	(void)state;
	set(nm, 40, 508, LEVEL_2 * K | 1);
	set(nm, LEVEL_1, 5, DATA * K | NPT_RWX);
	assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
	assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, 9), 0);
	assert_int_equal(sim_nm_word(nm, DATA * K), 9);
	assert_int_equal(sim_nm_access(nm, 5ull << 32, VMMU_R, 0), VMMU_FAULT_REFLECT);
	end(nm);
}

/*
 * The root for L1's NPT had L1's levels, though the CPU walks as many as its own CR4 says: L1 in
 * each of its modes, on CPUs with 4 levels and with 5.
 */
static void a3322d5cd87f_levels_of_the_root(void **state)
{
	(void)state;
	for (unsigned levels5 = 0; levels5 < 2; levels5++)
		for (unsigned levels = 2; levels <= 4 + levels5; levels++) {
			struct sim_nm *nm = machine_of((struct sim_nm_config){.mode = VMMU_MODE_NPT, .levels5 = levels5}, 0);
			struct vmmu_nested n = pae_root(nm, 40 * K);
			unsigned table = 40;

			n.efer |= levels >= 4 ? 1u << 10 : 0;
			n.cr4 = levels == 2 ? 0 : 0x20 | (levels == 5 ? 1u << 12 : 0);
			for (unsigned level = levels; level > 1; level--, table++)
				set(nm, table, 0, (table + 1) * K | (levels == 3 && level == 3 ? 1 : NPT_RWX));
			if (levels == 2)
				sim_nm_host_write(nm, table * K + 5 * 4, 4, DATA * K | NPT_RWX);
			else
				set(nm, table, 5, DATA * K | NPT_RWX);
			assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
			assert_int_equal(nm->at->root.levels, 4 + levels5);
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, 9), 0);
			assert_int_equal(sim_nm_word(nm, DATA * K), 9);
			/* Nothing above what L1's tables can name. */
			for (unsigned bit = levels == 2 || levels == 3 ? 32 : levels * 9 + 12; bit < 52; bit++)
				assert_int_equal(sim_nm_access(nm, 5 * K | 1ull << bit, VMMU_R, 0), VMMU_FAULT_REFLECT);
			end(nm);
		}
}

/* ---- rights: CVE-2021-38198 ------------------------------------------------------------------------------ */

/* One table below two entries with other rights: the rights of the first way were used on both. */
static void cve_2021_38198_rights_of_the_path(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine(mode, 0);
		uint64_t read_only = mode == VMMU_MODE_EPT ? 1 : 0x25 | 1ull << 63;

		set(nm, LEVEL_1, 5, leaf(nm, DATA, full(nm)));
		set(nm, LEVEL_2, 1, LEVEL_1 * K | read_only);
		set(nm, LEVEL_3, 1, LEVEL_2 * K | read_only);
		enter(nm, ROOT, true);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i), 0);
			assert_int_equal(sim_nm_access(nm, (512 + 5) * K, VMMU_R, 0), 0);
			assert_int_equal(sim_nm_access(nm, (512 + 5) * K, VMMU_W, 1), VMMU_FAULT_REFLECT);
			assert_int_equal(sim_nm_access(nm, (512 + 5) * K, VMMU_X, 0), VMMU_FAULT_REFLECT);
			assert_int_equal(sim_nm_access(nm, (1ull << 30) + 5 * K, VMMU_W, 1), VMMU_FAULT_REFLECT);
			assert_int_equal(sim_nm_access(nm, (1ull << 30) + 5 * K, VMMU_R, 1), 0);
		}
		end(nm);
	}
}

/* ---- pages that change: CVE-2026-23401, 3be2264be3c0, 93a423e7045c ------------------------------------------- */

/* The host wrote L1's entry to name no memory: what was there before stayed in the reverse map. */
static void cve_2026_23401_nothing_over_memory(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine(mode, 0);

		enter(nm, ROOT, true);
		for (unsigned i = 0; i < 4; i++) {
			set(nm, LEVEL_1, 5, leaf(nm, DATA, full(nm)));
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i), 0);
			set(nm, LEVEL_1, 5, leaf(nm, 3000, full(nm)));
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i), VMMU_FAULT_EMULATE_MMIO);
			sim_nm_migrate(nm);
		}
		end(nm);
	}
}

/* The size of a mapping changed without a flush: small to large, large to small, with the rest of the path. */
static void commit_3be2264be3c0_page_size_flush(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine_of((struct sim_nm_config){.mode = mode, .order = 18, .vcpus = 2, .look_percent = 50}, 0);

		sim_nm_slot_create(nm, 1, 1024, 1024, 0);
		for (unsigned i = 0; i < 512; i++)
			set(nm, BLOCK, i, leaf(nm, 1024 + 511 - i, full(nm)));
		for (unsigned n = 0; n < 2; n++) {
			sim_nm_by(nm, n);
			enter(nm, ROOT, true);
		}
		for (unsigned i = 0; i < 12; i++) {
			sim_nm_by(nm, i % 2);
			set(nm, LEVEL_2, 3, i % 3 ? leaf(nm, i % 3 == 1 ? 1024 : 1536, full(nm) | LARGE) : BLOCK * K | full(nm));
			for (unsigned n = 0; n < 2; n++) {
				sim_nm_by(nm, n);
				for (unsigned page = 0; page < 512; page += 127)
					assert_int_equal(sim_nm_access(nm, (3 * 512 + page) * K, VMMU_W, i), 0);
			}
			/* The host's own pages shrink and grow. */
			if (i % 4 == 3)
				assert_int_equal(vmmu_range_restrict(nm->vm, vmmu_gpa_of(1024 * K), 512 * K,
				                                     i == 3 ? VMMU_LEVEL_4K : VMMU_LEVEL_1G),
				                 VMMU_OK);
		}
		end(nm);
	}
}

/* ---- tables that are not up to date: 65855ed8b034 -------------------------------------------------------------- */

/* A table was linked again as it had been before it could be written. */
static void commit_65855ed8b034_linked_unsynced(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_nm *nm = machine(mode, 0);

		set(nm, OTHER_ROOT, 0, OTHER_3 * K | full(nm));
		set(nm, OTHER_3, 0, LEVEL_2 * K | full(nm));
		set(nm, LEVEL_1, 5, leaf(nm, DATA, full(nm)));
		enter(nm, ROOT, true);
		assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, 1), 0);
		for (unsigned i = 1; i < 30; i++) {
			/* L1 writes its table without an exit, then the other root needs it. */
			assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
			sim_nm_access(nm, LEVEL_1 * K + 5 * 8, VMMU_W, leaf(nm, DATA + i, full(nm)));
			sim_nm_access(nm, LEVEL_1 * K + 6 * 8, VMMU_W, leaf(nm, DATA + i + 1, full(nm)));
			enter(nm, i % 2 ? OTHER_ROOT : ROOT, true);
			assert_int_equal(sim_nm_access(nm, 6 * K, VMMU_W, i), 0);
			assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i + 100), 0);
			assert_int_equal(sim_nm_word(nm, (DATA + i) * K), i + 100);
		}
		end(nm);
	}
}

/* ---- flushes that L1 has asked for: CVE-2026-89929, CVE-2026-89930 --------------------------------------------- */

/* Another vCPU's request was counted as done where L2 had not run. */
static void cve_2026_89929_tags_of_each_vcpu(void **state)
{
	struct sim_nm *nm = machine_of((struct sim_nm_config){.mode = VMMU_MODE_EPT, .vcpus = 2}, 0);

	(void)state;
	for (unsigned n = 0; n < 2; n++)
		assert_true(vmmu_nested_tag(nm->cpu[n].vcpu, 7, VMMU_NESTED_FLUSH_NONE, 0));
	assert_true(vmmu_nested_tag(nm->cpu[0].vcpu, 7, VMMU_NESTED_FLUSH_TAG, 7));
	assert_false(vmmu_nested_tag(nm->cpu[0].vcpu, 7, VMMU_NESTED_FLUSH_NONE, 0));
	/* What one was asked says nothing of the other, nor does it undo the other's. */
	assert_true(vmmu_nested_tag(nm->cpu[1].vcpu, 7, VMMU_NESTED_FLUSH_ALL, 0));
	assert_false(vmmu_nested_tag(nm->cpu[1].vcpu, 7, VMMU_NESTED_FLUSH_NONE, 0));
	end(nm);
}

/* ---- the engine's own --------------------------------------------------------------------------------------------- */

/* A PDPTE with a reserved bit led down where another led to the same directory (APM vol. 2, 15.25.10). */
static void pdpte_with_a_reserved_bit(void **state)
{
	static const uint64_t reserved[] = {2, 4, 0x20, 0x100, 1ull << 46, 1ull << 52, 1ull << 63};
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);
	struct vmmu_nested n = pae_root(nm, 40 * K);

	(void)state;
	set(nm, LEVEL_1, 5, DATA * K | NPT_RWX);
	set(nm, 40, 0, LEVEL_2 * K | 1);
	for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		set(nm, 40, 1, LEVEL_2 * K | 1 | reserved[i]);
		assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
		assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i), 0);
		assert_int_equal(sim_nm_access(nm, (1ull << 30) + 5 * K, VMMU_R, 0), VMMU_FAULT_REFLECT);
		assert_int_equal(nm->at->fault.error_code, 0x10000000dull);
	}
	end(nm);
}

/* L1's log was to get a page whose D flag was set already, because its A flag was not. */
static void dirty_before_accessed(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	struct vmmu_fault f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(3 * K), 0);

	(void)state;
	set(nm, LEVEL_1, 3, leaf(nm, DATA, EPT_RWX) | 0x200);
	enter(nm, ROOT, true);
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_FIXED);
	assert_false(f.dirtied);
	assert_int_equal(sim_nm_word(nm, LEVEL_1 * K + 3 * 8), leaf(nm, DATA, EPT_RWX) | 0x300);
	end(nm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cve_2026_53359_roles),
		cmocka_unit_test(cve_2026_46113_large_page_moved),
		cmocka_unit_test(cve_2026_80726_below_a_root_that_goes),
		cmocka_unit_test(cve_2026_64561_quota),
		cmocka_unit_test(cve_2022_45869_room_beside_l1),
		cmocka_unit_test(cve_2024_26990_log),
		cmocka_unit_test(cve_2024_50115_pdptes),
		cmocka_unit_test(a3322d5cd87f_levels_of_the_root),
		cmocka_unit_test(cve_2021_38198_rights_of_the_path),
		cmocka_unit_test(cve_2026_23401_nothing_over_memory),
		cmocka_unit_test(commit_3be2264be3c0_page_size_flush),
		cmocka_unit_test(commit_65855ed8b034_linked_unsynced),
		cmocka_unit_test(cve_2026_89929_tags_of_each_vcpu),
		cmocka_unit_test(pdpte_with_a_reserved_bit),
		cmocka_unit_test(dirty_before_accessed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
