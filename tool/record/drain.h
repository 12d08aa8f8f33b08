/* SPDX-License-Identifier: BSD-2-Clause */
/* Moves the kernel's buffers into files while the recording runs, one thread for each CPU. */
#ifndef TOOL_RECORD_DRAIN_H
#define TOOL_RECORD_DRAIN_H

#include "tracing.h"

struct drain;

/* So often a buffer is looked at that is not yet half full. */
enum { DRAIN_LOOK_EVERY_MS = 200 };
/* Bytes of the disk that are kept free for the end of the recording. */
enum { DRAIN_RESERVE = 4 << 20 };

/* The data goes to files without a name in `folder`: nothing stays behind, whatever happens. */
struct drain *drain_start(struct tracing *t, const char *folder, char **error);
/* Bytes written so far; *failed: 0 or the errno of a write that did not succeed. */
uint64_t drain_bytes(struct drain *d, int *failed);
/* After tracing is off: the rest of every buffer, then the threads end. */
void drain_stop(struct drain *d);
/* This CPU's file, at its beginning; -1: the CPU has no buffer to read. The drain keeps it. */
int drain_file(struct drain *d, unsigned cpu, uint64_t *bytes);
void drain_free(struct drain *d);

#endif
