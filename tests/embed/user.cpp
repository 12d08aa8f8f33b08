// SPDX-License-Identifier: BSD-2-Clause
// A host in C++11: every decoder, the names, a ring, one VM and its fault.
#include "readme.h"

namespace {

int failures;

void check(const char *what, uint64_t got, uint64_t wanted)
{
	if (got != wanted) {
		fprintf(stderr, "%s: %#llx instead of %#llx\n", what, (unsigned long long)got,
		        (unsigned long long)wanted);
		failures++;
	}
}

void decoders()
{
	struct vmmu_fault f = vmmu_fault_from_ept_violation(0x182, vmmu_gpa_of(0x1000), 7);

	check("violation: access", f.access, VMMU_W);
	check("violation: gpa", f.gpa.v, 0x1000);
	f = vmmu_fault_from_ept_misconfig(vmmu_gpa_of(0x2000), 7);
	check("misconfiguration: access", f.access, VMMU_R | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED);
	f = vmmu_fault_from_npf(0x100000007, vmmu_gpa_of(0x3000), 7);
	check("nested page fault: access", f.access, VMMU_W | VMMU_ACCESS_PRESENT | VMMU_ACCESS_USER);
	f = vmmu_fault_from_pf(2, vmmu_gva_of(0x4000), 3, 0, 7);
	check("page fault: gva", f.gva.v, 0x4000);
	check("gfn", vmmu_gpa_gfn(vmmu_gpa_of(0x5fff)).v, 5);
	check("pages", vmmu_level_pages(VMMU_LEVEL_2M), 512);
}

void names()
{
	check("version", vmmu_version(), VMMU_VERSION_NUMBER);
	check("version matches", vmmu_version_matches(), true);
	check("name of a cause", (uint64_t)strcmp(vmmu_cause_name(VMMU_CAUSE_ZAP_SLOT), "zap-slot"), 0);
}

// What the vCPU's ring holds after one fault that made three tables and four entries.
void ring(struct vmmu_trace_ring *ring)
{
	unsigned writes = 0;

	for (uint32_t n = 0; n < vmmu_trace_ring_waiting(ring); n++) {
		const struct vmmu_trace_record *r = vmmu_trace_ring_at(ring, n);

		if (r->event != VMMU_TRACE_SPTE_CHANGED)
			continue;
		writes++;
		check("cause", r->cause, VMMU_CAUSE_VIOLATION);
		check("old entry", r->spte.old_spte, 0);
	}
	check("entries written", writes, 3);
	check("dropped", vmmu_trace_ring_dropped(ring), 0);
	vmmu_trace_ring_take(ring, vmmu_trace_ring_waiting(ring));
	check("waiting", vmmu_trace_ring_waiting(ring), 0);
}

void a_vm()
{
	static struct vmmu_trace_record records[64];
	struct vmmu_trace_ring vcpu_ring = {};
	struct vmmu_host host = {};
	struct vmmu_config config = {};
	struct vmmu_slot_info slot = {};
	struct vmmu_root root;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;

	vcpu_ring.records = records;
	vcpu_ring.size = 64;
	host.object_alloc = my_alloc;
	host.object_free = my_free;
	host.table_alloc = my_frame;
	host.table_free = my_frame_free;
	host.table_read_base = host.table_write_base = PHYS_WINDOW;
	host.backing = my_backing;
	host.flush = my_flush;
	config.host = &host;
	config.host_ctx = my_vm;
	config.mode = VMMU_MODE_NPT;
	config.cpu.maxphyaddr = 48;
	config.cpu.page_2m = true;
	config.cpu.nx = true;
	slot.bytes = 4u << 20;
	slot.backing = my_handle;
	check("create", vmmu_vm_create(&config, &vm), VMMU_OK);
	check("slot", vmmu_slot_create(vm, &slot), VMMU_OK);
	check("vCPU", vmmu_vcpu_create(vm, 0, &vcpu_ring, &vcpu), VMMU_OK);
	vmmu_trace_enable(vm, true);
	check("load", vmmu_vcpu_load(vcpu, &root), VMMU_OK);

	struct vmmu_fault fault = vmmu_fault_from_npf(0x100000006, vmmu_gpa_of(0x200123), 7);

	check("fault", vmmu_fault(vcpu, &fault), VMMU_FAULT_FIXED);
	check("level", fault.level, VMMU_LEVEL_2M);
	check("frame", fault.pfn.v, (my_handle >> VMMU_PAGE_SHIFT) + 0x200);
	ring(&vcpu_ring);
	vmmu_vcpu_destroy(vcpu);
	check("destroy", vmmu_vm_destroy(vm), VMMU_OK);
}

}

int main()
{
	decoders();
	names();
	a_vm();
	if (emulate(0) != EMULATE || stop(nullptr) != STOP)
		failures++;
	return failures != 0;
}
