/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the frames below a nested map are: every memory type of ours with every one of L1's, and
 * who ignores the guest's PAT; L1's pages of each size on the host's runs of each size, aligned
 * alike or not, and how large the merged page is.
 */
#include "machine.h"

#define M2 (512 * K)
#define G1 (512 * M2)

/* ---- memory types ---------------------------------------------------------------------------- */

static const uint8_t types[] = {VMMU_MEMTYPE_UC, VMMU_MEMTYPE_WC, VMMU_MEMTYPE_WT, VMMU_MEMTYPE_WP, VMMU_MEMTYPE_WB};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static struct sim_nm *machine_with(uint8_t memtype, bool ignore_pat, unsigned order)
{
	struct sim_nm_config config = {
		.seed = 3, .mode = VMMU_MODE_EPT, .order = order, .ram_pages = 2048, .memtype = memtype, .ignore_pat = ignore_pat};
	struct sim_nm *nm = sim_nm_new(&config);

	sim_nm_slot_create(nm, 0, 0, 512, 0);
	sim_nm_slot_create(nm, 1, 1024, 512, 0);
	set(nm, ROOT, 0, LEVEL_3 * K | EPT_RWX);
	set(nm, LEVEL_3, 0, LEVEL_2 * K | EPT_RWX);
	set(nm, LEVEL_2, 0, LEVEL_1 * K | EPT_RWX);
	enter(nm, ROOT, true);
	return nm;
}

/* SDM vol. 3, table 12-7: rows by ours (as an MTRR), columns by L1's (as a PAT entry): UC, WC, WT, WP, WB. */
static const char *const table_12_7[TYPES] = {"UWUUU", "UWUUW", "UWTPT", "UWTPP", "UWTPB"};

static char letter_of(unsigned memtype)
{
	for (unsigned i = 0; i < TYPES; i++)
		if (types[i] == memtype)
			return "UWTPB"[i];
	return '?';
}

static void every_memory_type(void **state)
{
	(void)state;
	for (unsigned ours = 0; ours < 2 * TYPES; ours++)
		for (unsigned order = 0; order <= 9; order += 9) {
			bool ignored = ours >= TYPES;
			struct sim_nm *nm = machine_with(types[ours % TYPES], ignored, order);

			for (unsigned theirs = 0; theirs < 2 * TYPES; theirs++)
				for (unsigned large = 0; large < 2; large++) {
					uint64_t bits = (uint64_t)types[theirs % TYPES] << 3 | (theirs >= TYPES ? 0x40 : 0) | EPT_RWX;
					uint64_t gpa = large ? M2 : 5 * K;
					const struct sim_tlb_page *page;

					if (large)
						set(nm, LEVEL_2, 1, 1024 * K | bits | LARGE);
					else
						set(nm, LEVEL_1, 5, 1030 * K | bits);
					for (unsigned access = VMMU_R; access <= VMMU_X; access <<= 1)
						assert_int_equal(sim_nm_access(nm, gpa, access, 1), 0);
					page = sim_tlb_page_for(&nm->at->on->tlb, gpa >> 12);
					assert_non_null(page);
					assert_int_equal(letter_of(page->memtype),
					                 ignored ? letter_of(types[ours % TYPES]) : table_12_7[ours][theirs % TYPES]);
					assert_int_equal(page->ignore_pat, ignored || theirs >= TYPES);
				}
			end(nm);
		}
}

/* Two of L1's pages on one frame, of other types; and one large page, whose parts other tables map as before. */
static void types_of_aliases(void **state)
{
	struct sim_nm *nm = machine_with(VMMU_MEMTYPE_WB, false, 0);

	(void)state;
	set(nm, LEVEL_2, 1, 1024 * K | VMMU_MEMTYPE_WB << 3 | EPT_RWX | LARGE);
	set(nm, LEVEL_2, 2, 1024 * K | VMMU_MEMTYPE_UC << 3 | EPT_RWX | LARGE);
	set(nm, LEVEL_2, 3, 1024 * K | VMMU_MEMTYPE_WB << 3 | 0x40 | EPT_RWX | LARGE);
	set(nm, LEVEL_2, 4, 1024 * K | VMMU_MEMTYPE_WB << 3 | 1 | LARGE);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 1; i <= 4; i++) {
			assert_int_equal(sim_nm_access(nm, i * M2 + 7 * K, VMMU_R, 0), 0);
			assert_int_equal(sim_nm_access(nm, i * M2 + 7 * K, VMMU_W, i), i == 4 ? VMMU_FAULT_REFLECT : 0);
		}
	end(nm);
}

/* The host's own type changes: by an invalidation it reaches merged pages, too. */
static void a_type_that_changes(void **state)
{
	struct sim_nm *nm = machine_with(VMMU_MEMTYPE_WB, false, 9);

	(void)state;
	set(nm, LEVEL_1, 5, 1030 * K | VMMU_MEMTYPE_WB << 3 | EPT_RWX);
	set(nm, LEVEL_2, 1, 1024 * K | VMMU_MEMTYPE_WB << 3 | EPT_RWX | LARGE);
	for (unsigned i = 0; i < 6; i++) {
		sim_nm_take(nm);
		nm->config.memtype = types[i % TYPES];
		nm->config.ignore_pat = i & 1;
		sim_nm_give(nm);
		assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, i), 0);
		assert_int_equal(sim_nm_access(nm, M2 + 9 * K, VMMU_W, i), 0);
	}
	end(nm);
}

/* ---- sizes ----------------------------------------------------------------------------------------- */

enum { BIG = 3 << 18 }; /* L1's memory: 3 GiB of which hardly anything is touched */

static const uint64_t page_bytes[4] = {0, K, M2, G1};

static unsigned min2(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned level_of_order(unsigned order)
{
	return order >= 18 ? 3 : order >= 9 ? 2
	                                    : 1;
}

/* Of the frames' alignment, as far as the host says so. */
static unsigned level_of_run(unsigned order, uint64_t skew)
{
	while (skew & ((1ull << order) - 1))
		order--;
	return level_of_order(order);
}

/* L1's page at `level` in the middle gigabyte. Its tables are in the first. */
static void try_sizes(enum vmmu_mode mode, bool no_1g, unsigned order, uint64_t skew)
{
	struct sim_nm_config config = {.seed = 3, .mode = mode, .order = order, .skew = skew, .no_1g = no_1g, .ram_pages = BIG, .memtype = VMMU_MEMTYPE_WB};
	/* Merged pages have up to 2 MiB, as those of shadow paging. */
	unsigned hosts = min2(level_of_run(order, skew), 2);
	struct sim_nm *nm = sim_nm_new(&config);
	struct vmmu_nested n = root_at(nm, ROOT, true);

	n.cpu.page_1g = true;
	sim_nm_slot_create(nm, 0, 0, BIG, 0);
	set(nm, ROOT, 0, LEVEL_3 * K | full(nm));
	set(nm, LEVEL_3, 0, LEVEL_2 * K | full(nm));
	set(nm, LEVEL_2, 0, LEVEL_1 * K | full(nm));
	assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
	for (unsigned level = 1; level <= 3; level++) {
		static const unsigned table[4] = {0, LEVEL_1, LEVEL_2, LEVEL_3};
		uint64_t gpa = page_bytes[level], inside = level == 1 ? 0 : 9 * K;

		set(nm, table[level], 1, leaf(nm, 1 << 18, full(nm) | (level > 1 ? LARGE : 0)));
		assert_int_equal(sim_nm_access(nm, gpa + inside, VMMU_R, 0), 0);
		assert_int_equal(sim_nm_access(nm, gpa + inside, VMMU_W, 5 + level), 0);
		assert_int_equal(nm->at->fault.level, min2(level, hosts));
		assert_int_equal(sim_nm_word(nm, G1 + inside), 5 + level);
		/* The last page of it, and the parts around it. */
		assert_int_equal(sim_nm_access(nm, gpa + page_bytes[level] - K, VMMU_W, 9), 0);
		assert_int_equal(sim_nm_word(nm, G1 + page_bytes[level] - K), 9);
		/* Under the log it is written by 4 KiB; without it, it may be whole again. */
		sim_nm_slot_flags(nm, 0, VMMU_SLOT_LOG_DIRTY);
		assert_int_equal(sim_nm_access(nm, gpa + inside, VMMU_W, 3), 0);
		sim_nm_log(nm, 0);
		assert_int_equal(sim_nm_access(nm, gpa + inside, VMMU_W, 4), 0);
		assert_int_equal(nm->at->fault.level, 1);
		sim_nm_slot_flags(nm, 0, 0);
		/* A table of L1's comes to lie in it: that page is no longer to be written, and in no large one. */
		set(nm, OTHER_ROOT, 3, (uint64_t)((1 << 18) + 200) * K | full(nm));
		n.root = (n.root & 0xfff) | OTHER_ROOT * K;
		assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
		sim_nm_access(nm, 3ull << 39, VMMU_R, 0);
		n.root = (n.root & 0xfff) | ROOT * K;
		assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
		if (level > 1) {
			sim_nm_access(nm, gpa + 200 * K, VMMU_W, 0x77);
			assert_int_equal(sim_nm_word(nm, G1 + 200 * K), 0x77);
		}
	}
	end(nm);
}

static void every_size(void **state)
{
	static const uint64_t skews[] = {0, 1, 256, 512, 512 * 7};
	static const unsigned orders[] = {0, 4, 9, 12, 18};

	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++)
		for (unsigned o = 0; o < sizeof(orders) / sizeof(orders[0]); o++)
			for (unsigned s = 0; s < sizeof(skews) / sizeof(skews[0]); s++)
				if (!skews[s] || orders[o] >= 9)
					for (unsigned no_1g = 0; no_1g < 2; no_1g++)
						try_sizes(mode, no_1g, orders[o], skews[s]);
}

/* L1's large page reaches past its slot: what lies behind is no memory, and in no merged page. */
static void past_the_slot(void **state)
{
	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++) {
		struct sim_nm_config config = {.seed = 3, .mode = mode, .order = 18, .ram_pages = 2048, .memtype = VMMU_MEMTYPE_WB};
		struct sim_nm *nm = sim_nm_new(&config);

		sim_nm_slot_create(nm, 0, 0, 700, 0);
		sim_nm_slot_create(nm, 1, 701, 10, VMMU_SLOT_READONLY);
		set(nm, ROOT, 0, LEVEL_3 * K | full(nm));
		set(nm, LEVEL_3, 0, LEVEL_2 * K | full(nm));
		set(nm, LEVEL_2, 3, leaf(nm, 512, full(nm) | LARGE));
		set(nm, LEVEL_3, 1, leaf(nm, 0, full(nm) | LARGE));
		enter(nm, ROOT, true);
		for (unsigned i = 0; i < 2; i++) {
			uint64_t gpa = i ? G1 + M2 : 3 * M2;

			assert_int_equal(sim_nm_access(nm, gpa + 187 * K, VMMU_W, 1), 0);
			assert_int_equal(sim_nm_access(nm, gpa + 188 * K, VMMU_W, 1), VMMU_FAULT_EMULATE_MMIO);
			assert_int_equal(sim_nm_access(nm, gpa + 189 * K, VMMU_R, 1), 0);
			assert_int_equal(sim_nm_access(nm, gpa + 189 * K, VMMU_W, 1), VMMU_FAULT_READ_ONLY);
			assert_int_equal(sim_nm_access(nm, gpa + 199 * K, VMMU_R, 1), VMMU_FAULT_EMULATE_MMIO);
		}
		end(nm);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_memory_type),
		cmocka_unit_test(types_of_aliases),
		cmocka_unit_test(a_type_that_changes),
		cmocka_unit_test(every_size),
		cmocka_unit_test(past_the_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
