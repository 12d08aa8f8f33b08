/* SPDX-License-Identifier: BSD-2-Clause */
/* Making small traces in memory, record by record, as a host would write them. */
#ifndef TESTS_TRACE_MAKER_H
#define TESTS_TRACE_MAKER_H

#include <stdint.h>
#include <string.h>

#include <vmmu/vmmu.h>

enum { MAKER_MAX = 4096 };

struct trace_maker {
	struct vmmu_trace_file_header header;
	struct vmmu_trace_record records[MAKER_MAX];
	uint32_t seq[2]; /* vCPU 0, management */
	uint64_t now;
};

static inline void maker_init(struct trace_maker *m)
{
	memset(m, 0, sizeof(*m));
	memcpy(m->header.magic, VMMU_TRACE_MAGIC, sizeof(m->header.magic));
	m->header.version = VMMU_TRACE_VERSION_PLAIN;
	m->header.record_size = sizeof(struct vmmu_trace_record);
	m->header.ticks_per_second = 1000000;
	m->header.complete = 1;
}

/* The next record of vCPU 0, or of management when `vcpu` is VMMU_TRACE_NO_VCPU. */
static inline struct vmmu_trace_record *maker_add(struct trace_maker *m, unsigned event, uint16_t vcpu)
{
	struct vmmu_trace_record *r = &m->records[m->header.records++];

	*r = (struct vmmu_trace_record){
		.time = m->now += 10, .seq = m->seq[vcpu == VMMU_TRACE_NO_VCPU]++, .event = (uint16_t)event, .vcpu = vcpu, .vm = 1, .root = 1};
	return r;
}

static inline void maker_vm(struct trace_maker *m, enum vmmu_mode mode)
{
	struct vmmu_trace_record *r = maker_add(m, VMMU_TRACE_VM, VMMU_TRACE_NO_VCPU);

	r->level = 4;
	r->config = (struct vmmu_trace_config){
		.mode = mode,
		.levels = 4,
		.maxphyaddr = 40,
		.features = VMMU_TRACE_PAGE_2M | VMMU_TRACE_PAGE_1G | VMMU_TRACE_EXEC_ONLY |
	                    VMMU_TRACE_AD | VMMU_TRACE_NX,
	};
}

static inline void maker_root(struct trace_maker *m, uint64_t hpa)
{
	struct vmmu_trace_record *r = maker_add(m, VMMU_TRACE_ROOT_LOAD, 0);

	r->level = 4;
	r->root_load.table = hpa;
	r->root_load.pointer = hpa | 0x5e;
}

static inline void maker_table(struct trace_maker *m, uint8_t level, uint64_t hpa, uint64_t gfn)
{
	struct vmmu_trace_record *r = maker_add(m, VMMU_TRACE_GET_PAGE, 0);

	r->level = level;
	r->created = 1;
	r->page.table = hpa;
	r->page.gfn = gfn;
}

static inline struct vmmu_trace_record *maker_write(struct trace_maker *m, uint8_t level, uint64_t table,
                                                    uint64_t gfn, uint64_t was, uint64_t now)
{
	struct vmmu_trace_record *r = maker_add(m, VMMU_TRACE_SPTE_CHANGED, 0);

	r->level = level;
	r->cause = VMMU_CAUSE_VIOLATION;
	r->index = (uint16_t)(gfn >> (9 * (level - 1)) & 511);
	r->spte.table = table;
	r->spte.gfn = gfn & ~(vmmu_level_pages(level) - 1);
	r->spte.old_spte = was;
	r->spte.new_spte = now;
	return r;
}

static inline void maker_dump(struct trace_maker *m, uint8_t level, uint64_t table, uint64_t gfn,
                              uint64_t entry)
{
	struct vmmu_trace_record *r = maker_add(m, VMMU_TRACE_DUMP, VMMU_TRACE_NO_VCPU);

	r->level = level;
	r->index = (uint16_t)(gfn >> (9 * (level - 1)) & 511);
	r->entry.table = table;
	r->entry.gfn = gfn & ~(vmmu_level_pages(level) - 1);
	r->entry.spte = entry;
}

static inline void maker_dump_end(struct trace_maker *m, uint64_t count)
{
	maker_add(m, VMMU_TRACE_DUMP_END, VMMU_TRACE_NO_VCPU)->dump_end.records = count;
}

/* Bytes of the trace as a file: the header and the records follow one another in the struct. */
static inline size_t maker_size(const struct trace_maker *m)
{
	return sizeof(m->header) + m->header.records * sizeof(m->records[0]);
}
_Static_assert(offsetof(struct trace_maker, records) == sizeof(struct vmmu_trace_file_header),
               "header and records lie as in a file");

/* Tables at 0x1000 (root) to 0x4000 and what EPT entries to them look like. */
#define ROOT 0x1000ull
#define L3 0x2000ull
#define L2 0x3000ull
#define L1 0x4000ull
#define EPT_TABLE(hpa) ((hpa) | 7)
#define EPT_LEAF(hpa) ((hpa) | 7 | 6 << 3)
#define EPT_ACCESSED (1ull << 8)
#define EPT_DIRTY (1ull << 9)

/* One fault at `gpa` from empty tables down to a 4 KiB page at `hpa`: 4 writes. */
static inline void maker_first_fault(struct trace_maker *m, uint64_t gpa, uint64_t hpa)
{
	uint64_t gfn = gpa >> 12;
	uint64_t first = m->header.records;
	struct vmmu_trace_record *r = maker_add(m, VMMU_TRACE_PAGE_FAULT, 0);

	r->access = VMMU_W;
	r->page_fault = (struct vmmu_trace_page_fault){
		.address = gpa,
		.error_code = 2,
		.guest_rip = 0xffffffff81000010ull,
		.word = VMMU_TRACE_WORD_PAGING | VMMU_TRACE_WORD_LMA,
	};
	maker_table(m, 3, L3, gfn & ~(vmmu_level_pages(4) - 1));
	maker_write(m, 4, ROOT, gfn, 0, EPT_TABLE(L3));
	maker_table(m, 2, L2, gfn & ~(vmmu_level_pages(3) - 1));
	maker_write(m, 3, L3, gfn, 0, EPT_TABLE(L2));
	maker_table(m, 1, L1, gfn & ~(vmmu_level_pages(2) - 1));
	maker_write(m, 2, L2, gfn, 0, EPT_TABLE(L1));
	maker_write(m, 1, L1, gfn, 0, EPT_LEAF(hpa));
	r = maker_add(m, VMMU_TRACE_FAULT_END, 0);
	r->level = 1;
	r->result = VMMU_FAULT_FIXED;
	r->fault_end.gpa = gpa;
	r->fault_end.pfn = hpa >> 12;
	r->fault_end.entry = EPT_LEAF(hpa);
	for (uint64_t i = first; i < m->header.records; i++)
		m->records[i].fault = 1;
}

static inline void maker_first_dump(struct trace_maker *m, uint64_t gpa, uint64_t hpa)
{
	maker_dump(m, 4, ROOT, gpa >> 12, EPT_TABLE(L3));
	maker_dump(m, 3, L3, gpa >> 12, EPT_TABLE(L2));
	maker_dump(m, 2, L2, gpa >> 12, EPT_TABLE(L1));
	maker_dump(m, 1, L1, gpa >> 12, EPT_LEAF(hpa));
}

#endif
