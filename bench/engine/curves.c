/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine's operations cost as a VM grows, for callgrind to count.
 *
 *   curves          the short sweep
 *   curves --long   up to the largest sizes that a machine's memory allows
 *
 * Each point prepares a VM of one size, then repeats one operation between count_begin
 * and count_end. bench/engine/curves.py fits an exponent to the points of each curve.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#define PAGE ((uint64_t)VMMU_PAGE_SIZE)
#define MIB (1ull << 20)
#define GIB (1ull << 30)

static void count_begin(void)
{
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
}

/* `operations` of them have been done since count_begin, at this size. */
static void count_end(const char *curve, uint64_t size, uint64_t operations)
{
	char text[128];

	CALLGRIND_TOGGLE_COLLECT;
	snprintf(text, sizeof(text), "%s@%llu %llu", curve, (unsigned long long)size, (unsigned long long)operations);
	CALLGRIND_DUMP_STATS_AT(text);
}

static void must(enum vmmu_status status)
{
	if (status == VMMU_OK)
		return;
	fprintf(stderr, "curves: %s\n", vmmu_status_name(status));
	exit(1);
}

static void invalidate(struct host *host, uint64_t base, uint64_t bytes)
{
	must(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(base), bytes));
	must(vmmu_invalidate_end(host->vm, vmmu_gpa_of(base), bytes));
}

/* A VM with so many tables of 4 KiB entries, each with one page. */
static void start_tables(struct host *host, uint64_t tables)
{
	host_start(host, &(struct host_config){.mode = VMMU_MODE_EPT, .table_frames = (uint32_t)(tables + tables / 256 + 64)});
	host_slot(host, 0, tables * 2 * MIB, 0);
	for (uint64_t i = 0; i < tables; i++)
		host_touch(host, i * 2 * MIB, VMMU_W);
}

/* A slot of 512 tables goes out of a VM that has more of them. */
static void tables_alive(uint64_t tables)
{
	struct host host;

	start_tables(&host, tables);
	count_begin();
	invalidate(&host, 0, 512 * 2 * MIB);
	count_end("table-removed-by-tables-alive", tables, 512);
	host_stop(&host);
}

static void teardown(uint64_t tables)
{
	struct host host;

	start_tables(&host, tables);
	vmmu_vcpu_destroy(host.vcpu);
	count_begin();
	must(vmmu_vm_destroy(host.vm));
	count_end("table-of-a-vm-taken-down", tables, tables);
	must(vmmu_vm_create(&host.config, &host.vm));
	must(vmmu_vcpu_create(host.vm, 0, NULL, &host.vcpu));
	host_stop(&host);
}

static void pages_in_a_table(uint64_t pages)
{
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT});
	host_slot(&host, 0, 64 * 2 * MIB, 0);
	for (uint64_t table = 0; table < 64; table++)
		for (uint64_t i = 0; i < pages; i++)
			host_touch(&host, table * 2 * MIB + i * PAGE, VMMU_W);
	count_begin();
	invalidate(&host, 0, 64 * 2 * MIB);
	count_end("table-removed-by-pages-in-it", pages, 64);
	host_stop(&host);
}

static void possible_vcpus(uint64_t vcpus)
{
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT, .max_vcpus = (uint32_t)vcpus});
	host_slot(&host, 0, 4 * MIB, 0);
	for (uint64_t i = 0; i < 512; i++)
		host_touch(&host, i * PAGE, VMMU_W);
	count_begin();
	for (uint64_t i = 0; i < 512; i++)
		invalidate(&host, i * PAGE, PAGE);
	count_end("page-invalidated-by-possible-vcpus", vcpus, 512);
	host_stop(&host);
}

/* Ranges of one page are open elsewhere in the slot. */
static void open_invalidations(uint64_t ranges)
{
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT});
	host_slot(&host, 0, GIB, 0);
	for (uint64_t i = 0; i < ranges; i++)
		must(vmmu_invalidate_begin(host.vm, vmmu_gpa_of(512 * MIB + 2 * i * PAGE), PAGE));
	host_touch(&host, 0, VMMU_W);
	count_begin();
	for (uint64_t i = 1; i < 512; i++)
		host_touch(&host, i * PAGE, VMMU_W);
	count_end("fault-by-open-invalidations", ranges, 511);
	for (uint64_t i = 0; i < ranges; i++)
		must(vmmu_invalidate_end(host.vm, vmmu_gpa_of(512 * MIB + 2 * i * PAGE), PAGE));
	host_stop(&host);
}

static void slot_at(struct host *host, uint32_t id, uint64_t base)
{
	struct vmmu_slot_info slot = {.id = id, .base = {base}, .bytes = PAGE};

	must(vmmu_slot_create(host->vm, &slot));
}

/* Slots of one page, 64 KiB apart, so that a table holds 32 of them. */
static void start_slots(struct host *host, uint64_t slots)
{
	host_start(host, &(struct host_config){.mode = VMMU_MODE_EPT});
	for (uint64_t i = 0; i < slots; i++)
		slot_at(host, (uint32_t)i, i * 16 * PAGE);
}

static void slots_changed(uint64_t slots)
{
	struct host host;

	start_slots(&host, slots);
	count_begin();
	for (unsigned i = 0; i < 16; i++) {
		must(vmmu_slot_delete(host.vm, 0));
		slot_at(&host, 0, 0);
	}
	count_end("first-slot-deleted-and-made-by-slots", slots, 16);
	host_stop(&host);
}

/* Faults in another slot each time; the tables are there. */
static void slots_missed(uint64_t slots)
{
	uint64_t step = slots / 64, pages = 64;
	struct host host;

	start_slots(&host, slots);
	for (uint64_t i = 0; i < pages; i++)
		host_touch(&host, i * step * 16 * PAGE, VMMU_W);
	invalidate(&host, 0, PAGE);
	for (uint64_t i = 0; i < pages; i++)
		invalidate(&host, i * step * 16 * PAGE, PAGE);
	count_begin();
	for (uint64_t i = 0; i < pages; i++)
		host_touch(&host, i * step * 16 * PAGE, VMMU_W);
	count_end("fault-in-another-slot-by-slots", slots, pages);
	host_stop(&host);
}

/* In another place each time, all over the VM; the tables are there. */
static void vm_size(uint64_t gib)
{
	uint64_t places = 64, step = gib * GIB / places;
	struct host host;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT});
	host_slot(&host, 0, gib * GIB, 0);
	for (uint64_t i = 0; i < places; i++)
		host_touch(&host, i * step, VMMU_W);
	count_begin();
	for (uint64_t i = 0; i < places; i++)
		host_touch(&host, i * step + PAGE, VMMU_W);
	count_end("fault-elsewhere-by-gib", gib, places);
	count_begin();
	for (uint64_t i = 0; i < places; i++)
		invalidate(&host, i * step, PAGE);
	count_end("page-invalidated-elsewhere-by-gib", gib, places);
	host_stop(&host);
}

/* Under shadow paging, with a page mapped in each of so many parts of 2 MiB. The guest's tables come first. */
static void start_shadow(struct host *host, uint64_t blocks)
{
	const uint64_t tables = MIB, ends = tables + (2 + (blocks + 511) / 512) * PAGE, data = 64 * MIB;
	struct vmmu_paging paging = {.cr0 = 0x80010011, .cr3 = tables, .cr4 = 0x20, .efer = 0xd00};

	paging.cpu.maxphyaddr = 46;
	host_start(host, &(struct host_config){.mode = VMMU_MODE_SHADOW, .ram_bytes = data});
	host_slot(host, 0, data + blocks * 2 * MIB, 0);
	*(uint64_t *)(host->ram + tables) = (tables + PAGE) | 0x27;
	for (uint64_t i = 0; i < (blocks + 511) / 512; i++)
		*(uint64_t *)(host->ram + tables + PAGE + i * 8) = (tables + (2 + i) * PAGE) | 0x27;
	for (uint64_t i = 0; i < blocks; i++) {
		*(uint64_t *)(host->ram + tables + 2 * PAGE + i * 8) = (ends + i * PAGE) | 0x27;
		*(uint64_t *)(host->ram + ends + i * PAGE) = (data + i * 2 * MIB) | 0x67;
	}
	must(vmmu_vcpu_set_paging(host->vcpu, &paging));
	for (uint64_t i = 0; i < blocks; i++) {
		struct vmmu_fault fault = vmmu_fault_from_pf(2, vmmu_gva_of(i * 2 * MIB), 0, 0, 0);

		if (vmmu_fault(host->vcpu, &fault) != VMMU_FAULT_FIXED)
			exit(1);
	}
}

static void shadow_mapped(uint64_t blocks)
{
	const uint64_t data = 64 * MIB, times = 8;
	struct host host;

	start_shadow(&host, blocks);
	count_begin();
	for (uint64_t i = 0; i < times; i++)
		invalidate(&host, data + i * (blocks / times) * 2 * MIB, PAGE);
	count_end("page-invalidated-under-shadow-by-blocks", blocks, times);
	host_stop(&host);
}

/* A log with one dirty page, the last one, is fetched. */
static void log_fetched(uint64_t gib)
{
	uint64_t page = 0, last = gib * GIB / PAGE - 1;
	struct vmmu_dirty part[4];
	struct host host;
	size_t count;

	host_start(&host, &(struct host_config){.mode = VMMU_MODE_EPT});
	host_slot(&host, 0, gib * GIB, VMMU_SLOT_LOG_DIRTY);
	vmmu_mark_dirty(host.vm, host.vcpu, vmmu_gfn_of(last));
	count_begin();
	must(vmmu_dirty_next(host.vm, 0, &page, part, 4, &count));
	count_end("log-fetched-by-gib", gib, 1);
	if (count != 1 || part[0].pages != 1ull << 63)
		exit(1);
	host_stop(&host);
}

static const struct {
	void (*point)(uint64_t size);
	uint64_t size[6]; /* ascending, 0 ends them */
	uint64_t more[3]; /* with --long */
} curve[] = {
	{tables_alive, {512, 2048, 8192, 32768}, {131072, 262144}},
	{teardown, {512, 2048, 8192, 32768}, {131072, 262144}},
	{pages_in_a_table, {1, 8, 64, 512}, {0}},
	{possible_vcpus, {1, 16, 256, 4096}, {65535}},
	{open_invalidations, {8, 64, 512, 4096}, {32768}},
	{slots_changed, {64, 512, 4096}, {32764}},
	{slots_missed, {64, 512, 4096}, {32764}},
	{vm_size, {1, 16, 256, 4096, 12288}, {0}},
	{log_fetched, {1, 4, 16, 64}, {256, 1024}},
	{shadow_mapped, {8, 64, 512}, {1024, 1536}},
};

int main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "--long") == 0;

	for (size_t i = 0; i < sizeof(curve) / sizeof(curve[0]); i++) {
		for (unsigned j = 0; j < 6 && curve[i].size[j]; j++)
			curve[i].point(curve[i].size[j]);
		for (unsigned j = 0; all && j < 3 && curve[i].more[j]; j++)
			curve[i].point(curve[i].more[j]);
		if (!RUNNING_ON_VALGRIND)
			printf("curve %zu done\n", i);
	}
	return 0;
}
