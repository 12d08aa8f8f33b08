/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"

struct stream {
	uint16_t vm, vcpu;
	uint32_t next;
};

struct verifier {
	struct trace_file *trace;
	struct verdict *verdict;
	struct replay replay;
	struct stream *streams;
	size_t stream_count;
	struct replay replica;      /* tables as the DUMP records say */
	uint64_t dump_records;      /* since the last dump_end */
	bool dump_complete;
};

static void found(struct verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void found(struct verdict *verdict, const char *format, ...)
{
	va_list arguments;

	verdict->problems++;
	if (verdict->first)
		return;
	va_start(arguments, format);
	verdict->first = formatted_v(format, arguments);
	va_end(arguments);
}

static void on_replay_problem(void *arg, uint64_t record, const char *text)
{
	found(arg, "record %" PRIu64 ": %s", record, text);
}

static struct stream *stream_of(struct verifier *v, const struct vmmu_trace_record *record)
{
	for (size_t i = 0; i < v->stream_count; i++)
		if (v->streams[i].vm == record->vm && v->streams[i].vcpu == record->vcpu)
			return &v->streams[i];
	v->streams = reallocate(v->streams, (v->stream_count + 1) * sizeof(*v->streams));
	v->streams[v->stream_count] = (struct stream){record->vm, record->vcpu, 0};
	return &v->streams[v->stream_count++];
}

/* `seq` counts up by one, from 0, in each stream. */
static void check_sequence(struct verifier *v, uint64_t number)
{
	const struct vmmu_trace_record *record = &v->trace->records[number];
	struct stream *stream = stream_of(v, record);
	uint32_t gap = record->seq - stream->next;

	if (gap) {
		v->verdict->lost += gap;
		found(v->verdict, "record %" PRIu64 ": vCPU %u of VM %u goes from number %u to %u", number,
		      record->vcpu, record->vm, stream->next - 1, record->seq);
	}
	if (record->event == VMMU_TRACE_DROPS)
		found(v->verdict, "record %" PRIu64 ": %" PRIu64 " records were dropped", number, record->drops.records);
	stream->next = record->seq + 1;
}

/* The dump's entry goes into the replica and must be what the replay has come to. */
static void check_dump(struct verifier *v, uint64_t number)
{
	const struct vmmu_trace_record *record = &v->trace->records[number];
	const struct replay_table *table = replay_table_at(&v->replay, record->entry.table);
	uint64_t replayed = table ? table->entry[record->index] : 0;

	v->dump_records++;
	v->verdict->dumped++;
	if (!table)
		found(v->verdict, "record %" PRIu64 ": the dump has a table 0x%" PRIx64 " that the replay has not",
		      number, record->entry.table);
	else if (!replay_same_entry(replay_vm_of(&v->replay, record->vm), replayed, record->entry.spte,
	                            &v->verdict->cpu_set_bits))
		found(v->verdict,
		      "record %" PRIu64 ": level %u table 0x%" PRIx64 " [%u] is 0x%016" PRIx64
		      " in the dump, 0x%016" PRIx64 " after the replay",
		      number, record->level, record->entry.table, record->index, record->entry.spte, replayed);
	replay_note_entry(&v->replica, record);
}

/* Entries that the replay has and the dump has not, in every table the root reaches. */
static void check_missing(struct verifier *v, const struct replay_vm *vm, const struct replay_table *table)
{
	const struct replay_table *dumped = replay_table_at(&v->replica, table->hpa);

	for (unsigned index = 0; index < TABLE_ENTRIES; index++) {
		const struct replay_table *child;
		struct vmmu_entry_info info;

		if (!table->entry[index])
			continue;
		if (!dumped || !dumped->entry[index])
			found(v->verdict,
			      "level %u table 0x%" PRIx64 " [%u] is 0x%016" PRIx64 " after the replay and missing "
			      "from the dump", table->level, table->hpa, index, table->entry[index]);
		vmmu_entry_decode(&vm->decoder, table->level, table->entry[index], &info);
		child = info.kind == VMMU_ENTRY_TABLE ? replay_table_at(&v->replay, vmmu_pfn_hpa(info.pfn).v) : NULL;
		if (child && child->level == table->level - 1)
			check_missing(v, vm, child);
	}
}

static void check_dump_end(struct verifier *v, uint64_t number)
{
	const struct vmmu_trace_record *record = &v->trace->records[number];
	const struct replay_vm *vm = replay_vm_of(&v->replay, record->vm);
	const struct replay_table *root = vm ? replay_table_at(&v->replay, vm->root) : NULL;

	if (record->dump_end.records != v->dump_records)
		found(v->verdict, "record %" PRIu64 ": the dump should have %" PRIu64 " entries, it has %" PRIu64,
		      number, record->dump_end.records, v->dump_records);
	if (!root)
		found(v->verdict, "record %" PRIu64 ": a dump, but no root was ever loaded", number);
	else
		check_missing(v, vm, root);
	v->dump_records = 0;
	v->dump_complete = true;
	replay_free(&v->replica);
	replay_init(&v->replica, NULL, NULL);
}

static void check_ending(struct verifier *v)
{
	const struct trace_file *trace = v->trace;

	if (trace->ending == TRACE_DAMAGED)
		found(v->verdict, "record %" PRIu64 " is damaged: %s", trace->count, trace->damage);
	else if (trace->ending == TRACE_SHORT)
		found(v->verdict, "%" PRIu64 " records of %" PRIu64 " are there", trace->count,
		      trace->header.records);
	else if (trace->ending == TRACE_OPEN)
		found(v->verdict, "the trace was not closed: the run goes on or was cut short");
	if (trace->header.dropped)
		found(v->verdict, "the header counts %" PRIu64 " dropped records", trace->header.dropped);
	if (!v->dump_complete)
		found(v->verdict, "there is no dump of the final tables to compare with");
}

void verify_trace(struct trace_file *trace, struct verdict *verdict)
{
	struct verifier v = {.trace = trace, .verdict = verdict};

	*verdict = (struct verdict){0};
	trace_sort(trace);
	replay_init(&v.replay, on_replay_problem, verdict);
	replay_init(&v.replica, NULL, NULL);
	for (uint64_t number = 0; number < trace->count; number++) {
		uint16_t event = trace->records[number].event;

		check_sequence(&v, number);
		if (event == VMMU_TRACE_DUMP && v.dump_records == 0)
			replay_settle(&v.replay, trace);
		if (event == VMMU_TRACE_DUMP)
			check_dump(&v, number);
		else if (event == VMMU_TRACE_DUMP_END)
			check_dump_end(&v, number);
		else
			replay_apply(&v.replay, trace, number);
	}
	replay_settle(&v.replay, trace);
	check_ending(&v);
	verdict->streams = v.stream_count;
	verdict->writes = v.replay.writes;
	verdict->cpu_set_bits += v.replay.cpu_set_bits;
	replay_free(&v.replay);
	replay_free(&v.replica);
	free(v.streams);
}
