/* SPDX-License-Identifier: BSD-2-Clause */
/* Which records `vmmu trace` shows. */
#ifndef TOOL_TRACE_FILTER_H
#define TOOL_TRACE_FILTER_H

#include "../base/base.h"

#include <vmmu/trace.h>

struct trace_filter {
	uint64_t gpa_first, gpa_last;
	uint64_t fault_first, fault_last;
	unsigned level;               /* 0: all */
	uint64_t causes;              /* a bit for each cause; 0: all */
	uint64_t vm;                  /* UINT64_MAX: all */
	bool all;                     /* also what is no entry write */
};

_Static_assert(VMMU_CAUSE_COUNT <= 64, "struct trace_filter has a bit for each cause");

#define TRACE_FILTER_NONE \
	((struct trace_filter){.gpa_last = UINT64_MAX, .fault_last = UINT64_MAX, .vm = UINT64_MAX})

/* An entry write. */
bool filter_write(const struct trace_filter *filter, const struct vmmu_trace_record *write);
/* A fault that wrote nothing that is shown. */
bool filter_fault(const struct trace_filter *filter, const struct vmmu_trace_record *fault);
/* Anything else. */
bool filter_other(const struct trace_filter *filter, const struct vmmu_trace_record *record);

#endif
