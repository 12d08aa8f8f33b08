/* SPDX-License-Identifier: BSD-2-Clause */
/* The recording as a file: trace-cmd's format, version 6 (trace-cmd.dat.v6(5)), which many tools open. */
#ifndef TOOL_RECORD_TRACE_DAT_H
#define TOOL_RECORD_TRACE_DAT_H

#include "drain.h"

/*
 * Write all to `path`, by way of a file beside it, so that there is never half a
 * recording under that name. `threads` are more lines "PID NAME" for the table of
 * names; `symbols`: with the kernel's, for stacks. The drain's files are
 * empty afterwards. Returns false with *error set.
 */
bool trace_dat_write(const char *path, struct tracing *t, struct drain *d, const char *threads, bool symbols,
                     char **error);

#endif
