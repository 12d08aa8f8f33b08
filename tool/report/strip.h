/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest-physical map over time: for each piece of memory and each step, by
 * pages of which size most of it is mapped, and how much of it.
 */
#ifndef TOOL_REPORT_STRIP_H
#define TOOL_REPORT_STRIP_H

#include "../series/series.h"
#include "columns.h"
#include "entries.h"

enum { STRIP_ROWS = 192,
       STRIP_REGIONS = 24,
       STRIP_FULL = 7 };

/* A cell: 0 = nothing; else kind * 8 + share, kind 0 to 2 for 4 KiB to 1 GiB, 3 for devices, share 1 to STRIP_FULL. */

/* Adds the column "strip", row by row, and says in `meta` what its rows are. */
void strip_make(const struct ask *ask, unsigned vm, const struct entries *entries, const struct series *series,
                struct columns *columns, json_t *meta);

#endif
