/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Curves of a VM: how much was mapped by pages of which size, how many tables,
 * and what happened, in equal steps of time. What plots, reports and live views
 * draw.
 */
#ifndef TOOL_SERIES_H
#define TOOL_SERIES_H

#include "../question/ask.h"

/* What a fault was about; each is of one kind only, the first that fits from below. */
enum series_fault {
	SERIES_FAULT_READ,
	SERIES_FAULT_WRITE,
	SERIES_FAULT_FETCH,
	SERIES_FAULT_WALK,   /* the guest's page walk */
	SERIES_FAULT_RIGHTS, /* an entry was there, but did not allow it */
	SERIES_FAULT_DEVICE, /* a device is behind the address */
	SERIES_FAULT_COUNT
};

/* What an entry write did to its entry. */
enum series_write {
	SERIES_WRITE_MAP,     /* something is there now that was not */
	SERIES_WRITE_DROP,    /* the reverse */
	SERIES_WRITE_PROTECT, /* the right to write was taken away */
	SERIES_WRITE_PERMIT,  /* ... or given */
	SERIES_WRITE_OTHER,
	SERIES_WRITE_COUNT
};

struct series_exit {
	uint64_t reason;
	uint64_t total;
	uint64_t *counts; /* by step */
};

enum { SERIES_LEVELS = 6,           /* levels count from 1 */
       SERIES_EXITS = 256 };        /* reasons that are told apart */
#define SERIES_EXIT_REST UINT64_MAX /* the reason of all others */

struct series {
	uint64_t first, last; /* times of the recording's clock; steps reach from first to last */
	uint64_t step;        /* ns */
	unsigned steps;
	bool exact; /* false: legacy and shadow MMU of KVM, which record no drop: pages, tables and writes are not known */
	bool any_exit;
	uint64_t *pages[SERIES_LEVELS];  /* by step: leaves of levels 1 to 3 at its end */
	uint64_t *tables[SERIES_LEVELS]; /* ... tables of levels 1 to 5, without the roots */
	uint64_t *faults[SERIES_FAULT_COUNT];
	uint64_t *writes[SERIES_WRITE_COUNT];
	struct series_exit *exits; /* the most frequent reason first */
	size_t exit_count;
	uint64_t fault_total, write_total, exit_total;
};

/*
 * Of VM `vm`, facts ask->from to ask->to, in at most `steps` steps (at least 1).
 * `progress` (NULL = none) is called now and then with the share that is done.
 */
void series_make(struct series *series, const struct ask *ask, unsigned vm, unsigned steps,
                 void (*progress)(void *arg, double done), void *arg);
void series_free(struct series *series);

unsigned series_step_of(const struct series *series, uint64_t time);
/* The time at which a step ends. */
uint64_t series_end_of(const struct series *series, unsigned step);
/* What `mode` and the error code of a fault say. That a device is there may show only later. */
enum series_fault series_fault_kind(enum kvm_mode mode, uint64_t error);
/* What a FACT_WRITE or FACT_FOUND did. */
enum series_write series_write_kind(const struct fact *fact);

const char *series_fault_name(unsigned kind); /* "page walk" */
const char *series_write_name(unsigned kind); /* "mapped" */
/* "EPT_VIOLATION", "reason 200", "other": series->exits[i] of a VM in this mode. The caller frees. */
char *series_exit_name(const struct series *series, enum kvm_mode mode, size_t i);

/* What happened at once in a step. */
struct series_mark {
	uint64_t time;  /* of the last of these; not before series->first */
	uint64_t lost;  /* events that are missing */
	uint64_t zaps;  /* moments at which every root became invalid */
	bool uncounted; /* of some losses nobody knows how many events */
};

static inline bool series_is_marked(const struct series_mark *mark)
{
	return mark->lost || mark->uncounted || mark->zaps;
}

/* One for each step. The caller frees. */
struct series_mark *series_marks(const struct series *series, const struct ask *ask, unsigned vm);

#endif
