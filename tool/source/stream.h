/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes of a file, a pipe or standard input, unpacked on the way (gzip, zstd). */
#ifndef TOOL_SOURCE_STREAM_H
#define TOOL_SOURCE_STREAM_H

#include "../base/base.h"

struct stream;

/* By its first four bytes: is it packed in a way that is unpacked here? */
bool stream_is_packed(const uint8_t *data, size_t size);

/*
 * What a path leads to, to be closed by the caller; below 0 with errno. "-" is standard
 * input. A named pipe is opened once for good: its writer shall not see it closed in between.
 */
int stream_descriptor(const char *path);

/* "-" is standard input. False: *error says why (the caller frees). */
bool stream_open(struct stream **stream, const char *path, char **error);
void stream_close(struct stream *stream);

/* Up to `size` bytes that come next, without taking them; fewer only at the end. size <= STREAM_PEEK_MAX. */
enum { STREAM_PEEK_MAX = 64 * 1024 };
size_t stream_peek(struct stream *stream, const uint8_t **data, size_t size);
/* The bytes that are there already, at least one unless the stream is at its end; waits for that one alone. */
size_t stream_there(struct stream *stream, const uint8_t **data);
size_t stream_read(struct stream *stream, void *data, size_t size);
/* What has come so far, at least a byte unless it is the end, and takes it; valid until the next call. */
size_t stream_take(struct stream *stream, const uint8_t **data);

/*
 * The next line without its end, valid until the next call; false at the end. A
 * line longer than STREAM_PEEK_MAX comes in pieces.
 */
bool stream_line(struct stream *stream, const char **line, size_t *length);

/*
 * An open file of no name in the temporary folder (TMPDIR). -1: *error says why.
 */
int stream_temporary_file(char **error);

/*
 * All that is left of the stream as a file that can be read at any place: the
 * file itself where it is one and nothing had to be unpacked, else an unlinked
 * temporary copy. -1: *error says why. The caller closes it.
 */
int stream_to_file(struct stream *stream, char **error);

/* From now on the end of a file is not the end: wait for what is added to it. */
void stream_follow(struct stream *stream);

/* NULL, or what stopped the reading before the end: a sentence that ends "at byte N". */
const char *stream_damage(const struct stream *stream);
/* Bytes of the file taken so far, and all that there are; 0 where that is not known. */
uint64_t stream_done(const struct stream *stream);
uint64_t stream_total(const struct stream *stream);
/* Is it a regular file without packing, and the whole of it still to come? */
bool stream_is_plain(const struct stream *stream);

#endif
