/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   record TRACE RECORDING
 *
 * Keep of a trace (docs/trace-format.md) what a replay needs: slots and faults
 * with their results, and how many entries and tables came of them.
 */
#include "recording.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *trace_path;

static void __attribute__((noreturn, format(printf, 1, 2))) stop(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "record: %s: ", trace_path);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

struct trace {
	struct vmmu_trace_file_header header;
	struct vmmu_trace_record *record;
	size_t records;
};

static struct trace read_trace(void)
{
	struct trace t = {.records = 0};
	FILE *file = fopen(trace_path, "rb");
	size_t room = 1 << 16;
	struct vmmu_trace_record record;

	if (!file || fread(&t.header, sizeof(t.header), 1, file) != 1 ||
	    memcmp(t.header.magic, VMMU_TRACE_MAGIC, 8))
		stop("is no trace");
	if (t.header.version < VMMU_TRACE_VERSION_PLAIN || t.header.version > VMMU_TRACE_VERSION || t.header.record_size != sizeof(*t.record))
		stop("is a trace of another version");
	if (!t.header.complete || t.header.dropped)
		stop("is not complete: a recording needs every record");
	t.record = malloc(room * sizeof(*t.record));
	while (t.record && fread(&record, sizeof(record), 1, file) == 1 && record.event != VMMU_TRACE_NONE) {
		t.records += vmmu_trace_expand(&record, &t.record[t.records]);
		if (t.records + VMMU_TRACE_EXPANDED > room)
			t.record = realloc(t.record, (room *= 2) * sizeof(*t.record));
	}
	if (!t.record)
		abort();
	fclose(file);
	return t;
}

static int by_time(const void *a, const void *b)
{
	const struct vmmu_trace_record *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

static void take_vm(struct recording *r, const struct vmmu_trace_record *v)
{
	if (r->mode)
		stop("holds more than one VM");
	r->mode = (uint32_t)v->config.mode;
	r->levels = (uint32_t)v->config.levels;
	r->maxphyaddr = (uint32_t)v->config.maxphyaddr;
	r->features = (uint32_t)v->config.features;
}

static struct recording_event *new_event(struct recording *r)
{
	if (r->events % 4096 == 0)
		r->event = realloc(r->event, (r->events + 4096) * sizeof(*r->event));
	if (!r->event)
		abort();
	r->event[r->events] = (struct recording_event){.slot = false};
	return &r->event[r->events++];
}

static void take_slot(struct recording *r, const struct vmmu_trace_record *v)
{
	struct recording_event *e = new_event(r);

	e->slot = true;
	e->cause = v->cause;
	e->id = v->slot_id;
	e->gfn = v->slot.base_gfn;
	e->pages = v->slot.pages;
	e->flags = v->slot_flags;
}

static uint8_t kind_of(struct recording *r, struct recording_kind kind)
{
	for (unsigned i = 0; i < r->kinds; i++)
		if (r->kind[i].access == kind.access && r->kind[i].result == kind.result &&
		    r->kind[i].level == kind.level && r->kind[i].entry == kind.entry)
			return (uint8_t)i;
	if (r->kinds == RECORDING_KINDS)
		stop("has faults of more than %u kinds", RECORDING_KINDS);
	r->kind[r->kinds] = kind;
	return (uint8_t)r->kinds++;
}

static void take_fault(struct recording *r, const struct vmmu_trace_record *begin,
                       const struct vmmu_trace_record *end)
{
	struct recording_kind kind = {
		.access = begin->access, .result = end->result, .level = end->level, .entry = end->fault_end.entry};
	struct recording_event *e = new_event(r);

	if (recording_has_leaf(&kind))
		kind.entry &= ~recording_address(r);
	e->gfn = begin->page_fault.address >> VMMU_PAGE_SHIFT;
	e->pfn = end->fault_end.pfn;
	e->kind = kind_of(r, kind);
}

static void take_write(struct recording *r, const struct vmmu_trace_record *v)
{
	if (v->cause >= VMMU_CAUSE_COUNT || v->level > VMMU_LEVEL_MAX)
		stop("has an entry of cause %u at level %u, which are not known here", v->cause, v->level);
	switch (v->cause) {
	case VMMU_CAUSE_PREFAULT:
	case VMMU_CAUSE_PROTECT:
	case VMMU_CAUSE_ZAP_RANGE:
		stop("has entries of cause %s, whose calls are not in a trace", vmmu_cause_name(v->cause));
	}
	r->entries[v->cause][v->level]++;
}

static struct recording record_of(const struct trace *t)
{
	struct recording r = {.mode = 0};
	const struct vmmu_trace_record *begin = NULL;

	memcpy(r.machine, t->header.machine, sizeof(r.machine) - 1);
	for (size_t i = 0; i < t->records; i++) {
		const struct vmmu_trace_record *v = &t->record[i];

		if (v->vcpu != 0 && v->vcpu != VMMU_TRACE_NO_VCPU)
			stop("has more than one vCPU");
		if (v->event == VMMU_TRACE_VM)
			take_vm(&r, v);
		else if (v->event == VMMU_TRACE_SLOT)
			take_slot(&r, v);
		else if (v->event == VMMU_TRACE_PAGE_FAULT)
			begin = v;
		else if (v->event == VMMU_TRACE_SPTE_CHANGED)
			take_write(&r, v);
		else if (v->event == VMMU_TRACE_GET_PAGE && v->created == 1)
			r.tables[v->level]++;
		else if (v->event == VMMU_TRACE_FAULT_END && begin && begin->fault == v->fault)
			take_fault(&r, begin, v);
		else if (v->event == VMMU_TRACE_DUMP)
			break; /* the run is over */
	}
	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
		r.mmio |= r.entries[VMMU_CAUSE_MMIO][level] != 0;
	return r;
}

int main(int argc, char **argv)
{
	const char *error;

	if (argc != 3) {
		fprintf(stderr, "usage: record TRACE RECORDING\n");
		return 2;
	}
	trace_path = argv[1];
	struct trace t = read_trace();

	qsort(t.record, t.records, sizeof(*t.record), by_time);
	struct recording r = record_of(&t);

	if (!r.mode || !r.events)
		stop("holds no VM with faults");
	if (!recording_write(&r, argv[2], &error)) {
		fprintf(stderr, "record: %s: %s\n", argv[2], error);
		return 1;
	}
	printf("%s: %zu events of %u kinds\n", argv[2], r.events, r.kinds);
	recording_free(&r);
	free(t.record);
	return 0;
}
