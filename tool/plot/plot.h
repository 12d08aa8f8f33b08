/* SPDX-License-Identifier: BSD-2-Clause */
/* The curves of a VM over time as a picture, which gnuplot draws. */
#ifndef TOOL_PLOT_H
#define TOOL_PLOT_H

#include "../base/meter.h"
#include "../question/ask.h"

/* Each is a panel of its own, one below the other. */
enum plot_panel {
	PLOT_PAGES,
	PLOT_TABLES,
	PLOT_FAULTS,
	PLOT_WRITES,
	PLOT_EXITS,
	PLOT_PANELS
};

enum plot_format {
	PLOT_SVG,
	PLOT_PNG,
	PLOT_SCRIPT, /* what gnuplot is told, with all numbers */
};

/* Pixels, and steps of time. */
enum { PLOT_WIDTH = 1000,
       PLOT_WIDTH_MIN = 400,
       PLOT_SIZE_MAX = 20000,
       PLOT_STEPS = 480,
       PLOT_STEPS_MAX = 20000 };

struct plot_options {
	enum plot_panel panels[PLOT_PANELS];
	unsigned panel_count;   /* 0: all of which the trace knows something */
	unsigned width, height; /* height 0: as high as the panels are */
	unsigned steps;
	const char *title; /* NULL: the file's name; empty: none */
	enum plot_format format;
};

/* "pages"; false: there is none of that name. */
bool plot_panel_named(const char *name, enum plot_panel *panel);
/* "pages, tables, faults, writes or exits" */
extern const char plot_panel_names[];

/* The height in pixels in which so many panels find room whatever they show. */
unsigned plot_least_height(const struct plot_options *options, unsigned panels);

/* The VM to be drawn: the one that is asked for, else the one of which most is recorded. */
unsigned plot_vm(const struct ask *ask);

/* False: *error says why not (the caller frees), or is NULL: it could not be written, errno says why. */
bool plot_write(const struct ask *ask, unsigned vm, const struct plot_options *options, FILE *to, struct meter *meter,
                char **error);

#endif
