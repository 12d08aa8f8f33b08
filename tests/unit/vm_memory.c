/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's memory: which frames pages get, in which runs, and that all of them come back. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/unit.h"
#include "visor/host/frame.h"
#include "visor/vm/memory.h"
#include "visor/vm/options.h"
#include "visor/vm/vm.h"

#define MACHINE_BASE 0x10000000ull
#define MACHINE_BYTES (64ull << 20)
#define PAGE 4096ull
#define LOW_RAM_END 0xa0000ull

const uint8_t visor_image_start[1], visor_image_end[1];

static struct options options;
static struct vm vm;
static struct vmmu_slot_info slot;

static const struct cpu_backend shadow = {.mode = VMMU_MODE_SHADOW};
static const struct cpu_backend ept = {.mode = VMMU_MODE_EPT};

static void *host_object_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return object_alloc(size);
}

static void host_object_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	object_free(object, size);
}

static bool host_table_alloc(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	out->v = frame_alloc(FRAME_ORDER_4K, FRAME_TABLE, true);
	return out->v;
}

static void host_table_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx;
	frame_free(frame.v, FRAME_ORDER_4K);
}

static void host_flush(void *ctx, const struct vmmu_flush *flush)
{
	(void)ctx;
	(void)flush;
}

/* Once: what the object allocator keeps stays its own. */
static int map_machine(void **state)
{
	static struct boot_info boot;
	void *machine = mmap((void *)MACHINE_BASE, MACHINE_BYTES, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	(void)state;
	boot.memory[boot.memory_count++] = (struct boot_range){MACHINE_BASE, MACHINE_BASE + MACHINE_BYTES};
	return machine == (void *)MACHINE_BASE && frame_init(&boot, UINT64_MAX, FRAME_LOW_END) ? 0 : -1;
}

static void start(const struct cpu_backend *backend, uint64_t base, uint64_t bytes)
{
	struct vmmu_config config;

	vm = (struct vm){.options = &options, .vcpu.backend = backend};
	options = (struct options){.max_level = VMMU_LEVEL_4K};
	vm.host = (struct vmmu_host){
		.object_alloc = host_object_alloc,
		.object_free = host_object_free,
		.table_alloc = host_table_alloc,
		.table_free = host_table_free,
		.backing = memory_backing,
		.flush = host_flush,
		.owns_frame = memory_owns,
	};
	config = (struct vmmu_config){
		.host = &vm.host,
		.host_ctx = &vm,
		.mode = VMMU_MODE_EPT,
		.cpu = {.maxphyaddr = 46, .page_2m = true, .exec_only = true},
	};
	assert_int_equal(vmmu_vm_create(&config, &vm.mmu), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(vm.mmu, 0, NULL, &vm.vcpu.mmu), VMMU_OK);
	assert_int_equal(memory_add(&vm, 0, 0, base, bytes), VMMU_OK);
	slot = (struct vmmu_slot_info){.id = 0, .base = {base}, .bytes = bytes, .backing = (uintptr_t)vm.regions};
}

/* Nothing of the guest's is left behind. */
static void end(void)
{
	assert_int_equal(memory_frames(&vm), frame_count(FRAME_GUEST));
	vmmu_vcpu_destroy(vm.vcpu.mmu);
	vmmu_vm_destroy(vm.mmu);
	memory_free_all(&vm);
	assert_int_equal(memory_frames(&vm), 0);
	assert_int_equal(frame_count(FRAME_GUEST), 0);
}

static struct vmmu_backing backing_of(uint64_t gfn)
{
	struct vmmu_backing backing = {0};

	assert_int_equal(memory_backing(&vm, &slot, (vmmu_gfn){gfn}, VMMU_R, &backing), VMMU_BACKING_OK);
	return backing;
}

/* RAM below 640 KiB is no whole page of 2 MiB: shadow tables are filled from it by 64 KiB. */
static void low_ram_comes_in_small_runs(void **state)
{
	struct vmmu_backing one, other;

	(void)state;
	start(&shadow, 0, LOW_RAM_END);
	one = backing_of(0x15);
	assert_int_equal(one.order, 4);
	assert_int_equal(one.pfn.v % 16, 5);
	assert_int_equal(memory_frames(&vm), 16);
	other = backing_of(0x1f);
	assert_int_equal(other.pfn.v - one.pfn.v, 0x1f - 0x15);
	assert_int_equal(backing_of(0x9f).order, 4);
	assert_int_equal(memory_frames(&vm), 32);
	assert_true(memory_owns(&vm, &slot, (vmmu_gfn){0x15}, one.pfn));
	assert_false(memory_owns(&vm, &slot, (vmmu_gfn){0x14}, one.pfn));
	assert_true(memory_fill(&vm));
	assert_int_equal(memory_frames(&vm), LOW_RAM_END / PAGE);
	end();
}

static void no_run_reaches_out_of_its_region(void **state)
{
	(void)state;
	start(&shadow, 2 * PAGE, 30 * PAGE);
	assert_int_equal(backing_of(2).order, 0);
	assert_int_equal(backing_of(15).order, 0);
	assert_int_equal(backing_of(16).order, 4);
	assert_int_equal(memory_frames(&vm), 2 + 16);
	end();
	start(&shadow, 0, 31 * PAGE);
	assert_int_equal(backing_of(30).order, 0);
	assert_int_equal(backing_of(3).order, 4);
	end();
}

/* Where the tables hold pages of 4 KiB, one for each violation, nothing is taken ahead. */
static void single_pages_where_no_run_is_used(void **state)
{
	(void)state;
	for (unsigned level = VMMU_LEVEL_4K; level <= VMMU_LEVEL_2M; level++) {
		start(&ept, 0, LOW_RAM_END);
		options.max_level = level;
		assert_int_equal(backing_of(0x15).order, 0);
		assert_int_equal(memory_frames(&vm), 1);
		end();
	}
	start(&ept, 0, LOW_RAM_END);
	options.fault_around = 4;
	assert_int_equal(backing_of(0x15).order, 4);
	end();
}

static void a_moved_region_keeps_what_is_still_in_step(void **state)
{
	static const struct {
		uint64_t base, gfn;
		unsigned order;
	} cases[] = {
		{4ull << 20, 0x400, 9},
		{(4ull << 20) + 16 * PAGE, 0x410, 4},
		{(4ull << 20) + PAGE, 0x401, 0},
		{(4ull << 20) + 256 * PAGE, 0x500, 8},
	};

	(void)state;
	start(&shadow, 2ull << 20, 2ull << 20);
	assert_int_equal(backing_of(0x200).order, 9);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(memory_move(&vm, 0, cases[i].base), VMMU_OK);
		slot.base.v = cases[i].base;
		assert_int_equal(backing_of(cases[i].gfn).order, cases[i].order);
	}
	end();
}

/* Memory in which no run is free is used page by page, and a run that has such pages gets no others at once. */
static void fragments_are_used_too(void **state)
{
	enum { TAKEN = MACHINE_BYTES / PAGE };
	static uint64_t taken[TAKEN];
	unsigned count = 0;
	uint64_t frame;

	(void)state;
	start(&shadow, 0, LOW_RAM_END);
	backing_of(0); /* the region's list of pages is there */
	while ((frame = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, false)))
		taken[count++] = frame;
	assert_true(count > 100);
	for (unsigned i = 0; i < 2; i++)
		frame_free(taken[40 * i], FRAME_ORDER_4K);
	assert_int_equal(backing_of(0x20).order, 0);
	assert_int_equal(backing_of(0x21).order, 0);
	assert_int_equal(memory_frames(&vm), 18);
	for (unsigned i = 0; i < count; i++) {
		if (i != 0 && i != 40)
			frame_free(taken[i], FRAME_ORDER_4K);
	}
	assert_int_equal(backing_of(0x2f).order, 0);
	assert_int_equal(backing_of(0x30).order, 4);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(low_ram_comes_in_small_runs),
		cmocka_unit_test(no_run_reaches_out_of_its_region),
		cmocka_unit_test(single_pages_where_no_run_is_used),
		cmocka_unit_test(a_moved_region_keeps_what_is_still_in_step),
		cmocka_unit_test(fragments_are_used_too),
	};

	return cmocka_run_group_tests(tests, map_machine, NULL);
}
