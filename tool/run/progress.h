/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine is doing until the guest speaks: one line on stderr that
 * counts the seconds on a terminal, a plain line per stage elsewhere.
 */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <time.h>

#include "../base/base.h"

struct progress {
	bool on;    /* not --quiet */
	bool live;  /* stderr is a terminal */
	bool drawn; /* a status line is on the screen */
	struct timespec start;
	char stage[96];
};

void progress_start(struct progress *progress, bool on);
double progress_seconds(const struct progress *progress);
void progress_stage(struct progress *progress, const char *format, ...) PRINTF_LIKE(2, 3);
/* Redraw with the seconds of now. */
void progress_tick(struct progress *progress);
/* Take the status line away before anything else is printed; no stage any more. */
void progress_end(struct progress *progress);

#endif
