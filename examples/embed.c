/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole host of libvmmu: one VM, one vCPU, one slot, three faults.
 *
 * It runs in user space. What a hypervisor calls host-physical memory is here
 * 8 MiB of ordinary memory, and an hpa is an offset into it: the lower half
 * backs the guest, tables come from the upper half. A hypervisor fills in the
 * same table of callbacks with its own page allocator, and calls vmmu_fault
 * from its exit handler with what <vmmu/exit.h> makes of the exit.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vmmu/exit.h>
#include <vmmu/vmmu.h>

#define MEMORY_BYTES (8u << 20)
#define GUEST_BYTES (4u << 20)

struct my_host {
	unsigned char *memory;
	uint64_t next_table; /* hpa of the next frame that no table uses */
	uint64_t now;
};

static void *object_alloc(void *ctx, size_t size)
{
	void *object = aligned_alloc(64, (size + 63) & ~(size_t)63);

	(void)ctx;
	return object ? memset(object, 0, size) : NULL;
}

static void object_free(void *ctx, void *object, size_t size)
{
	(void)ctx, (void)size;
	free(object);
}

/* mmap's memory is zero and no frame is used twice, so there is nothing to clear. */
static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	struct my_host *host = ctx;

	if (host->next_table == MEMORY_BYTES)
		return false;
	*out = vmmu_hpa_of(host->next_table);
	host->next_table += VMMU_PAGE_SIZE;
	return true;
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx, (void)frame;
}

/* The slot's handle is the hpa where its memory begins; the frames are one run of 2 MiB pages. */
static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                        struct vmmu_backing *out)
{
	uint64_t offset = (gfn.v << VMMU_PAGE_SHIFT) - slot->base.v;

	(void)ctx, (void)access;
	*out = (struct vmmu_backing){.pfn = vmmu_pfn_of((slot->backing + offset) >> VMMU_PAGE_SHIFT),
	                             .order = 9,
	                             .rights = VMMU_RWX,
	                             .memtype = VMMU_MEMTYPE_WB};
	return VMMU_BACKING_OK;
}

/* INVEPT or a TLB flush on every CPU that runs the VM. No CPU runs this one. */
static void flush(void *ctx, const struct vmmu_flush *what)
{
	(void)ctx, (void)what;
}

static uint64_t now(void *ctx)
{
	return ((struct my_host *)ctx)->now++;
}

static void must(enum vmmu_status status)
{
	if (status == VMMU_OK)
		return;
	fprintf(stderr, "embed: %s\n", vmmu_status_name(status));
	exit(1);
}

/* What a hypervisor does with an EPT violation: qualification, gpa and RIP come from the VMCS. */
static void violation(struct vmmu_vcpu *vcpu, uint64_t qualification, uint64_t gpa)
{
	struct vmmu_fault fault = vmmu_fault_from_ept_violation(qualification, vmmu_gpa_of(gpa), 0x1000);
	enum vmmu_fault_result result = vmmu_fault(vcpu, &fault);

	printf("violation at gpa %#" PRIx64 ": %s", gpa, vmmu_fault_result_name(result));
	if (result == VMMU_FAULT_FIXED)
		printf(", entry %#" PRIx64 " at level %u", fault.entry, fault.level);
	printf("\n");
}

static void show_path(struct vmmu_vm *vm, uint64_t gpa)
{
	struct vmmu_path path;

	vmmu_path_of(vm, vmmu_gpa_of(gpa), &path);
	printf("path of gpa %#" PRIx64 ":\n", gpa);
	for (unsigned i = 0; i < path.steps; i++) {
		const struct vmmu_path_step *s = &path.step[i];

		printf("  level %u, table %#" PRIx64 ", entry %3u = %#018" PRIx64 " %c%c%c\n", s->level, s->table.v,
		       s->index, s->entry, s->info.rights & VMMU_R ? 'r' : '-', s->info.rights & VMMU_W ? 'w' : '-',
		       s->info.rights & VMMU_X ? 'x' : '-');
	}
}

static void show_record(const struct vmmu_trace_record *r)
{
	printf("  %-28s fault %u level %u %s", vmmu_trace_event_name(r->event), r->fault, r->level,
	       vmmu_cause_name(r->cause));
	if (r->event == VMMU_TRACE_SPTE_CHANGED)
		printf(" table %#" PRIx64 " entry %u: %#" PRIx64 " -> %#" PRIx64, r->spte.table, r->index,
		       r->spte.old_spte, r->spte.new_spte);
	printf("\n");
}

static void show_trace(const struct vmmu_trace_ring *ring)
{
	for (uint32_t n = 0; n < vmmu_trace_ring_waiting(ring); n++) {
		/* The record of a fault that wrote one entry stands for three. */
		struct vmmu_trace_record parts[VMMU_TRACE_EXPANDED];
		unsigned count = vmmu_trace_expand(vmmu_trace_ring_at(ring, n), parts);

		for (unsigned i = 0; i < count; i++)
			show_record(&parts[i]);
	}
}

int main(void)
{
	/* A ring has one producer: one is the vCPU's, one that of the management calls. */
	static struct vmmu_trace_record records[2][128];
	struct vmmu_trace_ring vcpu_ring = {.records = records[0], .size = 128};
	struct vmmu_trace_ring ring = {.records = records[1], .size = 128};
	struct my_host my = {.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
	                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	                     .next_table = GUEST_BYTES};
	struct vmmu_host host = {
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)my.memory,
		.table_write_base = (uintptr_t)my.memory,
		.backing = backing,
		.flush = flush,
		.time = now,
	};
	struct vmmu_config config = {
		.host = &host,
		.host_ctx = &my,
		.mode = VMMU_MODE_EPT,
		.ring = &ring,
		.cpu = {.maxphyaddr = 46, .page_2m = true, .page_1g = true, .ad = true},
	};
	/* 2 MiB and one page at gpa 0: large enough for a large leaf, with a small one behind it. */
	struct vmmu_slot_info slot = {.id = 0, .bytes = (2u << 20) + VMMU_PAGE_SIZE, .backing = 0};
	struct vmmu_root root;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;

	if (my.memory == MAP_FAILED) {
		perror("embed: mmap");
		return 1;
	}
	must(vmmu_vm_create(&config, &vm));
	vmmu_trace_enable(vm, true);
	must(vmmu_slot_create(vm, &slot));
	must(vmmu_vcpu_create(vm, 0, &vcpu_ring, &vcpu));
	must(vmmu_vcpu_load(vcpu, &root));
	printf("enter the guest with EPTP %#" PRIx64 "\n", root.pointer);

	violation(vcpu, 0x181, 0x1234);            /* a read */
	violation(vcpu, 0x182, (2u << 20) + 0x10); /* a write to the page behind */
	violation(vcpu, 0x181, 0xfee00020);        /* no memory there: emulate a device */
	show_path(vm, 0x1234);
	show_path(vm, (2u << 20) + 0x10);
	printf("the trace, %u records of management calls:\n", vmmu_trace_ring_waiting(&ring));
	show_trace(&ring);
	printf("%u records of the vCPU:\n", vmmu_trace_ring_waiting(&vcpu_ring));
	show_trace(&vcpu_ring);

	vmmu_vcpu_destroy(vcpu);
	must(vmmu_vm_destroy(vm));
	munmap(my.memory, MEMORY_BYTES);
	return 0;
}
