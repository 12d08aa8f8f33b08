/* SPDX-License-Identifier: BSD-2-Clause */
/* What `vmmu trace --json` prints. */
#ifndef TOOL_TRACE_JSON_H
#define TOOL_TRACE_JSON_H

#include "../trace/view.h"

/* One line on stdout: the entry write as a JSON object. `fault` may be NULL. */
void trace_json_print(const struct view *view, const struct vmmu_decoder *decoder,
                      const struct vmmu_trace_record *write, const struct vmmu_trace_record *fault,
                      uint64_t number);

/* The beginning of a fault, with how it was dealt with when `end` is not NULL. */
void trace_json_fault(const struct view *view, const struct vmmu_trace_record *fault,
                      const struct vmmu_trace_record *end, uint64_t number);

/* Any other record. */
void trace_json_other(const struct view *view, const struct vmmu_trace_record *record, uint64_t number);

#endif
