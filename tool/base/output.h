/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file or a folder that a command makes: there as a whole under its name or not at
 * all, also when a signal ends the command. One at a time.
 */
#ifndef TOOL_OUTPUT_H
#define TOOL_OUTPUT_H

#include <stdio.h>

#include "base.h"

struct output {
	FILE *file;     /* NULL: it is a folder */
	char *path;     /* as the user named it */
	char *target;   /* the same without symbolic links */
	char *partial;  /* what is made instead, beside it; NULL: it is written in place (standard output, a device) */
	char *contents; /* of a folder: where its files are to be made; it is not there yet */
};

/* How messages name it: `path` as it may be shown, or "standard output". The caller frees. */
char *output_name(const char *path);

/* "-" is standard output. False: *error says why (the caller frees). */
bool output_open(struct output *output, const char *path, char **error);
/*
 * A folder that is not there yet, or is empty. Its maker makes output->contents and in it
 * no file but `names`, a list that ends with NULL and stays as it is.
 */
bool output_open_folder(struct output *output, const char *path, const char *const *names, char **error);
/* What was written gets its name. False: it could not be written, *error says why, and nothing is left. */
bool output_finish(struct output *output, char **error);
/* Nothing is left. */
void output_drop(struct output *output);

/* For whoever ends the command in another way than by exit() or a signal's default; a signal's handler may call it. */
void output_remove_unfinished(void);

/* The trace's own name with another ending, beside it; `fallback` for standard input. Caller frees. */
char *output_beside(const char *trace, const char *ending, const char *fallback);

#endif
