/* SPDX-License-Identifier: BSD-2-Clause */
/* A file that a command makes: there as a whole or not at all. */
#ifndef TOOL_COMMAND_OUTPUT_H
#define TOOL_COMMAND_OUTPUT_H

#include <stdio.h>

#include "../base/base.h"

struct output {
	FILE *file;
	char *path, *partial; /* partial NULL: it is written in place (standard output, a device) */
};

/* "-" is standard output. False: *error says why (the caller frees). */
bool output_open(struct output *output, const char *path, char **error);
/* What was written gets its name. False: it could not be written, *error says why, and nothing is left. */
bool output_finish(struct output *output, char **error);
/* Nothing is left. */
void output_drop(struct output *output);

/* The trace's own name with another ending, beside it; `fallback` for standard input. Caller frees. */
char *output_beside(const char *trace, const char *ending, const char *fallback);

#endif
