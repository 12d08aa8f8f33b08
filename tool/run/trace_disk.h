/* SPDX-License-Identifier: BSD-2-Clause */
/* The file that the emulated machine has as its trace disk (docs/trace-format.md). */
#ifndef TOOL_TRACE_DISK_H
#define TOOL_TRACE_DISK_H

#include "../base/base.h"

struct trace_disk {
	char *path;
	int lock; /* holds the file's lock as long as it is open */
};

/*
 * A sparse file with room for `bytes` of records. `machine` goes into the header.
 * It is locked (flock) until trace_disk_release: a file that another run writes is
 * refused and left as it is. False: *error.
 */
bool trace_disk_make(struct trace_disk *disk, const char *path, uint64_t bytes, const char *machine, char **error);

/*
 * After the run: cut off what was never written. *records is how many there are,
 * *dropped how many were lost. *error (caller frees) says what is wrong with it,
 * and where records were lost, why. False: it is not what was asked for.
 */
bool trace_disk_finish(const struct trace_disk *disk, uint64_t *records, uint64_t *dropped, char **error);

/* Also when it was never made. */
void trace_disk_release(struct trace_disk *disk);

#endif
