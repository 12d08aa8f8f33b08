/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each call allocates, as the head of <vmmu/host.h> tells it: a host with a
 * fixed budget relies on that list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmmu/exit.h>
#include <vmmu/vmmu.h>

#define FRAMES 256
#define K 1024ull
#define M (1024 * K)
#define G (1024 * M)

struct counts {
	unsigned objects, frames;
	size_t bytes;
};

struct machine {
	_Alignas(4096) unsigned char frame[FRAMES][VMMU_PAGE_SIZE];
	unsigned frames_used;
	struct counts now;
	long objects_live;
};

static struct machine *machine;
static struct vmmu_host host;
static struct vmmu_vm *vm;
static struct vmmu_vcpu *vcpu;

static void *object_alloc(void *ctx, size_t size)
{
	void *object = aligned_alloc(64, (size + 63) & ~(size_t)63);

	(void)ctx;
	machine->now.objects++;
	machine->now.bytes += size;
	machine->objects_live++;
	return memset(object, 0, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	(void)size;
	machine->objects_live -= object != NULL;
	free(object);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	assert_true(machine->frames_used < FRAMES);
	*out = vmmu_hpa_of((uint64_t)machine->frames_used++ * VMMU_PAGE_SIZE);
	machine->now.frames++;
	return true;
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx;
	(void)frame;
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                        struct vmmu_backing *out)
{
	(void)ctx;
	(void)slot;
	(void)access;
	*out = (struct vmmu_backing){
		.pfn = vmmu_pfn_of(gfn.v + (4 * G >> VMMU_PAGE_SHIFT)),
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

static struct counts taken(void)
{
	struct counts counts = machine->now;

	machine->now = (struct counts){0};
	return counts;
}

static void assert_taken(unsigned objects, size_t bytes, unsigned frames)
{
	struct counts counts = taken();

	assert_int_equal(counts.objects, objects);
	assert_int_equal(counts.bytes, bytes);
	assert_int_equal(counts.frames, frames);
}

static const struct vmmu_slot_info ram = {.id = 0, .bytes = 1 * G};

static int setup(void **state)
{
	(void)state;
	machine = aligned_alloc(4096, (sizeof(*machine) + 4095) & ~4095ul);
	memset(machine, 0, sizeof(*machine));
	host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)machine->frame,
		.table_write_base = (uintptr_t)machine->frame,
		.backing = backing,
		.flush = flush,
	};
	struct vmmu_config config = {
		.host = &host,
		.mode = VMMU_MODE_EPT,
		.max_vcpus = 100,
		.cpu = {.maxphyaddr = 46, .page_2m = true, .page_1g = true},
	};

	assert_int_equal(vmmu_vm_create(&config, &vm), VMMU_OK);
	/* The VM, its vCPUs' seats, the map, the root's header. */
	struct counts counts = taken();

	assert_int_equal(counts.objects, 4);
	assert_int_equal(counts.frames, 1);
	assert_in_range(counts.bytes, 100 * 8, 16 * K);
	assert_int_equal(vmmu_vcpu_create(vm, 0, NULL, &vcpu), VMMU_OK);
	/* The vCPU, and what may outlive it. */
	counts = taken();
	assert_int_equal(counts.objects, 2);
	assert_in_range(counts.bytes, 33, 27 * K / 10 + 32);
	assert_int_equal(counts.frames, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vmmu_vcpu_destroy(vcpu);
	assert_int_equal(vmmu_vm_destroy(vm), VMMU_OK);
	assert_int_equal(machine->objects_live, 0);
	free(machine);
	return 0;
}

static enum vmmu_fault_result touch(uint64_t gpa)
{
	struct vmmu_fault fault = {.gpa = vmmu_gpa_of(gpa), .access = VMMU_W};

	return vmmu_fault(vcpu, &fault);
}

static void slots(void **state)
{
	(void)state;
	assert_int_equal(vmmu_slot_create(vm, &ram), VMMU_OK);
	struct counts counts = taken();

	assert_int_equal(counts.objects, 1);
	assert_in_range(counts.bytes, 1, 128);
	assert_int_equal(counts.frames, 0);
	for (uint32_t id = 1; id < 100; id++) {
		const struct vmmu_slot_info more = {.id = id, .base = {(uint64_t)id * 2 * G}, .bytes = M};

		assert_int_equal(vmmu_slot_create(vm, &more), VMMU_OK);
		counts = taken();
		assert_int_equal(counts.objects, 1);
		assert_in_range(counts.bytes, 1, 128);
	}
	/* One bit for each page, the first time; one byte for each 2 MiB. */
	assert_int_equal(vmmu_slot_set_flags(vm, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	/* 4,096 words, and summaries of 64 and of one. */
	assert_taken(1, 1 * G / (4 * K) / 8 + 65 * 8, 0);
	assert_int_equal(vmmu_range_restrict(vm, vmmu_gpa_of(0), 4 * K, VMMU_LEVEL_4K), VMMU_OK);
	assert_taken(1, 1 * G / (2 * M), 0);
	assert_int_equal(vmmu_range_restrict(vm, vmmu_gpa_of(64 * M), 4 * K, VMMU_LEVEL_4K), VMMU_OK);
	assert_taken(0, 0, 0);
	assert_int_equal(vmmu_slot_move(vm, 0, vmmu_gpa_of(512 * G)), VMMU_OK);
	assert_int_equal(vmmu_slot_delete(vm, 0), VMMU_OK);
	assert_taken(0, 0, 0);
}

static void faults(void **state)
{
	struct vmmu_root root;

	(void)state;
	assert_int_equal(vmmu_vcpu_load(vcpu, &root), VMMU_OK);
	assert_int_equal(vmmu_slot_create(vm, &ram), VMMU_OK);
	taken();
	/* A table for each of levels 3 to 1, and their headers. */
	assert_int_equal(touch(0), VMMU_FAULT_FIXED);
	assert_int_equal(taken().frames, 3);
	/* The next one fills up what the first has used, at most; the ones after it need nothing. */
	assert_int_equal(touch(4 * K), VMMU_FAULT_FIXED);
	assert_in_range(taken().frames, 0, 3);
	for (unsigned page = 2; page < 512; page++)
		assert_int_equal(touch(page * 4 * K), VMMU_FAULT_FIXED);
	assert_taken(0, 0, 0);
	/* Three more tables of level 1 come from what is kept. Then the next fault fills it up. */
	for (unsigned table = 1; table <= 3; table++) {
		assert_int_equal(touch(table * 2 * M), VMMU_FAULT_FIXED);
		assert_int_equal(touch(table * 2 * M + 8 * K), VMMU_FAULT_FIXED);
	}
	assert_int_equal(taken().frames, 3);
	assert_int_equal(touch(8 * M), VMMU_FAULT_FIXED);
	assert_int_equal(touch(10 * M), VMMU_FAULT_FIXED);
	assert_taken(0, 0, 0);
	/* Already there. */
	assert_int_equal(touch(2 * M), VMMU_FAULT_SPURIOUS);
	assert_taken(0, 0, 0);
}

static void invalidation(void **state)
{
	(void)state;
	assert_int_equal(vmmu_slot_create(vm, &ram), VMMU_OK);
	assert_int_equal(touch(0), VMMU_FAULT_FIXED);
	taken();
	assert_int_equal(vmmu_invalidate_begin(vm, vmmu_gpa_of(0), 1 * G), VMMU_OK);
	/* Six are open, and no more, before an array is made for sixteen, and so on. */
	for (unsigned i = 1; i < 6; i++)
		assert_int_equal(vmmu_invalidate_begin(vm, vmmu_gpa_of(0), i * M), VMMU_OK);
	assert_taken(0, 0, 0);
	for (unsigned i = 6; i < 14; i++)
		assert_int_equal(vmmu_invalidate_begin(vm, vmmu_gpa_of(0), i * M), VMMU_OK);
	assert_taken(1, 16 * 24, 0);
	for (unsigned i = 1; i < 14; i++)
		assert_int_equal(vmmu_invalidate_end(vm, vmmu_gpa_of(0), i * M), VMMU_OK);
	assert_int_equal(vmmu_invalidate_end(vm, vmmu_gpa_of(0), 1 * G), VMMU_OK);
	assert_int_equal(vmmu_invalidate_begin(vm, vmmu_gpa_of(0), 1 * G), VMMU_OK);
	assert_int_equal(vmmu_invalidate_end(vm, vmmu_gpa_of(0), 1 * G), VMMU_OK);
	assert_taken(0, 0, 0);
	assert_int_equal(touch(1 * M), VMMU_FAULT_FIXED);
	assert_int_equal(vmmu_prefault(vcpu, vmmu_gpa_of(0), 1 * M, VMMU_R, NULL), VMMU_FAULT_FIXED);
	taken();
	assert_int_equal(vmmu_prefault(vcpu, vmmu_gpa_of(0), 2 * M, VMMU_R, NULL), VMMU_FAULT_FIXED);
	assert_taken(0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slots, setup, teardown),
		cmocka_unit_test_setup_teardown(faults, setup, teardown),
		cmocka_unit_test_setup_teardown(invalidation, setup, teardown),
	};

	return cmocka_run_group_tests_name("allocation", tests, NULL, NULL);
}
