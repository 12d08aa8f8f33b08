/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a trace (docs/trace-format.md), also while it is being written. A file is
 * mapped; what comes packed (gzip, zstd), through a pipe or from standard input is
 * unpacked into a temporary file first. So memory does not grow with the trace. A record that
 * stands for several (vmmu_trace_expand) is seen as these, which stand in another temporary file
 * with all others.
 */
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

struct stream;

struct trace_file {
	char *path;
	int fd;                /* of the file, or of the copy; -1: parsed from memory */
	struct stream *stream; /* where a copy comes from, while more may come; NULL: it is the file itself */
	bool is_copy;
	struct vmmu_trace_file_header header;
	const struct vmmu_trace_record *records; /* in the order of the file, until trace_sort */
	uint64_t count;
	uint64_t unknown;                    /* of these, of events that are not known here */
	const struct vmmu_trace_record *raw; /* as in the file */
	uint64_t taken;                      /* of these, what `records` are made of */
	struct vmmu_trace_record *expanded;  /* `records`, when they are not as in the file; NULL: they are */
	uint64_t expanded_room;              /* records that fit there */
	bool counted;                        /* only: nothing is expanded */
	int expanded_fd;                     /* where they stand; -1: in memory, as all that was parsed from there */
	uint8_t *map;                        /* header and records; NULL: parsed from memory */
	size_t mapped;                       /* bytes, also beyond the end of the file */
	uint64_t copied;
	bool sorted; /* trace_sort had to make a copy in another order */
	enum trace_ending ending;
	char *damage;   /* what is wrong with record `taken` of the file */
	uint64_t since; /* records of the file behind the last checksum, which nothing vouches for yet */
	uint64_t sure;  /* records up to that checksum */
	uint32_t crc;   /* theirs */
};

/*
 * Open ("-": standard input) and read all that is there. False: *error is a sentence
 * for the user (the caller frees it) and there is nothing to close.
 */
bool trace_open(struct trace_file *trace, const char *path, char **error);
/* The same, to know what is there: nothing but `taken`, `count`, header and ending may be looked at. */
bool trace_open_counted(struct trace_file *trace, const char *path, char **error);
/* The same, but of what comes through a pipe only the header is waited for. */
bool trace_open_growing(struct trace_file *trace, const char *path, char **error);
/* The same from memory; `size` bytes at `data` as they would stand in a file. */
bool trace_parse(struct trace_file *trace, const void *data, size_t size, char **error);
void trace_close(struct trace_file *trace);

/*
 * Records that came since; also brings header and ending up to date. From a pipe it
 * waits for the next ones; 0 is its end.
 */
uint64_t trace_read_more(struct trace_file *trace);
/* May more come? Not when it was closed in order, is damaged, or its pipe has ended. */
bool trace_may_grow(const struct trace_file *trace);

/*
 * Bring the records of all streams into the order of time; a stream keeps its own
 * order. Where they are not in that order already it takes a temporary file. False:
 * *error says why not.
 */
bool trace_sort(struct trace_file *trace, char **error);

/* Seconds since the first record; raw ticks where the header names no unit. */
double trace_seconds(const struct trace_file *trace, const struct vmmu_trace_record *record);

/* Is the record's event known here? If not it is of a newer engine's; only its sequence number counts. */
bool trace_knows(const struct vmmu_trace_record *record);

/* Say on stderr when the trace is not whole, or holds what is not known here. */
void trace_warn_ending(const struct trace_file *trace);

#endif
