/* SPDX-License-Identifier: BSD-2-Clause */
/* The file that the emulated machine has as its trace disk (docs/trace-format.md). */
#ifndef TOOL_TRACE_DISK_H
#define TOOL_TRACE_DISK_H

#include "../base/base.h"

/* A sparse file with room for `bytes` of records. `machine` goes into the header. */
bool trace_disk_make(const char *path, uint64_t bytes, const char *machine, char **error);

/*
 * After the run: cut off what was never written. *records is how many there
 * are, *dropped how many were lost. False: *error.
 */
bool trace_disk_finish(const char *path, uint64_t *records, uint64_t *dropped, char **error);

#endif
