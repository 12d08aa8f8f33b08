/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every combination of the rights of two of L1's entries, our slot and the access, in every
 * format and at every pair of levels; and every single bit of an entry at each level.
 * sim/nested_machine.h judges each end: the frame, or what L1 is told.
 */
#include "machine.h"

enum { CHAIN = 16,        /* the top table; those below follow */
       SLOT_FIRST = 512,  /* of the slot whose flags vary */
       TARGET = 600,      /* a page of it */
       NOWHERE = 1100,    /* a page of no slot */
       MAXPHYADDR = 40 }; /* L1's */

struct format {
	const char *name;
	enum vmmu_mode mode;
	unsigned levels;
	bool ad, exec_only; /* EPT */
	bool no_nx, no_pse; /* NPT */
};

static const struct format formats[] = {
	{.name = "EPT", .mode = VMMU_MODE_EPT, .levels = 4},
	{.name = "EPT, A/D", .mode = VMMU_MODE_EPT, .levels = 4, .ad = true},
	{.name = "EPT, execute-only", .mode = VMMU_MODE_EPT, .levels = 4, .exec_only = true},
	{.name = "EPT, 5 levels, A/D, execute-only", .mode = VMMU_MODE_EPT, .levels = 5, .ad = true, .exec_only = true},
	{.name = "NPT, 4 levels", .mode = VMMU_MODE_NPT, .levels = 4},
	{.name = "NPT, 4 levels, no NX", .mode = VMMU_MODE_NPT, .levels = 4, .no_nx = true},
	{.name = "NPT, 5 levels", .mode = VMMU_MODE_NPT, .levels = 5},
	{.name = "NPT, PAE", .mode = VMMU_MODE_NPT, .levels = 3},
	{.name = "NPT, PAE, no NX", .mode = VMMU_MODE_NPT, .levels = 3, .no_nx = true},
	{.name = "NPT, 32-bit", .mode = VMMU_MODE_NPT, .levels = 2},
	{.name = "NPT, 32-bit, no PSE", .mode = VMMU_MODE_NPT, .levels = 2, .no_pse = true},
};

/* ---- a path of L1's --------------------------------------------------------------------- */

static struct vmmu_nested root_of(const struct sim_nm *nm, const struct format *f)
{
	struct vmmu_nested n = {.cpu = sim_nm_cpu_of(&nm->config), .root = CHAIN * K};

	n.cpu.maxphyaddr = MAXPHYADDR;
	if (f->mode == VMMU_MODE_EPT) {
		n.root |= VMMU_MEMTYPE_WB | (f->levels - 1) << 3 | (f->ad ? 1u << 6 : 0);
		n.cpu.exec_only = f->exec_only;
		return n;
	}
	n.efer = (f->levels >= 4 ? 1u << 10 : 0) | (f->no_nx ? 0 : 1u << 11);
	n.cr4 = (f->levels > 2 ? 0x20 : 0) | (f->levels == 5 ? 1u << 12 : 0) | (f->no_pse ? 0 : 0x10);
	return n;
}

static bool is_pdpte(const struct format *f, unsigned level)
{
	return f->levels == 3 && level == 3;
}

/* Four kilobyte pages in a page at `level`. */
static uint64_t pages_at(const struct format *f, unsigned level)
{
	return 1ull << (f->levels == 2 ? 10 : 9) * (level - 1);
}

static unsigned largest_page(const struct format *f)
{
	if (f->levels == 2)
		return f->no_pse ? 1 : 2;
	return f->levels == 3 ? 2 : 3;
}

static void store(struct sim_nm *nm, const struct format *f, unsigned level, unsigned index, uint64_t entry)
{
	unsigned size = f->levels == 2 ? 4 : 8;

	sim_nm_host_write(nm, (CHAIN + f->levels - level) * K + index * size, size, entry);
}

/* An entry for the next table, with these of bits 2:0 and NX. */
static uint64_t table_entry(const struct format *f, unsigned level, unsigned rights)
{
	uint64_t entry = (CHAIN + f->levels - level + 1) * K;

	if (is_pdpte(f, level))
		return entry | (rights & 1);
	return entry | (rights & 7) | (rights & 8 ? 1ull << 63 : 0);
}

static uint64_t leaf_entry(const struct format *f, unsigned level, uint64_t gfn, unsigned rights)
{
	uint64_t entry = (gfn & ~(pages_at(f, level) - 1)) * K;

	entry |= (rights & 7) | (rights & 8 ? 1ull << 63 : 0) | (level > 1 ? 0x80 : 0);
	return entry | (f->mode == VMMU_MODE_EPT ? VMMU_MEMTYPE_WB << 3 : 0);
}

/* Where L2 finds the page that a leaf at this level maps: the 6th entry of the last table, the first of others. */
static uint64_t address_of(const struct format *f, unsigned level, uint64_t gfn)
{
	return level == 1 ? 5 * K : (gfn & (pages_at(f, level) - 1)) * K;
}

static void enter_l2(struct sim_nm *nm, const struct format *f)
{
	struct vmmu_nested n = root_of(nm, f);

	assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
}

static struct sim_nm *machine_for(const struct format *f, uint32_t slot_flags)
{
	struct sim_nm_config config = {
		.seed = 3, .mode = f->mode, .ram_pages = 2048, .levels5 = f->levels == 5, .memtype = VMMU_MEMTYPE_WB};
	struct sim_nm *nm = sim_nm_new(&config);

	sim_nm_slot_create(nm, 0, 0, SLOT_FIRST, 0);
	sim_nm_slot_create(nm, 1, SLOT_FIRST, 512, slot_flags);
	for (unsigned level = f->levels; level > 1; level--)
		store(nm, f, level, 0, table_entry(f, level, 7));
	return nm;
}

/* ---- two entries, slot, access ------------------------------------------------------------- */

static struct {
	unsigned long through, refused;
} ends;

static void try_access(struct sim_nm *nm, const struct format *f, uint64_t gpa, unsigned access)
{
	enum vmmu_fault_result result;

	/* 8: the CPU walks L2's own tables, which is a write where L1's tables have flags. */
	nm->not_final = access == 8;
	if (nm->not_final)
		access = f->mode == VMMU_MODE_NPT || f->ad ? VMMU_R | VMMU_W : VMMU_R;
	result = sim_nm_access(nm, gpa, access, 1);
	nm->not_final = false;
	assert_int_not_equal(result, VMMU_FAULT_WRITE_TABLE);
	*(result ? &ends.refused : &ends.through) += 1;
	if (nm->failed)
		printf("in format %s\n", f->name);
	assert_false(nm->failed);
}

/* An entry at `above`, or none, and a leaf at `level`. */
static void try_pair(struct sim_nm *nm, const struct format *f, unsigned above, unsigned level, uint64_t gfn)
{
	const unsigned values = f->mode == VMMU_MODE_EPT || f->levels == 2 ? 8 : 16, ups = above > level ? values : 1;
	uint64_t gpa = address_of(f, level, gfn);

	for (unsigned up = 0; up < ups; up++) {
		if (above > level)
			store(nm, f, above, 0, table_entry(f, above, up));
		if (is_pdpte(f, above))
			enter_l2(nm, f);
		for (unsigned down = 0; down < values; down++) {
			store(nm, f, level, level == 1 ? 5 : 0, leaf_entry(f, level, gfn, down));
			for (unsigned access = VMMU_R; access <= 8; access <<= 1)
				try_access(nm, f, gpa, access);
		}
	}
	if (above > level)
		store(nm, f, above, 0, table_entry(f, above, 7));
	store(nm, f, level, 0, level == 1 ? 0 : table_entry(f, level, 7));
	enter_l2(nm, f);
}

static void try_format(const struct format *f, uint32_t slot_flags, uint64_t gfn)
{
	struct sim_nm *nm = machine_for(f, slot_flags);

	enter_l2(nm, f);
	for (unsigned level = 1; level <= largest_page(f); level++) {
		for (unsigned above = level + 1; above <= f->levels; above++)
			try_pair(nm, f, above, level, gfn);
		if (level == f->levels)
			try_pair(nm, f, level, level, gfn);
	}
	end(nm);
}

static void every_combination(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		ends.through = ends.refused = 0;
		for (uint32_t flags = 0; flags <= (VMMU_SLOT_READONLY | VMMU_SLOT_LOG_DIRTY); flags++)
			try_format(&formats[i], flags, TARGET);
		try_format(&formats[i], 0, NOWHERE);
		printf("            %s: %lu through, %lu refused\n", formats[i].name, ends.through, ends.refused);
		assert_true(ends.through > 0 && ends.refused > 0);
	}
}

/* ---- every bit -------------------------------------------------------------------------------- */

/* Each bit alone is turned over in an entry that leads on, and in one that maps a page. */
static void try_bits(struct sim_nm *nm, const struct format *f, unsigned level, bool leaf)
{
	unsigned index = level == 1 ? 5 : 0;
	uint64_t gpa = leaf ? address_of(f, level, TARGET) : 5 * K;

	for (unsigned bit = 0; bit < (f->levels == 2 ? 32 : 64); bit++) {
		uint64_t entry = leaf ? leaf_entry(f, level, TARGET, 7) : table_entry(f, level, 7);

		store(nm, f, level, index, entry ^ 1ull << bit);
		if (is_pdpte(f, level))
			enter_l2(nm, f);
		for (unsigned access = VMMU_R; access <= 8; access <<= 1)
			/* It may lead to one of the tables. */
			if (access != VMMU_W && access != 8)
				try_access(nm, f, gpa, access);
	}
	store(nm, f, level, index, level == 1 ? leaf_entry(f, 1, TARGET, 7) : table_entry(f, level, 7));
	enter_l2(nm, f);
}

static void every_bit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		const struct format *f = &formats[i];
		struct sim_nm *nm = machine_for(f, 0);

		store(nm, f, 1, 5, leaf_entry(f, 1, TARGET, 7));
		enter_l2(nm, f);
		for (unsigned level = 1; level <= f->levels; level++) {
			if (level > 1)
				try_bits(nm, f, level, false);
			if (level <= largest_page(f))
				try_bits(nm, f, level, true);
		}
		end(nm);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination),
		cmocka_unit_test(every_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
