/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's own counts of mapped pages (debugfs: pages_4k, pages_2m, pages_1g), and whether
 * the recorded events add up to how they changed. Exact for the TDP MMU only.
 */
#ifndef TOOL_RECORD_COUNTS_H
#define TOOL_RECORD_COUNTS_H

#include "drain.h"
#include "marker.h"

enum { PAGE_SIZES = 3 }; /* 4 KiB, 2 MiB, 1 GiB */

/* Over all VMs of the machine. */
struct page_counts {
	bool known;
	bool nested; /* a guest has run a guest: its tables, of which no event tells, are counted, too */
	int64_t pages[PAGE_SIZES];
	uint64_t before_ns, after_ns; /* CLOCK_MONOTONIC around the reading */
};

void counts_read(struct page_counts *counts);
/* Marker "counts" for one VM, id "PID-FD". */
void counts_mark(struct marker *m, const char *when, const char *vm);

/* How the recorded events change the counts from one reading to the other. */
struct count_changes {
	uint64_t writes, splits;
	int64_t pages[PAGE_SIZES];
	int64_t unsure[PAGE_SIZES]; /* leaves that came or went while a count was read */
};
bool counts_replay(struct tracing *t, struct drain *d, const struct page_counts *begin,
                   const struct page_counts *end, struct count_changes *changes);

/* The name of a page size as debugfs has it. */
const char *counts_name(unsigned size);

#endif
