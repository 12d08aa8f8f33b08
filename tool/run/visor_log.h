/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes over COM2: the visor's log lines and its @vmmu events (docs/visor.md). */
#ifndef TOOL_VISOR_LOG_H
#define TOOL_VISOR_LOG_H

#include <jansson.h>

#include "../base/base.h"

enum { LOG_LINES_KEPT = 400 };

struct visor_log {
	char *line; /* the one that is coming in */
	size_t length, room;
	bool in_escape;             /* inside a terminal escape sequence (GRUB's) */
	char *kept[LOG_LINES_KEPT]; /* the last lines that are no events, in a ring */
	size_t next;

	/* Told by events, in this order. */
	char stage[32];   /* GRUB's: "kernel" ... */
	bool visor_spoke; /* any line that is not GRUB's */
	json_t *start;
	json_t *ended; /* the guest has, and the visor begins its report */
	json_t *summary;
	json_t *end;
	json_t *phases; /* an array of `phase` events; NULL: none came */
};

/* Called for each complete line that is no event. */
typedef void (*visor_line_fn)(void *arg, const char *line);

void visor_log_take(struct visor_log *log, const char *bytes, size_t size, visor_line_fn on_line,
                    void *arg);
/* The lines kept, oldest first, each with `prefix`. */
void visor_log_print(const struct visor_log *log, FILE *to, const char *prefix);
void visor_log_free(struct visor_log *log);

#endif
