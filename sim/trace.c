/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void sim_trace_init(struct sim_trace *trace)
{
	*trace = (struct sim_trace){.sorted = true};
	pthread_mutex_init(&trace->lock, NULL);
}

void sim_trace_fini(struct sim_trace *trace)
{
	free(trace->record);
	pthread_mutex_destroy(&trace->lock);
}

static void append(struct sim_trace *trace, const struct vmmu_trace_record *record)
{
	if (trace->records == trace->room) {
		trace->room = trace->room ? trace->room * 2 : 4096;
		trace->record = realloc(trace->record, trace->room * sizeof(*record));
		if (!trace->record)
			abort();
	}
	trace->record[trace->records++] = *record;
	trace->sorted = false;
}

void sim_trace_drain(struct sim_trace *trace, struct vmmu_trace_ring *ring)
{
	uint32_t count = vmmu_trace_ring_waiting(ring);

	pthread_mutex_lock(&trace->lock);
	for (uint32_t n = 0; n < count; n++) {
		struct vmmu_trace_record parts[VMMU_TRACE_EXPANDED];
		unsigned made = vmmu_trace_expand(vmmu_trace_ring_at(ring, n), parts);

		for (unsigned i = 0; i < made; i++)
			append(trace, &parts[i]);
	}
	pthread_mutex_unlock(&trace->lock);
	vmmu_trace_ring_take(ring, count);
}

static int by_time(const void *a, const void *b)
{
	const struct vmmu_trace_record *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

static void sort(struct sim_trace *trace)
{
	if (!trace->sorted && trace->records)
		qsort(trace->record, trace->records, sizeof(*trace->record), by_time);
	trace->sorted = true;
}

size_t sim_trace_count(const struct sim_trace *trace, unsigned event)
{
	size_t count = 0;

	for (size_t i = 0; i < trace->records; i++)
		count += trace->record[i].event == event;
	return count;
}

/* ---- replay -------------------------------------------------------------- */

static size_t place_of(const struct sim_replay *replay, uint64_t hpa)
{
	size_t place = (hpa * 0x9e3779b97f4a7c15ull) >> 20 & (replay->room - 1);

	while (replay->hpa[place] && replay->hpa[place] != hpa)
		place = (place + 1) & (replay->room - 1);
	return place;
}

static void make_room(struct sim_replay *replay)
{
	struct sim_replay old = *replay;

	if (replay->room && replay->used * 2 < replay->room)
		return;
	replay->room = old.room ? old.room * 2 : 4096;
	replay->hpa = calloc(replay->room, sizeof(uint64_t));
	replay->value = calloc(replay->room, sizeof(uint64_t));
	if (!replay->hpa || !replay->value)
		abort();
	for (size_t i = 0; i < old.room; i++) {
		if (!old.hpa[i])
			continue;
		size_t place = place_of(replay, old.hpa[i]);

		replay->hpa[place] = old.hpa[i];
		replay->value[place] = old.value[i];
	}
	free(old.hpa);
	free(old.value);
}

static void put(struct sim_replay *replay, uint64_t hpa, uint64_t value)
{
	make_room(replay);
	size_t place = place_of(replay, hpa);

	replay->used += !replay->hpa[place];
	replay->hpa[place] = hpa;
	replay->value[place] = value;
}

uint64_t sim_replay_get(const struct sim_replay *replay, uint64_t hpa)
{
	return replay->room ? replay->value[place_of(replay, hpa)] : 0;
}

size_t sim_replay_nonzero(const struct sim_replay *replay)
{
	size_t count = 0;

	for (size_t i = 0; i < replay->room; i++)
		count += replay->value[i] != 0;
	return count;
}

void sim_replay_fini(struct sim_replay *replay)
{
	free(replay->hpa);
	free(replay->value);
	*replay = (struct sim_replay){0};
}

/*
 * Two vCPUs take their time stamps and then write: records of one entry may
 * stand in the wrong order when they ran at once. The chain old -> new puts
 * them right: a record whose old value is not there yet waits.
 */
struct waiting {
	const struct vmmu_trace_record **record;
	size_t count;
	size_t room;
};

static void wait_for_turn(struct waiting *w, const struct vmmu_trace_record *record)
{
	if (w->count == w->room) {
		w->room = w->room ? w->room * 2 : 16;
		w->record = realloc(w->record, w->room * sizeof(*w->record));
		if (!w->record)
			abort();
	}
	w->record[w->count++] = record;
}

static uint64_t entry_of(const struct vmmu_trace_record *r)
{
	return r->spte.table + 8ull * r->index;
}

static bool apply(struct sim_replay *replay, const struct vmmu_trace_record *r)
{
	if (sim_replay_get(replay, entry_of(r)) != r->spte.old_spte)
		return false;
	put(replay, entry_of(r), r->spte.new_spte);
	return true;
}

static void retry_waiting(struct sim_replay *replay, struct waiting *w)
{
	for (size_t i = 0; i < w->count;) {
		if (apply(replay, w->record[i])) {
			memmove(&w->record[i], &w->record[i + 1], (--w->count - i) * sizeof(*w->record));
			i = 0;
		} else {
			i++;
		}
	}
}

static bool wrong(char *error, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return false;
}

/* Entries of tables carry a mark under the key "table's hpa + 4": 1 = allocated. */
static uint64_t alive_key(uint64_t table)
{
	return table + 4;
}

static bool replay_record(struct sim_replay *replay, struct sim_replay *alive, struct waiting *w,
                          const struct vmmu_trace_record *r, char *error, size_t size)
{
	switch (r->event) {
	case VMMU_TRACE_VM:
		/* Tracing begins, or begins again: what stands in the tables follows. */
		w->count = 0;
		sim_replay_fini(replay);
		sim_replay_fini(alive);
		return true;
	case VMMU_TRACE_FOUND:
		put(replay, r->entry.table + 8ull * r->index, r->entry.spte);
		return true;
	case VMMU_TRACE_GET_PAGE:
		if (sim_replay_get(alive, alive_key(r->page.table)))
			return wrong(error, size, "table %" PRIx64 " was made while it was in use", r->page.table);
		put(alive, alive_key(r->page.table), 1);
		return true;
	case VMMU_TRACE_FREE_PAGE:
		retry_waiting(replay, w);
		if (!sim_replay_get(alive, alive_key(r->page.table)))
			return wrong(error, size, "table %" PRIx64 " was freed but never made", r->page.table);
		put(alive, alive_key(r->page.table), 0);
		for (unsigned i = 0; i < 512; i++)
			if (sim_replay_get(replay, r->page.table + 8 * i))
				put(replay, r->page.table + 8 * i, 0);
		return true;
	case VMMU_TRACE_SPTE_CHANGED:
		if (!sim_replay_get(alive, alive_key(r->spte.table)))
			return wrong(error, size, "entry %u of table %" PRIx64 " was written, which no record has made", r->index, r->spte.table);
		if (!apply(replay, r))
			wait_for_turn(w, r);
		else if (w->count)
			retry_waiting(replay, w);
		return true;
	}
	return true;
}

bool sim_trace_replay(struct sim_trace *trace, struct sim_replay *replay, char *error, size_t size)
{
	struct sim_replay alive = {0};
	struct waiting w = {0};
	bool good = true;

	*replay = (struct sim_replay){0};
	sort(trace);
	for (size_t i = 0; good && i < trace->records; i++)
		good = replay_record(replay, &alive, &w, &trace->record[i], error, size);
	if (good && w.count) {
		const struct vmmu_trace_record *r = w.record[0];

		good = wrong(error, size, "record %" PRIu64 ": entry %u of table %" PRIx64 " was %" PRIx64 " by its own account, but the records before it leave %" PRIx64 " there",
		             r->time, r->index, r->spte.table, r->spte.old_spte, sim_replay_get(replay, entry_of(r)));
	}
	free(w.record);
	sim_replay_fini(&alive);
	return good;
}

/* ---- consistency ----------------------------------------------------------- */

static bool sequence_ok(const struct sim_trace *trace, char *error, size_t size)
{
	uint32_t *next = calloc(0x10000, sizeof(*next));
	bool *seen = calloc(0x10000, sizeof(*seen));
	bool good = next && seen;

	for (size_t i = 0; good && i < trace->records; i++) {
		const struct vmmu_trace_record *r = &trace->record[i];

		if (seen[r->vcpu] && r->seq != next[r->vcpu])
			good = wrong(error, size, "vCPU %u: record %u follows record %u", r->vcpu, r->seq,
			             next[r->vcpu] - 1);
		seen[r->vcpu] = true;
		next[r->vcpu] = r->seq + 1;
	}
	free(next);
	free(seen);
	return good;
}

static bool pairs_ok(const struct sim_trace *trace, char *error, size_t size)
{
	for (size_t i = 0; i < trace->records; i++) {
		const struct vmmu_trace_record *r = &trace->record[i];
		unsigned other = r->event == VMMU_TRACE_PAGE_FAULT   ? VMMU_TRACE_FAULT_END
		                 : r->event == VMMU_TRACE_FLUSH_OWED ? VMMU_TRACE_FLUSH_DONE
		                                                     : 0;
		size_t j = i + 1;

		if (!other)
			continue;
		for (; j < trace->records; j++) {
			const struct vmmu_trace_record *s = &trace->record[j];

			if (s->event == other && s->vcpu == r->vcpu &&
			    (other == VMMU_TRACE_FAULT_END ? s->fault == r->fault : s->flush_id == r->flush_id))
				break;
		}
		if (j == trace->records)
			return wrong(error, size, "record %" PRIu64 " (%s) has no %s", r->time,
			             vmmu_trace_event_name(r->event), vmmu_trace_event_name(other));
	}
	return true;
}

/* A table that waits for a flush is freed behind that flush's FLUSH_DONE. */
static bool frees_ok(const struct sim_trace *trace, char *error, size_t size)
{
	for (size_t i = 0; i < trace->records; i++) {
		const struct vmmu_trace_record *r = &trace->record[i];
		bool done = false;

		if (r->event != VMMU_TRACE_FREE_PAGE || r->flush_id == 0)
			continue;
		for (size_t j = i; j-- > 0 && !done;)
			done = trace->record[j].event == VMMU_TRACE_FLUSH_DONE &&
			       trace->record[j].flush_id == r->flush_id;
		if (!done)
			return wrong(error, size, "table %" PRIx64 " was freed before flush %u was done",
			             r->page.table, r->flush_id);
	}
	return true;
}

bool sim_trace_consistent(struct sim_trace *trace, char *error, size_t size)
{
	sort(trace);
	return sequence_ok(trace, error, size) && pairs_ok(trace, error, size) &&
	       frees_ok(trace, error, size);
}

/* ---- reading ---------------------------------------------------------------- */

void sim_trace_print(const struct vmmu_trace_record *r, FILE *out)
{
	fprintf(out, "  %8" PRIu64 " vcpu %-5d %-26s level %u index %3u cause %-12s fault %u aux %u  ",
	        r->time, r->vcpu == VMMU_TRACE_NO_VCPU ? -1 : r->vcpu, vmmu_trace_event_name(r->event),
	        r->level, r->index, vmmu_cause_name(r->cause), r->fault, r->aux);
	fprintf(out, "%" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", r->word[0], r->word[1],
	        r->word[2], r->word[3]);
}

void sim_trace_history(struct sim_trace *trace, uint64_t entry_hpa, FILE *out)
{
	uint64_t table = entry_hpa & ~(uint64_t)(VMMU_PAGE_SIZE - 1);
	unsigned index = (unsigned)(entry_hpa - table) / 8;

	sort(trace);
	fprintf(out, "history of entry %u of table %" PRIx64 ":\n", index, table);
	for (size_t i = 0; i < trace->records; i++) {
		const struct vmmu_trace_record *r = &trace->record[i];
		bool about_table = r->page.table == table && (r->event == VMMU_TRACE_GET_PAGE ||
		                                              r->event == VMMU_TRACE_PREPARE_ZAP_PAGE || r->event == VMMU_TRACE_FREE_PAGE);
		bool about_entry = r->event == VMMU_TRACE_SPTE_CHANGED && r->spte.table == table &&
		                   r->index == index;
		bool flush = r->event == VMMU_TRACE_FLUSH_OWED || r->event == VMMU_TRACE_FLUSH_DONE;

		if (about_table || about_entry || flush)
			sim_trace_print(r, out);
	}
}
