/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "rules.h"

struct verifier {
	struct trace_file *trace;
	struct verdict *verdict;
	struct replay replay;
	struct rules rules;
	struct map streams;    /* vm and vcpu -> the number that its next record has */
	struct replay replica; /* tables as the DUMP records say */
	uint64_t dump_records; /* since the last dump_end */
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

/* `seq` counts up by one, from 0, in each stream. */
static void check_sequence(struct verifier *v, uint64_t number)
{
	const struct vmmu_trace_record *record = &v->trace->records[number];
	uint64_t *next = map_at(&v->streams, (uint64_t)record->vm << 16 | record->vcpu);
	uint32_t gap = record->seq - (uint32_t)(*next == MAP_NONE ? 0 : *next);

	if (gap) {
		v->verdict->lost += gap;
		found(v->verdict, "record %" PRIu64 ": vCPU %u of VM %u goes from number %u to %u", number,
		      record->vcpu, record->vm, (uint32_t)*next - 1, record->seq);
	}
	if (record->event == VMMU_TRACE_DROPS)
		found(v->verdict, "record %" PRIu64 ": %" PRIu64 " records were dropped", number, record->drops.records);
	*next = record->seq + 1u;
}

/* The dump's entry goes into the replica and must be what the replay has come to. */
static void check_dump(struct verifier *v, uint64_t number)
{
	const struct vmmu_trace_record *record = &v->trace->records[number];
	const struct replay_table *table = replay_table_at(&v->replay, record->entry.table);
	uint64_t replayed = table ? replay_entry(table, record->index) : 0;

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

/*
 * Entries that the replay has and the dump has not, in every table the root reaches.
 * True: one is missing, and that is enough: a dump that is cut short has cost the
 * file nothing, and must cost the reader nothing either.
 */
static bool misses_one(struct verifier *v, const struct replay_vm *vm, const struct replay_table *table, uint32_t pass)
{
	const struct replay_table *dumped = replay_table_at(&v->replica, table->hpa);

	for (unsigned index = 0; index < TABLE_ENTRIES; index++) {
		uint64_t entry = replay_entry(table, index);
		struct replay_table *child;
		struct vmmu_entry_info info;

		if (!entry)
			continue;
		if (!dumped || !replay_entry(dumped, index)) {
			found(v->verdict,
			      "level %u table 0x%" PRIx64 " [%u] is 0x%016" PRIx64 " after the replay and missing "
			      "from the dump",
			      table->level, table->hpa, index, entry);
			return true;
		}
		vmmu_entry_decode(&vm->decoder, table->level, entry, &info);
		child = info.kind == VMMU_ENTRY_TABLE ? replay_table_at(&v->replay, vmmu_pfn_hpa(info.pfn).v) : NULL;
		if (child && child->level == table->level - 1 && replay_see(child, pass) &&
		    misses_one(v, vm, child, pass))
			return true;
	}
	return false;
}

static void check_dump_end(struct verifier *v, uint64_t number)
{
	const struct vmmu_trace_record *record = &v->trace->records[number];
	const struct replay_vm *vm = replay_vm_of(&v->replay, record->vm);
	struct replay_table *root = vm && vm->root ? replay_table_at(&v->replay, vm->root) : NULL;
	struct replay_table *l2_root = vm && vm->l2_root ? replay_table_at(&v->replay, vm->l2_root) : NULL;
	uint32_t pass;

	if (record->dump_end.records != v->dump_records)
		found(v->verdict, "record %" PRIu64 ": the dump should have %" PRIu64 " entries, it has %" PRIu64,
		      number, record->dump_end.records, v->dump_records);
	if (!root)
		found(v->verdict, "record %" PRIu64 ": a dump, but no root was ever loaded", number);
	else {
		pass = replay_pass(&v->replay);
		if (!misses_one(v, vm, root, pass) && l2_root)
			misses_one(v, vm, l2_root, pass);
	}
	v->dump_records = 0;
	v->dump_complete = true;
	replay_free(&v->replica);
	replay_init(&v->replica, NULL, NULL);
}

static void check_ending(struct verifier *v)
{
	const struct trace_file *trace = v->trace;

	if (trace->ending == TRACE_DAMAGED)
		found(v->verdict, "record %" PRIu64 " is damaged: %s", trace->taken, trace->damage);
	else if (trace->ending == TRACE_SHORT)
		found(v->verdict, "%" PRIu64 " records of %" PRIu64 " are there", trace->taken,
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
	char *error = NULL;

	*verdict = (struct verdict){0};
	if (!trace_sort(trace, &error)) {
		found(verdict, "%s", error);
		free(error);
		return;
	}
	replay_init(&v.replay, on_replay_problem, verdict);
	replay_init(&v.replica, NULL, NULL);
	rules_init(&v.rules, on_replay_problem, verdict);
	for (uint64_t number = 0; number < trace->count; number++) {
		uint16_t event = trace->records[number].event;

		/* Its own is the file's, and was looked at when it was read. */
		if (event == VMMU_TRACE_CHECKSUM)
			continue;
		check_sequence(&v, number);
		if (event != VMMU_TRACE_DUMP)
			rules_check(&v.rules, &v.replay, trace, number);
		if (event == VMMU_TRACE_DUMP && v.dump_records == 0)
			replay_settle(&v.replay, trace);
		if (event == VMMU_TRACE_DUMP) {
			check_dump(&v, number);
			rules_check(&v.rules, &v.replay, trace, number);
		} else if (event == VMMU_TRACE_DUMP_END) {
			check_dump_end(&v, number);
		} else {
			replay_apply(&v.replay, trace, number);
		}
	}
	replay_settle(&v.replay, trace);
	check_ending(&v);
	verdict->streams = v.streams.count;
	verdict->writes = v.replay.writes;
	verdict->cpu_set_bits += v.replay.cpu_set_bits;
	replay_free(&v.replay);
	replay_free(&v.replica);
	rules_free(&v.rules);
	map_free(&v.streams);
}
