/* SPDX-License-Identifier: BSD-2-Clause */
/* Which records `vmmu trace` shows. */
#ifndef TOOL_TRACE_FILTER_H
#define TOOL_TRACE_FILTER_H

#include "../base/base.h"

#include <vmmu/trace.h>
#include <vmmu/vmmu.h>

struct trace_filter {
	uint64_t gpa_first, gpa_last;
	uint64_t gva_first, gva_last; /* of faults under shadow paging */
	uint64_t fault_first, fault_last;
	unsigned level;  /* 0: all */
	uint64_t causes; /* a bit for each cause; 0: all */
	uint64_t vm;     /* UINT64_MAX: all */
	bool all;        /* also what is no entry write */
};

_Static_assert(VMMU_CAUSE_COUNT <= 64, "struct trace_filter has a bit for each cause");

#define TRACE_FILTER_NONE \
	((struct trace_filter){.gpa_last = UINT64_MAX, .gva_last = UINT64_MAX, .fault_last = UINT64_MAX, .vm = UINT64_MAX})

/*
 * An entry write, under `fault` (NULL: of a management call). `decoder` is its VM's: under
 * shadow paging only a leaf maps a gpa, a reference stands for a table of the guest's.
 */
bool filter_write(const struct trace_filter *filter, const struct vmmu_decoder *decoder,
                  const struct vmmu_trace_record *write, const struct vmmu_trace_record *fault);
/* A fault that wrote nothing that is shown; `end` is its end, or NULL. */
bool filter_fault(const struct trace_filter *filter, const struct vmmu_decoder *decoder,
                  const struct vmmu_trace_record *fault, const struct vmmu_trace_record *end);
/* Anything else. */
bool filter_other(const struct trace_filter *filter, const struct vmmu_trace_record *record);

#endif
