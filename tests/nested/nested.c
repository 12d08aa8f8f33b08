/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single things about nested guests: roots, what L1 is told, page-modification logging, a host
 * that takes memory back, the walk without tables, tags.
 */
#include "machine.h"
#include "random.h"

/* ---- roots ---------------------------------------------------------------------------- */

static void switching_roots_builds_nothing(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	unsigned long exits;

	(void)state;
	set(nm, OTHER_ROOT, 0, OTHER_3 * K | EPT_RWX);
	set(nm, OTHER_3, 0, LEVEL_2 * K | EPT_RWX);
	set(nm, LEVEL_1, 0, leaf(nm, DATA, EPT_RWX));
	for (unsigned i = 0; i < 2; i++) {
		enter(nm, i ? OTHER_ROOT : ROOT, false);
		assert_int_equal(sim_nm_access(nm, 0, VMMU_W, 1), 0);
	}
	exits = nm->exits;
	for (unsigned i = 0; i < 6; i++) {
		enter(nm, i % 2 ? OTHER_ROOT : ROOT, false);
		assert_int_equal(sim_nm_access(nm, 0, VMMU_W, i), 0);
		assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
	}
	assert_int_equal(nm->exits, exits);
	end(nm);
}

static void roots_no_cpu_accepts(void **state)
{
	/* Turned over: another memory type, numbers of levels, reserved bits. */
	static const uint64_t wrong[] = {3, 6 ^ 1, 6 ^ 4, 5ull << 3, 2ull << 3, 7ull << 3, 1u << 7, 1u << 8, 1u << 11, 1ull << 46, 1ull << 50};
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	struct vmmu_nested n;

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		n = root_at(nm, ROOT, false);
		n.root ^= wrong[i];
		assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	}
	n = root_at(nm, ROOT, false);
	n.root ^= VMMU_MEMTYPE_WB ^ VMMU_MEMTYPE_UC;
	assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
	/* A root that is refused is not run on. */
	n.cpu.maxphyaddr = 40;
	n.root |= 1ull << 40;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	n = root_at(nm, ROOT, true);
	n.cpu.ad = false;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	n = root_at(nm, ROOT, false);
	n.cpu.levels5 = true;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_UNSUPPORTED);
	end(nm);
}

/* Flags are L1's to ask for: without, its entries stay as they are, and no walk of L2's counts as a write. */
static void flags_only_if_asked_for(void **state)
{
	(void)state;
	for (unsigned ad = 0; ad < 2; ad++) {
		struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
		uint64_t entry = leaf(nm, DATA, EPT_RWX);

		set(nm, LEVEL_1, 0, entry);
		enter(nm, ROOT, ad);
		assert_int_equal(nm->at->root.pointer >> 6 & 1, ad);
		assert_int_equal(sim_nm_access(nm, 0, VMMU_W, 1), 0);
		assert_int_equal(sim_nm_word(nm, LEVEL_1 * K), entry | (ad ? 0x300 : 0));
		assert_int_equal(sim_nm_word(nm, ROOT * K), LEVEL_3 * K | EPT_RWX | (ad ? 0x100 : 0));
		end(nm);
	}
}

/* ---- what L1 is told -------------------------------------------------------------------- */

static void page_modification_log(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	struct vmmu_fault f;

	(void)state;
	set(nm, LEVEL_1, 3, leaf(nm, DATA, EPT_RWX));
	enter(nm, ROOT, true);
	f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(3 * K), 0);
	f.access |= VMMU_ACCESS_PML_FULL;
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_REFLECT);
	assert_int_equal(f.reflect, VMMU_REFLECT_PML_FULL);
	assert_int_equal(sim_nm_word(nm, LEVEL_1 * K + 3 * 8), leaf(nm, DATA, EPT_RWX));
	f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(3 * K), 0);
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_FIXED);
	assert_true(f.dirtied);
	assert_int_equal(f.l2_gpa.v, 3 * K);
	assert_int_equal(f.gpa.v, DATA * K);
	/* No flag is left to be set: the log's room is no matter. */
	f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(3 * K), 0);
	f.access |= VMMU_ACCESS_PML_FULL;
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_SPURIOUS);
	assert_false(f.dirtied);
	end(nm);
}

/* The CPU looks at the log's index when it has a flag to set, and only then (SDM vol. 3, 29.3.6). */
static void room_in_the_log(void **state)
{
	static const struct {
		uint64_t leaf, above; /* flags of L1's entries */
		uint64_t qualification;
		bool full;
	} cases[] = {
		{0, 0x100, 0x181, true},      /* A by a read */
		{0x100, 0, 0x181, true},      /* A of a table */
		{0x100, 0x100, 0x182, true},  /* D alone */
		{0x100, 0x100, 0x181, false}, /* a read sets no D */
		{0x300, 0x100, 0x182, false},
		{0x200, 0x100, 0x182, true}, /* A, though D is set */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
		struct vmmu_fault f = vmmu_fault_from_ept_violation(cases[i].qualification, vmmu_gpa_of(3 * K), 0);

		set(nm, ROOT, 0, LEVEL_3 * K | EPT_RWX | 0x100);
		set(nm, LEVEL_3, 0, LEVEL_2 * K | EPT_RWX | cases[i].above);
		set(nm, LEVEL_2, 0, LEVEL_1 * K | EPT_RWX | 0x100);
		set(nm, LEVEL_1, 3, leaf(nm, DATA, EPT_RWX) | cases[i].leaf);
		enter(nm, ROOT, true);
		f.access |= VMMU_ACCESS_PML_FULL;
		assert_int_equal(vmmu_fault(nm->at->vcpu, &f) == VMMU_FAULT_REFLECT, cases[i].full);
		assert_int_equal(f.reflect, cases[i].full ? VMMU_REFLECT_PML_FULL : VMMU_REFLECT_NONE);
		assert_int_equal(sim_nm_word(nm, LEVEL_1 * K + 3 * 8), leaf(nm, DATA, EPT_RWX) | cases[i].leaf);
		end(nm);
	}
}

/* A fault says of itself alone: what an exit before has left in the structure counts for nothing. */
static void a_fault_starts_anew(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	struct vmmu_fault f = vmmu_fault_from_ept_violation(0x181, vmmu_gpa_of(3 * K), 0);

	(void)state;
	set(nm, LEVEL_1, 3, leaf(nm, DATA, EPT_RWX));
	enter(nm, ROOT, true);
	f.reflect = VMMU_REFLECT_EPT_MISCONFIG;
	f.dirtied = true;
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.reflect, VMMU_REFLECT_NONE);
	assert_false(f.dirtied);
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
	f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(DATA * K), 0);
	f.reflect = VMMU_REFLECT_EPT_MISCONFIG;
	f.dirtied = true;
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.reflect, VMMU_REFLECT_NONE);
	assert_false(f.dirtied);
	assert_int_equal(f.l2_gpa.v, DATA * K);
	end(nm);
}

/* What L1 is promised is what it gets: page sizes, execute-only entries, levels. */
static void what_l1_was_promised(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	struct vmmu_nested n = root_at(nm, ROOT, true);

	(void)state;
	set(nm, LEVEL_2, 1, leaf(nm, 512, EPT_RWX | LARGE));
	set(nm, LEVEL_3, 1, leaf(nm, 0, EPT_RWX | LARGE));
	set(nm, LEVEL_1, 3, leaf(nm, DATA, 4));
	for (unsigned i = 0; i < 8; i++) {
		n.cpu.page_2m = i & 1;
		n.cpu.exec_only = i & 2;
		n.cpu.ad = n.root >> 6 & 1;
		/* Of several guests of one VM only page_1g must be the same. */
		assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
		assert_int_equal(sim_nm_access(nm, 512 * K, VMMU_R, 0), n.cpu.page_2m ? 0 : VMMU_FAULT_REFLECT);
		assert_int_equal(sim_nm_access(nm, 3 * K, VMMU_X, 0), n.cpu.exec_only ? 0 : VMMU_FAULT_REFLECT);
		assert_int_equal(sim_nm_access(nm, 3 * K, VMMU_R, 0), VMMU_FAULT_REFLECT);
	}
	end(nm);
}

/* Nor pages of 1 GiB: then the marker is a reserved bit. */
static void no_1g_for_l1(void **state)
{
	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++)
		for (unsigned promised = 0; promised < 2; promised++) {
			struct sim_nm *nm = machine(mode, 0);
			struct vmmu_nested n = root_at(nm, ROOT, true);

			n.cpu.page_1g = promised;
			set(nm, LEVEL_3, 1, leaf(nm, 0, full(nm) | LARGE));
			assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
			assert_int_equal(sim_nm_access(nm, (1ull << 30) + DATA * K, VMMU_R, 0), promised ? 0 : VMMU_FAULT_REFLECT);
			end(nm);
		}
}

/* L1 cannot be promised what the CPU lacks. */
static void promises_that_no_cpu_keeps(void **state)
{
	(void)state;
	for (unsigned lacks = 0; lacks < 2; lacks++) {
		struct sim_nm_config config = {
			.seed = 3, .mode = VMMU_MODE_EPT, .ram_pages = 2048, .memtype = VMMU_MEMTYPE_WB, .no_exec_only = !lacks, .no_ad = lacks};
		struct sim_nm *nm = sim_nm_new(&config);
		struct vmmu_nested n = root_at(nm, ROOT, false);

		sim_nm_slot_create(nm, 0, 0, 1024, 0);
		assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
		*(lacks ? &n.cpu.ad : &n.cpu.exec_only) = true;
		assert_int_equal(sim_nm_enter(nm, &n), VMMU_ERR_UNSUPPORTED);
		end(nm);
	}
}

static void tables_outside_memory(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);

	(void)state;
	set(nm, LEVEL_2, 1, 3000 * K | NPT_RWX);
	set(nm, LEVEL_1, 1, 3000 * K | NPT_RWX);
	enter(nm, ROOT, true);
	assert_int_equal(sim_nm_access(nm, 512 * K, VMMU_R, 0), VMMU_FAULT_REFLECT);
	assert_int_equal(sim_nm_access(nm, K, VMMU_R, 0), VMMU_FAULT_EMULATE_MMIO);
	end(nm);
}

/* L2 is given L1's own table to write: it ends for every try, and L2 reaches what the table says. */
static void l2_writes_l1_tables(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);

	(void)state;
	set(nm, LEVEL_1, 0, leaf(nm, LEVEL_1, EPT_RWX));
	enter(nm, ROOT, true);
	for (unsigned i = 1; i < 8; i++) {
		sim_nm_access(nm, i * 8, VMMU_W, leaf(nm, DATA + i, EPT_RWX));
		assert_int_equal(sim_nm_access(nm, i * K, VMMU_W, i), 0);
		assert_int_equal(sim_nm_word(nm, (DATA + i) * K), i);
	}
	end(nm);
}

/* ---- L1 says something else of the same root --------------------------------------------------- */

static void expect_of_l2(struct sim_nm *nm, const struct vmmu_nested *n, bool refused)
{
	struct vmmu_fault f = vmmu_fault_from_npf(0x100000004ull, vmmu_gpa_of(5 * K), 0);

	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, n), VMMU_OK);
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f) == VMMU_FAULT_REFLECT, refused);
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
}

/* The mode of the last entry is kept: by each register that goes into it, it is another one. */
static void the_same_root_in_another_mode(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);
	struct vmmu_nested n = root_at(nm, ROOT, true);

	(void)state;
	set(nm, LEVEL_1, 5, DATA * K | NPT_RWX | 1ull << 63);
	expect_of_l2(nm, &n, false);
	n.efer &= ~(1ull << 11); /* without NXE bit 63 is reserved */
	expect_of_l2(nm, &n, true);
	n.efer |= 1u << 11;
	expect_of_l2(nm, &n, false);
	/* A root that is refused is not kept. */
	n.root |= 1ull << 51;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	n.root &= ~(1ull << 51);
	expect_of_l2(nm, &n, false);
	/* Four top entries in registers: they are read with each entry. */
	n = root_at(nm, 40, true);
	n.efer = 1u << 11;
	set(nm, 40, 0, LEVEL_2 * K | 1);
	expect_of_l2(nm, &n, false);
	set(nm, 40, 0, 0);
	expect_of_l2(nm, &n, true);
	end(nm);
}

/* ---- 32-bit NPT ---------------------------------------------------------------------------- */

static void npt_of_a_32_bit_l1(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);
	struct vmmu_nested n = root_at(nm, 40, true);
	struct vmmu_fault f = vmmu_fault_from_npf(0x100000006ull, vmmu_gpa_of(0x80405008), 0);

	(void)state;
	n.efer = 0;
	n.cr4 = 0x10;
	sim_nm_host_write(nm, 40 * K + 0x201 * 4, 4, 41 * K | NPT_RWX);
	sim_nm_host_write(nm, 41 * K + 5 * 4, 4, DATA * K | 7);
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_OK);
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.gpa.v, DATA * K + 8);
	assert_int_equal(f.pfn.v, nm->first_pfn + DATA);
	assert_int_equal((uint32_t)(sim_nm_word(nm, 41 * K + 16) >> 32), DATA * K | 0x67);
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
	end(nm);
}

/* ---- the walk without tables ------------------------------------------------------------------ */

/* L2's tables are its pages 0 to 3, and page 4 is what they lead to; L1 has them elsewhere. */
static struct sim_nm *machine_with_l2(enum vmmu_mode mode, struct vmmu_guest_mode *l2)
{
	struct vmmu_paging r = {.cr0 = 1u << 31 | 1u << 16, .cr4 = 0x20, .efer = 1u << 10 | 1u << 11, .cpu = {.maxphyaddr = 40, .page_1g = true}};
	struct sim_nm *nm = machine(mode, 0);

	for (unsigned i = 0; i < 5; i++)
		set(nm, LEVEL_1, i, leaf(nm, i < 4 ? L2_ROOT + i : DATA, full(nm)));
	for (unsigned i = 0; i < 4; i++)
		set(nm, L2_ROOT + i, 0, (i + 1) * K | 7);
	vmmu_guest_mode_init(l2, &r);
	enter(nm, ROOT, true);
	return nm;
}

static void walk_in_two_dimensions(void **state)
{
	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++) {
		struct vmmu_nested_walk out;
		struct vmmu_guest_mode l2;
		struct sim_nm *nm = machine_with_l2(mode, &l2);

		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0x123), VMMU_W | VMMU_ACCESS_USER, &out),
		                 VMMU_NESTED_OK);
		assert_int_equal(out.l2_gpa.v, 4 * K + 0x123);
		assert_int_equal(out.l1_gpa.v, DATA * K + 0x123);
		assert_int_equal(sim_nm_word(nm, L2_1 * K), 4 * K | 0x67);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(K), VMMU_R, &out), VMMU_NESTED_PF);
		assert_int_equal(out.error_code, 0);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(1ull << 50), VMMU_R, &out), VMMU_NESTED_GP);
		/* L1 takes L2's second table away: L1 is to know, with the address in L2. */
		set(nm, LEVEL_1, 1, 0);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), VMMU_R, &out), VMMU_NESTED_REFLECT);
		assert_int_equal(out.l2_gpa.v, K);
		assert_int_equal(out.reflect, mode == VMMU_MODE_EPT ? VMMU_REFLECT_EPT_VIOLATION : VMMU_REFLECT_NPF);
		assert_int_equal(out.error_code, mode == VMMU_MODE_EPT ? 0x83 : 0x200000006ull);
		end(nm);
	}
}

/* ---- a host that cannot read just now --------------------------------------------------------- */

static struct {
	enum vmmu_guest_read (*read)(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value);
	enum vmmu_guest_swap (*swap)(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value);
	uint64_t gfn;  /* the page that cannot be read ... */
	uint64_t past; /* ... from this byte on */
	enum vmmu_guest_read result;
	bool no_swap;
} broken;

static enum vmmu_guest_read broken_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	return gpa.v / K == broken.gfn && gpa.v % K >= broken.past ? broken.result : broken.read(ctx, gpa, size, value);
}

static enum vmmu_guest_swap broken_swap(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value)
{
	return broken.no_swap && gpa.v / K == broken.gfn ? VMMU_GUEST_SWAP_BUSY
	                                                 : broken.swap(ctx, gpa, size, expected, value);
}

static void break_page(struct sim_nm *nm, uint64_t gfn, enum vmmu_guest_read result)
{
	if (!broken.read) {
		broken.read = nm->host.guest_read;
		broken.swap = nm->host.guest_cmpxchg;
	}
	broken.gfn = gfn;
	broken.past = 0;
	broken.result = result;
	broken.no_swap = false;
	nm->host.guest_read = broken_read;
	nm->host.guest_cmpxchg = broken_swap;
}

static void mend(struct sim_nm *nm)
{
	nm->host.guest_read = broken.read;
	nm->host.guest_cmpxchg = broken.swap;
	broken.read = NULL;
}

/* The walk says that it could not be done, and never that something is not there. */
static void the_walk_waits_for_its_host(void **state)
{
	static const unsigned tables[] = {ROOT, LEVEL_3, LEVEL_2, LEVEL_1, L2_ROOT, L2_1};

	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++) {
		struct vmmu_nested_walk out;
		struct vmmu_guest_mode l2;
		struct sim_nm *nm = machine_with_l2(mode, &l2);
		const unsigned access = VMMU_W | VMMU_ACCESS_USER;

		for (unsigned i = 0; i < 6; i++) {
			break_page(nm, tables[i], VMMU_GUEST_READ_BUSY);
			assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_BUSY);
		}
		/* L2's table is where there is no memory of L1's. */
		break_page(nm, L2_ROOT, VMMU_GUEST_READ_NONE);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_NO_TABLE);
		/* The bits of the last table cannot be set. */
		break_page(nm, L2_1, VMMU_GUEST_READ_BUSY);
		nm->host.guest_read = broken.read;
		broken.no_swap = true;
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_BUSY);
		mend(nm);
		/* A look sets none. */
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access | VMMU_ACCESS_PEEK, &out),
		                 VMMU_NESTED_OK);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_OK);
		assert_int_equal(out.l1_gpa.v, DATA * K);
		/* L1 may have L2's table to be read alone: the bits are set against its will. */
		set(nm, L2_1, 0, 4 * K | 7);
		set(nm, LEVEL_1, 3, leaf(nm, L2_1, mode == VMMU_MODE_EPT ? 1 : 0x25));
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_REFLECT);
		assert_int_equal(out.l2_gpa.v, 3 * K);
		/* The page itself is nowhere: L1 is told that it was the last step. */
		set(nm, LEVEL_1, 3, leaf(nm, L2_1, full(nm)));
		set(nm, LEVEL_1, 4, 0);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_REFLECT);
		assert_int_equal(out.l2_gpa.v, 4 * K);
		assert_int_equal(out.error_code >> (mode == VMMU_MODE_EPT ? 7 : 32) & 3, mode == VMMU_MODE_EPT ? 3 : 1);
		end(nm);
	}
}

/* The path can be read, but not all of a table on it: the vCPU comes again, and is told so. */
static void a_table_that_cannot_be_compared(void **state)
{
	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++) {
		struct sim_nm *nm = machine(mode, 0);
		struct vmmu_fault f = mode == VMMU_MODE_EPT ? vmmu_fault_from_ept_violation(0x181, vmmu_gpa_of(5 * K), 0)
		                                            : vmmu_fault_from_npf(0x100000004ull, vmmu_gpa_of(5 * K), 0);

		set(nm, LEVEL_1, 5, leaf(nm, DATA, full(nm)));
		enter(nm, ROOT, true);
		break_page(nm, LEVEL_1, VMMU_GUEST_READ_BUSY);
		broken.past = 4000;
		assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_RETRY);
		mend(nm);
		assert_int_equal(sim_nm_access(nm, 5 * K, VMMU_W, 1), 0);
		end(nm);
	}
}

/* The host takes memory back: no walk and no entry reads or marks it until it is done. */
static void nothing_is_read_meanwhile(void **state)
{
	(void)state;
	for (enum vmmu_mode mode = VMMU_MODE_EPT; mode <= VMMU_MODE_NPT; mode++) {
		const unsigned access = VMMU_W | VMMU_ACCESS_USER;
		struct vmmu_nested_walk out;
		struct vmmu_guest_mode l2;
		struct sim_nm *nm = machine_with_l2(mode, &l2);
		struct vmmu_nested pae = root_at(nm, 40, true);
		struct vmmu_fault f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(4 * K), 0);

		pae.efer = 1u << 11;
		sim_nm_take(nm);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_BUSY);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access | VMMU_ACCESS_PEEK, &out),
		                 VMMU_NESTED_BUSY);
		f.access |= VMMU_ACCESS_PML_FULL;
		assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_RETRY);
		if (mode == VMMU_MODE_NPT)
			assert_int_equal(sim_nm_enter(nm, &pae), VMMU_ERR_BUSY);
		assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_BUSY);
		sim_nm_give(nm);
		enter(nm, ROOT, true);
		assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(0), access, &out), VMMU_NESTED_OK);
		end(nm);
	}
}

/* L1 itself: what L2's tables would be are gpas of L1's already. */
static void the_walk_of_l1_has_one_dimension(void **state)
{
	struct vmmu_nested_walk out;
	struct vmmu_guest_mode l2;
	struct sim_nm *nm = machine_with_l2(VMMU_MODE_EPT, &l2);

	(void)state;
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
	set(nm, 0, 0, K | 7);
	set(nm, 1, 0, 2 * K | 7);
	set(nm, 2, 0, 3 * K | 7);
	set(nm, 3, 0, 4 * K | 7);
	assert_int_equal(vmmu_nested_walk(nm->at->vcpu, &l2, vmmu_gva_of(8), VMMU_R | VMMU_ACCESS_USER, &out), VMMU_NESTED_OK);
	assert_int_equal(out.l2_gpa.v, 4 * K + 8);
	assert_int_equal(out.l1_gpa.v, 4 * K + 8);
	end(nm);
}

static void nested_roots_that_are_refused(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);
	struct vmmu_fault f = vmmu_fault_from_npf(0x100000004ull, vmmu_gpa_of(0), 0);
	struct vmmu_nested n = root_at(nm, ROOT, true);
	uint64_t done;

	(void)state;
	n.root |= 1ull << 51;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	n = root_at(nm, ROOT, true);
	n.cpu.maxphyaddr = 31;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	n.cpu.maxphyaddr = 53;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_INVALID);
	n.cpu.maxphyaddr = 52;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_UNSUPPORTED);
	n = root_at(nm, ROOT, true);
	n.cr4 |= 1u << 12;
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_UNSUPPORTED);
	/* PAE: the four top entries are read with the call, or it is made again; where there are none, none is present. */
	n = root_at(nm, 40, true);
	n.efer = 1u << 11;
	break_page(nm, 40, VMMU_GUEST_READ_BUSY);
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_ERR_BUSY);
	/* Nothing is there: not even what frame 0 has. */
	set(nm, 0, 0, LEVEL_1 * K | NPT_RWX);
	set(nm, LEVEL_1, 0, DATA * K | NPT_RWX);
	break_page(nm, 40, VMMU_GUEST_READ_NONE);
	assert_int_equal(vmmu_vcpu_set_nested(nm->at->vcpu, &n), VMMU_OK);
	mend(nm);
	assert_int_equal(vmmu_fault(nm->at->vcpu, &f), VMMU_FAULT_REFLECT);
	/* Nothing of L2's is mapped ahead, and all of L1's may be. */
	assert_int_equal(vmmu_prefault(nm->at->vcpu, vmmu_gpa_of(DATA * K), K, VMMU_R, &done), VMMU_FAULT_DENIED);
	assert_int_equal(sim_nm_enter(nm, NULL), VMMU_OK);
	assert_int_equal(vmmu_prefault(nm->at->vcpu, vmmu_gpa_of(DATA * K), K, VMMU_R, &done), VMMU_FAULT_FIXED);
	assert_int_equal(done, K);
	end(nm);
}

static void tags(void **state)
{
	struct sim_nm *nm = machine(VMMU_MODE_NPT, 0);

	(void)state;
	assert_true(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_NONE, 0));
	assert_false(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_NONE, 0));
	assert_false(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_TABLES, 0));
	assert_false(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_TAG, 2));
	assert_true(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_TAG, 1));
	assert_true(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_ADDRESS, 1));
	assert_true(vmmu_nested_tag(nm->at->vcpu, 1, VMMU_NESTED_FLUSH_ALL, 0));
	assert_true(vmmu_nested_tag(nm->at->vcpu, 2, VMMU_NESTED_FLUSH_NONE, 0));
	assert_true(vmmu_nested_tag(nm->at->vcpu, 0, VMMU_NESTED_FLUSH_NONE, 0));
	assert_true(vmmu_nested_tag(nm->at->vcpu, 0, VMMU_NESTED_FLUSH_NONE, 0));
	end(nm);
}

/*
 * The CPU keeps what L2 used under one tag of the host's: here a set of L1's tags, each with the
 * time at which it came in. It may keep no other's at an entry, and none from before L1's order;
 * and what it may keep need not be flushed.
 */
static void tags_against_a_model(void **state)
{
	enum { TAGS = 4 };
	struct sim_nm *nm = machine(VMMU_MODE_EPT, 0);
	bool kept[TAGS] = {false};
	uint64_t random = 9;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		uint16_t tag = (uint16_t)sim_random_below(&random, TAGS), flushed = (uint16_t)sim_random_below(&random, TAGS);
		enum vmmu_nested_flush flush = (enum vmmu_nested_flush)sim_random_below(&random, 5);
		bool of_one = flush == VMMU_NESTED_FLUSH_TAG || flush == VMMU_NESTED_FLUSH_ADDRESS, must = !tag;

		for (unsigned t = 0; t < TAGS; t++)
			must |= kept[t] && (t != tag || flush == VMMU_NESTED_FLUSH_ALL || (of_one && flushed == t));
		if (i == 0) /* nobody knows what the CPU has kept from before */
			must = true;
		assert_int_equal(vmmu_nested_tag(nm->at->vcpu, tag, flush, flushed),
		                 must || (!kept[tag] && i > 0) || flush == VMMU_NESTED_FLUSH_ALL || (of_one && flushed == tag));
		for (unsigned t = 0; t < TAGS; t++)
			kept[t] = t == tag;
	}
	end(nm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(switching_roots_builds_nothing),
		cmocka_unit_test(roots_no_cpu_accepts),
		cmocka_unit_test(flags_only_if_asked_for),
		cmocka_unit_test(page_modification_log),
		cmocka_unit_test(room_in_the_log),
		cmocka_unit_test(a_fault_starts_anew),
		cmocka_unit_test(what_l1_was_promised),
		cmocka_unit_test(no_1g_for_l1),
		cmocka_unit_test(promises_that_no_cpu_keeps),
		cmocka_unit_test(tables_outside_memory),
		cmocka_unit_test(l2_writes_l1_tables),
		cmocka_unit_test(the_same_root_in_another_mode),
		cmocka_unit_test(npt_of_a_32_bit_l1),
		cmocka_unit_test(walk_in_two_dimensions),
		cmocka_unit_test(the_walk_waits_for_its_host),
		cmocka_unit_test(a_table_that_cannot_be_compared),
		cmocka_unit_test(nothing_is_read_meanwhile),
		cmocka_unit_test(the_walk_of_l1_has_one_dimension),
		cmocka_unit_test(nested_roots_that_are_refused),
		cmocka_unit_test(tags),
		cmocka_unit_test(tags_against_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
