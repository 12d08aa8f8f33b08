/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control bits that change under live mappings: CR0.WP, CR4.PGE, PSE, SMEP, SMAP
 * and EFER.NXE. Pages of all kinds of rights are accessed after each change, and
 * what happens is what a model of the CPU says of the registers as they are then.
 */
#include "model.h"

enum { KINDS = 8,
       PAGES = KINDS * KINDS,
       RET = 0xc3,
       CODE_AT = 0x800,
       USER_CODE_AT = 0x900,
       UD2 = 0x0b0f };

static uint64_t root, spare_frame;

static bool has_feature(uint32_t leaf, unsigned bit)
{
	struct cpuid r = cpuid(leaf, 0);

	return (leaf == 7 ? r.b : r.d) >> bit & 1;
}

/* ---- The bits ---------------------------------------------------------------------- */

static void flip_wp(void) { write_cr0(read_cr0() ^ CR0_WP); }
static void flip_pge(void) { write_cr4(read_cr4() ^ CR4_PGE); }
static void flip_smep(void) { write_cr4(read_cr4() ^ CR4_SMEP); }
static void flip_smap(void) { write_cr4(read_cr4() ^ CR4_SMAP); }

/* No flush comes with it. */
static void flip_nxe(void)
{
	write_msr(MSR_EFER, read_msr(MSR_EFER) ^ EFER_NXE);
	write_cr3(read_cr3());
}

static void flip_pse(void)
{
	write_cr4(read_cr4() ^ CR4_PSE);
	write_cr3(read_cr3());
}

static const struct control {
	const char *name;
	void (*flip)(void);
	uint32_t leaf; /* the CPUID leaf and bit that offers it */
	unsigned bit;
} controls[] = {
	{"WP", flip_wp, 1, 0}, /* every CPU with paging and an FPU */
	{"PGE", flip_pge, 1, 13},
	{"SMEP", flip_smep, 7, 7},
	{"SMAP", flip_smap, 7, 20},
	{"NXE", flip_nxe, 0x80000001, 20},
	{"PSE", flip_pse, 1, 3},
};

enum { CONTROLS = sizeof(controls) / sizeof(controls[0]) };

/* ---- The pages ------------------------------------------------------------------------- */

/* W, U and NX of kind 0 to 7. */
static uint64_t rights(unsigned kind)
{
	uint64_t bits = (kind & 1 ? ENTRY_W : 0) | (kind & 2 ? ENTRY_U : 0);

	return kind & 4 && paging->entry_bytes == 8 ? bits | ENTRY_NX : bits;
}

static uint64_t page(unsigned upper, unsigned lower)
{
	return paging->window + ((uint64_t)upper << level_shift(2)) + lower * PAGE;
}

/* What is called: a RET, and for CPL 3 a UD2. */
static void put_code(uint64_t frame)
{
	*word_at(frame + CODE_AT) = RET;
	*word_at(frame + USER_CODE_AT) = UD2;
}

/* Tables of 8 kinds of rights, each with pages of 8 kinds. Half of the pages are global. */
static void map_pages(void)
{
	for (unsigned upper = 0; upper < KINDS; upper++) {
		uint64_t table = frame_take();

		space_map(root, page(upper, 0), table | ENTRY_P | rights(upper), 2);
		for (unsigned lower = 0; lower < KINDS; lower++) {
			uint64_t frame = frame_tagged();

			put_code(frame);
			entry_write(table, lower, frame | ENTRY_P | rights(lower) | (upper & 1 ? ENTRY_G : 0));
		}
	}
}

/* A page of 2 or 4 MiB of each kind behind them. In 32-bit paging they need CR4.PSE: else PS is no bit at all. */
static uint64_t large_page(unsigned kind)
{
	return paging->window + ((uint64_t)(KINDS + kind) << level_shift(2));
}

static void map_large_pages(void)
{
	uint64_t bytes = UINT64_C(1) << level_shift(2), block = frames_take((unsigned)(bytes / PAGE), bytes);
	uint64_t inner = frame_tagged();

	/* As a page table, the block's first page maps `inner` and nothing else. */
	memset((void *)(uintptr_t)block, 0, PAGE);
	entry_write(block, 0, inner | ENTRY_P | ENTRY_W | ENTRY_U);
	put_code(block);
	put_code(inner);
	for (unsigned kind = 0; kind < KINDS; kind++)
		space_map(root, large_page(kind), block | ENTRY_P | ENTRY_LARGE | rights(kind), 2);
}

/* Code for CPL 3, behind the large pages. */
static void map_user_code(void)
{
	uint64_t frame = frame_take(), linear = paging->window + (UINT64_C(2) * KINDS << level_shift(2));

	space_map(root, linear, frame | ENTRY_P | ENTRY_U, 1);
	model_user_code(frame, linear);
}

/* ---- Accesses ---------------------------------------------------------------------------- */

static void access_once(void)
{
	unsigned n = random_pick(PAGES + KINDS);
	struct foretold f = {
		.access = random_pick(ACCESS_KINDS),
		.ac = random_pick(2),
		.user = random_pick(2),
	};

	f.linear = n < PAGES ? page(n / KINDS, n % KINDS) : large_page(n - PAGES);
	f.linear += f.access != ACCESS_CALL ? 16 : f.user ? USER_CODE_AT
	                                                  : CODE_AT;
	foretell(&f);
	check_foretold(&f, (uint32_t)random_next());
}

/*
 * A global page whose entry changes without INVLPG: what a CR3 load leaves may be
 * old; what a change of PGE leaves may not.
 */
static void change_global_page(void)
{
	unsigned lower = random_pick(2); /* readable by a supervisor, but for SMAP */
	uint64_t linear = page(1, lower), table = space_table(root, linear, 1);
	uint64_t old = entry_read(table, lower), frame = spare_frame;
	uintptr_t cr4 = read_cr4();

	write_cr4(cr4 | CR4_PGE);
	check_shows(linear, address_in(old), "a global page");
	entry_write(table, lower, (old & ~address_in(old)) | frame);
	check_shows_either(linear, address_in(old), frame, "a global page, changed");
	write_cr3(root);
	check_shows_either(linear, address_in(old), frame, "a global page, after a CR3 load");
	write_cr4(read_cr4() ^ CR4_PGE);
	check_shows(linear, frame, "a global page, after PGE changed");
	entry_write(table, lower, old);
	invalidate_page(linear);
	write_cr4(cr4);
	check_shows(linear, address_in(old), "a global page, after INVLPG");
}

static void load_cr3(void *value)
{
	write_cr3(*(const uint64_t *)value);
}

/*
 * PAE: reserved bits in a present PDPTE make MOV to CR3 fault, and nothing has
 * changed (SDM vol. 3, 4.4.1). With nested paging AMD's CPUs read PDPTEs only when
 * they need them (APM vol. 2, 15.25.10).
 */
static void load_reserved_pdptes(void)
{
	uint64_t other = frame_take(), entry = frame_take();

	if (paging->levels != 3)
		return;
	if (!on_shadow_tables() && cpuid(0, 0).b == 0x68747541 /* "Auth" */) {
		skip("reserved bits of PDPTEs, which this CPU may read late");
		return;
	}
	memcpy((void *)(uintptr_t)other, (const void *)(uintptr_t)root, 4 * 8);
	for (unsigned bit = 1; bit < 9; bit = bit == 2 ? 5 : bit + 1) {
		entry_write(other, 3, entry | ENTRY_P | UINT64_C(1) << bit);
		check(vector_of(load_cr3, &other) == VECTOR_GP, "a PDPTE with reserved bit %u is loaded", bit);
		check_equal(read_cr3(), root, "CR3 after a load that faulted");
		entry_write(other, 3, entry | UINT64_C(1) << bit);
		check(vector_of(load_cr3, &other) < 0, "a PDPTE that is not present, with bit %u, is not loaded", bit);
		write_cr3(root);
	}
}

static void run(void)
{
	bool offered[CONTROLS];
	uintptr_t cr0 = read_cr0(), cr4 = read_cr4();
	uint64_t efer = read_msr(MSR_EFER);

	root = space_new();
	spare_frame = frame_tagged();
	map_pages();
	map_large_pages();
	map_user_code();
	model_load_cr3(root);
	for (unsigned i = 0; i < CONTROLS; i++) {
		offered[i] = has_feature(controls[i].leaf, controls[i].bit);
		if (!offered[i])
			skip("%s, CPUID does not offer it", controls[i].name);
	}
	for (unsigned round = 0, n = rounds(250); round < n; round++) {
		unsigned i = random_pick(CONTROLS);

		if (offered[i])
			controls[i].flip();
		for (unsigned k = 0; k < 6; k++)
			access_once();
		if (random_pick(8) == 0)
			change_global_page();
	}
	load_reserved_pdptes();
	write_cr0(cr0);
	write_cr4(cr4);
	write_msr(MSR_EFER, efer);
}

void test_stress_control(void)
{
	in_each_mode(run);
}
