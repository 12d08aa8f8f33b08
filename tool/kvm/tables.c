/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#include <stdlib.h>
#include <string.h>

#include <vmmu/types.h>

#include "../base/base.h"

enum { ENTRIES = 512,
       SPARSE = 8 };

unsigned kvm_index(uint64_t gfn, unsigned level)
{
	return gfn >> 9 * (level - 1) & (ENTRIES - 1);
}

static uint64_t first_gfn(uint64_t gfn, unsigned level)
{
	return gfn & ~(vmmu_level_pages(level + 1) - 1);
}

/* ---- one table ------------------------------------------------------------------------ */

/* A guest maps most tables either whole or hardly at all. */
static struct kvm_table *table_new(uint64_t gfn, unsigned level, uint64_t hpa, bool born, uint32_t epoch)
{
	struct kvm_table *table = allocate(sizeof(*table));

	table->gfn = first_gfn(gfn, level);
	table->level = (uint8_t)level;
	table->hpa = hpa;
	table->born = born;
	table->epoch = epoch;
	table->index = allocate(SPARSE * sizeof(*table->index));
	table->value = allocate(SPARSE * sizeof(*table->value));
	table->known = allocate(SPARSE);
	if (level > 1)
		table->child = allocate(SPARSE * sizeof(struct kvm_table *));
	return table;
}

static unsigned slots(const struct kvm_table *table)
{
	return table->dense ? ENTRIES : table->count;
}

static void table_free(struct kvm_table *table)
{
	if (!table)
		return;
	for (unsigned i = 0; table->child && i < slots(table); i++)
		table_free(table->child[i]);
	free(table->index);
	free(table->value);
	free(table->known);
	free(table->child);
	free(table);
}

static void make_dense(struct kvm_table *table)
{
	struct kvm_table old = *table;

	table->value = allocate(ENTRIES * sizeof(*table->value));
	table->known = allocate(ENTRIES);
	if (old.child)
		table->child = allocate(ENTRIES * sizeof(struct kvm_table *));
	for (unsigned i = 0; i < ENTRIES; i++)
		table->known[i] = old.born ? FACT_SEEN : FACT_UNKNOWN;
	for (unsigned i = 0; i < old.count; i++) {
		table->value[old.index[i]] = old.value[i];
		table->known[old.index[i]] = old.known[i];
		if (old.child)
			table->child[old.index[i]] = old.child[i];
	}
	table->dense = true;
	table->index = NULL;
	free(old.index);
	free(old.value);
	free(old.known);
	free(old.child);
}

static int slot_of(const struct kvm_table *table, unsigned index)
{
	if (table->dense)
		return (int)index;
	for (int i = 0; i < table->count; i++)
		if (table->index[i] == index)
			return i;
	return -1;
}

static int slot_make(struct kvm_table *table, unsigned index)
{
	int slot = slot_of(table, index);

	if (slot >= 0)
		return slot;
	if (table->count == SPARSE) {
		make_dense(table);
		return (int)index;
	}
	slot = table->count++;
	table->index[slot] = (uint16_t)index;
	table->value[slot] = 0;
	table->known[slot] = table->born ? FACT_SEEN : FACT_UNKNOWN;
	if (table->child)
		table->child[slot] = NULL;
	return slot;
}

/* Events were lost since this table was looked at: anything may have happened to it. */
static void tell_of_loss(const struct kvm_tables *tables, struct kvm_table *table)
{
	if (table->epoch == tables->epoch)
		return;
	table->epoch = tables->epoch;
	if (table->born && !table->dense)
		make_dense(table);
	for (unsigned i = 0; i < slots(table); i++)
		table->known[i] |= KVM_STALE;
}

static struct kvm_table *child_of(const struct kvm_table *table, unsigned index)
{
	int slot = table->child ? slot_of(table, index) : -1;

	return slot < 0 ? NULL : table->child[slot];
}

uint64_t kvm_table_get(const struct kvm_tables *tables, struct kvm_table *table, unsigned index,
                       unsigned *known)
{
	int slot;

	tell_of_loss(tables, table);
	slot = slot_of(table, index);
	if (slot < 0) {
		*known = table->born ? FACT_SEEN : FACT_UNKNOWN;
		return 0;
	}
	*known = table->known[slot];
	return table->value[slot];
}

/* ---- roots ------------------------------------------------------------------------------ */

static void root_free(struct kvm_root *root)
{
	table_free(root->top);
	for (size_t i = 0; i < root->detached_count; i++)
		table_free(root->detached[i]);
	free(root->detached);
	free(root);
}

void kvm_tables_free(struct kvm_tables *tables)
{
	for (size_t i = 0; i < tables->root_count; i++)
		root_free(tables->roots[i]);
	free(tables->roots);
	*tables = (struct kvm_tables){0};
}

static void root_remove(struct kvm_tables *tables, size_t at)
{
	root_free(tables->roots[at]);
	memmove(&tables->roots[at], &tables->roots[at + 1], (--tables->root_count - at) * sizeof(*tables->roots));
}

struct kvm_root *kvm_root_add(struct kvm_tables *tables, unsigned as_id, unsigned level, bool born)
{
	struct kvm_root *root = allocate(sizeof(*root));

	if (tables->root_count == KVM_ROOTS_MAX)
		root_remove(tables, 0);
	root->id = ++tables->last_id;
	root->as_id = (uint8_t)as_id;
	root->level = (uint8_t)level;
	root->valid = true;
	root->born = born;
	root->top = table_new(0, level, 0, born, tables->epoch);
	tables->level = (uint8_t)level;
	tables->roots = reallocate(tables->roots, (tables->root_count + 1) * sizeof(struct kvm_root *));
	tables->roots[tables->root_count++] = root;
	return root;
}

struct kvm_root *kvm_root_newest(const struct kvm_tables *tables, unsigned as_id)
{
	for (size_t i = tables->root_count; i-- > 0;)
		if (tables->roots[i]->valid && tables->roots[i]->as_id == as_id)
			return tables->roots[i];
	return NULL;
}

void kvm_roots_invalidate(struct kvm_tables *tables)
{
	for (size_t i = 0; i < tables->root_count; i++)
		tables->roots[i]->valid = false;
}

void kvm_roots_presume_invalid(struct kvm_tables *tables, unsigned as_id, const struct kvm_root *newer)
{
	for (size_t i = 0; i < tables->root_count; i++) {
		struct kvm_root *root = tables->roots[i];

		if (root->valid && root->as_id == as_id && root != newer) {
			root->valid = false;
			root->presumed = true;
		}
	}
}

void kvm_roots_sweep(struct kvm_tables *tables)
{
	for (size_t i = tables->root_count; i-- > 0;) {
		const struct kvm_root *root = tables->roots[i];

		if (!root->valid && root->born && root->top->there == 0 && root->detached_count == 0)
			root_remove(tables, i);
	}
}

/* ---- where an entry stands ----------------------------------------------------------------- */

static struct kvm_table *descend(struct kvm_table *table, uint64_t gfn, unsigned level)
{
	while (table && table->level > level)
		table = child_of(table, kvm_index(gfn, table->level));
	return table;
}

struct kvm_table *kvm_root_find(const struct kvm_root *root, uint64_t gfn, unsigned level)
{
	return level <= root->level ? descend(root->top, gfn, level) : NULL;
}

static bool covers(const struct kvm_table *table, uint64_t gfn, unsigned level)
{
	return level <= table->level && first_gfn(gfn, table->level) == table->gfn;
}

static enum kvm_fit fit_table(const struct kvm_tables *tables, struct kvm_table *table, uint64_t gfn,
                              uint64_t old)
{
	unsigned known;
	uint64_t value = kvm_table_get(tables, table, kvm_index(gfn, table->level), &known);

	if ((known & ~KVM_STALE) == FACT_UNKNOWN) {
		/*
		 * A table hung there, of which the entry alone was not seen: it may have been
		 * unlinked before recording began, and its own entries zapped since.
		 */
		if (child_of(table, kvm_index(gfn, table->level)) &&
		    kvm_entry_kind(old, table->level) != KVM_ENTRY_TABLE)
			return known & KVM_STALE ? KVM_FIT_STALE : KVM_FIT_DOUBTFUL;
		return KVM_FIT_OPEN;
	}
	if (kvm_entry_same(tables->mode, value, old, table->level, (known & ~KVM_STALE) == FACT_INFERRED))
		return KVM_FIT_EXACT;
	return known & KVM_STALE ? KVM_FIT_STALE : KVM_FIT_NONE;
}

/* Is the first entry missing on the way one of which nothing is known? */
static enum kvm_fit fit_missing(const struct kvm_tables *tables, const struct kvm_root *root, uint64_t gfn,
                                unsigned level)
{
	struct kvm_table *table = root->top, *next;
	unsigned known;

	while (table->level > level && (next = child_of(table, kvm_index(gfn, table->level))))
		table = next;
	kvm_table_get(tables, table, kvm_index(gfn, table->level), &known);
	if (known & KVM_STALE)
		return KVM_FIT_STALE;
	return known == FACT_UNKNOWN ? KVM_FIT_OPEN : KVM_FIT_NONE;
}

struct kvm_spot kvm_root_fit(const struct kvm_tables *tables, struct kvm_root *root, uint64_t gfn,
                             unsigned level, uint64_t old)
{
	struct kvm_spot spot = {.root = root, .table = kvm_root_find(root, gfn, level)};
	enum kvm_fit fit;

	if (level > root->level)
		return spot;
	spot.fit = spot.table ? fit_table(tables, spot.table, gfn, old) : fit_missing(tables, root, gfn, level);
	if (spot.fit == KVM_FIT_EXACT)
		return spot;
	for (size_t i = root->detached_count; i-- > 0;) {
		struct kvm_table *table = root->detached[i];

		if (!covers(table, gfn, level))
			continue;
		table = descend(table, gfn, level);
		fit = table ? fit_table(tables, table, gfn, old) : KVM_FIT_NONE;
		if (fit >= KVM_FIT_DETACHED)
			return (struct kvm_spot){root, table, KVM_FIT_DETACHED};
		/* A table that was there before recording began, and of which the zap alone is seen. */
		if (fit > spot.fit && kvm_entry_is_there(old, level))
			spot = (struct kvm_spot){root, table, fit};
	}
	return spot;
}

struct kvm_spot kvm_taken_fit(const struct kvm_tables *tables, uint32_t take, unsigned as_id, uint64_t gfn,
                              unsigned level, uint64_t old)
{
	for (size_t i = 0; take && i < tables->root_count; i++) {
		struct kvm_root *root = tables->roots[i];

		for (size_t n = root->as_id == as_id ? root->detached_count : 0; n-- > 0;) {
			struct kvm_table *table = root->detached[n];

			if (table->take == take && table->level == level && covers(table, gfn, level))
				return (struct kvm_spot){root, table, fit_table(tables, table, gfn, old)};
		}
	}
	return (struct kvm_spot){0};
}

struct kvm_table *kvm_root_table(struct kvm_tables *tables, struct kvm_root *root, uint64_t gfn,
                                 unsigned level)
{
	struct kvm_table *table = root->top;

	while (table->level > level) {
		unsigned index = kvm_index(gfn, table->level);
		struct kvm_table *child = child_of(table, index);

		if (!child) {
			int slot;

			tell_of_loss(tables, table);
			slot = slot_make(table, index);
			child = table_new(gfn, table->level - 1u, 0, false, tables->epoch);
			/* What it held is not known, save that it was a table. */
			if (table->known[slot] != FACT_UNKNOWN) {
				table->there -= kvm_entry_is_there(table->value[slot], table->level);
				table->known[slot] = FACT_UNKNOWN;
				table->value[slot] = 0;
			}
			table->child[slot] = child;
		}
		table = child;
	}
	return table;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void drop_detached(struct kvm_root *root, size_t at)
{
	table_free(root->detached[at]);
	memmove(&root->detached[at], &root->detached[at + 1],
	        (--root->detached_count - at) * sizeof(struct kvm_table *));
}

/* KVM takes tables down from the top, each with all below it: the lowest one is done with first. */
static size_t least_needed(const struct kvm_root *root)
{
	size_t least = 0;

	for (size_t i = 1; i < root->detached_count; i++)
		if (root->detached[i]->level < root->detached[least]->level)
			least = i;
	return least;
}

static void detach(struct kvm_root *root, struct kvm_table *table)
{
	if (table->there == 0 && table->born) {
		table_free(table);
		return;
	}
	if (root->detached_count == KVM_DETACHED_MAX)
		drop_detached(root, least_needed(root));
	root->detached = reallocate(root->detached, (root->detached_count + 1) * sizeof(struct kvm_table *));
	root->detached[root->detached_count++] = table;
}

/* Nothing is left of a table that was unlinked. */
static void settle_detached(struct kvm_root *root, const struct kvm_table *table)
{
	if (table->there || !table->born)
		return;
	for (size_t i = 0; i < root->detached_count; i++) {
		if (root->detached[i] == table) {
			drop_detached(root, i);
			return;
		}
	}
}

void kvm_table_uncover(struct kvm_tables *tables, struct kvm_table *table, unsigned index, uint64_t old)
{
	int slot;

	if (!table->child || kvm_entry_kind(old, table->level) != KVM_ENTRY_TABLE || child_of(table, index))
		return;
	tell_of_loss(tables, table);
	slot = slot_make(table, index);
	table->child[slot] = table_new(table->gfn + index * vmmu_level_pages(table->level), table->level - 1u,
	                               kvm_entry_hpa(old, table->level), false, tables->epoch);
}

void kvm_table_set(struct kvm_tables *tables, struct kvm_root *root, struct kvm_table *table, unsigned index,
                   const struct kvm_put *put)
{
	bool was = false, is = kvm_entry_is_there(put->value, table->level);
	struct kvm_table *below;
	int slot;

	tell_of_loss(tables, table);
	slot = slot_make(table, index);
	if (table->known[slot] != FACT_UNKNOWN)
		was = kvm_entry_is_there(table->value[slot], table->level);
	table->value[slot] = put->value;
	table->known[slot] = (uint8_t)put->known;
	table->there = (uint16_t)(table->there + is - was);
	if (table->child) {
		bool names_table = kvm_entry_kind(put->value, table->level) == KVM_ENTRY_TABLE;
		uint64_t hpa = kvm_entry_hpa(put->value, table->level);

		below = table->child[slot];
		if (below && (!names_table || put->fresh)) {
			table->child[slot] = NULL;
			below->take = put->take;
			detach(root, below);
			below = NULL;
		}
		if (below)
			below->hpa = hpa;
		else if (names_table)
			table->child[slot] = table_new(table->gfn + index * vmmu_level_pages(table->level),
			                               table->level - 1u, hpa, put->fresh, tables->epoch);
	}
	if (!is)
		settle_detached(root, table);
}

bool kvm_root_leaf(struct kvm_tables *tables, struct kvm_root *root, uint64_t gfn,
                   struct kvm_table **out, unsigned *index)
{
	struct kvm_table *table = root->top;

	while (table) {
		unsigned known;
		uint64_t value;

		*index = kvm_index(gfn, table->level);
		value = kvm_table_get(tables, table, *index, &known);
		if (kvm_entry_kind(value, table->level) == KVM_ENTRY_LEAF) {
			*out = table;
			return true;
		}
		table = child_of(table, *index);
	}
	return false;
}
