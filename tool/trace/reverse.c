/* SPDX-License-Identifier: BSD-2-Clause */
#include "reverse.h"

#include <stdlib.h>

static bool maps(const struct replay_vm *vm, const struct replay_table *table, unsigned index, uint64_t gfn)
{
	uint64_t entry = replay_entry(table, index), pages = vmmu_level_pages(table->level), first;
	struct vmmu_entry_info info;

	if (!entry)
		return false;
	vmmu_entry_decode(&vm->decoder, table->level, entry, &info);
	if (info.kind != VMMU_ENTRY_LEAF)
		return false;
	/* A record tells the gfn of a fault in a large page, under direct maps: the page begins before it. */
	first = replay_entry_gfn(table, index);
	if (vm->decoder.mode != VMMU_MODE_SHADOW)
		first &= ~(pages - 1);
	return gfn - first < pages;
}

static int by_address(const void *a, const void *b)
{
	const struct replay_table *const *x = a, *const *y = b;

	return ((*x)->hpa > (*y)->hpa) - ((*x)->hpa < (*y)->hpa);
}

void reverse_map(const struct replay_vm *vm, uint64_t gfn, reverse_fn fn, void *arg)
{
	const struct replay_table **tables = NULL;
	size_t count = 0;

	for (const struct replay_table *table = vm->tables; table; table = table->next)
		count++;
	tables = allocate((count ? count : 1) * sizeof(*tables));
	count = 0;
	for (const struct replay_table *table = vm->tables; table; table = table->next)
		tables[count++] = table;
	qsort(tables, count, sizeof(*tables), by_address);
	for (size_t i = 0; i < count; i++)
		for (unsigned index = 0; index < TABLE_ENTRIES; index++)
			if (maps(vm, tables[i], index, gfn))
				fn(arg, tables[i], index);
	free(tables);
}
