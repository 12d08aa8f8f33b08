/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow paging, one behaviour at a time: what costs an exit and what does not,
 * what may not be confused, and what is refused. The guest is 4-level unless a
 * test says otherwise; its tables are frames 16 to 31, its data begins at 64.
 */
#include "machine.h"

static struct sim_gm *machine(void)
{
	return machine_of(1, 12, 0);
}

/* ---- exits ---------------------------------------------------------------------- */

static void neighbours_come_with_the_first(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		set(gm, TABLE, i, (DATA + i) * K | FULL | D);
	for (unsigned i = 0; i < 64; i++)
		exits += exits_of(gm, i * K, &user_write, 7);
	assert_int_equal(exits, 1);
	end(gm);
}

static uint64_t mapped_ahead(struct sim_gm *gm)
{
	struct vmmu_stats stats;

	vmmu_stats_read(gm->vm, &stats);
	return stats.entries[VMMU_CAUSE_PREFETCH][VMMU_LEVEL_4K];
}

/* Small pages: sixteen come with one on its own, 64 where the guest goes on from what it has, in either direction. */
static void more_neighbours_come_in_order(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0, before;

	(void)state;
	/* When the table is compared nothing is known of the others' frames yet. */
	set(gm, TABLE, 0, DATA * K | FULL | D);
	for (unsigned i = 1; i < 512; i++)
		set(gm, TABLE, i, (2 * M2 + i * K) | FULL | D);
	assert_int_equal(exits_of(gm, 0, &user_write, 7), 1);
	before = mapped_ahead(gm);
	assert_int_equal(exits_of(gm, (64 + 7) * K, &user_write, 7), 1);
	assert_int_equal(mapped_ahead(gm) - before, 15);
	for (unsigned i = 64 + 16; i < 128; i++)
		exits += exits_of(gm, i * K, &user_write, 7);
	assert_int_equal(exits, 1);
	assert_int_equal(mapped_ahead(gm) - before, 15 + 47);
	/* Far from all that: sixteen again, and then downwards. */
	assert_int_equal(exits_of(gm, 511 * K, &user_write, 7), 1);
	assert_int_equal(mapped_ahead(gm) - before, 15 + 47 + 15);
	for (unsigned i = 510; i >= 448; i--)
		exits += exits_of(gm, i * K, &user_write, 7);
	assert_int_equal(exits, 1 + 1);
	end(gm);
}

/* A machine whose guest maps 2 MiB pages, `first` and following, by large ones of its own; its host names runs of 1 MiB. */
static struct sim_gm *machine_with_large_pages(unsigned first, unsigned end)
{
	struct sim_gm *gm = machine_of(1, 8, 0);

	for (unsigned i = first; i < end; i++)
		set(gm, DIRECTORY, i, i * M2 | FULL | D | PS);
	return gm;
}

/*
 * A large page of the guest's on small ones of the host's: sixteen come with the first that is
 * touched, and all that the host has named with the next. None is outside the host's run.
 */
static void a_large_page_comes_in_parts(void **state)
{
	struct sim_gm *gm = machine_with_large_pages(1, 2);
	uint64_t exits = 0;

	(void)state;
	assert_int_equal(exits_of(gm, M2 + 7 * K, &user_write, 7), 1);
	assert_int_equal(mapped_ahead(gm), 15);
	for (unsigned i = 0; i < 16; i++)
		exits += exits_of(gm, M2 + i * K, &user_write, 7);
	assert_int_equal(exits, 0);
	assert_int_equal(exits_of(gm, M2 + 200 * K, &user_write, 7), 1);
	assert_int_equal(mapped_ahead(gm), 256 - 2);
	assert_int_equal(exits_of(gm, M2 + 300 * K, &user_write, 7), 1);
	assert_int_equal(mapped_ahead(gm), 512 - 3);
	for (unsigned i = 0; i < 512; i++)
		exits += exits_of(gm, M2 + i * K, &user_write, 7);
	assert_int_equal(exits, 0);
	end(gm);
}

/* Where the host names 64 KiB at a time, as much comes with each touch. */
static void no_more_comes_than_the_host_has_named(void **state)
{
	struct sim_gm *gm = machine_of(1, 4, 0);

	(void)state;
	set(gm, DIRECTORY, 1, M2 | FULL | D | PS);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(exits_of(gm, M2 + (i * 16 + i % 16) * K, &user_write, 7), 1);
		assert_int_equal(mapped_ahead(gm), 15 * (i + 1));
	}
	end(gm);
}

static void touch_twice(struct sim_gm *gm, unsigned page)
{
	uint64_t before = mapped_ahead(gm);

	assert_int_equal(exits_of(gm, page * M2, &user_write, 7), 1);
	assert_int_equal(exits_of(gm, page * M2 + 100 * K, &user_write, 7), 1);
	assert_int_equal(mapped_ahead(gm) - before, 256 - 2);
}

/* How many come with the first touch of a large page. */
static uint64_t come_with(struct sim_gm *gm, unsigned page, unsigned index)
{
	uint64_t before = mapped_ahead(gm);

	assert_int_equal(exits_of(gm, page * M2 + index * K, &user_write, 7), 1);
	return mapped_ahead(gm) - before;
}

/* Next to a large page of which all was wanted, all of the next one is, in either direction. */
static void a_large_page_goes_on_from_the_one_beside_it(void **state)
{
	struct sim_gm *gm = machine_with_large_pages(1, 8);

	(void)state;
	touch_twice(gm, 3);
	assert_int_equal(come_with(gm, 4, 0), 255);
	assert_int_equal(come_with(gm, 5, 77), 255);
	assert_int_equal(come_with(gm, 2, 511), 255);
	/* Beside none, and beside one that was touched but once. */
	assert_int_equal(come_with(gm, 7, 0), 15);
	end(gm);
	gm = machine_with_large_pages(1, 8);
	for (unsigned i = 1; i < 8; i++)
		assert_int_equal(come_with(gm, i, 5), 15);
	end(gm);
}

/* A page beside it that is mapped with other rights says nothing. */
static void a_large_page_of_another_kind_is_no_sign(void **state)
{
	struct sim_gm *gm = machine_with_large_pages(1, 8);
	const struct sim_guest_access read = {.user = true};

	(void)state;
	touch_twice(gm, 3);
	set(gm, DIRECTORY, 4, 4 * M2 | P | U | A | D | PS);
	assert_int_equal(exits_of(gm, 4 * M2, &read, 0), 1);
	assert_int_equal(mapped_ahead(gm), 256 - 2 + 15);
	end(gm);
}

/* Tables of the guest's among the frames of its large page: no write to one that is held passes unseen. */
static void a_whole_large_page_does_not_give_tables_away(void **state)
{
	struct sim_gm *gm = machine_of(1, 8, 0);

	(void)state;
	set(gm, DIRECTORY, 1, 0 | FULL | D | PS);
	set(gm, TABLE, 0, DATA * K | FULL | D);
	assert_int_equal(exits_of(gm, 0, &user_write, 7), 1);
	assert_int_equal(exits_of(gm, M2 + 250 * K, &user_write, 7), 1);
	assert_int_equal(exits_of(gm, M2 + 100 * K, &user_write, 7), 1);
	assert_int_equal(exits_of(gm, M2 + DATA * K, &user_write, 7), 0);
	assert_true(exits_of(gm, M2 + TABLE * K, &user_write, (DATA + 1) * K | FULL | D) > 0);
	exits_of(gm, 0, &user_write, 9);
	end(gm);
}

/* Nor does it map what the host is taking back, and it lets no write pass that is logged. */
static void a_whole_large_page_is_mapped_as_any_other(void **state)
{
	struct sim_gm *gm = machine_with_large_pages(1, 2);
	uint64_t exits = 0;

	(void)state;
	assert_int_equal(exits_of(gm, M2, &user_write, 7), 1);
	assert_int_equal(vmmu_invalidate_begin(gm->vm, vmmu_gpa_of(M2 + 130 * K), K), VMMU_OK);
	assert_int_equal(exits_of(gm, M2 + 200 * K, &user_write, 7), 1);
	sim_gm_look(gm, 0, M2 + 130 * K);
	sim_gm_audit(gm);
	assert_int_equal(vmmu_invalidate_end(gm->vm, vmmu_gpa_of(M2 + 130 * K), K), VMMU_OK);
	assert_int_equal(exits_of(gm, M2 + 130 * K, &user_write, 7), 1);
	for (unsigned i = 0; i < 256; i++)
		exits += exits_of(gm, M2 + i * K, &user_write, 7);
	assert_int_equal(exits, 0);
	sim_gm_slot_flags(gm, 0, VMMU_SLOT_LOG_DIRTY);
	sim_gm_log(gm, 0);
	assert_true(exits_of(gm, M2 + 300 * K, &user_read, 0) > 0);
	assert_true(exits_of(gm, M2 + 400 * K, &user_read, 0) <= 1);
	for (unsigned i = 256; i < 512; i += 5)
		exits_of(gm, M2 + i * K, &user_write, 8);
	sim_gm_log(gm, 0);
	end(gm);
}

/* Entries that the guest's CPU has not used yet stay out: their A bits must come to be set. */
static void neighbours_not_accessed_stay_out(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		set(gm, TABLE, i, (DATA + i) * K | P | W | U);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(exits_of(gm, i * K, &user_read, 0), 1);
	/* Read first: the first write must come to set D. */
	assert_int_equal(exits_of(gm, 0, &user_write, 1), 1);
	assert_int_equal(exits_of(gm, 0, &user_write, 2), 0);
	end(gm);
}

/* The table is mapped for the guest itself at index 500, as kernels do. */
static void map_table(struct sim_gm *gm)
{
	set(gm, TABLE, 500, TABLE * K | P | W | A | D);
}

static void a_copy_on_write_costs_two_exits(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	map_table(gm);
	for (unsigned i = 0; i < 8; i++)
		set(gm, TABLE, i, (DATA + i) * K | P | U | A);
	exits_of(gm, 0, &user_read, 0);
	exits_of(gm, 500 * K, &read_, 0);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t exits = exits_of(gm, i * K, &user_write, 1); /* #PF for the guest */

		exits += exits_of(gm, 500 * K + 8 * i, &write_, (DATA + 100 + i) * K | FULL | D);
		exits += exits_of(gm, i * K, &user_write, 1);
		assert_int_equal(exits, 2);
	}
	assert_int_equal(gm->injected, 8);
	end(gm);
}

static void a_table_written_without_use_is_parked(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t exits = 0;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	/* Its own page is mapped through another table, so that letting it go hurts nobody. */
	set(gm, DIRECTORY, 1, OTHER_TABLE * K | FULL);
	set(gm, OTHER_TABLE, 0, TABLE * K | P | W | A | D);
	exits_of(gm, 0, &user_read, 0);
	for (unsigned i = 100; i < 400; i++)
		exits += exits_of(gm, M2 + 8 * i, &write_, (DATA + i) * K | FULL | D);
	assert_int_equal(exits, 1);
	assert_int_equal(exits_of(gm, 300 * K, &user_read, 0), 1);
	end(gm);
}

static void switching_between_roots_builds_nothing(void **state)
{
	struct sim_gm *gm = machine();
	struct vmmu_paging p = gm->vcpu[0].paging;
	uint64_t entries;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	for (unsigned i = 0; i < 6; i++)
		set(gm, ROOT2 + i, 0, PDPT * K | FULL);
	for (unsigned round = 0; round < 2; round++) {
		entries = gm->entries;
		for (unsigned i = 0; i < 6; i++) {
			p.cr3 = (ROOT2 + i) * K;
			sim_gm_set_paging(gm, 0, &p);
			exits_of(gm, 0, &user_read, 0);
		}
	}
	assert_int_equal(gm->entries, entries);
	end(gm);
}

static void few_tables_are_enough(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 64);
	struct vmmu_stats stats;

	(void)state;
	/* 512 directories' worth of tables, one for each 2 MiB, all the same frame under the same role. */
	for (unsigned i = 0; i < 512; i++)
		set(gm, DIRECTORY, i, (uint64_t)(DATA + i) * K | FULL);
	for (unsigned i = 0; i < 512; i++) {
		set(gm, DATA + i, 0, (1024 + i) * K | FULL | D);
		assert_in_range(exits_of(gm, i * M2, &user_write, 5), 1, 1);
	}
	vmmu_stats_read(gm->vm, &stats);
	assert_in_range(stats.tables_allocated[1] - stats.tables_freed[1], 1, 64 + 32);
	end(gm);
}

/* ---- what may not be confused ------------------------------------------------------ */

/* CVE-2026-53359: a large page's direct table and a guest table at the same frame. */
static void large_page_and_table_at_one_frame(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		set(gm, 512, 0, DATA * K | FULL | D); /* a table in the large page's first frame */
		set(gm, DIRECTORY, 0, 512 * K | FULL | D | PS);
		exits_of(gm, 0, &user_write, 0x1234);
		exits_of(gm, 5 * K, &user_write, 0x1234);
		set(gm, DIRECTORY, 0, 512 * K | FULL);
		set(gm, 512, 0, DATA * K | FULL | D);
		exits_of(gm, 0, &user_write, 0x5678);
		sim_gm_audit(gm);
	}
	sim_gm_slot_delete(gm, 0);
	sim_gm_audit(gm);
	end(gm);
}

/* The same, when it is not a fault but a comparison that finds the entry changed. */
static void large_page_where_a_table_stands(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	set(gm, 512, 0, DATA * K | FULL | D);
	set(gm, 512, 1, (DATA + 1) * K | FULL | D);
	set(gm, DIRECTORY, 0, 512 * K | FULL | D);
	set(gm, DIRECTORY, 1, OTHER_TABLE * K | FULL | D);
	set(gm, OTHER_TABLE, 0, DIRECTORY * K | FULL | D);
	set(gm, OTHER_TABLE, 1, DATA * K | FULL | D);
	exits_of(gm, 0, &user_write, 1);
	exits_of(gm, M2, &user_read, 0);
	assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(DIRECTORY * K)));
	/* As the guest's own store would, with nobody watching. */
	exits_of(gm, M2 + 8 * 2, &user_write, 512 * K | FULL | D | PS);
	exits_of(gm, 0, &user_write, 2);
	exits_of(gm, 2 * M2, &user_read, 0);
	exits_of(gm, 2 * M2 + K, &user_read, 0);
	end(gm);
}

/* Two large pages over the same small frames, told apart by their protection keys alone. */
static void large_pages_with_different_keys(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	p.cr4 |= 1u << 22;
	p.pkru = 1u << 4; /* no access with key 2 */
	sim_gm_set_paging(gm, 0, &p);
	set(gm, DIRECTORY, 0, 512 * K | FULL | D | PS | 1ull << 59);
	set(gm, DIRECTORY, 1, 512 * K | FULL | D | PS | 2ull << 59);
	exits_of(gm, 5 * K, &user_write, 1);
	assert_int_equal(gm->injected, 0);
	exits_of(gm, M2 + 5 * K, &user_read, 0);
	assert_int_equal(gm->injected, 1);
	p.pkru = 0;
	sim_gm_set_paging(gm, 0, &p);
	exits_of(gm, M2 + 5 * K, &user_read, 0);
	p.pkru = 1u << 4; /* WRPKRU makes no exit: the CPU itself must refuse it now */
	gm->vcpu[0].paging.pkru = p.pkru;
	exits_of(gm, 5 * K, &user_read, 0);
	assert_int_equal(gm->injected, 1);
	sim_gm_set_paging(gm, 0, &p);
	exits_of(gm, M2 + 5 * K, &user_read, 0);
	assert_int_equal(gm->injected, 2);
	end(gm);
}

/* CVE-2021-38198: one guest table under two directory entries of different rights. */
static void one_table_under_different_rights(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, DIRECTORY, 1, TABLE * K | P | W | A);         /* supervisor */
	set(gm, DIRECTORY, 2, TABLE * K | P | U | A);         /* read-only */
	set(gm, DIRECTORY, 3, TABLE * K | FULL | 1ull << 63); /* not executable */
	exits_of(gm, 0, &user_write, 1);
	exits_of(gm, M2, &write_, 1);
	assert_int_equal(gm->injected, 0);
	exits_of(gm, M2, &user_read, 0);
	assert_int_equal(gm->injected, 1);
	exits_of(gm, 2 * M2, &user_read, 0);
	exits_of(gm, 2 * M2, &user_write, 1);
	assert_int_equal(gm->injected, 2);
	exits_of(gm, 3 * M2, &(struct sim_guest_access){.fetch = true, .user = true}, 0);
	assert_int_equal(gm->injected, 3);
	end(gm);
}

/* CR0.WP = 0 lends the page to the supervisor; the user gets it back as it was. */
static void write_protection_off_and_on(void **state)
{
	struct sim_gm *gm = machine();
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	set(gm, TABLE, 0, DATA * K | P | U | A);
	p.cr0 &= ~(1ull << 16);
	sim_gm_set_paging(gm, 0, &p);
	exits_of(gm, 0, &write_, 0x11);
	exits_of(gm, 0, &user_read, 0);
	exits_of(gm, 0, &write_, 0x22);
	assert_int_equal(gm->injected, 0);
	exits_of(gm, 0, &user_write, 0x33);
	assert_int_equal(gm->injected, 1);
	p.cr0 |= 1u << 16;
	sim_gm_set_paging(gm, 0, &p);
	exits_of(gm, 0, &write_, 0x44);
	assert_int_equal(gm->injected, 2);
	end(gm);
}

static void set_cr4(struct sim_gm *gm, uint64_t cr4)
{
	struct vmmu_paging p = gm->vcpu[0].paging;

	p.cr4 = cr4;
	sim_gm_set_paging(gm, 0, &p);
}

/* What was lent to the supervisor without SMAP or SMEP is not there for it with them. */
static void lent_pages_and_smap_and_smep(void **state)
{
	struct sim_gm *gm = machine();
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	set(gm, TABLE, 0, DATA * K | P | U | A | D);
	p.cr0 &= ~(1ull << 16);
	sim_gm_set_paging(gm, 0, &p);
	exits_of(gm, 0, &write_, 0x11);
	set_cr4(gm, 0x30 | 1u << 21);
	exits_of(gm, 0, &read_, 0);
	assert_int_equal(gm->injected, 1);
	set_cr4(gm, 0x30);
	exits_of(gm, 0, &write_, 0x22);
	set_cr4(gm, 0x30 | 1u << 20);
	exits_of(gm, 0, &(struct sim_guest_access){.fetch = true}, 0);
	assert_int_equal(gm->injected, 2);
	/* Under SMAP, with AC, no entry can lend it: the write is emulated. */
	set_cr4(gm, 0x30 | 1u << 21);
	exits_of(gm, 0, &(struct sim_guest_access){.write = true, .ac = true}, 0x33);
	assert_int_equal(*(uint64_t *)(gm->ram + DATA * K), 0x33);
	end(gm);
}

/* A frame inside a large page becomes a table: no write through the large page may pass unseen. */
static void a_table_inside_a_large_page(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, DIRECTORY, 1, 512 * K | FULL | D | PS);
	exits_of(gm, M2, &user_write, 7);
	assert_int_equal(exits_of(gm, M2 + 88 * K, &user_write, DATA * K | FULL | D), 0); /* one leaf for all of it */
	set(gm, DIRECTORY, 2, 600 * K | FULL);
	exits_of(gm, 2 * M2, &user_write, 0x11);
	assert_in_range(exits_of(gm, M2 + 88 * K, &user_write, (DATA + 1) * K | FULL | D), 1, 2);
	exits_of(gm, 2 * M2, &user_write, 0x22);
	assert_int_equal(*(uint64_t *)(gm->ram + DATA * K), 0x11);
	assert_int_equal(*(uint64_t *)(gm->ram + (DATA + 1) * K), 0x22);
	end(gm);
}

/* A table that is its own page: no write to it may pass unseen. */
static void a_table_that_maps_itself(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, TABLE, 0, TABLE * K | FULL | D);
	exits_of(gm, 8, &user_write, DATA * K | FULL | D); /* writes entry 1 */
	exits_of(gm, K, &user_write, 0x77);
	exits_of(gm, 8, &user_write, (DATA + 1) * K | FULL | D);
	exits_of(gm, K, &user_write, 0x88);
	assert_int_equal(*(uint64_t *)(gm->ram + (DATA + 1) * K), 0x88);
	assert_int_equal(*(uint64_t *)(gm->ram + DATA * K), 0x77);
	end(gm);
}

static void a_root_in_use_is_not_released(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(TABLE * K)));
	assert_false(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(ROOT * K)));
	assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(DATA * K)));
	assert_int_equal(exits_of(gm, 0, &user_read, 0), 1);
	end(gm);
}

/* What a root no longer says is flushed, too, although no table references it. */
static void a_running_root_is_written(void **state)
{
	struct sim_gm *gm = machine();

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	assert_non_null(sim_cache_page(&gm->vcpu[0].cache, 0, 0));
	set(gm, ROOT, 0, 0);
	assert_null(sim_cache_page(&gm->vcpu[0].cache, 0, 0));
	exits_of(gm, 0, &user_read, 0);
	assert_int_equal(gm->injected, 1);
	end(gm);
}

/* Two vCPUs read the same tables in two ways: what one has parked the other may still need. */
static void a_table_read_in_two_ways(void **state)
{
	struct sim_gm_config config = {.seed = 3, .vcpus = 2, .order = 9, .ram_pages = 4096};
	struct sim_gm *gm = sim_gm_new(&config);
	struct vmmu_paging p = gm->vcpu[0].paging;
	const uint64_t g1 = 1ull << 30;

	(void)state;
	sim_gm_slot_create(gm, 0, 0, 4096, 0, 0);
	set(gm, ROOT, 0, PDPT * K | FULL);
	set(gm, PDPT, 0, DIRECTORY * K | FULL);
	set(gm, DIRECTORY, 0, TABLE * K | FULL);
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, PDPT, 1, OTHER_DIRECTORY * K | FULL);
	set(gm, OTHER_DIRECTORY, 0, OTHER_TABLE * K | FULL);
	set(gm, OTHER_TABLE, 0, PDPT * K | FULL | D);
	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr4 = 0x30;
	p.efer = 1u << 8 | 1u << 10 | 1u << 11;
	p.cr3 = ROOT * K;
	sim_gm_set_paging(gm, 0, &p);
	p.cr0 &= ~(1ull << 16);
	sim_gm_set_paging(gm, 1, &p);
	sim_gm_access(gm, 0, 0, &user_read, 8, 0);
	sim_gm_access(gm, 1, g1, &user_read, 8, 0); /* the second uppermost table, as a page */
	/* With the directory goes, on the first vCPU, what is above it; not on the second. */
	assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(DIRECTORY * K)));
	sim_gm_audit(gm);
	sim_gm_access(gm, 1, g1 + 8, &user_write, 8, 0);
	sim_gm_invlpg(gm, 1, g1);
	sim_gm_access(gm, 1, g1, &user_read, 8, 0); /* not mapped any more */
	assert_int_equal(gm->injected, 1);
	end(gm);
}

/* ---- frames that the host exchanges --------------------------------------------------- */

#define ELSEWHERE (1ull << 18)

/* A shared frame may be read; the first write gets one of its own. */
static enum vmmu_backing_result copy_on_write(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                              unsigned access, struct vmmu_backing *out)
{
	struct sim_gm *gm = ctx;

	if (access == VMMU_W)
		gm->first_pfn |= ELSEWHERE;
	*out = (struct vmmu_backing){
		.pfn = {gm->first_pfn + slot->backing + gfn.v},
		.rights = gm->first_pfn & ELSEWHERE ? VMMU_RWX : VMMU_R | VMMU_X,
		.memtype = VMMU_MEMTYPE_WB,
	};
	return VMMU_BACKING_OK;
}

/* One frame goes, and that is flushed, before the other comes: no CPU may use both. */
static void a_frame_is_never_exchanged_in_place(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t flushes;
	struct vmmu_stats stats;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	gm->host.backing = copy_on_write;
	exits_of(gm, 0, &user_read, 0);
	flushes = gm->flushes;
	exits_of(gm, 0, &user_write, 5);
	assert_int_equal(gm->flushes - flushes, 1);
	vmmu_stats_read(gm->vm, &stats);
	assert_int_equal(stats.entries[VMMU_CAUSE_ZAP_REMAP][VMMU_LEVEL_4K], 1);
	assert_int_equal(stats.entries[VMMU_CAUSE_PERMISSION][VMMU_LEVEL_4K], 0);
	end(gm);
}

/*
 * The host's TLB keeps a root that is not run on, under its tag. The guest lets go
 * of that root and of all below; a frame is taken; and the guest comes back.
 */
static void a_root_let_go_of_and_a_tagged_tlb(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	gm->tagged = true;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	p.cr4 |= 1u << 17;
	p.cr3 = ROOT * K | 1;
	sim_gm_set_paging(gm, 0, &p);
	exits_of(gm, 0, &user_read, 0);
	sim_gm_load_cr3(gm, 0, ROOT2 * K | 2, true);
	for (unsigned table = ROOT; table <= TABLE; table++)
		assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(table * K)));
	assert_int_equal(vmmu_invalidate_begin(gm->vm, vmmu_gpa_of(DATA * K), K), VMMU_OK);
	assert_null(sim_cache_page(&gm->vcpu[0].cache, 1, 0));
	gm->first_pfn += ELSEWHERE;
	assert_int_equal(vmmu_invalidate_end(gm->vm, vmmu_gpa_of(DATA * K), K), VMMU_OK);
	sim_gm_load_cr3(gm, 0, ROOT * K | 1, true);
	exits_of(gm, 0, &user_read, 0);
	end(gm);
}

/* ---- while a flush is due ------------------------------------------------------------- */

enum { FIRST,
       WRITER,
       SECOND };

/* What vCPU SECOND does while FIRST's flush is on its way, and what came of it. */
static struct {
	struct sim_gm *gm;
	bool writes; /* an emulated store; else an access */
	bool done;
	enum vmmu_fault_result result;
	uint64_t entries; /* written meanwhile */
} during;

static void second_goes_on(void *arg, unsigned busy)
{
	struct sim_gm *gm = arg;
	struct vmmu_fault f = vmmu_fault_from_pf(VMMU_PF_USER, vmmu_gva_of(0), 3, 0, 0);
	uint64_t entries = gm->entries;

	if (during.done || !gm->flushing || busy != FIRST)
		return;
	during.done = true;
	if (during.writes)
		sim_gm_host_write(gm, SECOND, TABLE * K + 8, 8, (DATA + 1) * K | FULL | D);
	else
		during.result = vmmu_fault(gm->vcpu[SECOND].engine, &f);
	during.entries = gm->entries - entries;
}

/* TABLE is in use by nobody, and vCPU WRITER may write it by a translation that it remembers. */
static void begin_during(bool writes)
{
	struct sim_gm_config config = {.seed = 3, .vcpus = 3, .order = 9, .ram_pages = 4096, .la57 = true};
	struct sim_gm *gm = sim_gm_new(&config);
	struct vmmu_paging p = gm->vcpu[0].paging;

	sim_gm_slot_create(gm, 0, 0, 4096, 0, 0);
	set(gm, ROOT, 0, PDPT * K | FULL);
	set(gm, PDPT, 0, DIRECTORY * K | FULL);
	set(gm, DIRECTORY, 0, TABLE * K | FULL);
	set(gm, DIRECTORY, 1, OTHER_TABLE * K | FULL);
	set(gm, OTHER_TABLE, 0, TABLE * K | FULL | D);
	set(gm, TABLE, 0, DATA * K | FULL | D);
	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr4 = 0x30;
	p.efer = 1u << 8 | 1u << 10 | 1u << 11;
	p.cr3 = ROOT * K;
	for (unsigned n = 0; n < 3; n++)
		sim_gm_set_paging(gm, n, &p);
	sim_gm_access(gm, WRITER, M2 + 8 * 100, &user_write, 8, 0);
	during.gm = gm;
	during.done = false;
	during.writes = writes;
	gm->meanwhile = second_goes_on;
	gm->meanwhile_arg = gm;
}

static void end_during(void)
{
	struct sim_gm *gm = during.gm;

	sim_gm_access(gm, FIRST, 0, &user_read, 8, 0);
	gm->meanwhile = NULL;
	assert_true(during.done);
	for (unsigned n = 0; n < 3; n++) {
		sim_gm_access(gm, n, 0, &user_read, 8, 0);
		sim_gm_access(gm, n, K, &user_read, 8, 0);
	}
}

/* What FIRST is about to read, WRITER may still write: SECOND must not build upon it either. */
static void a_fault_waits_for_the_flush_of_another(void **state)
{
	(void)state;
	begin_during(false);
	end_during();
	assert_int_equal(during.result, VMMU_FAULT_RETRY);
	assert_int_equal(during.entries, 0);
	end(during.gm);
}

static void a_write_maps_nothing_before_the_flush_of_another(void **state)
{
	(void)state;
	begin_during(true);
	end_during();
	assert_int_equal(during.entries, 0);
	end(during.gm);
}

/* Which addresses the guest uses for it, only the guest knows. */
static void pages_are_not_mapped_ahead_by_gpa(void **state)
{
	struct sim_gm *gm = machine();
	uint64_t done = 1;

	(void)state;
	assert_int_equal(vmmu_prefault(gm->vcpu[0].engine, vmmu_gpa_of(0), K, VMMU_R, &done), VMMU_FAULT_DENIED);
	assert_int_equal(done, 0);
	end(gm);
}

/* ---- what is refused ------------------------------------------------------------------ */

static void registers_that_are_refused(void **state)
{
	struct sim_gm_config config = {.seed = 1, .vcpus = 2, .ram_pages = 64};
	struct sim_gm *gm = sim_gm_new(&config);
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	p.cr0 = 1u << 31;
	p.cr4 = 0x20 | 1u << 12;
	p.efer = 1u << 10;
	assert_int_equal(vmmu_vcpu_set_paging(gm->vcpu[0].engine, &p), VMMU_ERR_UNSUPPORTED);
	p.cr4 = 0x20;
	p.cpu.maxphyaddr = 41;
	assert_int_equal(vmmu_vcpu_set_paging(gm->vcpu[1].engine, &p), VMMU_ERR_INVALID);
	p.cpu.maxphyaddr = 53;
	assert_int_equal(vmmu_vcpu_set_paging(gm->vcpu[1].engine, &p), VMMU_ERR_INVALID);
	end(gm);
}

static void hosts_that_are_refused(void **state)
{
	struct sim_gm_config sim_config = {.seed = 1, .vcpus = 1, .ram_pages = 64};
	struct sim_gm *gm = sim_gm_new(&sim_config);
	struct vmmu_host host = gm->host;
	struct vmmu_config config = {
		.host = &host,
		.host_ctx = gm,
		.mode = VMMU_MODE_SHADOW,
		.cpu = {.maxphyaddr = 46, .page_2m = true, .ad = true},
	};
	struct vmmu_paging p = gm->vcpu[0].paging;
	struct vmmu_vcpu *vcpu;
	struct vmmu_vm *vm;

	(void)state;
	assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_ERR_UNSUPPORTED); /* no NX */
	config.cpu.nx = true;
	host.guest_read = NULL;
	assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_ERR_INVALID);
	config.mode = VMMU_MODE_NPT;
	assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(vm, 0, NULL, &vcpu), VMMU_OK);
	assert_int_equal(vmmu_vcpu_set_paging(vcpu, &p), VMMU_ERR_INVALID);
	assert_true(vmmu_guest_release(vcpu, vmmu_gpa_of(0)));
	vmmu_guest_written(vcpu, vmmu_gpa_of(0), 8);
	vmmu_vcpu_destroy(vcpu);
	assert_int_equal(vmmu_vm_destroy(vm), VMMU_OK);
	end(gm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_come_with_the_first),
		cmocka_unit_test(more_neighbours_come_in_order),
		cmocka_unit_test(a_large_page_comes_in_parts),
		cmocka_unit_test(no_more_comes_than_the_host_has_named),
		cmocka_unit_test(a_large_page_goes_on_from_the_one_beside_it),
		cmocka_unit_test(a_large_page_of_another_kind_is_no_sign),
		cmocka_unit_test(a_whole_large_page_does_not_give_tables_away),
		cmocka_unit_test(a_whole_large_page_is_mapped_as_any_other),
		cmocka_unit_test(neighbours_not_accessed_stay_out),
		cmocka_unit_test(a_copy_on_write_costs_two_exits),
		cmocka_unit_test(a_table_written_without_use_is_parked),
		cmocka_unit_test(switching_between_roots_builds_nothing),
		cmocka_unit_test(few_tables_are_enough),
		cmocka_unit_test(large_page_and_table_at_one_frame),
		cmocka_unit_test(large_page_where_a_table_stands),
		cmocka_unit_test(large_pages_with_different_keys),
		cmocka_unit_test(one_table_under_different_rights),
		cmocka_unit_test(write_protection_off_and_on),
		cmocka_unit_test(lent_pages_and_smap_and_smep),
		cmocka_unit_test(a_table_inside_a_large_page),
		cmocka_unit_test(a_table_that_maps_itself),
		cmocka_unit_test(a_root_in_use_is_not_released),
		cmocka_unit_test(a_running_root_is_written),
		cmocka_unit_test(a_table_read_in_two_ways),
		cmocka_unit_test(a_frame_is_never_exchanged_in_place),
		cmocka_unit_test(a_root_let_go_of_and_a_tagged_tlb),
		cmocka_unit_test(a_fault_waits_for_the_flush_of_another),
		cmocka_unit_test(a_write_maps_nothing_before_the_flush_of_another),
		cmocka_unit_test(pages_are_not_mapped_ahead_by_gpa),
		cmocka_unit_test(registers_that_are_refused),
		cmocka_unit_test(hosts_that_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
