/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#include <stdlib.h>

struct collecting {
	const struct ask *ask;
	struct tables *tables;
	unsigned vm;
	uint64_t first, last, until;
	size_t room;
};

static void collect(void *arg, unsigned vm, unsigned level, uint64_t address, uint64_t newest)
{
	struct collecting *c = arg;
	uint64_t bytes = vmmu_level_pages(level) << VMMU_PAGE_SHIFT, number;

	(void)newest;
	if (vm != c->vm || level > c->tables->root->level || address > c->last || address + bytes - 1 < c->first)
		return;
	number = model_last(c->ask->model, vm, level, address, c->tables->root->id, c->until);
	if (number == MODEL_NONE)
		return;
	if (c->tables->count == c->room) {
		c->room = c->room ? 2 * c->room : 1024;
		c->tables->entries = reallocate(c->tables->entries, c->room * sizeof(*c->tables->entries));
	}
	c->tables->entries[c->tables->count++] = (struct tables_entry){
		address, number, model_fact(c->ask->model, number)->b, (uint8_t)level};
}

static int by_address(const void *a, const void *b)
{
	const struct tables_entry *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return (int)y->level - (int)x->level;
}

static bool covers(const struct tables_entry *upper, uint64_t address)
{
	uint64_t bytes = vmmu_level_pages(upper->level) << VMMU_PAGE_SHIFT;

	return address - upper->address < bytes;
}

/* Is it part of what a walk finds? Not below a leaf, nor left over from a table that stood there before. */
static bool is_reached(const struct ask *ask, const struct tables_entry *entry, const struct tables_entry *upper)
{
	const struct fact *link;

	if (!upper)
		return true;
	if (kvm_entry_kind(upper->value, upper->level) != KVM_ENTRY_TABLE || entry->fact == MODEL_NONE)
		return false;
	link = model_fact(ask->model, upper->fact);
	return link->kind != FACT_WRITE || kvm_entry_kind(link->a, upper->level) == KVM_ENTRY_TABLE ||
	       entry->fact > upper->fact ||
	       model_fact(ask->model, entry->fact)->table == kvm_entry_hpa(upper->value, upper->level);
}

/* The entry's last write in the table that hangs there now, not in one that was unlinked and taken down since. */
static void find_in_table(const struct ask *ask, struct tables_entry *entry, const struct tables_entry *upper)
{
	uint64_t number;

	if (kvm_entry_kind(upper->value, upper->level) != KVM_ENTRY_TABLE)
		return;
	number = model_last_in(ask->model, entry->fact, kvm_entry_hpa(upper->value, upper->level));
	if (number == entry->fact)
		return;
	entry->fact = number;
	entry->value = number == MODEL_NONE ? 0 : model_fact(ask->model, number)->b;
}

static void sift(const struct ask *ask, struct tables *tables)
{
	struct {
		struct tables_entry entry;
		bool there, reached;
	} stack[VMMU_LEVEL_MAX + 2] = {0};
	size_t kept = 0;

	for (size_t i = 0; i < tables->count; i++) {
		struct tables_entry entry = tables->entries[i];
		unsigned level = entry.level, above = level + 1;
		bool known = false, reached = true;

		/* The nearest upper level of which something is known. */
		while (above <= VMMU_LEVEL_MAX && !(known = stack[above].there && covers(&stack[above].entry, entry.address)))
			above++;
		if (known && above == level + 1)
			find_in_table(ask, &entry, &stack[above].entry);
		if (known)
			reached = stack[above].reached && (above > level + 1 || is_reached(ask, &entry, &stack[above].entry));
		if (known && above > level + 1 && kvm_entry_kind(stack[above].entry.value, above) != KVM_ENTRY_TABLE)
			reached = false;
		stack[level].entry = entry;
		stack[level].there = true;
		stack[level].reached = reached;
		if (reached && kvm_entry_is_there(entry.value, level))
			tables->entries[kept++] = entry;
	}
	tables->count = kept;
}

void tables_at(const struct ask *ask, unsigned vm, uint64_t first, uint64_t last, uint64_t until,
               struct tables *tables)
{
	struct collecting collecting = {ask, tables, vm, first, last, until, 0};

	*tables = (struct tables){.root = model_root(ask->model, vm, 0, until)};
	if (!tables->root)
		return;
	model_each_entry(ask->model, collect, &collecting);
	if (tables->count)
		qsort(tables->entries, tables->count, sizeof(*tables->entries), by_address);
	sift(ask, tables);
}

void tables_free(struct tables *tables)
{
	free(tables->entries);
	*tables = (struct tables){0};
}
