/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine's operations, one row each, for callgrind to count.
 *
 *   operations          run all rows
 *   operations --list   name them
 *   operations ROW...   only these
 *
 * A row prepares a VM, then repeats one operation between count_begin and
 * count_end. bench/engine/count.py reads what callgrind dumps there.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#define PAGE ((uint64_t)VMMU_PAGE_SIZE)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define PAGES 16384ull /* 64 MiB of 4 KiB pages */

static const char *row_name;

static void count_begin(void)
{
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
}

/* `operations` of them have been done since count_begin. */
static void count_end(uint64_t operations)
{
	char text[128];

	CALLGRIND_TOGGLE_COLLECT;
	snprintf(text, sizeof(text), "%s %llu", row_name, (unsigned long long)operations);
	CALLGRIND_DUMP_STATS_AT(text);
}

/* A full period generator: every index below the power of two `n` once, out of order. */
static uint64_t scattered(uint64_t i, uint64_t n)
{
	return (i * 0x9e3779b1ull + 0x2545) & (n - 1);
}

static void touch_all(struct host *host, uint64_t base, uint64_t pages, uint32_t access)
{
	for (uint64_t i = 0; i < pages; i++)
		host_touch(host, base + i * PAGE, access);
}

/* A VM with one slot of `bytes`, nothing mapped yet. */
static void start(struct host *host, enum vmmu_mode mode, uint64_t bytes, unsigned order)
{
	host_start(host, &(struct host_config){.mode = mode, .order = order});
	host_slot(host, 0, bytes, 0);
}

/* ... with all its pages mapped. */
static void start_mapped(struct host *host, enum vmmu_mode mode, uint64_t pages)
{
	start(host, mode, pages * PAGE, 0);
	touch_all(host, 0, pages, VMMU_W);
}

/* ---- faults ------------------------------------------------------------------- */

/* The tables are there: each page but the first of every 2 MiB. */
static void fault_4k(enum vmmu_mode mode, bool random, bool traced)
{
	struct host host;

	start(&host, mode, PAGES * PAGE, 0);
	vmmu_trace_enable(host.vm, traced);
	for (uint64_t i = 0; i < PAGES; i += 512)
		host_touch(&host, i * PAGE, VMMU_W);
	count_begin();
	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t page = random ? scattered(i, PAGES) : i;

		if (page % 512)
			host_touch(&host, page * PAGE, VMMU_W);
	}
	count_end(PAGES - PAGES / 512);
	host_stop(&host);
}

static void fault_4k_ept(void) { fault_4k(VMMU_MODE_EPT, false, false); }
static void fault_4k_npt(void) { fault_4k(VMMU_MODE_NPT, false, false); }
static void fault_4k_random(void) { fault_4k(VMMU_MODE_EPT, true, false); }
static void fault_4k_traced(void) { fault_4k(VMMU_MODE_EPT, false, true); }

/* In order, by a VM that maps 2^around pages at a violation: what a page costs. */
static void fault_around(unsigned around)
{
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT, .order = 8, .fault_around = (uint8_t)around});
	host_slot(&host, 0, PAGES * PAGE, 0);
	for (uint64_t i = 0; i < PAGES; i += 512)
		host_touch(&host, i * PAGE, VMMU_W);
	count_begin();
	for (uint64_t i = 0; i < PAGES; i += 1u << around)
		if (i % 512)
			host_touch(&host, i * PAGE, VMMU_W);
	count_end(PAGES - (PAGES / 512 << around));
	host_stop(&host);
}

static void fault_around_16_page(void) { fault_around(4); }
static void fault_around_64_page(void) { fault_around(6); }

static void fault_each(enum vmmu_mode mode, uint64_t step, uint64_t count, unsigned order)
{
	struct host host;

	start(&host, mode, step * count, order);
	host_touch(&host, 0, VMMU_W);
	count_begin();
	for (uint64_t i = 1; i < count; i++)
		host_touch(&host, i * step, VMMU_W);
	count_end(count - 1);
	host_stop(&host);
}

/* By pages of 4 KiB, although all memory is one run: the host need not be asked for each. */
static void start_in_runs(struct host *host, uint64_t bytes)
{
	host_start(host, &(struct host_config){.mode = VMMU_MODE_EPT, .order = 18, .max_level = VMMU_LEVEL_4K});
	host_slot(host, 0, bytes, 0);
	host_touch(host, 0, VMMU_W);
}

static void fault_4k_in_runs(bool traced)
{
	struct host host;

	start_in_runs(&host, PAGES * PAGE);
	vmmu_trace_enable(host.vm, traced);
	for (uint64_t i = 0; i < PAGES; i += 512)
		host_touch(&host, i * PAGE, VMMU_W);
	count_begin();
	for (uint64_t i = 0; i < PAGES; i++)
		if (i % 512)
			host_touch(&host, i * PAGE, VMMU_W);
	count_end(PAGES - PAGES / 512);
	host_stop(&host);
}

static void fault_4k_run(void) { fault_4k_in_runs(false); }
static void fault_4k_run_traced(void) { fault_4k_in_runs(true); }

static void fault_new_table_run(void)
{
	struct host host;

	start_in_runs(&host, 512 * 2 * MIB);
	count_begin();
	for (uint64_t i = 1; i < 512; i++)
		host_touch(&host, i * 2 * MIB, VMMU_W);
	count_end(511);
	host_stop(&host);
}

static void fault_new_table(void) { fault_each(VMMU_MODE_EPT, 2 * MIB, 512, 0); }
static void fault_2m(void) { fault_each(VMMU_MODE_EPT, 2 * MIB, 512, 9); }
static void fault_1g(void) { fault_each(VMMU_MODE_EPT, GIB, 64, 18); }

/* The entry is there already: the CPU had read it before, or another CPU was quicker. */
static void spurious(uint32_t access)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	touch_all(&host, 0, PAGES, access);
	count_end(PAGES);
	host_stop(&host);
}

static void spurious_present(void) { spurious(VMMU_W | VMMU_ACCESS_PRESENT); }
static void spurious_race(void) { spurious(VMMU_W); }

static void fault_mmio(uint32_t access, bool again)
{
	struct host host;

	start(&host, VMMU_MODE_EPT, PAGE, 0);
	for (uint64_t i = 0; i < 512; i++) {
		struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(2 * MIB + i * PAGE), VMMU_R, 0, 0);

		/* The first one makes the table. */
		if ((again || i == 0) && vmmu_fault(host.vcpu, &fault) != VMMU_FAULT_EMULATE_MMIO)
			exit(1);
	}
	count_begin();
	for (uint64_t i = 1; i < 512; i++) {
		struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(2 * MIB + i * PAGE), access, 0, 0);

		if (vmmu_fault(host.vcpu, &fault) != VMMU_FAULT_EMULATE_MMIO)
			exit(1);
	}
	count_end(511);
	host_stop(&host);
}

static void mmio_first(void) { fault_mmio(VMMU_R, false); }
static void mmio_cached(void) { fault_mmio(VMMU_R | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED, true); }

static void prefault(unsigned order)
{
	struct host host;
	uint64_t done;

	start(&host, VMMU_MODE_EPT, PAGES * PAGE, order);
	count_begin();
	vmmu_prefault(host.vcpu, vmmu_gpa_of(0), PAGES * PAGE, VMMU_W, &done);
	count_end(PAGES);
	if (done != PAGES * PAGE)
		exit(1);
	host_stop(&host);
}

static void prefault_page(void) { prefault(0); }
static void prefault_run_page(void) { prefault(6); }

static void lookup(void)
{
	struct host host;
	struct vmmu_translation found;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	for (uint64_t i = 0; i < PAGES; i++)
		if (vmmu_translate(host.vcpu, vmmu_gpa_of(scattered(i, PAGES) * PAGE), &found) != VMMU_ENTRY_LEAF)
			exit(1);
	count_end(PAGES);
	host_stop(&host);
}

static void path_decoded(void)
{
	struct host host;
	struct vmmu_path path;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	for (uint64_t i = 0; i < PAGES; i++)
		vmmu_path_of(host.vm, vmmu_gpa_of(i * PAGE), &path);
	count_end(PAGES);
	host_stop(&host);
}

/* ---- dirty log ------------------------------------------------------------------ */

static uint64_t bitmap[GIB / VMMU_PAGE_SIZE / 64];

static void fetch(struct host *host, uint64_t pages)
{
	if (vmmu_dirty_log(host->vm, 0, bitmap, (pages + 63) / 64) != VMMU_OK)
		exit(1);
}

static void log_on(void)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	vmmu_slot_set_flags(host.vm, 0, VMMU_SLOT_LOG_DIRTY);
	count_end(PAGES);
	host_stop(&host);
}

static void log_first_write(void)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	vmmu_slot_set_flags(host.vm, 0, VMMU_SLOT_LOG_DIRTY);
	count_begin();
	touch_all(&host, 0, PAGES, VMMU_W | VMMU_ACCESS_PRESENT);
	count_end(PAGES);
	host_stop(&host);
}

static void log_harvest(void)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	vmmu_slot_set_flags(host.vm, 0, VMMU_SLOT_LOG_DIRTY);
	touch_all(&host, 0, PAGES, VMMU_W | VMMU_ACCESS_PRESENT);
	count_begin();
	fetch(&host, PAGES);
	count_end(PAGES);
	host_stop(&host);
}

static void log_clean_gib(void)
{
	struct host host;

	start(&host, VMMU_MODE_EPT, GIB, 0);
	vmmu_slot_set_flags(host.vm, 0, VMMU_SLOT_LOG_DIRTY);
	fetch(&host, GIB / PAGE);
	count_begin();
	fetch(&host, GIB / PAGE);
	count_end(1);
	host_stop(&host);
}

/* The same by vmmu_dirty_next, which writes no bitmap. */
static void log_next(uint64_t every)
{
	struct vmmu_dirty part[512];
	struct host host;
	uint64_t page = 0, pages = 0;
	size_t count;

	start(&host, VMMU_MODE_EPT, GIB, 0);
	vmmu_slot_set_flags(host.vm, 0, VMMU_SLOT_LOG_DIRTY);
	for (uint64_t i = 0; every && i < GIB / PAGE; i += every, pages++)
		host_touch(&host, i * PAGE, VMMU_W);
	count_begin();
	do {
		if (vmmu_dirty_next(host.vm, 0, &page, part, 512, &count) != VMMU_OK)
			exit(1);
	} while (count == 512);
	count_end(pages ? pages : 1);
	host_stop(&host);
}

static void log_next_clean_gib(void) { log_next(0); }
static void log_next_sparse_page(void) { log_next(512); }

/* ---- invalidation and slots ------------------------------------------------------ */

static void invalidate(struct host *host, uint64_t base, uint64_t bytes)
{
	if (vmmu_invalidate_begin(host->vm, vmmu_gpa_of(base), bytes) != VMMU_OK ||
	    vmmu_invalidate_end(host->vm, vmmu_gpa_of(base), bytes) != VMMU_OK)
		exit(1);
}

static void invalidate_page(uint32_t max_vcpus)
{
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT, .max_vcpus = max_vcpus});
	host_slot(&host, 0, PAGES * PAGE, 0);
	touch_all(&host, 0, PAGES, VMMU_W);
	count_begin();
	for (uint64_t i = 0; i < 512; i++)
		invalidate(&host, i * 32 * PAGE, PAGE);
	count_end(512);
	host_stop(&host);
}

static void invalidate_page_default(void) { invalidate_page(0); }
static void invalidate_page_1_vcpu(void) { invalidate_page(1); }

static void unmap_by_page(void)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	for (uint64_t i = 0; i < PAGES; i++)
		invalidate(&host, i * PAGE, PAGE);
	count_end(PAGES);
	host_stop(&host);
}

static void unmap_at_once(void)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	invalidate(&host, 0, PAGES * PAGE);
	count_end(PAGES);
	host_stop(&host);
}

static void slot_create(void)
{
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT});
	count_begin();
	host_slot(&host, 0, PAGES * PAGE, 0);
	count_end(1);
	host_stop(&host);
}

static void slot_delete(void)
{
	struct host host;

	start_mapped(&host, VMMU_MODE_EPT, PAGES);
	count_begin();
	vmmu_slot_delete(host.vm, 0);
	count_end(1);
	host_stop(&host);
}

/* ---- shadow paging ----------------------------------------------------------------- */

enum { ROOTS = 16,
       WARM = 20, /* handlers of the guest's that have shown what such handlers do */
       TOUCHED = 256 };

/* Guest tables for ROOTS address spaces, each mapping the first 2 MiB of its data by 4 KiB. */
static uint64_t guest_root(struct host *host, unsigned root)
{
	uint64_t at = MIB + root * 4 * PAGE;

	for (unsigned level = 0; level < 3; level++)
		*(uint64_t *)(host->ram + at + level * PAGE) = (at + (level + 1) * PAGE) | 0x27;
	for (unsigned i = 0; i < 512; i++)
		*(uint64_t *)(host->ram + at + 3 * PAGE + i * 8) = (4 * MIB + i * PAGE) | 0x67;
	return at;
}

static void set_cr3(struct host *host, uint64_t cr3)
{
	struct vmmu_paging paging = {
		.cr0 = 0x80010011, .cr3 = cr3, .cr4 = 0x20, .efer = 0xd00, .cpu = {
										   .maxphyaddr = 46,
										   .page_1g = true,
									   }};

	if (vmmu_vcpu_set_paging(host->vcpu, &paging) != VMMU_OK)
		exit(1);
}

static void touch_gva(struct host *host, uint64_t gva, uint64_t error_code)
{
	struct vmmu_fault fault = vmmu_fault_from_pf(error_code, vmmu_gva_of(gva), 0, 0, 0);

	vmmu_fault(host->vcpu, &fault);
}

static void start_shadow_on(struct host *host, unsigned order, uint8_t max_level)
{
	host_start(host, &(struct host_config){.mode = VMMU_MODE_SHADOW, .order = order, .ram_bytes = 64 * MIB, .max_level = max_level});
	host_slot(host, 0, 64 * MIB, 0);
	for (unsigned root = 0; root < ROOTS; root++) {
		set_cr3(host, guest_root(host, root));
		touch_gva(host, 0, 2);
	}
}

static void start_shadow(struct host *host) { start_shadow_on(host, 0, 0); }

static void shadow_switch(unsigned roots)
{
	struct host host;

	start_shadow(&host);
	for (unsigned i = 0; i < 2 * roots; i++)
		set_cr3(&host, MIB + i % roots * 4 * PAGE);
	count_begin();
	for (unsigned i = 0; i < 1024; i++)
		set_cr3(&host, MIB + i % roots * 4 * PAGE);
	count_end(1024);
	host_stop(&host);
}

static void shadow_switch_remembered(void) { shadow_switch(4); }
static void shadow_switch_forgotten(void) { shadow_switch(ROOTS); }

static void shadow_guest_fault(void)
{
	struct host host;

	start_shadow(&host);
	for (unsigned i = 0; i < 512; i++)
		*(uint64_t *)(host.ram + MIB + 3 * PAGE + i * 8) = 0;
	vmmu_guest_written(host.vcpu, vmmu_gpa_of(MIB + 3 * PAGE), PAGE);
	set_cr3(&host, MIB);
	count_begin();
	for (unsigned i = 0; i < TOUCHED; i++)
		touch_gva(&host, i * PAGE, 2);
	count_end(TOUCHED);
	host_stop(&host);
}

/* A #PF that the engine must answer so. */
static void fault_on(struct host *host, uint64_t gva, uint64_t error_code, uint32_t more, enum vmmu_fault_result want)
{
	struct vmmu_fault fault = vmmu_fault_from_pf(error_code, vmmu_gva_of(gva), 0, 0, 0);

	fault.access |= more;
	if (vmmu_fault(host->vcpu, &fault) != want) {
		fprintf(stderr, "engine-bench: %s: not answered as it was to be\n", row_name);
		exit(1);
	}
}

/*
 * A guest's handler and its page table, which the guest has mapped for writing, too: by a
 * small page above the data. It answers each #PF by an entry. In a loop of faults the table is
 * parked for it; otherwise its write is emulated.
 */
static void shadow_handler(uint64_t before, bool loop)
{
	const uint64_t table = MIB + 3 * PAGE, tables_seen = MIB + 64 * PAGE;
	const uint64_t code = before ? 3 : 2;
	struct host host;

	start_shadow_on(&host, 9, 0);
	*(uint64_t *)(host.ram + MIB + 2 * PAGE + 8) = tables_seen | 0x27;
	*(uint64_t *)(host.ram + tables_seen) = table | 0x67;
	for (unsigned i = 0; i < 512; i++)
		*(uint64_t *)(host.ram + table + i * 8) = before ? before + i * PAGE : 0;
	vmmu_guest_written(host.vcpu, vmmu_gpa_of(MIB), 64 * PAGE);
	set_cr3(&host, MIB);
	touch_gva(&host, 2 * MIB, 2);
	for (unsigned i = 0; i < WARM + TOUCHED; i++) {
		bool single = !loop && i >= WARM;

		if (i == WARM)
			count_begin();
		fault_on(&host, i * PAGE, code, single ? 0 : VMMU_ACCESS_REPEATS, VMMU_FAULT_INJECT_PF);
		if (single)
			fault_on(&host, 2 * MIB + i * 8, 3, 0, VMMU_FAULT_WRITE_TABLE);
		*(uint64_t *)(host.ram + table + i * 8) = (8 * MIB + i * PAGE) | 0x67;
		if (single)
			vmmu_guest_written(host.vcpu, vmmu_gpa_of(table + i * 8), 8);
		else
			fault_on(&host, i * PAGE, code, 0, VMMU_FAULT_FIXED);
	}
	count_end(TOUCHED);
	host_stop(&host);
}

static void shadow_demand_fault(void) { shadow_handler(0, false); }
static void shadow_demand_fault_loop(void) { shadow_handler(0, true); }
static void shadow_copy_on_write(void) { shadow_handler(4 * MIB | 0x65, false); }
static void shadow_copy_on_write_loop(void) { shadow_handler(4 * MIB | 0x65, true); }

/*
 * First writes under a dirty log, as `make compare` has them: the guest maps the memory by
 * one page of 2 MiB. The host names its frames one by one, or all of the page at once. Its
 * tables are in the same slot, or in one of their own.
 */
static void log_large_page(unsigned order, bool tables_apart)
{
	struct host host;

	start_shadow_on(&host, order, 0);
	if (tables_apart) {
		struct vmmu_slot_info low = {.id = 1, .base = {0}, .bytes = 4 * MIB};

		vmmu_slot_delete(host.vm, 0);
		host_slot(&host, 4 * MIB, 60 * MIB, 0);
		if (vmmu_slot_create(host.vm, &low) != VMMU_OK)
			exit(1);
	}
	*(uint64_t *)(host.ram + MIB + 2 * PAGE) = (4 * MIB) | 0xe7;
	vmmu_guest_written(host.vcpu, vmmu_gpa_of(MIB + 2 * PAGE), 8);
	vmmu_slot_set_flags(host.vm, 0, VMMU_SLOT_LOG_DIRTY);
	set_cr3(&host, MIB);
	for (unsigned i = 0; i < TOUCHED; i++)
		touch_gva(&host, i * PAGE, 0);
	/* The first of all sets D in the guest's entry. */
	touch_gva(&host, 0, 3);
	count_begin();
	for (unsigned i = 1; i < TOUCHED; i++)
		touch_gva(&host, i * PAGE, 3);
	count_end(TOUCHED - 1);
	host_stop(&host);
}

static void shadow_log_first_write(void) { log_large_page(0, false); }
static void shadow_log_first_write_run(void) { log_large_page(9, false); }
static void shadow_log_first_write_apart(void) { log_large_page(9, true); }

/*
 * The guest maps 16 MiB by pages of 2 MiB, and the host names frames by as much. It touches one
 * page of 4 KiB in each, or all of them in order.
 */
static void touch_large_pages(uint64_t step)
{
	enum { LARGE = 8 };
	struct vmmu_root root;
	struct host host;

	start_shadow_on(&host, 9, VMMU_LEVEL_4K);
	for (uint64_t i = 0; i < LARGE; i++)
		*(uint64_t *)(host.ram + MIB + 2 * PAGE + i * 8) = (16 * MIB + i * 2 * MIB) | 0xe7;
	vmmu_guest_written(host.vcpu, vmmu_gpa_of(MIB + 2 * PAGE), 8 * LARGE);
	set_cr3(&host, MIB);
	if (vmmu_vcpu_load(host.vcpu, &root) != VMMU_OK)
		exit(1);
	count_begin();
	for (uint64_t at = 0; at < LARGE * 2 * MIB; at += step) {
		if (!host_maps(&host, &root, at))
			touch_gva(&host, at, 2);
	}
	count_end(LARGE * 2 * MIB / step);
	host_stop(&host);
}

static void shadow_large_page(void) { touch_large_pages(2 * MIB); }
static void shadow_large_page_in_order(void) { touch_large_pages(PAGE); }

static void shadow_invalidate_page(void)
{
	struct host host;

	start_shadow(&host);
	set_cr3(&host, MIB);
	for (unsigned i = 0; i < 512; i++)
		touch_gva(&host, i * PAGE, 2);
	count_begin();
	for (unsigned i = 0; i < TOUCHED; i++)
		invalidate(&host, 4 * MIB + i * PAGE, PAGE);
	count_end(TOUCHED);
	host_stop(&host);
}

/* ---- the list ------------------------------------------------------------------------ */

static const struct row {
	const char *name;
	void (*run)(void);
} rows[] = {
	{"fault-4k-ept", fault_4k_ept},
	{"fault-4k-npt", fault_4k_npt},
	{"fault-4k-random", fault_4k_random},
	{"fault-4k-traced", fault_4k_traced},
	{"fault-around-16-page", fault_around_16_page},
	{"fault-around-64-page", fault_around_64_page},
	{"fault-4k-run", fault_4k_run},
	{"fault-4k-run-traced", fault_4k_run_traced},
	{"fault-new-table", fault_new_table},
	{"fault-new-table-run", fault_new_table_run},
	{"fault-2m", fault_2m},
	{"fault-1g", fault_1g},
	{"spurious-present", spurious_present},
	{"spurious-race", spurious_race},
	{"mmio-first", mmio_first},
	{"mmio-cached", mmio_cached},
	{"prefault-page", prefault_page},
	{"prefault-run-page", prefault_run_page},
	{"lookup", lookup},
	{"path-decoded", path_decoded},
	{"log-on-page", log_on},
	{"log-first-write", log_first_write},
	{"log-harvest-page", log_harvest},
	{"log-clean-gib", log_clean_gib},
	{"log-next-clean-gib", log_next_clean_gib},
	{"log-next-sparse-page", log_next_sparse_page},
	{"invalidate-page", invalidate_page_default},
	{"invalidate-page-1-vcpu", invalidate_page_1_vcpu},
	{"unmap-by-page", unmap_by_page},
	{"unmap-at-once-page", unmap_at_once},
	{"slot-create", slot_create},
	{"slot-delete", slot_delete},
	{"shadow-switch-remembered", shadow_switch_remembered},
	{"shadow-switch-forgotten", shadow_switch_forgotten},
	{"shadow-guest-fault", shadow_guest_fault},
	{"shadow-demand-fault", shadow_demand_fault},
	{"shadow-demand-fault-loop", shadow_demand_fault_loop},
	{"shadow-copy-on-write", shadow_copy_on_write},
	{"shadow-copy-on-write-loop", shadow_copy_on_write_loop},
	{"shadow-log-first-write", shadow_log_first_write},
	{"shadow-log-first-write-run", shadow_log_first_write_run},
	{"shadow-log-first-write-apart", shadow_log_first_write_apart},
	{"shadow-large-page", shadow_large_page},
	{"shadow-large-page-in-order", shadow_large_page_in_order},
	{"shadow-invalidate-page", shadow_invalidate_page},
};

static bool wanted(const char *name, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return count == 0;
}

int main(int argc, char **argv)
{
	bool list = argc == 2 && strcmp(argv[1], "--list") == 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		row_name = rows[i].name;
		if (list)
			puts(row_name);
		else if (wanted(row_name, argc - 1, argv + 1))
			rows[i].run();
	}
	return 0;
}
