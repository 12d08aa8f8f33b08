/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading a trace file (docs/trace-format.md), also while it is being written. */
#ifndef TOOL_TRACE_FILE_H
#define TOOL_TRACE_FILE_H

#include <vmmu/trace.h>

#include "../base/base.h"

enum trace_ending {
	TRACE_COMPLETE, /* closed in order, every record there */
	TRACE_OPEN,     /* not closed: still being written, or the run was cut short */
	TRACE_SHORT,    /* closed in order, but the file holds fewer records than it says */
	TRACE_DAMAGED,  /* a record that makes no sense; reading stopped before it */
};

struct trace_file {
	char *path;
	int fd; /* -1: parsed from memory */
	struct vmmu_trace_file_header header;
	struct vmmu_trace_record *records; /* as in the file, until trace_sort */
	uint64_t count;
	uint64_t unknown; /* of these, of events that are not known here */
	uint64_t room;
	enum trace_ending ending;
	char *damage;   /* what is wrong with record `count` */
	uint64_t since; /* records behind the last checksum, which nothing vouches for yet */
	uint32_t crc;   /* theirs */
};

/*
 * Open and read all that is there. False: *error is a sentence for the user
 * (the caller frees it) and there is nothing to close.
 */
bool trace_open(struct trace_file *trace, const char *path, char **error);
/* The same from memory; `size` bytes at `data` as they would stand in a file. */
bool trace_parse(struct trace_file *trace, const void *data, size_t size, char **error);
void trace_close(struct trace_file *trace);

/* Records that came since; also brings header and ending up to date. */
uint64_t trace_read_more(struct trace_file *trace);

/* Bring the records of all streams into the order of time; a stream keeps its own order. */
void trace_sort(struct trace_file *trace);

/* Seconds since the first record; raw ticks where the header names no unit. */
double trace_seconds(const struct trace_file *trace, const struct vmmu_trace_record *record);

/* Is the record's event known here? If not it is of a newer engine's; only its sequence number counts. */
bool trace_knows(const struct vmmu_trace_record *record);

/* Say on stderr when the trace is not whole, or holds what is not known here. */
void trace_warn_ending(const struct trace_file *trace);

#endif
