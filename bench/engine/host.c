/* SPDX-License-Identifier: BSD-2-Clause */
/* The host of the engine's benchmark: frames from one array, guest memory beyond all tables. */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RING_RECORDS = 4096 };

enum { RAM_FIRST_PFN = 0x1000000 }; /* aligned for leaves of 1 GiB */

static void host_fail(const char *what)
{
	fprintf(stderr, "engine-bench: %s\n", what);
	exit(1);
}

static void *host_object_alloc(void *ctx, size_t size)
{
	void *object = aligned_alloc(64, (size + 63) & ~(size_t)63);

	(void)ctx;
	return object ? memset(object, 0, size) : NULL;
}

static void host_object_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	(void)size;
	free(object);
}

static bool host_table_alloc(void *ctx, vmmu_hpa *out)
{
	struct host *host = ctx;
	uint32_t frame;

	if (host->freed_count) {
		frame = host->freed[--host->freed_count];
		memset(host->frames + (size_t)frame * VMMU_PAGE_SIZE, 0, VMMU_PAGE_SIZE);
	} else if (host->frames_used < host->frames_max) {
		frame = host->frames_used++;
	} else {
		return false;
	}
	out->v = (uint64_t)frame * VMMU_PAGE_SIZE;
	return true;
}

static void host_table_free(void *ctx, vmmu_hpa hpa)
{
	struct host *host = ctx;

	host->freed[host->freed_count++] = (uint32_t)(hpa.v / VMMU_PAGE_SIZE);
}

static enum vmmu_backing_result host_backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                             unsigned access, struct vmmu_backing *out)
{
	const struct host *host = ctx;

	(void)slot;
	(void)access;
	out->pfn.v = RAM_FIRST_PFN + gfn.v;
	out->order = (uint8_t)host->order;
	out->rights = VMMU_RWX;
	out->memtype = VMMU_MEMTYPE_WB;
	out->ignore_pat = false;
	return VMMU_BACKING_OK;
}

static void host_flush(void *ctx, const struct vmmu_flush *flush)
{
	(void)ctx;
	(void)flush;
}

/* Once in some thousand records. */
static void host_trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	(void)ctx;
	vmmu_trace_ring_take(ring, vmmu_trace_ring_waiting(ring));
}

static enum vmmu_guest_read host_guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	const struct host *host = ctx;

	if (gpa.v >= host->ram_bytes)
		return VMMU_GUEST_READ_NONE;
	*value = 0;
	memcpy(value, host->ram + gpa.v, size);
	return VMMU_GUEST_READ_OK;
}

static const void *host_guest_page(void *ctx, vmmu_gpa gpa)
{
	const struct host *host = ctx;

	return gpa.v < host->ram_bytes ? host->ram + (gpa.v & ~(uint64_t)(VMMU_PAGE_SIZE - 1)) : NULL;
}

static enum vmmu_guest_swap host_guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                               uint64_t value)
{
	const struct host *host = ctx;

	if (gpa.v >= host->ram_bytes || memcmp(host->ram + gpa.v, &expected, size) != 0)
		return VMMU_GUEST_CHANGED;
	memcpy(host->ram + gpa.v, &value, size);
	return VMMU_GUEST_SWAPPED;
}

static void *host_map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		host_fail("no memory");
	return memory;
}

void host_start(struct host *host, const struct host_config *config)
{
	struct vmmu_config vm = {
		.host = &host->table,
		.host_ctx = host,
		.mode = config->mode,
		.cpu = {
			.maxphyaddr = 46,
			.page_2m = true,
			.page_1g = true,
			.ad = true,
			.nx = true,
			.exec_only = true,
		},
		.max_vcpus = config->max_vcpus,
		.fault_around = config->fault_around,
		.max_level = config->max_level,
	};

	*host = (struct host){.frames_max = config->table_frames ? config->table_frames : 65536,
	                      .order = config->order,
	                      .ram_bytes = config->ram_bytes};
	host->frames = host_map((size_t)host->frames_max * VMMU_PAGE_SIZE);
	host->freed = host_map(host->frames_max * sizeof(*host->freed));
	if (host->ram_bytes)
		host->ram = host_map(host->ram_bytes);
	host->ring = (struct vmmu_trace_ring){.records = host_map(RING_RECORDS * sizeof(struct vmmu_trace_record)),
	                                      .size = RING_RECORDS};
	host->table = (struct vmmu_host){
		.object_alloc = host_object_alloc,
		.object_free = host_object_free,
		.table_alloc = host_table_alloc,
		.table_free = host_table_free,
		.table_read_base = (uintptr_t)host->frames,
		.table_write_base = (uintptr_t)host->frames,
		.backing = host_backing,
		.flush = host_flush,
		.time_is_tsc = true,
		.trace_full = host_trace_full,
		.guest_read = host_guest_read,
		.guest_page = host_guest_page,
		.guest_cmpxchg = host_guest_cmpxchg,
	};
	host->config = vm;
	if (vmmu_vm_create(&vm, &host->vm) != VMMU_OK || vmmu_vcpu_create(host->vm, 0, &host->ring, &host->vcpu) != VMMU_OK)
		host_fail("cannot make a VM");
}

void host_stop(struct host *host)
{
	vmmu_vcpu_destroy(host->vcpu);
	if (vmmu_vm_destroy(host->vm) != VMMU_OK)
		host_fail("cannot take the VM down");
	munmap(host->frames, (size_t)host->frames_max * VMMU_PAGE_SIZE);
	munmap(host->ring.records, RING_RECORDS * sizeof(struct vmmu_trace_record));
	munmap(host->freed, host->frames_max * sizeof(*host->freed));
	if (host->ram)
		munmap(host->ram, host->ram_bytes);
}

void host_slot(struct host *host, uint64_t base, uint64_t bytes, uint32_t flags)
{
	struct vmmu_slot_info slot = {.id = 0, .flags = flags, .base = {base}, .bytes = bytes};

	if (vmmu_slot_create(host->vm, &slot) != VMMU_OK)
		host_fail("cannot make a slot");
}

void host_touch(struct host *host, uint64_t gpa, uint32_t access)
{
	struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(gpa), access, 0, 0);
	enum vmmu_fault_result result = vmmu_fault(host->vcpu, &fault);

	if (result != VMMU_FAULT_FIXED && result != VMMU_FAULT_SPURIOUS)
		host_fail(vmmu_fault_result_name(result));
}

bool host_maps(const struct host *host, const struct vmmu_root *root, uint64_t address)
{
	uint64_t entry = root->pointer;

	for (unsigned level = 4; level; level--) {
		uint64_t index = address >> (12 + 9 * (level - 1)) & 511;

		entry = *(const uint64_t *)(host->frames + (entry & 0xffffffffff000) + index * 8);
		if (!(entry & 1))
			return false;
	}
	return true;
}
