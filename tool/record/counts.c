/* SPDX-License-Identifier: BSD-2-Clause */
#include "counts.h"

#include <event-parse.h>
#include <fcntl.h>
#include <kbuffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* In entries of KVM: the software bit that says "maps something" (bit 11), and a leaf above level 1. */
#define SPTE_MMU_PRESENT (1ull << 11)
#define SPTE_LARGE (1ull << 7)

/* An event is recorded a little before the count changes. */
#define MARGIN_NS 1000000ull

static const char *const names[PAGE_SIZES] = {"pages_4k", "pages_2m", "pages_1g"};

const char *counts_name(unsigned size)
{
	return names[size];
}

static bool read_count(const char *folder, const char *name, int64_t *count)
{
	char *path = formatted("/sys/kernel/debug/kvm/%s%s", folder, name), text[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	free(path);
	if (length <= 0)
		return false;
	text[length] = 0;
	*count = strtoll(text, NULL, 10);
	return true;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

void counts_read(struct page_counts *counts)
{
	int64_t nested;

	*counts = (struct page_counts){.known = true, .before_ns = monotonic_ns()};
	for (unsigned i = 0; i < PAGE_SIZES; i++)
		counts->known = read_count("", names[i], &counts->pages[i]) && counts->known;
	counts->after_ns = monotonic_ns();
	counts->nested = read_count("", "nested_run", &nested) && nested > 0;
}

void counts_mark(struct marker *m, const char *when, const char *vm)
{
	char *folder = formatted("%s/", vm);
	int64_t pages[PAGE_SIZES];
	bool known = true;

	for (unsigned i = 0; i < PAGE_SIZES; i++)
		known = read_count(folder, names[i], &pages[i]) && known;
	if (known)
		marker_write(m, "vmmu: counts when=%s vm=%s pages_4k=%lld pages_2m=%lld pages_1g=%lld", when, vm,
		             (long long)pages[0], (long long)pages[1], (long long)pages[2]);
	free(folder);
}

/* ---- adding up -------------------------------------------------------------------- */

struct replay {
	struct tep_handle *tep;
	struct tep_event *write, *split;
	const struct page_counts *begin, *end;
	struct count_changes *changes;
};

static unsigned long long field(struct tep_event *event, const char *name, void *data)
{
	struct tep_format_field *f = tep_find_any_field(event, name);

	return f ? tep_read_number(event->tep, (char *)data + f->offset, (int)f->size) : 0;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
	return entry & SPTE_MMU_PRESENT && (level == 1 || entry & SPTE_LARGE);
}

static bool within(uint64_t time, const struct page_counts *reading)
{
	return time + MARGIN_NS >= reading->before_ns && time <= reading->after_ns + MARGIN_NS;
}

static void change(struct replay *r, uint64_t time, unsigned level, int64_t by)
{
	if (!by || level < 1 || level > PAGE_SIZES)
		return;
	if (within(time, r->begin) || within(time, r->end))
		r->changes->unsure[level - 1] += by < 0 ? -by : by;
	else if (time > r->begin->after_ns && time < r->end->before_ns)
		r->changes->pages[level - 1] += by;
}

static void replay_event(struct replay *r, void *data, uint64_t time)
{
	int type = tep_data_type(r->tep, &(struct tep_record){.data = data});

	if (r->write && type == r->write->id) {
		unsigned level = (unsigned)field(r->write, "level", data);

		r->changes->writes++;
		change(r, time, level, is_leaf(field(r->write, "new_spte", data), level) - is_leaf(field(r->write, "old_spte", data), level));
	} else if (r->split && type == r->split->id && field(r->split, "errno", data) == 0) {
		/* The 512 entries below were written before the table was linked, without an event. */
		r->changes->splits++;
		change(r, time, (unsigned)field(r->split, "level", data) - 1, 512);
	}
}

static void replay_pages(struct replay *r, struct kbuffer *buffer, uint8_t *pages, uint64_t bytes, size_t page)
{
	for (uint64_t at = 0; at + page <= bytes; at += page) {
		unsigned long long time;

		if (kbuffer_load_subbuffer(buffer, pages + at))
			continue;
		for (void *data = kbuffer_read_event(buffer, &time); data; data = kbuffer_next_event(buffer, &time))
			replay_event(r, data, time);
	}
}

static bool replay_cpu(struct replay *r, struct drain *d, unsigned cpu, size_t page)
{
	struct kbuffer *buffer;
	uint64_t bytes;
	int fd = drain_file(d, cpu, &bytes);
	uint8_t *pages;

	if (fd < 0 || !bytes)
		return true;
	pages = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (pages == MAP_FAILED)
		return false;
	buffer = kbuffer_alloc(KBUFFER_LSIZE_SAME_AS_HOST, KBUFFER_ENDIAN_SAME_AS_HOST);
	if (buffer)
		replay_pages(r, buffer, pages, bytes, page);
	kbuffer_free(buffer);
	munmap(pages, bytes);
	return buffer;
}

static struct tep_event *learn(struct tep_handle *tep, const char *name)
{
	int size = 0;
	char *format = tracefs_event_file_read(NULL, "kvmmmu", name, "format", &size);

	if (format)
		tep_parse_event(tep, format, (unsigned long)size, "kvmmmu");
	free(format);
	return tep_find_event_by_name(tep, "kvmmmu", name);
}

bool counts_replay(struct tracing *t, struct drain *d, const struct page_counts *begin,
                   const struct page_counts *end, struct count_changes *changes)
{
	struct replay r = {.tep = tep_alloc(), .begin = begin, .end = end, .changes = changes};
	bool ok = r.tep;

	*changes = (struct count_changes){0};
	if (ok) {
		tep_set_loglevel(TEP_LOG_NONE);
		r.write = learn(r.tep, "kvm_tdp_mmu_spte_changed");
		r.split = learn(r.tep, "kvm_mmu_split_huge_page");
		ok = r.write;
	}
	for (unsigned cpu = 0; ok && cpu < t->cpus; cpu++)
		ok = replay_cpu(&r, d, cpu, t->page_size);
	tep_free(r.tep);
	return ok;
}
