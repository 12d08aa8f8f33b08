/* SPDX-License-Identifier: BSD-2-Clause */
/* The colours of plots, which the build takes from the report's style sheet (plot.mk). */
#ifndef TOOL_PLOT_COLOURS_H
#define TOOL_PLOT_COLOURS_H

enum plot_colour {
	COLOUR_CARD,
	COLOUR_INK,
	COLOUR_SOFT,
	COLOUR_LINE,
	COLOUR_FAINT,
	COLOUR_WARN,
	COLOUR_FIRST, /* of six that tell curves apart */
	COLOUR_CURVES = 6
};

/* "#d98200" and a line's end, one after another. */
enum { COLOUR_ROOM = 8,
       COLOUR_LENGTH = 7 };
extern const char plot_colours[];

#endif
