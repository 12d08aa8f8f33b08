/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracefs instance of a recording. Never the top one: others may be using that. */
#ifndef TOOL_RECORD_TRACING_H
#define TOOL_RECORD_TRACING_H

#include <sys/types.h>
#include <tracefs.h>

#include "../base/base.h"

struct tracing_wish {
	uint64_t buffer; /* bytes for each CPU; 0: choose */
	bool exits, nested, stacks;
};

struct tracing {
	struct tracefs_instance *instance;
	unsigned cpus;    /* buffers per_cpu/cpu0 ... */
	size_t page_size; /* of a sub-buffer */
	uint64_t buffer;  /* bytes for each CPU */
	bool tdp_mmu;     /* events tell every write of the tables */
	struct tracing_wish wish;
	bool tgids; /* the kernel notes which process a thread belongs to */
};

/* Is there a tracefs with KVM's events, and may we use it? On failure *error says what to do. */
bool tracing_usable(char **error);
/* Remove instances of recorders that are gone. Returns how many. */
unsigned tracing_remove_leftovers(void);

/* A new instance with clock, buffers and filters, in which nothing is switched on yet. */
bool tracing_open(struct tracing *t, const struct tracing_wish *wish, char **error);
/* Count only these threads' faults and exits; other events are needed from everybody. Count 0: no filter. */
void tracing_filter_threads(struct tracing *t, const pid_t *threads, size_t count);
/* The buffers take what is written to them, or do not. */
bool tracing_on(struct tracing *t, bool on);
/* The events that were wished for. */
bool tracing_events_on(struct tracing *t, char **error);
/* Events that the kernel had no room for, over all CPUs. */
uint64_t tracing_lost(struct tracing *t);
/* per_cpu/cpuN/stats as it is; the caller frees. NULL when it cannot be read. */
char *tracing_stats(struct tracing *t, unsigned cpu);
/* Events off, instance gone. May be called again. */
void tracing_close(struct tracing *t);

#endif
