/* SPDX-License-Identifier: BSD-2-Clause */
#include "strip.h"

#include <stdlib.h>

enum { KINDS = 4,
       DEVICE = 3,
       HOLE = 16 /* so many rows of nothing are shown as what they are; more are left out */ };

struct region {
	uint64_t first, last; /* pieces of 2^shift bytes */
	unsigned row;
};

/* What one root maps, bytes by row and kind. */
struct mapped {
	unsigned root;
	uint64_t bytes[STRIP_ROWS][KINDS];
};

struct strip {
	const struct ask *ask;
	unsigned vm, shift, rows;
	struct region *regions;
	size_t region_count;
	struct mapped *roots;
	size_t root_count;
};

/* ---- rows ------------------------------------------------------------------------------- */

static bool ever_mapped(const struct report_entry *entry)
{
	return entry->was_leaf || entry->was_device;
}

static int by_first(const void *a, const void *b)
{
	const struct region *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static uint64_t bytes_of(unsigned level)
{
	return vmmu_level_pages(level) << VMMU_PAGE_SHIFT;
}

/* Regions of bytes in the order of addresses, of which none touches another. */
static void find_mapped(struct strip *strip, const struct entries *entries)
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < entries->count; i++)
		count += ever_mapped(&entries->list[i]);
	strip->regions = allocate((count + 1) * sizeof(*strip->regions));
	count = 0;
	for (size_t i = 0; i < entries->count; i++) {
		const struct report_entry *entry = &entries->list[i];

		if (ever_mapped(entry))
			strip->regions[count++] =
				(struct region){entry->address, entry->address + bytes_of(entry->level) - 1, 0};
	}
	if (count)
		qsort(strip->regions, count, sizeof(*strip->regions), by_first);
	for (size_t i = 0; i < count; i++) {
		struct region *last = kept ? &strip->regions[kept - 1] : NULL;

		if (last && (strip->regions[i].first <= last->last || strip->regions[i].first == last->last + 1))
			last->last = strip->regions[i].last > last->last ? strip->regions[i].last : last->last;
		else
			strip->regions[kept++] = strip->regions[i];
	}
	strip->region_count = kept;
}

/* Neighbours in pieces of this size become one; how many rows and regions are left? */
static void count_rows(const struct strip *strip, unsigned shift, uint64_t *rows, uint64_t *regions)
{
	uint64_t end = 0;

	*rows = *regions = 0;
	for (size_t i = 0; i < strip->region_count; i++) {
		uint64_t first = strip->regions[i].first >> shift, last = strip->regions[i].last >> shift;

		if (!*regions || first > end + HOLE)
			++*regions;
		else
			first = end;
		if (last + 1 > first)
			*rows += last + 1 - first;
		end = last + 1 > end ? last + 1 : end;
	}
}

static void choose_rows(struct strip *strip)
{
	uint64_t rows, regions;
	size_t kept = 0;

	for (strip->shift = VMMU_PAGE_SHIFT; strip->shift < 63; strip->shift++) {
		count_rows(strip, strip->shift, &rows, &regions);
		if (rows <= STRIP_ROWS && regions <= STRIP_REGIONS)
			break;
	}
	for (size_t i = 0; i < strip->region_count; i++) {
		struct region *last = kept ? &strip->regions[kept - 1] : NULL;
		struct region region = {strip->regions[i].first >> strip->shift, strip->regions[i].last >> strip->shift, 0};

		if (last && region.first <= last->last + 1 + HOLE)
			last->last = region.last > last->last ? region.last : last->last;
		else
			strip->regions[kept++] = region;
	}
	strip->region_count = kept;
	for (size_t i = 0; i < kept; i++) {
		strip->regions[i].row = strip->rows;
		strip->rows += (unsigned)(strip->regions[i].last - strip->regions[i].first + 1);
	}
}

/* STRIP_ROWS: in none. */
static unsigned row_of(const struct strip *strip, uint64_t address)
{
	uint64_t piece = address >> strip->shift;

	for (size_t i = 0; i < strip->region_count; i++)
		if (piece >= strip->regions[i].first && piece <= strip->regions[i].last)
			return strip->regions[i].row + (unsigned)(piece - strip->regions[i].first);
	return STRIP_ROWS;
}

/* ---- what is mapped ------------------------------------------------------------------------ */

static struct mapped *of_root(struct strip *strip, unsigned root)
{
	for (size_t i = strip->root_count; i-- > 0;)
		if (strip->roots[i].root == root)
			return &strip->roots[i];
	strip->roots = reallocate(strip->roots, (strip->root_count + 1) * sizeof(*strip->roots));
	strip->roots[strip->root_count] = (struct mapped){.root = root};
	return &strip->roots[strip->root_count++];
}

static void change(struct strip *strip, struct mapped *mapped, const struct fact *fact, uint64_t entry, bool add)
{
	enum kvm_entry_kind kind = kvm_entry_kind(entry, fact->level);
	unsigned place = kind == KVM_ENTRY_MMIO ? DEVICE : fact->level - 1u;
	uint64_t left = bytes_of(fact->level), address = fact->address;

	if ((kind != KVM_ENTRY_LEAF && kind != KVM_ENTRY_MMIO) || place >= KINDS)
		return;
	while (left) {
		uint64_t piece = 1ull << strip->shift, in_piece = piece - (address & (piece - 1));
		uint64_t part = left < in_piece ? left : in_piece;
		unsigned row = row_of(strip, address);

		if (row < STRIP_ROWS && add)
			mapped->bytes[row][place] += part;
		else if (row < STRIP_ROWS)
			mapped->bytes[row][place] -= part < mapped->bytes[row][place] ? part : mapped->bytes[row][place];
		address += part;
		left -= part;
	}
}

static void take(struct strip *strip, const struct fact *fact)
{
	struct mapped *mapped;

	if (fact->level < 1 || fact->level > 3)
		return;
	mapped = of_root(strip, fact->root);
	if (fact->kind == FACT_WRITE)
		change(strip, mapped, fact, fact->a, false);
	change(strip, mapped, fact, fact->b, true);
}

static uint8_t cell(const struct strip *strip, const uint64_t bytes[KINDS])
{
	uint64_t all = 0, share;
	unsigned most = 0;

	for (unsigned i = 0; i < KINDS; i++) {
		all += bytes[i];
		if (bytes[i] > bytes[most])
			most = i;
	}
	if (!all)
		return 0;
	/* A page alone in a large piece is seen, and only a full piece looks full. */
	share = (uint64_t)((unsigned __int128)all * STRIP_FULL >> strip->shift);
	return (uint8_t)(most * 8 + (share < 1 ? 1 : share > STRIP_FULL ? STRIP_FULL
	                                                                : share));
}

static void sample(struct strip *strip, uint8_t *cells, unsigned step, unsigned steps, uint64_t number)
{
	const struct kvm_root_info *root = model_root(strip->ask->model, strip->vm, 0, number);
	const struct mapped *mapped = root ? of_root(strip, root->id) : NULL;

	for (unsigned row = 0; row < strip->rows; row++)
		cells[row * steps + step] = mapped ? cell(strip, mapped->bytes[row]) : 0;
}

static json_t *describe(const struct strip *strip)
{
	json_t *regions = json_array();

	for (size_t i = 0; i < strip->region_count; i++) {
		const struct region *region = &strip->regions[i];
		json_t *json = json_object();

		json_object_set_new(json, "gpa", json_hex(region->first << strip->shift));
		json_object_set_new(json, "rows", json_number(region->last - region->first + 1));
		json_array_append_new(regions, json);
	}
	return json_pack("{s:o, s:I}", "regions", regions, "piece", (json_int_t)(1ull << strip->shift));
}

void strip_make(const struct ask *ask, unsigned vm, const struct entries *entries, const struct series *series,
                struct columns *columns, json_t *meta)
{
	struct strip strip = {.ask = ask, .vm = vm};
	size_t place = columns_new(columns, "strip", 1);
	unsigned step = 0;
	uint8_t *cells;

	find_mapped(&strip, entries);
	choose_rows(&strip);
	cells = allocate((size_t)strip.rows * series->steps + 1);
	for (uint64_t n = 0; n < ask->to; n++) {
		const struct fact *fact = model_fact(ask->model, n);

		while (n >= ask->from && step < series_step_of(series, fact->time))
			sample(&strip, cells, step++, series->steps, n);
		if (fact->vm == vm && (fact->kind == FACT_WRITE || fact->kind == FACT_FOUND))
			take(&strip, fact);
	}
	while (step < series->steps)
		sample(&strip, cells, step++, series->steps, ask->to);
	for (size_t i = 0; i < (size_t)strip.rows * series->steps; i++)
		columns_add(columns, place, cells[i]);
	json_object_set_new(meta, "strip", describe(&strip));
	free(cells);
	free(strip.regions);
	free(strip.roots);
}
