/* SPDX-License-Identifier: BSD-2-Clause */
#include "recording.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vmmu_cpu recording_cpu(const struct recording *r)
{
	return (struct vmmu_cpu){
		.maxphyaddr = (uint8_t)r->maxphyaddr,
		.page_2m = r->features & VMMU_TRACE_PAGE_2M,
		.page_1g = r->features & VMMU_TRACE_PAGE_1G,
		.exec_only = r->features & VMMU_TRACE_EXEC_ONLY,
		.ad = r->features & VMMU_TRACE_AD,
		.nx = r->features & VMMU_TRACE_NX,
		.levels5 = r->features & VMMU_TRACE_LEVELS5,
	};
}

uint64_t recording_address(const struct recording *r)
{
	return ((1ull << r->maxphyaddr) - 1) & ~(uint64_t)(VMMU_PAGE_SIZE - 1);
}

void recording_free(struct recording *r)
{
	free(r->event);
	*r = (struct recording){.mode = 0};
}

/* ---- writing --------------------------------------------------------------------- */

static void put(FILE *file, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		fputc((int)(value & 0x7f) | 0x80, file);
	fputc((int)value, file);
}

static void put_signed(FILE *file, uint64_t now, uint64_t before)
{
	int64_t delta = (int64_t)(now - before);

	put(file, (uint64_t)delta << 1 ^ (uint64_t)(delta >> 63));
}

static void put_events(const struct recording *r, FILE *file)
{
	uint64_t gfn = 0, pfn = 0;

	put(file, r->events);
	for (size_t i = 0; i < r->events; i++) {
		const struct recording_event *e = &r->event[i];

		if (e->slot) {
			put(file, 0);
			put(file, e->cause);
			put(file, e->id);
			put(file, e->gfn);
			put(file, e->pages);
			put(file, e->flags);
			continue;
		}
		put(file, e->kind + 1u);
		put_signed(file, e->gfn, gfn);
		gfn = e->gfn;
		if (recording_has_leaf(&r->kind[e->kind])) {
			put_signed(file, e->pfn, pfn);
			pfn = e->pfn;
		}
	}
}

static void put_counts(const struct recording *r, FILE *file)
{
	unsigned counts = 0;

	for (unsigned c = 0; c < VMMU_CAUSE_COUNT; c++)
		for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
			counts += r->entries[c][level] != 0;
	put(file, counts);
	for (unsigned c = 0; c < VMMU_CAUSE_COUNT; c++)
		for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
			if (r->entries[c][level]) {
				put(file, c);
				put(file, level);
				put(file, r->entries[c][level]);
			}
	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
		put(file, r->tables[level]);
}

bool recording_write(const struct recording *r, const char *path, const char **error)
{
	FILE *file = fopen(path, "wb");

	*error = "cannot be written";
	if (!file)
		return false;
	fwrite(RECORDING_MAGIC, 8, 1, file);
	put(file, r->mode);
	put(file, r->levels);
	put(file, r->maxphyaddr);
	put(file, r->features);
	put(file, r->mmio);
	put(file, strlen(r->machine));
	fputs(r->machine, file);
	put(file, r->kinds);
	for (unsigned i = 0; i < r->kinds; i++) {
		put(file, r->kind[i].access);
		put(file, r->kind[i].result);
		put(file, r->kind[i].level);
		fwrite(&r->kind[i].entry, sizeof(uint64_t), 1, file);
	}
	put_events(r, file);
	put_counts(r, file);
	return fclose(file) == 0;
}

/* ---- reading ---------------------------------------------------------------------- */

struct source {
	FILE *file;
	bool bad;
};

static uint64_t get(struct source *s)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		int byte = fgetc(s->file);

		if (byte == EOF)
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	s->bad = true;
	return 0;
}

static uint64_t get_signed(struct source *s, uint64_t before)
{
	uint64_t z = get(s);

	return before + ((z >> 1) ^ -(z & 1));
}

static void get_bytes(struct source *s, void *to, size_t size)
{
	if (fread(to, 1, size, s->file) != size)
		s->bad = true;
}

static void get_head(struct source *s, struct recording *r)
{
	char magic[8];
	uint64_t length;

	get_bytes(s, magic, sizeof(magic));
	s->bad |= memcmp(magic, RECORDING_MAGIC, sizeof(magic)) != 0;
	r->mode = (uint32_t)get(s);
	r->levels = (uint32_t)get(s);
	r->maxphyaddr = (uint32_t)get(s);
	r->features = (uint32_t)get(s);
	r->mmio = get(s);
	length = get(s);
	s->bad |= length >= sizeof(r->machine) || r->maxphyaddr < 32 || r->maxphyaddr > 52;
	if (!s->bad)
		get_bytes(s, r->machine, length);
}

static void get_kinds(struct source *s, struct recording *r)
{
	uint64_t kinds = get(s);

	if (kinds > RECORDING_KINDS)
		s->bad = true;
	for (uint64_t i = 0; i < kinds && !s->bad; i++) {
		struct recording_kind *k = &r->kind[r->kinds++];

		k->access = (uint32_t)get(s);
		k->result = (uint32_t)get(s);
		k->level = (uint32_t)get(s);
		get_bytes(s, &k->entry, sizeof(k->entry));
		s->bad |= k->level > VMMU_LEVEL_MAX || k->result >= VMMU_FAULT_RESULT_COUNT;
	}
}

static void get_event(struct source *s, const struct recording *r, struct recording_event *e,
                      uint64_t *gfn, uint64_t *pfn)
{
	uint64_t tag = get(s);

	e->slot = tag == 0;
	if (e->slot) {
		e->cause = (uint32_t)get(s);
		e->id = (uint32_t)get(s);
		e->gfn = get(s);
		e->pages = get(s);
		e->flags = (uint32_t)get(s);
		return;
	}
	if (tag > r->kinds) {
		s->bad = true;
		return;
	}
	e->kind = (uint8_t)(tag - 1);
	e->gfn = *gfn = get_signed(s, *gfn);
	if (recording_has_leaf(&r->kind[e->kind]))
		e->pfn = *pfn = get_signed(s, *pfn);
}

static void get_events(struct source *s, struct recording *r)
{
	uint64_t events = get(s), gfn = 0, pfn = 0;

	if (s->bad || events > 100000000)
		return;
	r->event = calloc(events ? events : 1, sizeof(*r->event));
	if (!r->event)
		abort();
	while (r->events < events && !s->bad)
		get_event(s, r, &r->event[r->events++], &gfn, &pfn);
}

static void get_counts(struct source *s, struct recording *r)
{
	for (uint64_t counts = get(s); counts && !s->bad; counts--) {
		uint64_t cause = get(s), level = get(s), n = get(s);

		if (cause < VMMU_CAUSE_COUNT && level <= VMMU_LEVEL_MAX)
			r->entries[cause][level] = n;
		else
			s->bad = true;
	}
	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
		r->tables[level] = get(s);
}

bool recording_read(struct recording *r, const char *path, const char **error)
{
	struct source s = {.file = fopen(path, "rb")};

	*r = (struct recording){.mode = 0};
	*error = "cannot be opened";
	if (!s.file)
		return false;
	get_head(&s, r);
	if (!s.bad)
		get_kinds(&s, r);
	if (!s.bad)
		get_events(&s, r);
	if (!s.bad)
		get_counts(&s, r);
	*error = "is no recording of this version, or damaged";
	fclose(s.file);
	return !s.bad;
}
