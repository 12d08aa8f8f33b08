/* SPDX-License-Identifier: BSD-2-Clause */
/* The command's reading of traces: refusals, order, replay, and what `vmmu check` finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../tool/trace/describe.h"
#include "../../tool/trace/replay.h"
#include "../../tool/trace/trace_file.h"
#include "../../tool/trace/verify.h"
#include "trace_maker.h"

#define GPA 0x1234000ull
#define HPA 0x9000ull

static struct trace_maker maker;

static int setup(void **state)
{
	(void)state;
	maker_init(&maker);
	maker_vm(&maker, VMMU_MODE_EPT);
	maker_root(&maker, ROOT);
	maker_first_fault(&maker, GPA, HPA);
	return 0;
}

static struct trace_file parsed(void)
{
	struct trace_file trace;
	char *error = NULL;

	assert_true(trace_parse(&trace, &maker, maker_size(&maker), &error));
	assert_null(error);
	return trace;
}

static void assert_refused(size_t size, const char *part)
{
	struct trace_file trace;
	char *error = NULL;

	assert_false(trace_parse(&trace, &maker, size, &error));
	assert_non_null(error);
	assert_non_null(strstr(error, part));
	free(error);
}

static void headers_that_are_refused(void **state)
{
	(void)state;
	assert_refused(511, "no trace");
	maker.header.version = 7;
	assert_refused(maker_size(&maker), "version 7, this vmmu reads versions 1 to 3");
	maker.header.version = VMMU_TRACE_VERSION_PLAIN;
	maker.header.record_size = 32;
	assert_refused(maker_size(&maker), "records of 32 bytes");
	maker.header.magic[0] = 'X';
	assert_refused(maker_size(&maker), "not a vmmu trace");
}

static void endings_are_told_apart(void **state)
{
	struct trace_file trace = parsed();
	uint64_t all = trace.count;

	(void)state;
	assert_int_equal(trace.ending, TRACE_COMPLETE);
	trace_close(&trace);

	maker.header.complete = 0;
	trace = parsed();
	assert_int_equal(trace.ending, TRACE_OPEN);
	assert_int_equal(trace.count, all);
	trace_close(&trace);

	/* An all-zero record ends a trace that was not closed. */
	maker.records[3].event = VMMU_TRACE_NONE;
	trace = parsed();
	assert_int_equal(trace.count, 3);
	trace_close(&trace);

	maker.header.complete = 1;
	maker.records[3].event = VMMU_TRACE_EVENT_MAX + 1;
	trace = parsed();
	assert_int_equal(trace.ending, TRACE_DAMAGED);
	assert_int_equal(trace.count, 3);
	assert_non_null(trace.damage);
	trace_close(&trace);
}

static void a_file_cut_short_keeps_what_is_there(void **state)
{
	struct trace_file trace;
	char *error = NULL;

	(void)state;
	/* In the middle of a record: the piece does not count. */
	assert_true(trace_parse(&trace, &maker, maker_size(&maker) - 100, &error));
	assert_int_equal(trace.ending, TRACE_SHORT);
	assert_int_equal(trace.count, maker.header.records - 2);
	trace_close(&trace);
}

static void damaged_records_stop_the_reading(void **state)
{
	struct trace_file trace;

	(void)state;
	maker.records[4].index = 512; /* a write */
	trace = parsed();
	assert_int_equal(trace.ending, TRACE_DAMAGED);
	assert_int_equal(trace.count, 4);
	trace_close(&trace);
	maker.records[4].index = 0;
	maker.records[4].level = 6;
	trace = parsed();
	assert_int_equal(trace.count, 4);
	trace_close(&trace);
}

/* A newer engine has events, causes and results of which nothing is known here. */
static void what_a_newer_engine_adds_is_passed_over(void **state)
{
	struct vmmu_trace_record *future;
	struct trace_file trace;
	struct verdict verdict;
	uint64_t number;

	(void)state;
	maker.records[maker.header.records - 1].result = VMMU_FAULT_RESULT_COUNT;
	number = maker.header.records;
	future = maker_add(&maker, VMMU_TRACE_EVENT_MAX, 0);
	future->level = 200;
	future->cause = 255;
	future->index = 0xffff;
	future->aux = ~0u;
	for (unsigned i = 0; i < 4; i++)
		future->word[i] = ROOT;
	maker_write(&maker, 1, L1, GPA >> 12, EPT_LEAF(HPA), EPT_LEAF(HPA) & ~2ull)->cause = VMMU_CAUSE_COUNT;
	maker_dump(&maker, 4, ROOT, GPA >> 12, EPT_TABLE(L3));
	maker_dump(&maker, 3, L3, GPA >> 12, EPT_TABLE(L2));
	maker_dump(&maker, 2, L2, GPA >> 12, EPT_TABLE(L1));
	maker_dump(&maker, 1, L1, GPA >> 12, EPT_LEAF(HPA) & ~2ull);
	maker_dump_end(&maker, 4);
	trace = parsed();
	assert_int_equal(trace.ending, TRACE_COMPLETE);
	assert_int_equal(trace.count, maker.header.records);
	assert_int_equal(trace.unknown, 1);
	assert_false(trace_knows(&trace.records[number]));
	assert_string_equal(describe_event(trace.records[number].event).text, "event-1023");
	assert_string_equal(describe_cause(255).text, "cause-255");
	assert_string_equal(describe_result(100).text, "result-100");
	/* Its number in the stream counts all the same, and the tables are what the rest says. */
	verify_trace(&trace, &verdict);
	assert_null(verdict.first);
	assert_int_equal(verdict.lost, 0);
	assert_int_equal(verdict.writes, 5);
	trace_close(&trace);
}

static void a_growing_file_is_followed(void **state)
{
	char path[] = "/tmp/vmmu-test-XXXXXX", *error = NULL;
	int fd = mkstemp(path);
	uint64_t records = maker.header.records;
	struct trace_file trace;
	off_t half = (off_t)(sizeof(maker.header) + 5 * sizeof(maker.records[0]));

	(void)state;
	maker.header.complete = 0;
	maker.header.records = 0;
	assert_int_equal(pwrite(fd, &maker, (size_t)half, 0), half);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_true(trace_open(&trace, path, &error));
	assert_int_equal(trace.count, 5);
	assert_int_equal(trace_read_more(&trace), 0);
	maker.header.complete = 1;
	maker.header.records = records;
	assert_int_equal(pwrite(fd, &maker, maker_size(&maker), 0), (ssize_t)maker_size(&maker));
	assert_int_equal(trace_read_more(&trace), records - 5);
	assert_int_equal(trace.ending, TRACE_COMPLETE);
	trace_close(&trace);
	close(fd);
	unlink(path);
}

static void streams_are_merged_by_time(void **state)
{
	struct vmmu_trace_record last = maker.records[maker.header.records - 1];
	struct trace_file trace;
	char *error = NULL;

	(void)state;
	/* A management record that was written out late. */
	maker_add(&maker, VMMU_TRACE_SLOT, VMMU_TRACE_NO_VCPU)->time = 15;
	trace = parsed();
	assert_true(trace_sort(&trace, &error));
	assert_int_equal(trace.records[1].event, VMMU_TRACE_SLOT);
	assert_int_equal(trace.records[trace.count - 1].seq, last.seq);
	for (uint64_t i = 1; i < trace.count; i++)
		assert_true(trace.records[i - 1].time <= trace.records[i].time);
	trace_close(&trace);
}

static unsigned problems;

static void count_problem(void *arg, uint64_t record, const char *text)
{
	(void)arg;
	(void)record;
	assert_non_null(text);
	problems++;
}

static struct replay replayed(const struct trace_file *trace, uint64_t to)
{
	struct replay replay;

	problems = 0;
	replay_init(&replay, count_problem, NULL);
	replay_range(&replay, trace, 0, to);
	replay_settle(&replay, trace);
	return replay;
}

static void a_replay_translates(void **state)
{
	struct vmmu_path_step steps[VMMU_LEVEL_MAX];
	struct trace_file trace = parsed();
	struct replay replay = replayed(&trace, trace.count);
	const struct replay_vm *vm = replay_vm_of(&replay, 1);

	(void)state;
	assert_int_equal(problems, 0);
	assert_non_null(vm);
	assert_int_equal(replay_walk(&replay, vm, vm->root, GPA, steps), 4);
	assert_int_equal(steps[3].info.kind, VMMU_ENTRY_LEAF);
	assert_int_equal(vmmu_pfn_hpa(steps[3].info.pfn).v, HPA);
	assert_int_equal(steps[3].info.rights, VMMU_RWX);
	assert_int_equal(steps[3].info.memtype, VMMU_MEMTYPE_WB);
	/* The neighbour is not there. */
	assert_int_equal(replay_walk(&replay, vm, vm->root, GPA + 0x1000, steps), 4);
	assert_int_equal(steps[3].info.kind, VMMU_ENTRY_EMPTY);
	replay_free(&replay);

	/* Before its last write the page was not there, before the root nothing was. */
	replay = replayed(&trace, trace.count - 2);
	assert_int_equal(replay_walk(&replay, replay_vm_of(&replay, 1), replay_vm_of(&replay, 1)->root, GPA, steps), 4);
	assert_int_equal(steps[3].info.kind, VMMU_ENTRY_EMPTY);
	replay_free(&replay);
	replay = replayed(&trace, 1);
	assert_int_equal(replay_walk(&replay, replay_vm_of(&replay, 1), replay_vm_of(&replay, 1)->root, GPA, steps), 0);
	replay_free(&replay);
	trace_close(&trace);
}

static void crossed_writes_find_their_order(void **state)
{
	const uint64_t a = EPT_LEAF(0x20000), b = EPT_LEAF(0x30000), c = EPT_LEAF(0x40000);
	struct trace_file trace;
	struct replay replay;

	(void)state;
	/* Made: 0 -> a, a -> b, b -> c. Recorded the other way round. */
	maker_write(&maker, 1, L1, 7, b, c);
	maker_write(&maker, 1, L1, 7, a, b);
	maker_write(&maker, 1, L1, 7, 0, a);
	trace = parsed();
	replay = replayed(&trace, trace.count);
	assert_int_equal(problems, 0);
	assert_int_equal(replay_entry(replay_table_at(&replay, L1), 7), c);
	replay_free(&replay);
	trace_close(&trace);
}

static void a_write_that_follows_nothing_is_reported(void **state)
{
	struct trace_file trace;
	struct replay replay;

	(void)state;
	maker_write(&maker, 1, L1, 7, EPT_LEAF(0x50000), 0);
	trace = parsed();
	replay = replayed(&trace, trace.count);
	assert_int_equal(problems, 1);
	replay_free(&replay);
	trace_close(&trace);
}

static void freed_tables_come_back_empty(void **state)
{
	struct trace_file trace;
	struct replay replay;

	(void)state;
	maker_add(&maker, VMMU_TRACE_FREE_PAGE, 0)->page.table = L1;
	maker_table(&maker, 1, L1, 0);
	trace = parsed();
	replay = replayed(&trace, trace.count);
	assert_int_equal(problems, 0);
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		assert_int_equal(replay_entry(replay_table_at(&replay, L1), i), 0);
	replay_free(&replay);
	trace_close(&trace);
}

static void maker_found(uint8_t level, uint64_t table, uint64_t gfn, uint64_t entry)
{
	maker_dump(&maker, level, table, gfn, entry);
	maker.records[maker.header.records - 1].event = VMMU_TRACE_FOUND;
}

static void tables_found_when_tracing_begins(void **state)
{
	struct vmmu_path_step steps[VMMU_LEVEL_MAX];
	struct trace_file trace;
	struct replay replay;

	(void)state;
	/* Tracing was off for a while: what the trace said before does not count any more. */
	maker_vm(&maker, VMMU_MODE_EPT);
	maker_table(&maker, 4, ROOT, 0);
	maker.records[maker.header.records - 1].created = 0;
	maker_found(4, ROOT, 0, EPT_TABLE(0x8000));
	maker_table(&maker, 3, 0x8000, 0);
	maker.records[maker.header.records - 1].created = 0;
	maker_found(3, 0x8000, 1 << 18, EPT_LEAF(1ull << 30) | 1 << 7);
	maker_write(&maker, 3, 0x8000, 1 << 18, EPT_LEAF(1ull << 30) | 1 << 7, 0);
	trace = parsed();
	replay = replayed(&trace, trace.count - 1);
	assert_int_equal(problems, 0);
	assert_null(replay_table_at(&replay, L1));
	assert_int_equal(replay_walk(&replay, replay_vm_of(&replay, 1), replay_vm_of(&replay, 1)->root, (1ull << 30) + 5, steps), 2);
	assert_int_equal(steps[1].info.kind, VMMU_ENTRY_LEAF);
	replay_free(&replay);
	replay = replayed(&trace, trace.count);
	assert_int_equal(problems, 0);
	assert_int_equal(replay_walk(&replay, replay_vm_of(&replay, 1), replay_vm_of(&replay, 1)->root, 1ull << 30, steps), 2);
	assert_int_equal(steps[1].info.kind, VMMU_ENTRY_EMPTY);
	replay_free(&replay);
	trace_close(&trace);
}

static void only_the_cpu_sets_accessed_and_dirty(void **state)
{
	struct replay_vm vm = {.cpu_bits = EPT_ACCESSED | EPT_DIRTY};
	uint64_t bits = 0;

	(void)state;
	assert_true(replay_same_entry(&vm, EPT_LEAF(HPA), EPT_LEAF(HPA) | EPT_ACCESSED | EPT_DIRTY, &bits));
	assert_int_equal(bits, 2);
	assert_false(replay_same_entry(&vm, EPT_LEAF(HPA) | EPT_ACCESSED, EPT_LEAF(HPA), &bits));
	assert_false(replay_same_entry(&vm, 0, EPT_ACCESSED, &bits));
	assert_false(replay_same_entry(&vm, EPT_LEAF(HPA), EPT_LEAF(HPA + 0x1000), &bits));
	vm.cpu_bits = 0;
	assert_false(replay_same_entry(&vm, EPT_LEAF(HPA), EPT_LEAF(HPA) | EPT_ACCESSED, &bits));
}

/* What verify_trace says first about the trace in `maker`; "" when all is well. Caller frees. */
static char *verdict_text(struct verdict *out)
{
	struct trace_file trace = parsed();
	struct verdict verdict;
	char *text;

	verify_trace(&trace, &verdict);
	trace_close(&trace);
	text = verdict.first ? verdict.first : strdup("");
	assert_int_equal(verdict.problems != 0, *text != '\0');
	if (out)
		*out = verdict;
	return text;
}

static void assert_verdict(const char *part)
{
	char *text = verdict_text(NULL);

	if (*part)
		assert_non_null(strstr(text, part));
	else
		assert_string_equal(text, "");
	free(text);
}

static void a_whole_trace_passes(void **state)
{
	struct verdict verdict;
	char *text;

	(void)state;
	maker_first_dump(&maker, GPA, HPA);
	/* The CPU marked the page meanwhile. */
	maker.records[maker.header.records - 1].entry.spte |= EPT_ACCESSED;
	maker_dump_end(&maker, 4);
	text = verdict_text(&verdict);
	assert_string_equal(text, "");
	assert_int_equal(verdict.writes, 4);
	assert_int_equal(verdict.dumped, 4);
	assert_int_equal(verdict.streams, 2);
	assert_int_equal(verdict.cpu_set_bits, 1);
	assert_int_equal(verdict.lost, 0);
	free(text);
}

static void differences_are_found(void **state)
{
	uint64_t leaf;

	(void)state;
	assert_verdict("no dump of the final tables");
	maker_first_dump(&maker, GPA, HPA);
	leaf = maker.header.records - 1;
	maker_dump_end(&maker, 4);
	assert_verdict("");

	maker.records[leaf].entry.spte ^= 1;
	assert_verdict("in the dump");
	maker.records[leaf].entry.spte ^= 1;

	maker.records[leaf].index ^= 1;
	assert_verdict("in the dump");
	maker.records[leaf].index ^= 1;

	maker.records[leaf].entry.table = 0x77000;
	assert_verdict("that the replay has not");
	maker.records[leaf].entry.table = L1;

	maker.records[leaf + 1].dump_end.records = 5;
	assert_verdict("should have 5 entries, it has 4");
	maker.records[leaf + 1].dump_end.records = 4;

	maker.header.dropped = 3;
	assert_verdict("3 dropped records");
	maker.header.dropped = 0;

	for (uint64_t i = 5; i < maker.header.records; i++)
		if (maker.records[i].vcpu == 0)
			maker.records[i].seq++;
	assert_verdict("goes from number");
}

static void an_entry_missing_from_the_dump_is_found(void **state)
{
	(void)state;
	maker_dump(&maker, 4, ROOT, GPA >> 12, EPT_TABLE(L3));
	maker_dump(&maker, 3, L3, GPA >> 12, EPT_TABLE(L2));
	maker_dump(&maker, 2, L2, GPA >> 12, EPT_TABLE(L1));
	maker_dump_end(&maker, 3);
	assert_verdict("missing from the dump");
}

static void maker_half_fault(unsigned event, uint32_t fault)
{
	struct vmmu_trace_record *r = maker_add(&maker, event, 0);

	r->fault = fault;
	if (event == VMMU_TRACE_PAGE_FAULT) {
		r->access = VMMU_W;
		r->page_fault = (struct vmmu_trace_page_fault){.address = GPA + 0x1000, .error_code = 2};
	} else {
		r->result = VMMU_FAULT_RETRY;
		r->fault_end.gpa = GPA + 0x1000;
	}
}

/* While a vCPU handles faults tracing goes off, and on again in the middle of another one. */
static void faults_that_tracing_cuts_in_two(void **state)
{
	(void)state;
	maker_half_fault(VMMU_TRACE_PAGE_FAULT, 2);
	maker_vm(&maker, VMMU_MODE_EPT);
	maker_found(4, ROOT, GPA >> 12, EPT_TABLE(L3));
	maker_found(3, L3, GPA >> 12, EPT_TABLE(L2));
	maker_found(2, L2, GPA >> 12, EPT_TABLE(L1));
	maker_found(1, L1, GPA >> 12, EPT_LEAF(HPA));
	maker_write(&maker, 1, L1, (GPA >> 12) + 1, 0, EPT_LEAF(HPA + 0x1000))->fault = 5;
	maker_root(&maker, ROOT);
	maker_half_fault(VMMU_TRACE_PAGE_FAULT, 6);
	maker_half_fault(VMMU_TRACE_FAULT_END, 6);
	maker_first_dump(&maker, GPA, HPA);
	maker_dump(&maker, 1, L1, (GPA >> 12) + 1, EPT_LEAF(HPA + 0x1000));
	maker_dump_end(&maker, 5);
	assert_verdict("");
	/* A fault that has begun in the trace must end there. */
	maker.records[maker.header.records - 7].fault = 0;
	assert_verdict("where fault 6 is under way");
}

/* ---- every bit ------------------------------------------------------------------- */

/* How a trace of a VM that runs on ROOT begins, to the end of its first fault. */
static void make_first_fault(void)
{
	maker_vm(&maker, VMMU_MODE_EPT);
	maker_table(&maker, 4, ROOT, 0);
	maker.records[1].vcpu = VMMU_TRACE_NO_VCPU;
	maker.records[1].created = 0;
	maker.records[1].seq = maker.seq[1]++;
	maker.seq[0] = 0;
	maker_root(&maker, ROOT);
	maker_first_fault(&maker, GPA, HPA);
}

/* Two faults, a zap with its flush, a table freed, MMIO: a record of most kinds. */
static void make_of_all_kinds(void)
{
	struct vmmu_trace_record *r;

	maker_init(&maker);
	make_first_fault();
	r = maker_add(&maker, VMMU_TRACE_PAGE_FAULT, 0);
	r->fault = 2;
	r->access = VMMU_W;
	r->page_fault = (struct vmmu_trace_page_fault){GPA + 0x1000, 2, 0x1000, 0};
	maker_write(&maker, 1, L1, (GPA >> 12) + 1, 0, EPT_LEAF(HPA + 0x1000))->fault = 2;
	r = maker_add(&maker, VMMU_TRACE_FAULT_END, 0);
	r->fault = 2;
	r->level = 1;
	r->result = VMMU_FAULT_FIXED;
	r->fault_end = (struct vmmu_trace_fault_end){GPA + 0x1000, (HPA >> 12) + 1, EPT_LEAF(HPA + 0x1000), 0};
	r = maker_write(&maker, 2, L2, GPA >> 12, EPT_TABLE(L1), 0);
	r->cause = VMMU_CAUSE_ZAP_RANGE;
	r = maker_add(&maker, VMMU_TRACE_PREPARE_ZAP_PAGE, 0);
	r->level = 1;
	r->cause = VMMU_CAUSE_ZAP_RANGE;
	r->page = (struct vmmu_trace_page){L1, (GPA >> 12) & ~511ull, {0}};
	r = maker_add(&maker, VMMU_TRACE_FLUSH_OWED, 0);
	r->cause = VMMU_CAUSE_ZAP_RANGE;
	r->flush_id = 1;
	r->flush = (struct vmmu_trace_flush){(GPA >> 12) & ~511ull, 512, 1, 0};
	maker_add(&maker, VMMU_TRACE_FLUSH_DONE, 0)->flush_id = 1;
	r = maker_add(&maker, VMMU_TRACE_FREE_PAGE, 0);
	r->flush_id = 1;
	r->page.table = L1;
	maker_dump(&maker, 4, ROOT, GPA >> 12, EPT_TABLE(L3));
	maker_dump(&maker, 3, L3, GPA >> 12, EPT_TABLE(L2));
	maker_dump_end(&maker, 2);
}

/* Is the trace in `maker` found to be wrong? */
static bool is_noticed(void)
{
	struct trace_file trace = parsed();
	struct verdict verdict;
	bool noticed;

	verify_trace(&trace, &verdict);
	noticed = verdict.problems != 0;
	trace_close(&trace);
	free(verdict.first);
	return noticed;
}

/*
 * What no other record decides: when something happened, by what instruction, what
 * the hardware set in its error code, and what the CPU can do.
 */
static bool may_be_anything(const struct vmmu_trace_record *r, size_t byte)
{
	size_t in_event = offsetof(struct vmmu_trace_record, event);
	bool unknown = byte == in_event || byte == in_event + 1; /* it becomes one that is passed over */

	if (byte < offsetof(struct vmmu_trace_record, seq))
		return true;
	switch (r->event) {
	case VMMU_TRACE_VM:
		return byte >= offsetof(struct vmmu_trace_record, config) ||
		       (byte & ~1ull) == offsetof(struct vmmu_trace_record, root);
	case VMMU_TRACE_GET_PAGE:
		/* The root's: that it is loaded says enough. */
		return r->vcpu == VMMU_TRACE_NO_VCPU;
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
	case VMMU_TRACE_FREE_PAGE:
		return unknown;
	case VMMU_TRACE_ROOT_LOAD:
		return byte >= offsetof(struct vmmu_trace_record, root_load.pointer);
	case VMMU_TRACE_PAGE_FAULT:
		return byte >= offsetof(struct vmmu_trace_record, page_fault.error_code) || (unknown && r->fault == 1);
	case VMMU_TRACE_FLUSH_OWED:
		return byte >= offsetof(struct vmmu_trace_record, flush);
	case VMMU_TRACE_SPTE_CHANGED:
	case VMMU_TRACE_DUMP:
		/* Accessed and dirty bits, which the CPU may have set meanwhile. */
		return byte == offsetof(struct vmmu_trace_record, spte.old_spte) + 1 ||
		       byte == offsetof(struct vmmu_trace_record, entry.spte) + 1;
	case VMMU_TRACE_FAULT_END:
		return byte == offsetof(struct vmmu_trace_record, result) ||
		       byte == offsetof(struct vmmu_trace_record, fault_end.entry) + 1 ||
		       byte >= offsetof(struct vmmu_trace_record, fault_end.handler);
	default:
		return byte == offsetof(struct vmmu_trace_record, cause);
	}
}

/* One bit at a time, in every record. A cause may become another one that is as good. */
static void a_flipped_bit_is_noticed(void **state)
{
	unsigned bits = 0, unnoticed = 0, wrong = 0;

	(void)state;
	make_of_all_kinds();
	assert_verdict("");
	for (uint64_t n = 0; n < maker.header.records; n++) {
		struct vmmu_trace_record *r = &maker.records[n], was = *r;

		for (unsigned bit = 0; bit < 8 * sizeof(*r); bit++) {
			size_t byte = bit / 8;

			((uint8_t *)r)[byte] ^= (uint8_t)(1u << bit % 8);
			bits++;
			if (!is_noticed()) {
				unnoticed++;
				if (!may_be_anything(&was, byte) && byte != offsetof(struct vmmu_trace_record, cause))
					wrong++, print_error("record %llu (%s): bit %u of byte %zu changed, and nothing is said\n",
					                     (unsigned long long)n, vmmu_trace_event_name(was.event), bit % 8, byte);
			}
			*r = was;
		}
	}
	assert_int_equal(wrong, 0);
	if (unnoticed * 100 > bits * 15)
		fail_msg("%u of %u bits can change unnoticed", unnoticed, bits);
}

/* The same trace with checksums: not one bit of the file can change. */
static void no_bit_of_a_file_with_checksums_changes(void **state)
{
	struct vmmu_trace_record *sum;
	uint8_t *file = (uint8_t *)&maker;
	size_t size;

	(void)state;
	make_of_all_kinds();
	maker.header.version = VMMU_TRACE_VERSION;
	sum = &maker.records[maker.header.records];
	*sum = (struct vmmu_trace_record){
		.time = maker.now,
		.event = VMMU_TRACE_CHECKSUM,
		.vcpu = VMMU_TRACE_NO_VCPU,
	};
	sum->checksum.records = maker.header.records;
	sum->checksum.crc = vmmu_trace_crc(0, maker.records, maker.header.records * sizeof(*sum));
	maker.header.records++;
	maker.header.crc = vmmu_trace_crc(0, &maker.header, sizeof(maker.header));
	assert_verdict("");
	size = maker_size(&maker);
	for (size_t bit = 0; bit < 8 * size; bit++) {
		struct trace_file trace;
		struct verdict verdict = {0};
		char *error = NULL;

		/* What a checksum says of itself, its time and place, is no part of the story. */
		if (bit / 8 >= size - sizeof(*sum) && bit / 8 < size - sizeof(*sum) + offsetof(struct vmmu_trace_record, checksum))
			continue;
		if (bit / 8 >= size - sizeof(sum->checksum.reserved))
			break;
		file[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (trace_parse(&trace, &maker, size, &error)) {
			verify_trace(&trace, &verdict);
			trace_close(&trace);
			if (!verdict.problems)
				fail_msg("bit %zu of byte %zu changed, and nothing is said", bit % 8, bit / 8);
		} else {
			assert_non_null(strstr(error, "vmmu") ? error : strstr(error, "damaged"));
		}
		free(verdict.first);
		free(error);
		file[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void add_checksum(uint64_t since)
{
	struct vmmu_trace_record *sum = &maker.records[maker.header.records++];

	*sum = (struct vmmu_trace_record){.time = maker.now, .event = VMMU_TRACE_CHECKSUM, .vcpu = VMMU_TRACE_NO_VCPU};
	sum->checksum.records = sum - &maker.records[since];
	sum->checksum.crc = vmmu_trace_crc(0, &maker.records[since], (size_t)sum->checksum.records * sizeof(*sum));
}

/* Of a file, too, which is read in several steps: what stands before the piece that a checksum does not fit is there. */
static void a_damaged_file_keeps_what_is_before(void **state)
{
	uint64_t first;

	(void)state;
	make_of_all_kinds();
	maker.header.version = VMMU_TRACE_VERSION;
	add_checksum(0);
	first = maker.header.records;
	maker_write(&maker, 1, L1, GPA >> 12, 0, EPT_LEAF(HPA));
	maker_write(&maker, 1, L1, GPA >> 12, EPT_LEAF(HPA), 0);
	add_checksum(first);
	maker.header.crc = vmmu_trace_crc(0, &maker.header, sizeof(maker.header));
	for (unsigned piece = 0; piece < 2; piece++) {
		struct vmmu_trace_record *wrong = &maker.records[piece ? first : 2];
		char path[] = "/tmp/vmmu-trace-XXXXXX", *error = NULL;
		struct trace_file trace;
		int fd;

		wrong->word[0] ^= 1;
		fd = mkstemp(path);
		assert_true(fd >= 0 && write(fd, &maker, maker_size(&maker)) == (ssize_t)maker_size(&maker));
		close(fd);
		assert_true(trace_open(&trace, path, &error));
		assert_int_equal(trace.ending, TRACE_DAMAGED);
		assert_non_null(strstr(trace.damage, "checksum"));
		assert_int_equal(trace.count, piece ? first : 0);
		assert_int_equal(trace_read_more(&trace), 0);
		assert_int_equal(trace.count, piece ? first : 0);
		trace_close(&trace);
		unlink(path);
		wrong->word[0] ^= 1;
	}
}

/* ---- one record for three ----------------------------------------------------------- */

/* The three records of the last fault become one. It ends the file for now. */
static void make_brief(void)
{
	struct vmmu_trace_record *r = &maker.records[maker.header.records - 3], brief = {
											.time = r->time,
											.seq = r->seq,
											.event = VMMU_TRACE_FAULT_FIXED,
											.level = r[1].level,
											.error_high = (uint8_t)(r->page_fault.error_code >> 32),
											.vm = r->vm,
											.vcpu = r->vcpu,
											.fault = r->fault,
											.root = r->root,
											.frame_low = (uint16_t)(r[1].spte.table >> 12),
											.frame_high = (uint32_t)(r[1].spte.table >> 28) | r->access << 24,
											.fault_fixed = {
												.address = r->page_fault.address | r->page_fault.error_code << 52,
												.guest_rip = r->page_fault.guest_rip,
												.word = r->page_fault.word,
												.new_spte = r[1].spte.new_spte,
											},
										};

	*r = brief;
	memset(r + 1, 0, 2 * sizeof(*r));
	maker.header.records -= 2;
}

static void maker_fault(uint32_t fault, uint64_t gpa, uint64_t hpa)
{
	struct vmmu_trace_record *r = maker_add(&maker, VMMU_TRACE_PAGE_FAULT, 0);

	r->fault = fault;
	r->access = VMMU_W;
	r->page_fault = (struct vmmu_trace_page_fault){gpa, 0x182, 0xffffffff81000010ull, 0xabcdef0123456789};
	maker_write(&maker, 1, L1, gpa >> 12, 0, EPT_LEAF(hpa))->fault = fault;
	r = maker_add(&maker, VMMU_TRACE_FAULT_END, 0);
	r->fault = fault;
	r->level = 1;
	r->result = VMMU_FAULT_FIXED;
	r->fault_end = (struct vmmu_trace_fault_end){gpa, hpa >> 12, EPT_LEAF(hpa), VMMU_HANDLER_DIRECT};
}

enum { BRIEF_FAULTS = 100 };

/* A first fault, and others of which every one or none has but one record. Their dump. */
static void make_faults(bool brief)
{
	maker_init(&maker);
	maker.header.version = VMMU_TRACE_VERSION;
	make_first_fault();
	for (uint32_t i = 1; i < BRIEF_FAULTS; i++) {
		maker_fault(i + 1, GPA + i * 0x1000ull + 0x123, HPA + i * 0x1000ull);
		if (brief)
			make_brief();
	}
	maker_dump(&maker, 4, ROOT, GPA >> 12, EPT_TABLE(L3));
	maker_dump(&maker, 3, L3, GPA >> 12, EPT_TABLE(L2));
	maker_dump(&maker, 2, L2, GPA >> 12, EPT_TABLE(L1));
	for (uint32_t i = 0; i < BRIEF_FAULTS; i++)
		maker_dump(&maker, 1, L1, (GPA >> 12) + i, EPT_LEAF(HPA + i * 0x1000ull));
	maker_dump_end(&maker, 3 + BRIEF_FAULTS);
	add_checksum(0);
	maker.header.crc = vmmu_trace_crc(0, &maker.header, sizeof(maker.header));
}

static void a_brief_fault_is_read_as_three_records(void **state)
{
	struct trace_file brief, apart;
	uint64_t records;

	(void)state;
	make_faults(false);
	assert_verdict("");
	apart = parsed();
	make_faults(true);
	records = maker.header.records;
	assert_verdict("");
	brief = parsed();
	assert_int_equal(brief.ending, TRACE_COMPLETE);
	assert_int_equal(brief.taken, records);
	assert_int_equal(apart.taken, records + 2 * (BRIEF_FAULTS - 1));
	assert_int_equal(brief.count, apart.count);
	for (uint64_t i = 0; i < brief.count; i++) {
		struct vmmu_trace_record r = brief.records[i], s = apart.records[i];

		r.time = s.time = 0; /* it has but one */
		if (r.event == VMMU_TRACE_CHECKSUM)
			r.checksum = s.checksum;
		assert_memory_equal(&r, &s, sizeof(r));
	}
	trace_close(&brief);
	trace_close(&apart);
}

/* Piece by piece from a file that grows, as from memory; what its checksum does not fit goes, all three records of it. */
static void brief_faults_are_read_as_they_come(void **state)
{
	char path[] = "/tmp/vmmu-trace-XXXXXX", *error = NULL;
	struct trace_file trace, whole;
	uint64_t records, first;
	int fd;

	(void)state;
	make_faults(true);
	whole = parsed();
	records = maker.header.records;
	fd = mkstemp(path);
	assert_true(fd >= 0);
	maker.header.complete = 0;
	assert_int_equal(pwrite(fd, &maker, maker_size(&maker) - records * sizeof(maker.records[0]), 0), 512);
	assert_true(trace_open_growing(&trace, path, &error));
	assert_int_equal(trace.count, 0);
	for (uint64_t n = 0; n < records; n++) {
		uint64_t before = trace.count;

		assert_int_equal(pwrite(fd, &maker.records[n], 64, 512 + (off_t)n * 64), 64);
		assert_int_equal(trace_read_more(&trace), vmmu_trace_numbers(&maker.records[n]));
		assert_int_equal(trace.count, before + vmmu_trace_numbers(&maker.records[n]));
	}
	assert_int_equal(trace.count, whole.count);
	assert_memory_equal(trace.records, whole.records, trace.count * 64);
	trace_close(&trace);
	assert_true(trace_open_counted(&trace, path, &error));
	assert_int_equal(trace.count, whole.count);
	assert_int_equal(trace.taken, records);
	trace_close(&trace);
	trace_close(&whole);

	maker.header.complete = 1;
	first = maker.header.records;
	maker_write(&maker, 1, L1, GPA >> 12, EPT_LEAF(HPA), 0);
	maker_fault(BRIEF_FAULTS + 1, GPA, HPA);
	make_brief();
	add_checksum(first);
	maker.records[first].word[0] ^= 1;
	maker.header.crc = 0;
	maker.header.crc = vmmu_trace_crc(0, &maker.header, sizeof(maker.header));
	assert_int_equal(pwrite(fd, &maker, maker_size(&maker), 0), maker_size(&maker));
	close(fd);
	assert_true(trace_open(&trace, path, &error));
	assert_int_equal(trace.ending, TRACE_DAMAGED);
	assert_int_equal(trace.taken, first);
	assert_int_equal(trace.count, first + 2 * (BRIEF_FAULTS - 1));
	trace_close(&trace);
	unlink(path);
}

/* Where there is no checksum: a level that no entry has. */
static void a_brief_fault_has_a_level(void **state)
{
	(void)state;
	for (unsigned level = 0; level < 256; level += level < 8 ? 1 : 31) {
		struct trace_file trace;

		make_faults(true);
		maker.header.version = VMMU_TRACE_VERSION_PLAIN;
		maker.header.crc = 0;
		maker.records[maker.header.records - BRIEF_FAULTS - 6].level = (uint8_t)level;
		trace = parsed();
		assert_int_equal(maker.records[maker.header.records - BRIEF_FAULTS - 6].event, VMMU_TRACE_FAULT_FIXED);
		assert_int_equal(trace.ending == TRACE_DAMAGED, level == 0 || level > VMMU_LEVEL_MAX);
		trace_close(&trace);
	}
}

static void a_lost_first_record_is_found(void **state)
{
	(void)state;
	maker_first_dump(&maker, GPA, HPA);
	maker_dump_end(&maker, 4);
	for (uint64_t i = 0; i < maker.header.records; i++)
		maker.records[i].seq++;
	assert_verdict("goes from number");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(headers_that_are_refused, setup),
		cmocka_unit_test_setup(endings_are_told_apart, setup),
		cmocka_unit_test_setup(a_file_cut_short_keeps_what_is_there, setup),
		cmocka_unit_test_setup(damaged_records_stop_the_reading, setup),
		cmocka_unit_test_setup(a_flipped_bit_is_noticed, setup),
		cmocka_unit_test_setup(a_brief_fault_is_read_as_three_records, setup),
		cmocka_unit_test_setup(brief_faults_are_read_as_they_come, setup),
		cmocka_unit_test_setup(a_brief_fault_has_a_level, setup),
		cmocka_unit_test_setup(no_bit_of_a_file_with_checksums_changes, setup),
		cmocka_unit_test_setup(a_damaged_file_keeps_what_is_before, setup),
		cmocka_unit_test_setup(what_a_newer_engine_adds_is_passed_over, setup),
		cmocka_unit_test_setup(a_growing_file_is_followed, setup),
		cmocka_unit_test_setup(streams_are_merged_by_time, setup),
		cmocka_unit_test_setup(a_replay_translates, setup),
		cmocka_unit_test_setup(crossed_writes_find_their_order, setup),
		cmocka_unit_test_setup(a_write_that_follows_nothing_is_reported, setup),
		cmocka_unit_test_setup(freed_tables_come_back_empty, setup),
		cmocka_unit_test_setup(tables_found_when_tracing_begins, setup),
		cmocka_unit_test(only_the_cpu_sets_accessed_and_dirty),
		cmocka_unit_test_setup(a_whole_trace_passes, setup),
		cmocka_unit_test_setup(differences_are_found, setup),
		cmocka_unit_test_setup(an_entry_missing_from_the_dump_is_found, setup),
		cmocka_unit_test_setup(a_lost_first_record_is_found, setup),
		cmocka_unit_test_setup(faults_that_tracing_cuts_in_two, setup),
	};

	return cmocka_run_group_tests_name("tool: traces", tests, NULL, NULL);
}
