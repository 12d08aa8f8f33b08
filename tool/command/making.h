/* SPDX-License-Identifier: BSD-2-Clause */
/* What report, plot and export share: one thing is made of a trace, under a name that is not the trace's. */
#ifndef TOOL_MAKING_H
#define TOOL_MAKING_H

#include "../base/meter.h"
#include "../base/output.h"
#include "../question/ask.h"

/* Stands first in the command's own struct. */
struct making {
	struct ask ask;
	const char *output; /* --output; NULL: not said */
};

/*
 * FILE, the options that say what of it is looked at, and --output, as the children of a
 * command. The command's parser gives its struct making to the child as input.
 */
extern const struct argp_child making_children[];

/* How a command makes it. */
struct maker {
	const char *ending, *name; /* ".svg"; "plot", where the trace has no name */
	const char *const *files;  /* it is a folder of these files; NULL: it is a file */
	const char *doing;         /* the meter's words */
	/* False: *error says why (the caller frees), or is NULL: it could not be written, errno says why. */
	bool (*write)(struct making *making, struct output *output, struct meter *meter, char **error);
};

/*
 * Makes it as a whole or not at all. Returns its path (the caller frees; "-" is standard
 * output), or NULL: the user has been told why not.
 */
char *making_make(struct making *making, const struct maker *maker);

/* Tells where it is, but for standard output; `more` is what can be done with it, or "". */
void making_say(const char *path, const char *more);

#endif
