/* SPDX-License-Identifier: BSD-2-Clause */
/* Within tool/source: what a reader of one format offers. */
#ifndef TOOL_SOURCE_READER_H
#define TOOL_SOURCE_READER_H

#include "source.h"

struct reader {
	bool (*next)(void *reader, struct source_event *event);
	double (*progress)(const void *reader);
	void (*close)(void *reader);
	void (*follow)(void *reader);    /* NULL: what is not text has no end to wait at */
	int (*file)(const void *reader); /* the open file that holds all of the recording; NULL: there is none */
};

/* Count an event that nothing is made of. */
void source_count_other(struct source_info *info, const char *name, size_t length);
/* Say what is wrong, the first time only. */
void source_damaged(struct source_info *info, const char *format, ...) PRINTF_LIKE(2, 3);

/* Each takes over the stream. False: *error says why. */
bool text_reader_open(void **reader, struct stream *stream, struct source_info *info, char **error);
bool trace_dat_open(void **reader, struct stream *stream, struct source_info *info, char **error);
bool perf_data_open(void **reader, struct stream *stream, struct source_info *info, char **error);
extern const struct reader text_reader, trace_dat_reader, perf_data_reader;

/* Does a line of text tell of an event? Then its name. */
bool text_line_is_event(const char *line, size_t length, const char **name, size_t *name_length);

#endif
