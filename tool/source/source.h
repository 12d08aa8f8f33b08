/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any recording of KVM's events as one sequence of events in the order of time:
 * the text of tracefs, of trace-cmd report (also -R) and of perf script,
 * trace.dat and perf.data; packed or not, from a file, a pipe or standard input.
 * They are told apart by what is in them.
 */
#ifndef TOOL_SOURCE_H
#define TOOL_SOURCE_H

#include "event.h"
#include "stream.h"

enum source_kind { SOURCE_NONE,
	           SOURCE_VMMU,
	           SOURCE_TEXT,
	           SOURCE_TRACE_DAT,
	           SOURCE_PERF_DATA };

/* How often an event came that nothing is made of. */
struct source_count {
	char *name;
	uint64_t count;
};

struct source_info {
	const char *kind; /* "trace.dat version 7 (zstd)" */
	char *machine;    /* uname of where it was recorded; NULL = not said */
	char *clock;      /* "mono"; NULL = not said */
	char *tool;       /* what made it, and its version; NULL = not said */
	unsigned cpus;    /* 0 = not said */
	bool nanoseconds; /* times are no rounder than that */
	uint64_t events;  /* all of them */
	uint64_t counts[EVENT_ID_COUNT];
	uint64_t incomplete;   /* lacked a field without which they say nothing */
	uint64_t lost;         /* known to be missing */
	uint64_t lost_times;   /* places where some are missing */
	uint64_t last_time;    /* the latest so far */
	uint64_t out_of_order; /* came with a time before the one before */
	uint64_t foreign;      /* lines or records that are no events */
	struct source_count *others;
	size_t other_count;
	char *damage; /* what stopped the reading or was left out, and where; NULL = nothing */
};

struct source;

/* What a file is, by its first bytes; SOURCE_NONE when it is none of these. */
enum source_kind source_kind_of(const uint8_t *data, size_t size);

/* False: *error says why (the caller frees). A vmmu trace is refused: it has a reader of its own. */
bool source_open(struct source **source, const char *path, char **error);
/* The same from a stream, which it takes over, also when it fails. */
bool source_open_stream(struct source **source, struct stream *stream, const char *name, char **error);
void source_close(struct source *source);

/* From now on the end of a file of text is not the end: wait for what is added to it. */
void source_follow(struct source *source);
/* The next event, in the order of time as far as the recording is. False at the end. */
bool source_next(struct source *source, struct source_event *event);
const struct source_info *source_info(const struct source *source);
/* How far it has come, 0 to 1; below 0 when that is not known. */
double source_progress(const struct source *source);
/*
 * The open file that holds the whole recording from its first byte, also when it came
 * through a pipe; -1 when there is none. It stays the source's own.
 */
int source_file(const struct source *source);

#endif
