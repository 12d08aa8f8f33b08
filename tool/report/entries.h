/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every entry of a VM's tables and what was written to it, as columns. A page has
 * room for so many writes; where a recording has more, those of one entry in the
 * same step of time become one, and where that is not enough, the smallest pages'
 * entries are left out.
 */
#ifndef TOOL_REPORT_ENTRIES_H
#define TOOL_REPORT_ENTRIES_H

#include "../question/ask.h"
#include "columns.h"

struct report_entry {
	uint64_t address;
	uint64_t last; /* fact */
	uint8_t level;
	bool was_leaf, was_device; /* at some time */
};

struct entries {
	struct report_entry *list; /* upper levels first, then by address */
	size_t count, room;
	unsigned lowest_level; /* of which writes are kept */
	unsigned steps;        /* of time; 0 = each write is kept */
	uint64_t writes, kept;
};

/* Addresses first to last alone. */
void entries_find(struct entries *entries, const struct ask *ask, unsigned vm, uint64_t first, uint64_t last);
/* Choose the steps so that at most `room` writes are kept. */
void entries_fit(struct entries *entries, const struct ask *ask, uint64_t room);
/*
 * Columns e_*: the entries; w_*: their writes; f_*: the faults that those belong to.
 * `unit`: ns of a time in columns, which count from `origin`. Adds to `meta` what the
 * columns' numbers stand for.
 */
void entries_columns(const struct entries *entries, const struct ask *ask, unsigned vm, uint64_t origin, uint64_t unit,
                     struct columns *columns, json_t *meta);
void entries_free(struct entries *entries);

#endif
