/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes a small trace whose every record is known: sample FILE. What the
 * commands must say about it stands beside this file.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../trace_maker.h"

#define PAGE 0x1234000ull            /* level 2 index 9, level 1 index 34h */
#define NEIGHBOUR 0x1235000ull
#define LARGE 0x1400000ull           /* level 2 index 10 */
#define MMIO 0x1236000ull

static struct trace_maker maker;

static void begin_fault(uint32_t id, uint64_t gpa, uint32_t access, uint64_t rip, uint64_t word)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_PAGE_FAULT, 0);

	r->fault = id;
	r->aux = access;
	r->a[0] = gpa;
	r->a[2] = rip;
	r->a[3] = word;
}

static void end_fault(uint32_t id, uint64_t gpa, enum vmmu_fault_result result)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_FAULT_END, 0);

	r->fault = id;
	r->aux = result;
	r->a[0] = gpa;
}

static void slot(enum vmmu_cause cause)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_SLOT, VMMU_TRACE_NO_VCPU);

	r->cause = (uint8_t)cause;
	r->aux = 3;
	r->a[0] = LARGE >> 12;
	r->a[1] = 512;
}

/* Kernel code at 64-bit addresses with paging on; user code; code without paging. */
#define KERNEL 0xcull
#define USER 0xfull
#define UNPAGED 0ull

static void faults(void)
{
	maker_first_fault(&maker, PAGE, 0x9000);

	begin_fault(2, NEIGHBOUR, VMMU_R, 0x401000, USER);
	maker_write(&maker, 1, L1, NEIGHBOUR >> 12, 0, EPT_LEAF(0xa000) & ~2ull)->fault = 2;
	end_fault(2, NEIGHBOUR, VMMU_FAULT_FIXED);

	begin_fault(3, NEIGHBOUR, VMMU_W | VMMU_ACCESS_PRESENT, 0xffffffff81000123ull, KERNEL);
	maker_write(&maker, 1, L1, NEIGHBOUR >> 12, EPT_LEAF(0xa000) & ~2ull, EPT_LEAF(0xa000))->fault = 3;
	maker.records[maker.header.records - 1].cause = VMMU_CAUSE_PERMISSION;
	end_fault(3, NEIGHBOUR, VMMU_FAULT_FIXED);

	begin_fault(4, LARGE, VMMU_X, 0x7c00, UNPAGED);
	maker_write(&maker, 2, L2, LARGE >> 12, 0, EPT_LEAF(0x600000) | 1 << 7)->fault = 4;
	end_fault(4, LARGE, VMMU_FAULT_FIXED);

	begin_fault(5, MMIO, VMMU_W | VMMU_ACCESS_WALK, 0xffffffff81000010ull, KERNEL);
	end_fault(5, MMIO, VMMU_FAULT_EMULATE_MMIO);
}

static void slot_deleted(void)
{
	struct vmmu_trace_record *r = maker_write(&maker, 2, L2, LARGE >> 12, EPT_LEAF(0x600000) | 1 << 7, 0);

	r->cause = VMMU_CAUSE_ZAP_SLOT;
	/* Made by management, not by the vCPU: move it to that stream. */
	maker.seq[0]--;
	r->vcpu = VMMU_TRACE_NO_VCPU;
	r->seq = maker.seq[1]++;
	r = maker_add(&maker, VMMU_TRACE_FLUSH_OWED, VMMU_TRACE_NO_VCPU);
	r->cause = VMMU_CAUSE_ZAP_SLOT;
	r->aux = 1;
	r->a[0] = LARGE >> 12;
	r->a[1] = 512;
	maker_add(&maker, VMMU_TRACE_FLUSH_DONE, VMMU_TRACE_NO_VCPU)->aux = 1;
	slot(VMMU_CAUSE_SLOT_DELETE);
}

int main(int argc, char **argv)
{
	FILE *to;

	if (argc != 2 || !(to = fopen(argv[1], "w"))) {
		fprintf(stderr, "usage: sample FILE\n");
		return 2;
	}
	maker_init(&maker);
	snprintf(maker.header.machine, sizeof(maker.header.machine), "sample");
	maker_vm(&maker, VMMU_MODE_EPT);
	slot(VMMU_CAUSE_SLOT_CREATE);
	maker_root(&maker, ROOT);
	faults();
	slot_deleted();
	maker_first_dump(&maker, PAGE, 0x9000);
	maker_dump(&maker, 1, L1, NEIGHBOUR >> 12, EPT_LEAF(0xa000));
	maker_dump_end(&maker, 5);
	if (fwrite(&maker, maker_size(&maker), 1, to) != 1 || fclose(to) != 0) {
		fprintf(stderr, "sample: %s cannot be written\n", argv[1]);
		return 2;
	}
	return 0;
}
