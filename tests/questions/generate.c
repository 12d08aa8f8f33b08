/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes large recordings: a guest with so many pages touches them, dirty logging
 * write-protects and repairs them, an MMU notifier zaps runs of them, and they are
 * touched again, until there are so many events. Every write finds what the one
 * before it left.
 *
 *   generate dat|text EVENTS [PAGES] >FILE
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096,
       TABLE_BASE = 0x100000,
       PAGE_BASE = 0x1000000 };

static bool text;
static uint64_t wanted, made, now = 1000000000, pages;
static uint8_t page[PAGE];
static size_t used;
static uint64_t page_time, data_bytes;
static unsigned char *written; /* one state per guest page: 0 empty, 1 read-only, 2 writable */

static void put(const void *data, size_t size)
{
	if (fwrite(data, 1, size, stdout) != size) {
		perror("generate");
		exit(1);
	}
}

static void end_page(void)
{
	if (!used)
		return;
	memcpy(page, &page_time, 8);
	memcpy(page + 8, &(uint64_t){used}, 8);
	memset(page + 16 + used, 0, PAGE - 16 - used);
	put(page, PAGE);
	data_bytes += PAGE;
	used = 0;
}

/* A record of the ring buffer: type_len in words, 27 bits of time. */
static void record(const void *data, size_t size)
{
	static uint64_t last;
	uint32_t head;

	if (used + 4 + size > PAGE - 16)
		end_page();
	if (!used)
		last = page_time = now;
	head = (uint32_t)(size / 4) | (uint32_t)(now - last) << 5;
	memcpy(page + 16 + used, &head, 4);
	memcpy(page + 20 + used, data, size);
	used += 4 + size;
	last = now;
}

struct common {
	uint16_t type;
	uint8_t flags, preempt;
	int32_t pid;
};
struct changed {
	struct common c;
	uint64_t gfn, old, new;
	uint8_t level, as_id, pad[6];
};
struct fault {
	struct common c;
	uint32_t vcpu, pad;
	uint64_t rip, address, error;
};
struct range {
	struct common c;
	uint64_t start, end;
};

static const char formats[3][1200] = {
	"name: kvm_tdp_mmu_spte_changed\nID: 1646\nformat:\n"
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
	"\tfield:u64 gfn;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:u64 old_spte;\toffset:16;\tsize:8;\tsigned:0;\n"
	"\tfield:u64 new_spte;\toffset:24;\tsize:8;\tsigned:0;\n\tfield:u8 level;\toffset:32;\tsize:1;\tsigned:0;\n"
	"\tfield:u8 as_id;\toffset:33;\tsize:1;\tsigned:0;\n\nprint fmt: \"\"\n",
	"name: kvm_page_fault\nID: 1632\nformat:\n"
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
	"\tfield:unsigned int vcpu_id;\toffset:8;\tsize:4;\tsigned:0;\n"
	"\tfield:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;\n"
	"\tfield:u64 fault_address;\toffset:24;\tsize:8;\tsigned:0;\n"
	"\tfield:u64 error_code;\toffset:32;\tsize:8;\tsigned:0;\n\nprint fmt: \"\"\n",
	"name: kvm_unmap_hva_range\nID: 1556\nformat:\n"
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
	"\tfield:unsigned long start;\toffset:8;\tsize:8;\tsigned:0;\n"
	"\tfield:unsigned long end;\toffset:16;\tsize:8;\tsigned:0;\n\nprint fmt: \"\"\n",
};

static void emit(const void *data, size_t size)
{
	if (!text)
		record(data, size);
	now += 700;
	made++;
}

static void line(const char *name)
{
	printf("            vmm-100     (    100) [000] .....  %6" PRIu64 ".%06" PRIu64 ": %s: ", now / 1000000000,
	       now / 1000 % 1000000, name);
}

static void change(uint64_t gfn, unsigned level, uint64_t old, uint64_t new)
{
	struct changed e = {{1646, 0, 0, 100}, gfn, old, new, (uint8_t)level, 0, {0}};

	if (text) {
		line("kvm_tdp_mmu_spte_changed");
		printf("as id 0 gfn %" PRIx64 " level %u old_spte %" PRIx64 " new_spte %" PRIx64 "\n", gfn, level, old, new);
	}
	emit(&e, sizeof(e));
}

static void fault(uint64_t gfn, uint64_t error)
{
	struct fault e = {{1632, 0, 0, 100}, 0, 0, 0xffffffff81000000 + gfn % 4096, gfn << 12, error};

	if (text) {
		line("kvm_page_fault");
		printf("vcpu 0 rip 0x%" PRIx64 " address 0x%016" PRIx64 " error_code 0x%" PRIx64 "\n", e.rip, e.address, error);
	}
	emit(&e, sizeof(e));
}

static uint64_t leaf(uint64_t gfn)
{
	return (PAGE_BASE + gfn) << 12 | 0xe67;
}

static uint64_t table(uint64_t n)
{
	return (TABLE_BASE + n) << 12 | 0x827;
}

static void touch(uint64_t gfn)
{
	static bool top;
	static uint64_t tables;
	static unsigned char level2[1 << 21], level3[1 << 12];

	fault(gfn, 6 | 1ull << 32);
	if (!top) {
		top = true;
		change(0, 4, 0, table(tables++));
	}
	if (!level3[gfn >> 18]) {
		level3[gfn >> 18] = 1;
		change(gfn >> 18 << 18, 3, 0, table(tables++));
	}
	if (!level2[gfn >> 9]) {
		level2[gfn >> 9] = 1;
		change(gfn >> 9 << 9, 2, 0, table(tables++));
	}
	change(gfn, 1, 0, leaf(gfn));
	written[gfn] = 2;
}

static void unmap(uint64_t gfn, uint64_t count)
{
	struct range e = {{1556, 0, 0, 100}, 0x7f0000000000 + (gfn << 12), 0x7f0000000000 + ((gfn + count) << 12)};

	if (text) {
		line("kvm_unmap_hva_range");
		printf("mmu notifier unmap range: 0x%016" PRIx64 " -- 0x%016" PRIx64 "\n", e.start, e.end);
	}
	emit(&e, sizeof(e));
	for (uint64_t i = gfn; i < gfn + count; i++) {
		if (written[i])
			change(i, 1, written[i] == 2 ? leaf(i) : leaf(i) & ~2ull, 0);
		written[i] = 0;
	}
}

static void head(void)
{
	uint64_t offset = 8 * PAGE, size = 0, place;
	uint8_t block[8 * PAGE] = {0}, *at = block;

#define ADD(data, length) (memcpy(at, data, length), at += (length))
#define ADD_NUMBER(type, n) (memcpy(at, &(type){n}, sizeof(type)), at += sizeof(type))
	if (text) {
		puts("# tracer: nop\n#");
		return;
	}
	ADD("\x17\x08\x44tracing6", 12);
	ADD_NUMBER(uint8_t, 0);
	ADD_NUMBER(uint8_t, 8);
	ADD_NUMBER(uint32_t, PAGE);
	ADD("header_page", 12);
	ADD_NUMBER(uint64_t, 0);
	ADD("header_event", 13);
	ADD_NUMBER(uint64_t, 0);
	ADD_NUMBER(uint32_t, 0);
	ADD_NUMBER(uint32_t, 1);
	ADD("kvm", 4);
	ADD_NUMBER(uint32_t, 3);
	for (unsigned i = 0; i < 3; i++) {
		ADD_NUMBER(uint64_t, strlen(formats[i]));
		ADD(formats[i], strlen(formats[i]));
	}
	ADD_NUMBER(uint32_t, 0);
	ADD_NUMBER(uint32_t, 0);
	ADD_NUMBER(uint64_t, 8);
	ADD("100 vmm\n", 8);
	ADD_NUMBER(uint32_t, 1);
	ADD("flyrecord", 10);
	ADD_NUMBER(uint64_t, offset);
	place = (uint64_t)(at - block);
	ADD_NUMBER(uint64_t, size);
	(void)place;
	put(block, sizeof(block));
}

/* The size is known at the end; output that cannot be gone back in keeps 0 and is refused. */
static void tail(void)
{
	uint8_t block[8 * PAGE];
	long place = -1;

	if (text)
		return;
	end_page();
	fflush(stdout);
	rewind(stdout);
	if (fseek(stdout, 0, SEEK_SET) != 0)
		return;
	(void)block;
	for (size_t i = 0, at = 12 + 2 + 4 + 12 + 8 + 13 + 8 + 4 + 4 + 4 + 4; i < 1; i++) {
		for (unsigned f = 0; f < 3; f++)
			at += 8 + strlen(formats[f]);
		place = (long)(at + 4 + 4 + 8 + 8 + 4 + 10 + 8);
	}
	fseek(stdout, place, SEEK_SET);
	put(&data_bytes, 8);
}

int main(int argc, char **argv)
{
	uint64_t round = 0;

	if (argc < 3)
		return 2;
	text = strcmp(argv[1], "text") == 0;
	wanted = strtoull(argv[2], NULL, 10);
	pages = argc > 3 ? strtoull(argv[3], NULL, 10) : 1 << 20;
	if (pages < 4096 || pages > 1u << 30)
		return 2;
	written = calloc(pages, 1);
	head();
	for (uint64_t gfn = 0; gfn < pages && made < wanted; gfn++)
		touch(gfn);
	while (made < wanted) {
		uint64_t gfn = round * 7919 % (pages / 1024) * 1024;

		for (uint64_t i = gfn; i < gfn + 512 && made < wanted; i++)
			if (written[i] == 2) {
				change(i, 1, leaf(i), leaf(i) & ~2ull);
				written[i] = 1;
			}
		unmap(gfn + 256, 512);
		for (uint64_t i = gfn + 256; i < gfn + 768 && made < wanted; i++)
			touch(i);
		for (uint64_t i = gfn; i < gfn + 256 && made < wanted; i++) {
			if (written[i] != 1)
				continue;
			fault(i, 7 | 1ull << 32);
			change(i, 1, leaf(i) & ~2ull, leaf(i));
			written[i] = 2;
		}
		round++;
	}
	tail();
	return fflush(stdout) ? 1 : 0;
}
