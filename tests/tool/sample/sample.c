/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes a small trace whose every record is known: sample FILE, or sample FILE
 * shadow. What the commands must say about it stands beside this file.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../trace_maker.h"

#define PAGE 0x1234000ull /* level 2 index 9, level 1 index 34h */
#define NEIGHBOUR 0x1235000ull
#define LARGE 0x1400000ull /* level 2 index 10 */
#define MMIO 0x1236000ull

static struct trace_maker maker;

static void begin_fault(uint32_t id, uint64_t gpa, uint32_t access, uint64_t rip, uint64_t word)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_PAGE_FAULT, 0);

	r->fault = id;
	r->access = access;
	r->page_fault.address = gpa;
	r->page_fault.guest_rip = rip;
	r->page_fault.word = word;
}

static void end_fault(uint32_t id, uint64_t gpa, enum vmmu_fault_result result)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_FAULT_END, 0);

	r->fault = id;
	r->result = result;
	r->fault_end.gpa = gpa;
	/* What it has written last now translates the address. */
	if (result == VMMU_FAULT_FIXED && r[-1].event == VMMU_TRACE_SPTE_CHANGED && r[-1].spte.new_spte) {
		r->level = r[-1].level;
		r->fault_end.entry = r[-1].spte.new_spte;
		r->fault_end.pfn = (r[-1].spte.new_spte & 0xffffffffff000) >> 12;
	}
}

static void slot(enum vmmu_cause cause)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_SLOT, VMMU_TRACE_NO_VCPU);

	r->cause = (uint8_t)cause;
	r->slot_id = 3;
	r->slot.base_gfn = LARGE >> 12;
	r->slot.pages = 512;
}

/* Kernel code at 64-bit addresses with paging on; user code; code without paging. */
#define KERNEL (VMMU_TRACE_WORD_PAGING | VMMU_TRACE_WORD_LMA)
#define USER (KERNEL | VMMU_TRACE_WORD_CPL)
#define UNPAGED 0

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
	r->flush_id = 1;
	r->flush.start_gfn = LARGE >> 12;
	r->flush.pages = 512;
	maker_add(&maker, VMMU_TRACE_FLUSH_DONE, VMMU_TRACE_NO_VCPU)->flush_id = 1;
	slot(VMMU_CAUSE_SLOT_DELETE);
}

/* ---- shadow paging --------------------------------------------------------------- */

#define PAE_ROOT 0x5000ull
#define PAE_L2 0x6000ull
#define SHADOW_TABLE(hpa) ((hpa) | 0x27)
#define SHADOW_LEAF(hpa) ((hpa) | 0x67 | 3ull << 52)

static void shadow_write(uint32_t fault, uint8_t level, uint64_t table, uint16_t index, uint64_t gfn,
                         uint64_t was, uint64_t now, enum vmmu_cause cause)
{
	struct vmmu_trace_record *r = maker_write(&maker, level, table, gfn, was, now);

	r->fault = fault;
	r->index = index;
	r->spte.gfn = gfn;
	r->cause = (uint8_t)cause;
}

static void table_in_fault(uint32_t fault, uint8_t level, uint64_t hpa, uint64_t gfn)
{
	maker_table(&maker, level, hpa, gfn);
	maker.records[maker.header.records - 1].fault = fault;
}

/* The way to an address: below tables[4], which is there, those of levels 3 to 1, of guest tables at 0x101000 and on. */
static void tables_in_fault(uint32_t fault, uint64_t address, const uint64_t tables[5])
{
	for (uint8_t level = 4; level > 1; level--) {
		uint64_t gfn = 0x105u - level;

		table_in_fault(fault, level - 1, tables[level - 1], gfn);
		shadow_write(fault, level, tables[level], address >> (3 + 9 * level) & 511, gfn, 0, SHADOW_TABLE(tables[level - 1]),
		             VMMU_CAUSE_VIOLATION);
	}
}

static void root_load(uint8_t level, uint64_t hpa)
{
	maker_root(&maker, hpa);
	maker.records[maker.header.records - 1].level = level;
	maker.records[maker.header.records - 1].root_load.pointer = hpa;
}

/* A kernel's page at 0xffffffff80001000, whose guest table is written once; then a PAE guest. */
static void shadow_records(void)
{
	static const uint64_t tables[] = {0, L1, L2, L3, ROOT};

	maker_vm(&maker, VMMU_MODE_SHADOW);
	maker_table(&maker, 4, ROOT, 0x100);
	root_load(4, ROOT);
	begin_fault(1, 0xffffffff80001000ull, VMMU_W, 0xffffffff81000010ull, KERNEL);
	tables_in_fault(1, 0xffffffff80001000ull, tables);
	shadow_write(1, 1, L1, 1, 0x777, 0, SHADOW_LEAF(0x9000), VMMU_CAUSE_VIOLATION);
	end_fault(1, 0x777000, VMMU_FAULT_FIXED);
	begin_fault(2, 0xffff888000103008ull, VMMU_W | VMMU_ACCESS_PRESENT, 0xffffffff81000123ull, KERNEL);
	shadow_write(2, 2, L2, 0, 0x103, SHADOW_TABLE(L1), 0, VMMU_CAUSE_GUEST_WRITE);
	end_fault(2, 0x103008, VMMU_FAULT_FIXED);
	begin_fault(3, 0xffffffff80001000ull, VMMU_R, 0xffffffff81000010ull, KERNEL);
	shadow_write(3, 1, L1, 1, 0x777, SHADOW_LEAF(0x9000), SHADOW_LEAF(0x9000) & ~0x42ull, VMMU_CAUSE_SYNC);
	shadow_write(3, 2, L2, 0, 0x103, 0, SHADOW_TABLE(L1), VMMU_CAUSE_VIOLATION);
	end_fault(3, 0x777000, VMMU_FAULT_FIXED);
	maker_table(&maker, 3, PAE_ROOT, 0x200);
	maker_table(&maker, 2, PAE_L2, 0x201);
	shadow_write(0, 3, PAE_ROOT, 3, 0x201, 0, PAE_L2 | 1, VMMU_CAUSE_ROOT);
	root_load(3, PAE_ROOT);
}

/* ---- a guest's guest ------------------------------------------------------------------ */

#define MERGED_TOP 0x5000ull
#define MERGED_L3 0x6000ull
#define MERGED_L2 0x7000ull
#define MERGED_L1 0x8000ull
#define L1_TABLE(gpa) ((gpa) | 0x27)
#define L1_LEAF(gpa) ((gpa) | 0x67)

static void of_map(uint16_t map)
{
	maker.records[maker.header.records - 1].root = map;
}

static void element(uint32_t fault, uint8_t level, enum vmmu_cause cause, uint64_t address, uint64_t where, uint64_t pte, uint64_t gpa)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_PAGING_ELEMENT, 0);

	r->fault = fault;
	r->level = level;
	r->cause = (uint8_t)cause;
	r->element = (struct vmmu_trace_element){.address = address, .where = where, .pte = pte, .gpa = gpa};
}

static void l1_path(uint32_t fault, uint64_t address, uint64_t leaf, uint64_t gpa)
{
	element(fault, 4, VMMU_CAUSE_VIOLATION, address, 0x100000, L1_TABLE(0x101000ull), 0);
	element(fault, 3, VMMU_CAUSE_VIOLATION, address, 0x101000, L1_TABLE(0x102000ull), 0);
	element(fault, 2, VMMU_CAUSE_VIOLATION, address, 0x102000 + 8 * (address >> 21), L1_TABLE(0x103000ull), 0);
	element(fault, 1, VMMU_CAUSE_VIOLATION, address, 0x103000 + 8 * (address >> 12 & 511), leaf, gpa);
}

/*
 * L1 maps L2's 0x1000 to its own 0x777000; a neighbour comes with it. Then L1 writes its table, and L2's
 * page is another one; at 0x3000 L1 has nothing. L1's tables are at its gpas 0x100000 to 0x103000.
 */
static void nested_records(void)
{
	static const uint64_t tables[] = {0, MERGED_L1, MERGED_L2, MERGED_L3, MERGED_TOP};
	struct vmmu_trace_record *r;

	maker_vm(&maker, VMMU_MODE_NPT);
	maker.records[0].config.features |= VMMU_TRACE_NESTED;
	maker_table(&maker, 4, ROOT, 0);
	of_map(2);
	root_load(4, ROOT);
	maker_table(&maker, 4, MERGED_TOP, 0x100);
	root_load(4, MERGED_TOP);
	begin_fault(1, 0x1000, VMMU_W | VMMU_ACCESS_USER, 0xffffffff81000010ull, KERNEL | VMMU_TRACE_WORD_L2);
	tables_in_fault(1, 0x1000, tables);
	shadow_write(1, 1, MERGED_L1, 1, 0x777, 0, SHADOW_LEAF(0x9000), VMMU_CAUSE_VIOLATION);
	element(1, 1, VMMU_CAUSE_PREFETCH, 0, 0x103010, L1_LEAF(0x778000ull), 0x778000);
	shadow_write(1, 1, MERGED_L1, 2, 0x778, 0, SHADOW_LEAF(0xa000), VMMU_CAUSE_PREFETCH);
	l1_path(1, 0x1000, L1_LEAF(0x777000ull), 0x777000);
	end_fault(1, 0x777000, VMMU_FAULT_FIXED);
	begin_fault(2, 0x103008, VMMU_W | VMMU_ACCESS_PRESENT, 0xffffffff81000123ull, KERNEL);
	shadow_write(2, 1, MERGED_L1, 1, 0x777, SHADOW_LEAF(0x9000), 0, VMMU_CAUSE_GUEST_WRITE);
	end_fault(2, 0x103008, VMMU_FAULT_WRITE_TABLE);
	begin_fault(3, 0x1000, VMMU_R | VMMU_ACCESS_USER, 0x401000, USER | VMMU_TRACE_WORD_L2);
	shadow_write(3, 1, MERGED_L1, 1, 0x779, 0, SHADOW_LEAF(0xb000), VMMU_CAUSE_VIOLATION);
	l1_path(3, 0x1000, L1_LEAF(0x779000ull), 0x779000);
	end_fault(3, 0x779000, VMMU_FAULT_FIXED);
	begin_fault(4, 0x3000, VMMU_R | VMMU_ACCESS_USER, 0x401000, USER | VMMU_TRACE_WORD_L2);
	l1_path(4, 0x3000, 0, 0);
	end_fault(4, 0x3000, VMMU_FAULT_REFLECT);
	r = &maker.records[maker.header.records - 1];
	r->level = 0;
}

static void ept_records(void)
{
	maker_vm(&maker, VMMU_MODE_EPT);
	slot(VMMU_CAUSE_SLOT_CREATE);
	maker_root(&maker, ROOT);
	faults();
	slot_deleted();
	maker_first_dump(&maker, PAGE, 0x9000);
	maker_dump(&maker, 1, L1, NEIGHBOUR >> 12, EPT_LEAF(0xa000));
	maker_dump_end(&maker, 5);
}

/* What an engine of later may write: in a fault, and a write, of kinds unknown today. */
static void future_records(void)
{
	struct vmmu_trace_record *r;

	ept_records();
	begin_fault(6, PAGE, VMMU_W | VMMU_ACCESS_PRESENT, 0xffffffff81000010ull, KERNEL);
	r = maker_add(&maker, 1000, 0);
	r->fault = 6;
	r->level = 77;
	r->index = 0xffff;
	r->word[3] = 0x1234;
	r = maker_write(&maker, 1, L1, PAGE >> 12, EPT_LEAF(0x9000), EPT_LEAF(0x9000) & ~2ull);
	r->fault = 6;
	r->cause = 222;
	end_fault(6, PAGE, (enum vmmu_fault_result)111);
}

/* Two phases of a guest's run, and what comes after them. */
static void marked_records(void)
{
	struct vmmu_trace_record *r;

	maker_vm(&maker, VMMU_MODE_EPT);
	maker_root(&maker, ROOT);
	maker_first_fault(&maker, PAGE, 0x9000);
	maker_add(&maker, VMMU_TRACE_MARK, 0)->mark.number = 7;
	begin_fault(2, NEIGHBOUR, VMMU_R, 0x401000, USER);
	maker_write(&maker, 1, L1, NEIGHBOUR >> 12, 0, EPT_LEAF(0xa000))->fault = 2;
	end_fault(2, NEIGHBOUR, VMMU_FAULT_FIXED);
	r = maker_add(&maker, VMMU_TRACE_GUEST_FLUSH, 0);
	r->instruction = VMMU_GUEST_FLUSH_INVLPG;
	r->guest_flush = (struct vmmu_trace_guest_flush){.value = 0x7f0000401000, .guest_rip = 0xffffffff81000123ull};
	maker_add(&maker, VMMU_TRACE_MARK, 0)->mark.number = 8;
	begin_fault(3, MMIO, VMMU_W, 0xffffffff81000010ull, KERNEL);
	end_fault(3, MMIO, VMMU_FAULT_EMULATE_MMIO);
	maker_first_dump(&maker, PAGE, 0x9000);
	maker_dump(&maker, 1, L1, NEIGHBOUR >> 12, EPT_LEAF(0xa000));
	maker_dump_end(&maker, 5);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*make)(void);
	} samples[] = {{"ept", ept_records}, {"shadow", shadow_records}, {"future", future_records}, {"marked", marked_records}, {"nested", nested_records}};
	const char *name = argc == 3 ? argv[2] : "ept";
	void (*make)(void) = NULL;
	FILE *to;

	for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		if (strcmp(samples[i].name, name) == 0)
			make = samples[i].make;
	if (argc < 2 || argc > 3 || !make || !(to = fopen(argv[1], "w"))) {
		fprintf(stderr, "usage: sample FILE [ept|shadow|future|marked|nested]\n");
		return 2;
	}
	maker_init(&maker);
	snprintf(maker.header.machine, sizeof(maker.header.machine), "sample");
	make();
	if (fwrite(&maker, maker_size(&maker), 1, to) != 1 || fclose(to) != 0) {
		fprintf(stderr, "sample: %s cannot be written\n", argv[1]);
		return 2;
	}
	return 0;
}
