/* SPDX-License-Identifier: BSD-2-Clause */
/* A line on a terminal that says how far something is, once it has taken two seconds. */
#ifndef TOOL_METER_H
#define TOOL_METER_H

#include "base.h"

struct meter {
	char *what; /* "making the report" */
	double start, next;
	bool on, shown;
};

void meter_begin(struct meter *meter, const char *what);
/* May be called as often as one likes. `done`: 0 to 1; negative = not known. */
void meter_show(struct meter *meter, double done);
/* Takes the line away. */
void meter_end(struct meter *meter);

#endif
