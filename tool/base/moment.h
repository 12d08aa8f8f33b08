/* SPDX-License-Identifier: BSD-2-Clause */
/* Times as a user gives them: read digit by digit, so that none is rounded. */
#ifndef TOOL_BASE_MOMENT_H
#define TOOL_BASE_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

struct moment {
	uint64_t ns;   /* rounded down */
	bool inexact;  /* it has digits below that */
	bool in_whole; /* it has none below microseconds */
};

/* "1.5", "1.5s", "200ms", "15us", "43500ns": decimal digits alone. False when it is no such time, or too large. */
bool parse_moment(const char *text, struct moment *moment);

#endif
