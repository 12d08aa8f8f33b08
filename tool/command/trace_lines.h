/* SPDX-License-Identifier: BSD-2-Clause */
/* The lines that `vmmu trace` prints. */
#ifndef TOOL_TRACE_LINES_H
#define TOOL_TRACE_LINES_H

#include "../trace/view.h"

/* An entry write, indented under its fault. */
void lines_write(const struct view *view, const struct vmmu_decoder *decoder,
                 const struct vmmu_trace_record *write);
/* The fault itself; `end` is its fault_end record, NULL when there is none. `more`: also the guest's paging and the map. */
void lines_fault(const struct view *view, const struct vmmu_trace_record *fault,
                 const struct vmmu_trace_record *end, bool more);
/* What a management call's writes stand under: their cause. */
void lines_cause(const struct view *view, const struct vmmu_trace_record *write);
/* Any other record, for --all. */
void lines_other(const struct view *view, const struct vmmu_decoder *decoder,
                 const struct vmmu_trace_record *record);

#endif
