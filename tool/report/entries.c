/* SPDX-License-Identifier: BSD-2-Clause */
#include "entries.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_BITS 0x000ffffffffff000ull

/* From the finest to the coarsest. */
static const struct shape {
	unsigned lowest_level, steps;
} shapes[] = {
	{1, 0},
	{1, 4096},
	{1, 1024},
	{1, 256},
	{1, 64},
	{1, 16},
	{1, 4},
	{2, 0},
	{2, 4096},
	{2, 1024},
	{2, 256},
	{2, 64},
	{3, 0},
	{3, 1024},
	{3, 64},
	{4, 64},
};

/* ---- which there are --------------------------------------------------------------------------- */

struct finding {
	struct entries *entries;
	const struct ask *ask;
	unsigned vm;
	uint64_t first, last;
};

static void find(void *arg, unsigned vm, unsigned level, uint64_t address, uint64_t newest)
{
	struct finding *f = arg;
	uint64_t bytes = vmmu_level_pages(level) << VMMU_PAGE_SHIFT, last;

	(void)newest;
	if (vm != f->vm || address > f->last || address + bytes - 1 < f->first)
		return;
	last = model_last(f->ask->model, vm, level, address, 0, f->ask->to);
	if (last == MODEL_NONE)
		return;
	if (f->entries->count == f->entries->room) {
		f->entries->room = f->entries->room ? 2 * f->entries->room : 1024;
		f->entries->list = reallocate(f->entries->list, f->entries->room * sizeof(*f->entries->list));
	}
	f->entries->list[f->entries->count++] = (struct report_entry){
		.address = address,
		.last = last,
		.level = (uint8_t)level,
	};
}

static int by_level_and_address(const void *a, const void *b)
{
	const struct report_entry *x = a, *y = b;

	if (x->level != y->level)
		return (int)y->level - (int)x->level;
	return x->address < y->address ? -1 : x->address > y->address;
}

void entries_find(struct entries *entries, const struct ask *ask, unsigned vm, uint64_t first, uint64_t last)
{
	struct finding f = {entries, ask, vm, first, last};

	*entries = (struct entries){.lowest_level = 1};
	model_each_entry(ask->model, find, &f);
	if (entries->count)
		qsort(entries->list, entries->count, sizeof(*entries->list), by_level_and_address);
}

void entries_free(struct entries *entries)
{
	free(entries->list);
	*entries = (struct entries){0};
}

/* ---- how finely ---------------------------------------------------------------------------------- */

static bool counts(const struct fact *fact)
{
	return fact->kind == FACT_WRITE || fact->kind == FACT_FOUND || fact->kind == FACT_SET;
}

static uint64_t step_of(const struct ask *ask, uint64_t time, unsigned steps)
{
	uint64_t first = ask->from < ask->to ? model_fact(ask->model, ask->from)->time : 0;
	uint64_t last = ask->to ? model_fact(ask->model, ask->to - 1)->time : 0;

	if (time <= first || last <= first)
		return 0;
	return (uint64_t)((unsigned __int128)(time - first) * steps / (last - first + 1));
}

/* Writes of one entry that come later in the same step, in the same root, say it all. */
static bool is_said_later(const struct ask *ask, const struct fact *fact, const struct fact *later, unsigned steps)
{
	return steps && later && later->root == fact->root &&
	       step_of(ask, later->time, steps) == step_of(ask, fact->time, steps);
}

static void count_entry(struct entries *entries, struct report_entry *entry, const struct ask *ask,
                        uint64_t kept[ARRAY_SIZE(shapes)])
{
	const struct fact *later = NULL;

	for (uint64_t n = entry->last; n != MODEL_NONE; n = model_before(ask->model, n)) {
		const struct fact *fact = model_fact(ask->model, n);
		enum kvm_entry_kind kind = kvm_entry_kind(fact->b, fact->level);

		if (!counts(fact))
			continue;
		entry->was_leaf |= kind == KVM_ENTRY_LEAF;
		entry->was_device |= kind == KVM_ENTRY_MMIO;
		entries->writes += n >= ask->from;
		for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
			kept[i] += entry->level >= shapes[i].lowest_level && !is_said_later(ask, fact, later, shapes[i].steps);
		/* Before the time that is asked for, only what was there last matters. */
		if (n < ask->from)
			break;
		later = fact;
	}
}

void entries_fit(struct entries *entries, const struct ask *ask, uint64_t room)
{
	uint64_t kept[ARRAY_SIZE(shapes)] = {0};
	size_t i;

	for (i = 0; i < entries->count; i++)
		count_entry(entries, &entries->list[i], ask, kept);
	for (i = 0; i + 1 < ARRAY_SIZE(shapes) && kept[i] > room; i++)
		;
	entries->lowest_level = shapes[i].lowest_level;
	entries->steps = shapes[i].steps;
	entries->kept = kept[i];
}

/* ---- columns ---------------------------------------------------------------------------------------- */

enum write_flags {
	FLAG_KNOWN = 7, /* enum fact_known */
	FLAG_UNEXPLAINED = 8,
	FLAG_FOUND = 16,  /* it was there when recording began */
	FLAG_BEFORE = 32, /* ... or when the time that is asked for did */
	FLAG_OLD = 64,    /* o_*: it held something else than what was written last */
};

struct filling {
	const struct entries *entries;
	const struct ask *ask;
	struct columns *columns;
	enum kvm_mode mode;
	uint64_t origin, unit;
	struct map faults, rips, meanings;
	uint64_t fault_count, rip_count;
	json_t *meaning_list, *rip_list;
	uint64_t *chain; /* numbers of facts, the newest first */
	size_t chain_count, chain_room;
	size_t e_level, e_page_low, e_page_high, e_writes;
	size_t w_time, w_low, w_high, w_cause, w_flags, w_meaning, w_fault, w_thread, w_root, w_folded;
	size_t o_write, o_low, o_high;
	size_t f_time, f_low, f_high, f_access, f_rip, f_vcpu;
};

static void make_columns(struct filling *f)
{
	struct columns *c = f->columns;

	f->e_level = columns_new(c, "e_level", 1);
	f->e_page_low = columns_new(c, "e_page_low", 4);
	f->e_page_high = columns_new(c, "e_page_high", 2);
	f->e_writes = columns_new(c, "e_writes", 4);
	f->w_time = columns_new(c, "w_time", 4);
	f->w_low = columns_new(c, "w_low", 4);
	f->w_high = columns_new(c, "w_high", 4);
	f->w_cause = columns_new(c, "w_cause", 1);
	f->w_flags = columns_new(c, "w_flags", 1);
	f->w_meaning = columns_new(c, "w_meaning", 2);
	f->w_fault = columns_new(c, "w_fault", 4);
	f->w_thread = columns_new(c, "w_thread", 2);
	f->w_root = columns_new(c, "w_root", 2);
	f->w_folded = columns_new(c, "w_folded", 4);
	f->o_write = columns_new(c, "o_write", 4);
	f->o_low = columns_new(c, "o_low", 4);
	f->o_high = columns_new(c, "o_high", 4);
	f->f_time = columns_new(c, "f_time", 4);
	f->f_low = columns_new(c, "f_low", 4);
	f->f_high = columns_new(c, "f_high", 4);
	f->f_access = columns_new(c, "f_access", 1);
	f->f_rip = columns_new(c, "f_rip", 4);
	f->f_vcpu = columns_new(c, "f_vcpu", 2);
}

static uint64_t shown_time(const struct filling *f, uint64_t time)
{
	return time > f->origin ? (time - f->origin) / f->unit : 0;
}

/* The words for an entry's value; "@" stands for the address in it. */
static char *meaning_text(enum kvm_mode mode, uint64_t value, unsigned level, enum kvm_entry_kind kind)
{
	char *text, *place, *out;

	if (kind == KVM_ENTRY_OTHER)
		return duplicate("not present");
	if (kind != KVM_ENTRY_LEAF && kind != KVM_ENTRY_TABLE)
		return kvm_entry_describe(mode, value, level);
	text = kvm_entry_describe(mode, value & ~ADDRESS_BITS, level);
	place = strstr(text, "0x0");
	if (!place)
		return text;
	out = formatted("%.*s@%s", (int)(place - text), text, place + 3);
	free(text);
	return out;
}

static uint64_t meaning_of(struct filling *f, uint64_t value, unsigned level)
{
	enum kvm_entry_kind kind = kvm_entry_kind(value, level);
	/* Words have no address: there is room for level and kind. */
	uint64_t *place = map_at(&f->meanings, (value & ~ADDRESS_BITS) | (uint64_t)level << 12 | (uint64_t)kind << 16);

	if (*place == MAP_NONE && json_array_size(f->meaning_list) < UINT16_MAX) {
		char *text = meaning_text(f->mode, value, level, kind);

		*place = json_array_size(f->meaning_list);
		json_array_append_new(f->meaning_list, json_pack("[s, i, b]", text, (int)kind, kvm_entry_writable(value)));
		free(text);
	}
	return *place == MAP_NONE ? 0 : *place;
}

static uint64_t rip_of(struct filling *f, uint64_t rip)
{
	uint64_t *place = map_at(&f->rips, rip);

	if (*place == MAP_NONE) {
		char *text = ask_place_text(f->ask, rip);

		*place = f->rip_count++;
		json_array_append_new(f->rip_list, json_string(text));
		free(text);
	}
	return *place;
}

/* From 1; 0 = none. */
static uint64_t fault_of(struct filling *f, uint64_t number)
{
	uint64_t at, *place;
	const struct fact *fault = model_fault_of(f->ask->model, number, &at);

	if (!fault)
		return 0;
	place = map_at(&f->faults, at);
	if (*place == MAP_NONE) {
		*place = f->fault_count++;
		columns_add(f->columns, f->f_time, shown_time(f, fault->time));
		columns_add(f->columns, f->f_low, fault->address);
		columns_add(f->columns, f->f_high, fault->address >> 32);
		columns_add(f->columns, f->f_access, ask_access(f->mode, fault->a));
		columns_add(f->columns, f->f_rip, rip_of(f, fault->b));
		columns_add(f->columns, f->f_vcpu, fault->vcpu);
	}
	return *place + 1;
}

static void add_write(struct filling *f, uint64_t number, uint64_t folded, const struct fact *before)
{
	const struct fact *fact = model_fact(f->ask->model, number);
	struct columns *c = f->columns;
	bool of_old = fact->kind == FACT_WRITE && fact->was_known != FACT_UNKNOWN && !folded &&
	              fact->a != (before ? before->b : 0) && kvm_entry_is_there(fact->a, fact->level);
	unsigned flags = (fact->known & FLAG_KNOWN) | (fact->flags & FACT_UNEXPLAINED ? FLAG_UNEXPLAINED : 0) |
	                 (fact->kind == FACT_FOUND ? FLAG_FOUND : 0) | (number < f->ask->from ? FLAG_BEFORE : 0) |
	                 (of_old ? FLAG_OLD : 0);

	if (of_old) {
		columns_add(c, f->o_write, c->list[f->w_time].count);
		columns_add(c, f->o_low, fact->a);
		columns_add(c, f->o_high, fact->a >> 32);
	}
	columns_add(c, f->w_time, shown_time(f, fact->time));
	columns_add(c, f->w_low, fact->b);
	columns_add(c, f->w_high, fact->b >> 32);
	columns_add(c, f->w_cause, fact->cause);
	columns_add(c, f->w_flags, flags);
	columns_add(c, f->w_meaning, meaning_of(f, fact->b, fact->level));
	columns_add(c, f->w_fault, fault_of(f, number));
	columns_add(c, f->w_thread, fact->thread < UINT16_MAX ? fact->thread : UINT16_MAX);
	columns_add(c, f->w_root, fact->root);
	columns_add(c, f->w_folded, folded);
}

static void find_chain(struct filling *f, const struct report_entry *entry)
{
	f->chain_count = 0;
	for (uint64_t n = entry->last; n != MODEL_NONE; n = model_before(f->ask->model, n)) {
		if (!counts(model_fact(f->ask->model, n)))
			continue;
		if (f->chain_count == f->chain_room) {
			f->chain_room = f->chain_room ? 2 * f->chain_room : 256;
			f->chain = reallocate(f->chain, f->chain_room * sizeof(*f->chain));
		}
		f->chain[f->chain_count++] = n;
		if (n < f->ask->from)
			break;
	}
}

static void add_entry(struct filling *f, const struct report_entry *entry)
{
	size_t begin = f->columns->list[f->w_time].count;
	uint64_t folded = 0;

	find_chain(f, entry);
	for (size_t i = f->chain_count; i-- > 0;) {
		const struct fact *fact = model_fact(f->ask->model, f->chain[i]);
		const struct fact *later = i ? model_fact(f->ask->model, f->chain[i - 1]) : NULL;

		if (is_said_later(f->ask, fact, later, f->entries->steps)) {
			folded++;
			continue;
		}
		add_write(f, f->chain[i], folded, i + 1 < f->chain_count ? model_fact(f->ask->model, f->chain[i + 1]) : NULL);
		folded = 0;
	}
	columns_add(f->columns, f->e_level, entry->level);
	columns_add(f->columns, f->e_page_low, entry->address >> VMMU_PAGE_SHIFT);
	columns_add(f->columns, f->e_page_high, entry->address >> (VMMU_PAGE_SHIFT + 32));
	columns_add(f->columns, f->e_writes, f->columns->list[f->w_time].count - begin);
}

void entries_columns(const struct entries *entries, const struct ask *ask, unsigned vm, uint64_t origin, uint64_t unit,
                     struct columns *columns, json_t *meta)
{
	struct filling f = {
		.entries = entries,
		.ask = ask,
		.columns = columns,
		.mode = model_vm(ask->model, vm)->mode,
		.origin = origin,
		.unit = unit,
		.meaning_list = json_array(),
		.rip_list = json_array(),
	};

	make_columns(&f);
	for (size_t i = 0; i < entries->count; i++)
		if (entries->list[i].level >= entries->lowest_level)
			add_entry(&f, &entries->list[i]);
	json_object_set_new(meta, "meanings", f.meaning_list);
	json_object_set_new(meta, "places", f.rip_list);
	map_free(&f.faults);
	map_free(&f.rips);
	map_free(&f.meanings);
	free(f.chain);
}
