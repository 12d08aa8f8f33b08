/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What no event says, as text in the stream of events (the instance's trace_marker, event
 * ftrace:print): "vmmu: WORD KEY=VALUE...". docs/kvm-recording.md lists them.
 */
#ifndef TOOL_RECORD_MARKER_H
#define TOOL_RECORD_MARKER_H

#include "tracing.h"

/* The longest text that every kernel takes whole. */
#define MARKER_MAX 1000

struct marker {
	int fd;           /* -1: not open */
	uint64_t refused; /* markers that the kernel did not take */
};

bool marker_open(struct marker *m, struct tracing *t);
/* One line, at most MARKER_MAX long; a longer one is cut. */
void marker_write(struct marker *m, const char *format, ...) PRINTF_LIKE(2, 3);
void marker_close(struct marker *m);

/* In quotes, with control bytes, quotes and backslashes as \xNN. The caller frees. */
char *marker_quoted(const char *text);

#endif
