/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes large vmmu traces: a guest under NPT with so many pages touches them, the host
 * takes them away and they are touched again, until there are so many records. Every
 * write finds what the one before it left, and the trace ends with a dump of its tables.
 *
 *   generate-vmmu RECORDS [PAGES] >FILE
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#define LEAF (7ull | 3ull << 5)
#define LINK (7ull | 1ull << 5)
#define TABLES 0x100000000ull /* hpa of the first table */
#define FRAMES 0x200000000ull

enum { VM = 1,
       ROOT = 1,
       BETWEEN_CHECKSUMS = 1024 };

static struct vmmu_trace_file_header header = {
	.magic = VMMU_TRACE_MAGIC,
	.version = VMMU_TRACE_VERSION,
	.record_size = sizeof(struct vmmu_trace_record),
	.ticks_per_second = 1000000000,
	.machine = "generated",
};
static uint64_t made, now, pages, since;
static uint32_t seq[2], sums, crc, faults, flushes;

static void put(const void *data, size_t size)
{
	if (fwrite(data, size, 1, stdout) != 1) {
		perror("generate-vmmu");
		exit(1);
	}
}

static void put_sum(void)
{
	struct vmmu_trace_record r = {
		.time = now,
		.seq = sums++,
		.event = VMMU_TRACE_CHECKSUM,
		.vcpu = VMMU_TRACE_NO_VCPU,
		.checksum = {.records = since, .crc = crc},
	};

	put(&r, sizeof(r));
	made++;
	since = crc = 0;
}

static void emit(struct vmmu_trace_record r, bool host)
{
	r.time = now += 300;
	r.vm = VM;
	r.root = ROOT;
	r.vcpu = host ? VMMU_TRACE_NO_VCPU : 0;
	r.seq = seq[host]++;
	put(&r, sizeof(r));
	crc = vmmu_trace_crc(crc, &r, sizeof(r));
	made++;
	if (++since == BETWEEN_CHECKSUMS)
		put_sum();
}

/* Tables stand where their place in the tree says: the root, one of level 3, then those of levels 2 and 1. */
static uint64_t table_at(unsigned level, uint64_t gfn)
{
	static const uint64_t first[] = {0, 0x1000000, 0x10000, 0x100, 0};

	return TABLES + ((first[level] + (level == 4 ? 0 : gfn >> (9 * level))) << VMMU_PAGE_SHIFT);
}

static unsigned index_of(unsigned level, uint64_t gfn)
{
	return gfn >> (9 * (level - 1)) & 511;
}

static uint64_t entry_at(unsigned level, uint64_t gfn)
{
	return level == 1 ? (FRAMES + (gfn << VMMU_PAGE_SHIFT)) | LEAF : table_at(level - 1, gfn) | LINK;
}

static void write_entry(unsigned level, uint64_t gfn, unsigned cause, uint64_t was, uint64_t is, bool host)
{
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_SPTE_CHANGED,
		     .level = (uint8_t)level,
		     .cause = (uint8_t)cause,
		     .index = (uint16_t)index_of(level, gfn),
		     .fault = host ? 0 : faults,
		     .spte = {table_at(level, gfn), gfn & ~(vmmu_level_pages(level) - 1), was, is},
	     },
	     host);
}

static void touch(uint64_t gfn, bool first_pass)
{
	const uint64_t code = 1ull << 32 | 6; /* a write to a page that is not there: APM vol. 2, 15.25.6 */

	faults++;
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_PAGE_FAULT,
		     .fault = faults,
		     .access = VMMU_W | VMMU_ACCESS_USER,
		     .page_fault = {gfn << VMMU_PAGE_SHIFT, code, 0xffffffff81000000 + gfn % 4096, 4},
	     },
	     false);
	for (unsigned level = 4; first_pass && level > 1; level--) {
		if (gfn & (vmmu_level_pages(level) - 1))
			continue;
		emit((struct vmmu_trace_record){
			     .event = VMMU_TRACE_GET_PAGE,
			     .level = (uint8_t)(level - 1),
			     .fault = faults,
			     .created = 1,
			     .page = {table_at(level - 1, gfn), gfn, {0}},
		     },
		     false);
		write_entry(level, gfn, VMMU_CAUSE_VIOLATION, 0, entry_at(level, gfn), false);
	}
	write_entry(1, gfn, VMMU_CAUSE_VIOLATION, 0, entry_at(1, gfn), false);
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_FAULT_END,
		     .level = 1,
		     .fault = faults,
		     .result = VMMU_FAULT_FIXED,
		     .fault_end = {gfn << VMMU_PAGE_SHIFT, (FRAMES >> VMMU_PAGE_SHIFT) + gfn, entry_at(1, gfn),
	                           VMMU_HANDLER_DIRECT},
	     },
	     false);
}

static void zap(uint64_t gfn)
{
	write_entry(1, gfn, VMMU_CAUSE_ZAP_RANGE, entry_at(1, gfn), 0, true);
}

static void flush(uint64_t gfn, uint64_t count)
{
	flushes++;
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_FLUSH_OWED,
		     .cause = VMMU_CAUSE_ZAP_RANGE,
		     .flush_id = flushes,
		     .flush = {gfn, count, 0, 0},
	     },
	     true);
	emit((struct vmmu_trace_record){.event = VMMU_TRACE_FLUSH_DONE, .flush_id = flushes}, true);
}

static void dump_entry(unsigned level, uint64_t gfn)
{
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_DUMP,
		     .level = (uint8_t)level,
		     .index = (uint16_t)index_of(level, gfn),
		     .entry = {table_at(level, gfn), gfn, entry_at(level, gfn), 0},
	     },
	     true);
}

static void dump(void)
{
	uint64_t count = 0;

	for (uint64_t gfn = 0; gfn < pages; gfn++)
		for (unsigned level = 4; level >= 1; level--)
			if (!(gfn & (vmmu_level_pages(level) - 1))) {
				dump_entry(level, gfn);
				count++;
			}
	emit((struct vmmu_trace_record){.event = VMMU_TRACE_DUMP_END, .dump_end = {.records = count}}, true);
}

static void begin(void)
{
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_VM,
		     .level = 4,
		     .config = {VMMU_MODE_NPT, 4, 48, VMMU_TRACE_PAGE_2M | VMMU_TRACE_AD | VMMU_TRACE_NX},
	     },
	     true);
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_GET_PAGE, .level = 4, .page = {table_at(4, 0), 0, {0}}},
	     true);
	emit((struct vmmu_trace_record){
		     .event = VMMU_TRACE_ROOT_LOAD, .level = 4, .root_load = {table_at(4, 0), table_at(4, 0), {0}}},
	     false);
}

int main(int argc, char **argv)
{
	uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;

	pages = argc > 2 ? strtoull(argv[2], NULL, 0) : 65536;
	if (!wanted || !pages || pages > 1 << 22) {
		fprintf(stderr, "usage: generate-vmmu RECORDS [PAGES] >FILE\n");
		return 2;
	}
	/* How many there will be is known at the end only: the header says "not closed" to a pipe. */
	put(&header, sizeof(header));
	begin();
	for (uint64_t gfn = 0; gfn < pages; gfn++)
		touch(gfn, true);
	for (uint64_t from = 0; made < wanted; from = (from + 64) % pages) {
		uint64_t to = from + 64 < pages ? from + 64 : pages;

		for (uint64_t gfn = from; gfn < to; gfn++)
			zap(gfn);
		flush(from, to - from);
		for (uint64_t gfn = from; gfn < to; gfn++)
			touch(gfn, false);
	}
	dump();
	if (since)
		put_sum();
	if (fflush(stdout) != 0)
		return 1;
	header.complete = 1;
	header.records = made;
	header.crc = vmmu_trace_crc(0, &header, sizeof(header));
	/* A pipe keeps the header that it had. */
	if (fseek(stdout, 0, SEEK_SET) == 0)
		put(&header, sizeof(header));
	return fflush(stdout) != 0;
}
