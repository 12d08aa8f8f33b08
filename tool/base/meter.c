/* SPDX-License-Identifier: BSD-2-Clause */
#include "meter.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const double first_after = 2.0, again_after = 0.5;

static double meter_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void meter_begin(struct meter *meter, const char *what)
{
	*meter = (struct meter){.what = printable(what), .start = meter_now(), .on = isatty(STDERR_FILENO)};
	meter->next = meter->start + first_after;
}

void meter_show(struct meter *meter, double done)
{
	double t;

	if (!meter->on)
		return;
	t = meter_now();
	if (t < meter->next)
		return;
	meter->next = t + again_after;
	meter->shown = true;
	if (done >= 0)
		fprintf(stderr, "\rvmmu: %s: %.0f %% ", meter->what, done * 100);
	else
		fprintf(stderr, "\rvmmu: %s ", meter->what);
	fflush(stderr);
}

void meter_end(struct meter *meter)
{
	if (meter->shown)
		fprintf(stderr, "\r%*s\r", 100, "");
	free(meter->what);
	*meter = (struct meter){0};
}
