/* SPDX-License-Identifier: BSD-2-Clause */
/* Is a trace whole, and does it explain the tables it ends with? */
#ifndef TOOL_VERIFY_H
#define TOOL_VERIFY_H

#include "trace_file.h"

struct verdict {
	uint64_t problems; /* how many things are wrong */
	char *first;       /* the first of them, in words; NULL when there is none */
	uint64_t streams;
	uint64_t lost;         /* records missing by sequence number */
	uint64_t writes;       /* replayed */
	uint64_t dumped;       /* entries compared with DUMP records */
	uint64_t cpu_set_bits; /* accessed and dirty bits that the CPU set on its own */
};

/* Sorts the trace; that it cannot be sorted is a problem, too. The caller frees verdict.first. */
void verify_trace(struct trace_file *trace, struct verdict *verdict);

#endif
