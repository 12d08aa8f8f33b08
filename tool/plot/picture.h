/* SPDX-License-Identifier: BSD-2-Clause */
/* What a picture shows, in numbers and words, before anything is said of gnuplot. */
#ifndef TOOL_PLOT_PICTURE_H
#define TOOL_PLOT_PICTURE_H

#include "../series/series.h"
#include "plot.h"

enum { CURVES_MAX = 6 };

/* What the key calls the marks. */
#define PICTURE_ZAPS "everything dropped"
#define PICTURE_LOST "events lost"

struct curve {
	char *name;
	const uint64_t *values; /* by step */
	double factor;          /* from a value to what is drawn */
	bool any;               /* one of the values is not 0 */
};

struct panel {
	enum plot_panel what;
	const char *title, *empty; /* what is said when there is no curve; NULL: there is one */
	struct curve curves[CURVES_MAX];
	unsigned count;
	bool bytes;
	double top; /* the highest that all curves together reach */
};

struct picture {
	const struct ask *ask;
	const struct plot_options *options;
	struct series series;
	struct series_mark *marks;
	bool lost, zaps; /* some of the marks are such */
	uint64_t *rest;  /* exits of all reasons but the first ones */
	char *title, *vm_text;
	double begin, length; /* seconds */
	struct panel panels[PLOT_PANELS];
	unsigned panel_count;
};

void picture_make(struct picture *picture, const struct ask *ask, unsigned vm, const struct plot_options *options,
                  struct meter *meter);
void picture_free(struct picture *picture);

/* Pixels. */
struct layout {
	unsigned width, height, left, right; /* left and right: margins */
	struct {
		unsigned title, axes; /* from the top edge of the picture to that of its title, of its axes */
		unsigned key_columns;
	} panels[PLOT_PANELS];
	unsigned plot; /* the height of each one's axes */
};
struct layout picture_layout(const struct picture *picture);

/* Tells gnuplot to draw it. False: could not be written. */
bool script_write(const struct picture *picture, FILE *to);

/* Tick k of an axis from `from` to `to` with about `wanted` of them. */
struct ticks {
	double first, step;
	unsigned count;
};
struct ticks ticks_make(double from, double to, unsigned wanted, bool powers_of_two);
/* What stands at a tick: "1.5 k", "64 MiB"; the caller frees. */
char *tick_rate(double value);
char *tick_bytes(double value);
/* "3.45 s" */
char *tick_time(double seconds, double step, double length);

#endif
