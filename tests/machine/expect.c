/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * expect TRACE CONSOLE: does a trace show what it must?
 *
 * Of every trace: nothing lost, each leaf inside a slot that exists at that
 * moment, no writable leaf in a read-only slot, no large writable leaf in a
 * slot with a dirty log. And what the guest promised in its console's lines
 *
 *   EXPECT once BASE BYTES        each page was mapped by exactly one leaf
 *   EXPECT untouched BASE BYTES   no leaf ever
 *   EXPECT read-only BASE BYTES   leaves, but never a writable one
 *   EXPECT faulted BASE BYTES     each page was mapped by a violation of its own
 *   EXPECT prefetched BASE BYTES  each page was mapped as a violation's neighbour
 *
 * Whether the entry writes add up to the final tables is what `vmmu check`
 * finds out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#define SLOTS_MAX 4096u

struct slot {
	uint32_t id, flags;
	uint64_t base, pages; /* in frames */
};

struct leaf_write {
	uint64_t gfn, pages;
	unsigned level;
	bool writable;
	bool new; /* nothing was mapped here before */
	uint8_t cause;
};

struct trace {
	struct vmmu_trace_file_header header;
	struct vmmu_trace_record *records;
	size_t count;
	struct vmmu_decoder decoder;
	struct slot slots[SLOTS_MAX];
	unsigned slot_count;
	struct leaf_write *leaves;
	size_t leaf_count;
};

static unsigned failures;

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list args;

	if (++failures > 20)
		return;
	fputs("expect: ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	fputc('\n', stdout);
}

static _Noreturn void give_up(const char *name, const char *why)
{
	fprintf(stderr, "expect: %s: %s\n", name, why);
	exit(2);
}

/* ---- Reading ------------------------------------------------------------------------- */

/* Without the checksums, which are the file's (`vmmu check` holds it to them), and with what stands for several apart. */
static void take_record(struct trace *t, const struct vmmu_trace_record *record)
{
	if (record->event != VMMU_TRACE_CHECKSUM)
		t->count += vmmu_trace_expand(record, &t->records[t->count]);
}

static void read_trace(const char *name, struct trace *t)
{
	FILE *f = fopen(name, "rb");
	size_t room;

	if (!f)
		give_up(name, strerror(errno));
	if (fread(&t->header, sizeof(t->header), 1, f) != 1 ||
	    memcmp(t->header.magic, VMMU_TRACE_MAGIC, sizeof(t->header.magic)) != 0 ||
	    t->header.version < VMMU_TRACE_VERSION_PLAIN || t->header.version > VMMU_TRACE_VERSION)
		give_up(name, "not a trace of this version");
	if (!t->header.complete)
		give_up(name, "the trace was cut short");
	room = VMMU_TRACE_EXPANDED * (t->header.records + 1);
	t->records = calloc(room, sizeof(*t->records));
	t->leaves = calloc(room, sizeof(*t->leaves));
	if (!t->records || !t->leaves)
		give_up(name, "not enough memory");
	for (uint64_t i = 0; i < t->header.records; i++) {
		struct vmmu_trace_record record;

		if (fread(&record, sizeof(record), 1, f) != 1)
			give_up(name, "fewer records than its header says");
		take_record(t, &record);
	}
	fclose(f);
}

static void check_whole(const struct trace *t)
{
	static uint32_t next[0x10000];
	static bool seen[0x10000];

	if (t->header.dropped)
		fail("%" PRIu64 " records were dropped", t->header.dropped);
	for (size_t i = 0; i < t->count; i++) {
		const struct vmmu_trace_record *r = &t->records[i];

		if (r->event == VMMU_TRACE_DROPS)
			fail("%" PRIu64 " records were dropped before record %zu", r->drops.records, i);
		if (seen[r->vcpu] && r->seq != next[r->vcpu])
			fail("record %zu: number %u instead of %u", i, r->seq, next[r->vcpu]);
		next[r->vcpu] = r->seq + 1;
		seen[r->vcpu] = true;
	}
}

/* Merge the streams: by time, and where that is equal by place in the file. */
static int earlier(const void *a, const void *b)
{
	const struct vmmu_trace_record *x = *(struct vmmu_trace_record *const *)a;
	const struct vmmu_trace_record *y = *(struct vmmu_trace_record *const *)b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x < y ? -1 : x > y;
}

static struct vmmu_trace_record **in_order(struct trace *t)
{
	struct vmmu_trace_record **order = calloc(t->count + 1, sizeof(*order));

	if (!order)
		give_up("trace", "not enough memory");
	for (size_t i = 0; i < t->count; i++)
		order[i] = &t->records[i];
	qsort(order, t->count, sizeof(*order), earlier);
	return order;
}

/* ---- Following ------------------------------------------------------------------------ */

static void take_vm(struct trace *t, const struct vmmu_trace_record *r)
{
	vmmu_trace_decoder(r, &t->decoder);
}

static struct slot *slot_by_id(struct trace *t, uint32_t id)
{
	for (unsigned i = 0; i < t->slot_count; i++)
		if (t->slots[i].id == id)
			return &t->slots[i];
	return NULL;
}

static const struct slot *slot_around(const struct trace *t, uint64_t gfn, uint64_t pages)
{
	for (unsigned i = 0; i < t->slot_count; i++)
		if (gfn >= t->slots[i].base && gfn + pages <= t->slots[i].base + t->slots[i].pages)
			return &t->slots[i];
	return NULL;
}

static void take_slot(struct trace *t, const struct vmmu_trace_record *r)
{
	struct slot *s = slot_by_id(t, r->slot_id);

	if (r->cause == VMMU_CAUSE_SLOT_CREATE && !s && t->slot_count < SLOTS_MAX)
		s = &t->slots[t->slot_count++];
	if (!s) {
		fail("slot %u: a %s of a slot that does not exist", r->slot_id, vmmu_cause_name(r->cause));
		return;
	}
	if (r->cause == VMMU_CAUSE_SLOT_DELETE)
		*s = t->slots[--t->slot_count];
	else
		*s = (struct slot){
			.id = r->slot_id,
			.flags = r->slot_flags,
			.base = r->slot.base_gfn,
			.pages = r->slot.pages,
		};
}

static void check_against_slot(const struct trace *t, const struct leaf_write *w, uint64_t entry)
{
	const struct slot *s = slot_around(t, w->gfn, w->pages);

	if (!s)
		fail("entry %#" PRIx64 " maps %" PRIu64 " pages at gfn %#" PRIx64 ", which no slot covers", entry, w->pages,
		     w->gfn);
	else if (w->writable && s->flags & VMMU_SLOT_READONLY)
		fail("entry %#" PRIx64 " is writable at gfn %#" PRIx64 " in a read-only slot", entry, w->gfn);
	else if (w->writable && s->flags & VMMU_SLOT_LOG_DIRTY && w->level > VMMU_LEVEL_4K)
		fail("entry %#" PRIx64 " lets %" PRIu64 " pages at gfn %#" PRIx64 " be written without a log", entry,
		     w->pages, w->gfn);
}

static void take_entry(struct trace *t, const struct vmmu_trace_record *r)
{
	struct vmmu_entry_info old, now;
	struct leaf_write w = {.gfn = r->spte.gfn, .pages = vmmu_level_pages(r->level), .level = r->level, .cause = r->cause};

	vmmu_entry_decode(&t->decoder, r->level, r->spte.old_spte, &old);
	vmmu_entry_decode(&t->decoder, r->level, r->spte.new_spte, &now);
	if (now.kind == VMMU_ENTRY_BAD)
		fail("entry %#" PRIx64 " at gfn %#" PRIx64 " has a reserved bit set", r->spte.new_spte, r->spte.gfn);
	if (now.kind != VMMU_ENTRY_LEAF)
		return;
	w.writable = now.rights & VMMU_W;
	w.new = old.kind != VMMU_ENTRY_LEAF;
	t->leaves[t->leaf_count++] = w;
	/* Rights are taken away after the slot's flags have changed: only what is given counts. */
	if (w.new || now.rights & ~old.rights)
		check_against_slot(t, &w, r->spte.new_spte);
}

static void follow(struct trace *t)
{
	struct vmmu_trace_record **order = in_order(t);

	for (size_t i = 0; i < t->count; i++)
		switch (order[i]->event) {
		case VMMU_TRACE_VM:
			take_vm(t, order[i]);
			break;
		case VMMU_TRACE_SLOT:
			take_slot(t, order[i]);
			break;
		case VMMU_TRACE_SPTE_CHANGED:
			take_entry(t, order[i]);
			break;
		default:
			break;
		}
	free(order);
}

/* ---- What the guest promised ------------------------------------------------------------ */

static bool meets(const struct leaf_write *w, uint64_t gfn, uint64_t pages)
{
	return w->gfn < gfn + pages && gfn < w->gfn + w->pages;
}

static void expect_once(const struct trace *t, uint64_t gfn, uint64_t pages)
{
	uint8_t *times = calloc(pages, 1);
	unsigned long entries[VMMU_LEVEL_MAX + 1] = {0};

	if (!times)
		give_up("trace", "not enough memory");
	for (size_t i = 0; i < t->leaf_count; i++) {
		const struct leaf_write *w = &t->leaves[i];

		if (!w->new || !meets(w, gfn, pages))
			continue;
		entries[w->level]++;
		for (uint64_t p = w->gfn; p < w->gfn + w->pages; p++)
			if (p >= gfn && p < gfn + pages && times[p - gfn] < 255)
				times[p - gfn]++;
	}
	for (uint64_t p = 0; p < pages; p++)
		if (times[p] != 1)
			fail("gfn %#" PRIx64 " was mapped %u times instead of once", gfn + p, times[p]);
	printf("expect: %" PRIu64 " pages at %#" PRIx64 " by %lu entries of 4 KiB, %lu of 2 MiB, %lu of 1 GiB\n", pages,
	       gfn << VMMU_PAGE_SHIFT, entries[1], entries[2], entries[3]);
	free(times);
}

static void expect_untouched(const struct trace *t, uint64_t gfn, uint64_t pages)
{
	for (size_t i = 0; i < t->leaf_count; i++)
		if (meets(&t->leaves[i], gfn, pages))
			fail("gfn %#" PRIx64 " was mapped, where nothing is", t->leaves[i].gfn);
}

static void expect_read_only(const struct trace *t, uint64_t gfn, uint64_t pages)
{
	uint64_t mapped = 0;

	for (size_t i = 0; i < t->leaf_count; i++) {
		const struct leaf_write *w = &t->leaves[i];

		if (!meets(w, gfn, pages))
			continue;
		mapped += w->pages;
		if (w->writable)
			fail("gfn %#" PRIx64 " was mapped writable in a read-only range", w->gfn);
	}
	if (mapped < pages)
		fail("only %" PRIu64 " of %" PRIu64 " pages at gfn %#" PRIx64 " were mapped", mapped, pages, gfn);
}

static void expect_cause(const struct trace *t, uint64_t gfn, uint64_t pages, enum vmmu_cause cause)
{
	uint64_t mapped = 0;

	for (size_t i = 0; i < t->leaf_count; i++) {
		const struct leaf_write *w = &t->leaves[i];

		if (!w->new || !meets(w, gfn, pages))
			continue;
		mapped += w->pages;
		if (w->cause != cause)
			fail("gfn %#" PRIx64 " was mapped with the cause %s instead of %s", w->gfn, vmmu_cause_name(w->cause),
			     vmmu_cause_name(cause));
	}
	if (mapped != pages)
		fail("%" PRIu64 " pages were mapped in place of the %" PRIu64 " at gfn %#" PRIx64, mapped, pages, gfn);
}

static void expect_faulted(const struct trace *t, uint64_t gfn, uint64_t pages)
{
	expect_cause(t, gfn, pages, VMMU_CAUSE_VIOLATION);
}

static void expect_prefetched(const struct trace *t, uint64_t gfn, uint64_t pages)
{
	expect_cause(t, gfn, pages, VMMU_CAUSE_PREFETCH);
}

static unsigned check_promises(const struct trace *t, const char *name)
{
	static const struct {
		const char *word;
		void (*check)(const struct trace *, uint64_t, uint64_t);
	} kinds[] = {{"once", expect_once}, {"untouched", expect_untouched}, {"read-only", expect_read_only}, {"faulted", expect_faulted}, {"prefetched", expect_prefetched}};
	char line[512], word[32];
	uint64_t base, bytes;
	unsigned promises = 0;
	FILE *f = fopen(name, "r");

	if (!f)
		give_up(name, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		size_t kind = 0;

		if (sscanf(line, "EXPECT %31s %" SCNx64 " %" SCNx64, word, &base, &bytes) != 3)
			continue;
		while (kind < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[kind].word, word) != 0)
			kind++;
		if (kind == sizeof(kinds) / sizeof(kinds[0]))
			give_up(name, "an EXPECT line of unknown kind");
		kinds[kind].check(t, base >> VMMU_PAGE_SHIFT, bytes >> VMMU_PAGE_SHIFT);
		promises++;
	}
	fclose(f);
	return promises;
}

int main(int argc, char **argv)
{
	static struct trace t;
	unsigned promises;

	if (argc != 3) {
		fprintf(stderr, "usage: expect TRACE CONSOLE\n");
		return 2;
	}
	read_trace(argv[1], &t);
	check_whole(&t);
	follow(&t);
	promises = check_promises(&t, argv[2]);
	printf("expect: %zu records, %zu leaf writes, %u promises, %u failures\n", t.count, t.leaf_count, promises,
	       failures);
	return failures ? 1 : 0;
}
