/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's summary of a run, for people. */
#ifndef TOOL_SUMMARY_H
#define TOOL_SUMMARY_H

#include <jansson.h>

#include "../base/text.h"

struct run_facts {
	const char *status; /* "power-off" */
	int exit_status;
	const char *machine;   /* "bochs" */
	const char *mmu;       /* "EPT" */
	const char *page_size; /* "2m" */
	double seconds;        /* real time */
	const char *where;     /* "rip 0x1000 = main+0x4": where it was; NULL: not worth telling */
	const char *trace;     /* NULL: none was asked for */
	uint64_t trace_records, trace_dropped;
};

/* `summary` is the visor's event (docs/visor.md). */
void summary_print(FILE *to, const json_t *summary, const struct run_facts *facts,
                   const struct palette *palette);

#endif
