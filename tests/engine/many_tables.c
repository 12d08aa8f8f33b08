/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMs with so many tables that their hash grows, twice; and with a host that has no
 * memory for it. A host of its own: the simulated machine looks at all tables after
 * each write, which tens of thousands of them do not bear.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <vmmu/exit.h>
#include <vmmu/vmmu.h>

/* Beyond 4 x 1024 tables the second array takes what comes, beyond 4 x 8192 the third. */
enum { TABLES = 40000,
       FRAMES = TABLES + 1024 };
#define MIB2 0x200000ull

struct host {
	unsigned char *frames;
	uint32_t *free, free_count;
	size_t objects, refused, refuse_from; /* refuse objects of so many bytes or more; 0: none */
	struct vmmu_host table;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;
};

static void *object_alloc(void *ctx, size_t size)
{
	struct host *h = ctx;

	if (h->refuse_from && size >= h->refuse_from) {
		h->refused++;
		return NULL;
	}
	h->objects++;
	return memset(aligned_alloc(64, (size + 63) & ~(size_t)63), 0, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	struct host *h = ctx;

	(void)size;
	h->objects--;
	free(object);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	struct host *h = ctx;

	if (!h->free_count)
		return false;
	out->v = (uint64_t)h->free[--h->free_count] << VMMU_PAGE_SHIFT;
	memset(h->frames + out->v, 0, VMMU_PAGE_SIZE);
	return true;
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct host *h = ctx;

	h->free[h->free_count++] = (uint32_t)(frame.v >> VMMU_PAGE_SHIFT);
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	(void)ctx;
	(void)slot;
	(void)access;
	*out = (struct vmmu_backing){
		.pfn = {0x1000000 + gfn.v},
		.rights = VMMU_RWX,
		.memtype = VMMU_MEMTYPE_WB,
	};
	return VMMU_BACKING_OK;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	(void)ctx;
	(void)what;
}

static void start(struct host *h, size_t refuse_from)
{
	struct vmmu_config config = {
		.host = &h->table,
		.host_ctx = h,
		.mode = VMMU_MODE_EPT,
		.max_vcpus = 1,
		.cpu = {.maxphyaddr = 46, .page_2m = true, .ad = true},
	};
	struct vmmu_slot_info slot = {.bytes = TABLES * MIB2};

	*h = (struct host){.refuse_from = refuse_from};
	h->frames = mmap(NULL, (size_t)FRAMES << VMMU_PAGE_SHIFT, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	h->free = calloc(FRAMES, sizeof(*h->free));
	assert_true(h->frames != MAP_FAILED && h->free);
	for (uint32_t i = 0; i < FRAMES; i++)
		h->free[h->free_count++] = i;
	h->table = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)h->frames,
		.table_write_base = (uintptr_t)h->frames,
		.backing = backing,
		.flush = flush,
	};
	assert_int_equal(vmmu_vm_create(&config, &h->vm), VMMU_OK);
	assert_int_equal(vmmu_slot_create(h->vm, &slot), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(h->vm, 0, NULL, &h->vcpu), VMMU_OK);
}

static void stop(struct host *h)
{
	vmmu_vcpu_destroy(h->vcpu);
	assert_int_equal(vmmu_vm_destroy(h->vm), VMMU_OK);
	assert_int_equal(h->objects, 0);
	assert_int_equal(h->free_count, FRAMES);
	munmap(h->frames, (size_t)FRAMES << VMMU_PAGE_SHIFT);
	free(h->free);
}

static void touch(struct host *h, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++) {
		struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(i * MIB2), VMMU_W, 0, 0);

		assert_int_equal(vmmu_fault(h->vcpu, &fault), VMMU_FAULT_FIXED);
	}
}

static void invalidate(struct host *h, uint64_t first, uint64_t end)
{
	vmmu_gpa base = vmmu_gpa_of(first * MIB2);

	assert_int_equal(vmmu_invalidate_begin(h->vm, base, (end - first) * MIB2), VMMU_OK);
	assert_int_equal(vmmu_invalidate_end(h->vm, base, (end - first) * MIB2), VMMU_OK);
}

static uint64_t tables_alive(struct host *h, unsigned level)
{
	struct vmmu_stats stats;

	vmmu_stats_read(h->vm, &stats);
	return stats.tables_allocated[level] - stats.tables_freed[level];
}

/* Up past both sizes, down to the middle, up again, and all of it out: each table must be found each time. */
static void grow_and_shrink(size_t refuse_from)
{
	struct host h;

	start(&h, refuse_from);
	touch(&h, 0, TABLES);
	assert_int_equal(tables_alive(&h, VMMU_LEVEL_4K), TABLES);
	assert_int_equal(vmmu_audit(h.vm, NULL, NULL), 0);
	invalidate(&h, TABLES / 4, TABLES / 2 + TABLES / 4);
	assert_int_equal(tables_alive(&h, VMMU_LEVEL_4K), TABLES / 2);
	assert_int_equal(vmmu_audit(h.vm, NULL, NULL), 0);
	touch(&h, TABLES / 4, TABLES / 2 + TABLES / 4);
	assert_int_equal(vmmu_audit(h.vm, NULL, NULL), 0);
	assert_int_equal(vmmu_slot_delete(h.vm, 0), VMMU_OK);
	assert_int_equal(tables_alive(&h, VMMU_LEVEL_4K), 0);
	assert_int_equal(vmmu_audit(h.vm, NULL, NULL), 0);
	assert_int_equal(h.refused != 0, refuse_from != 0);
	stop(&h);
}

static void test_many_tables(void **state)
{
	(void)state;
	grow_and_shrink(0);
}

/* 64 KiB is the second array's size. */
static void test_no_memory_for_the_hash(void **state)
{
	(void)state;
	grow_and_shrink(65536);
}

/* What is taken out is counted by looking at the table: entries of all kinds, in runs and alone. */
static void test_leaves_are_counted_out(void **state)
{
	struct vmmu_stats stats;
	struct host h;

	(void)state;
	start(&h, 0);
	for (uint64_t i = 0; i < 512; i++) {
		struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(i * VMMU_PAGE_SIZE), i % 3 ? VMMU_W : VMMU_R, 0, 0);

		if (i % 7 && i != 511)
			assert_int_equal(vmmu_fault(h.vcpu, &fault), VMMU_FAULT_FIXED);
	}
	vmmu_stats_read(h.vm, &stats);
	assert_int_equal(stats.pages[VMMU_LEVEL_4K], 512 - 74);
	invalidate(&h, 0, 1);
	vmmu_stats_read(h.vm, &stats);
	assert_int_equal(stats.pages[VMMU_LEVEL_4K], 0);
	stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_tables),
		cmocka_unit_test(test_no_memory_for_the_hash),
		cmocka_unit_test(test_leaves_are_counted_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
