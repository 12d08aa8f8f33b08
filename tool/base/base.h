/* SPDX-License-Identifier: BSD-2-Clause */
/* What every part of the command uses: messages, memory, files, strings. */
#ifndef TOOL_BASE_H
#define TOOL_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* One line on stderr, "vmmu: ..."; `complain` for what went wrong, `note` for what happens. */
void complain(const char *format, ...) PRINTF_LIKE(1, 2);
void note(const char *format, ...) PRINTF_LIKE(1, 2);
/* --quiet: leave out notes. */
void note_enable(bool on);

/*
 * `text` as it may be shown on a terminal: bytes that could be a terminal's orders
 * (control characters, and what is no UTF-8) become \xNN. Never NULL; caller frees.
 */
char *printable(const char *text);
/* The same for `size` bytes, or up to a zero among them. */
char *printable_n(const char *text, size_t size);

/*
 * From now on a mapped file that is cut short by somebody while it is read ends the
 * command with a sentence and status 2, instead of a signal.
 */
void end_when_a_file_shrinks(void);

/* The status that the command ends with when there is no memory; 2 until told. */
void out_of_memory_status(int status);

/* Never NULL; zeroed. The command ends when there is no memory. */
void *allocate(size_t size);
void *reallocate(void *block, size_t size);
/* Like asprintf, never NULL. The caller frees. */
char *formatted(const char *format, ...) PRINTF_LIKE(1, 2);
char *formatted_v(const char *format, va_list arguments);
char *duplicate(const char *text);

struct bytes {
	uint8_t *data;
	size_t size;
};
/*
 * A whole file in memory. On failure returns false and sets *error to a
 * sentence that names the file and says why (the caller frees).
 */
bool bytes_read(const char *path, struct bytes *out, char **error);
/*
 * The same for a path that the user has not named, but a file has: only a regular
 * file is read, of at most `max` bytes, and nothing is waited for.
 */
bool bytes_read_regular(const char *path, size_t max, struct bytes *out, char **error);
void bytes_free(struct bytes *bytes);

/* Up to `size` bytes of an open file from `offset` on; fewer only at its end or on an error. */
size_t read_at(int fd, void *to, size_t size, uint64_t offset);

/* Absolute: the first place in PATH, or `override` when that is not NULL. NULL: not found. Caller frees. */
char *find_program(const char *name, const char *override);
/* Absolute path without symbolic links, or a copy of `path` where that fails. Caller frees. */
char *absolute_path(const char *path);
/* Both are there, and are the same regular file, by whatever names. */
bool is_same_file(const char *a, const char *b);

/* A growing, NULL-terminated argument list. */
struct arguments {
	char **argv;
	size_t count;
};
void arguments_add(struct arguments *list, const char *format, ...) PRINTF_LIKE(2, 3);
void arguments_free(struct arguments *list);

#endif
