/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What gnuplot is told. In a text of the trace or of the user, characters of ASCII that
 * could mean something to gnuplot (quotes, `, @, $, \, a line's end) are octal numbers.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "colours.h"
#include "picture.h"

/* Pixels for SVG; pngcairo takes points of 96 to the inch. */
enum { FONT = 12,
       FONT_TITLE = 17,
       FONT_SMALL = 11 };

struct scripting {
	const struct picture *picture;
	struct layout layout;
	FILE *to;
};

static const char *colour(unsigned which)
{
	return &plot_colours[(size_t)which * COLOUR_ROOM];
}

static double font(const struct scripting *s, unsigned pixels)
{
	return s->picture->options->format == PLOT_PNG ? pixels * 0.75 : pixels;
}

/* U+FFFE and U+FFFF are UTF-8, but XML has no place for them. */
static bool is_no_character(const char *text)
{
	return strncmp(text, "\xef\xbf\xbe", 3) == 0 || strncmp(text, "\xef\xbf\xbf", 3) == 0;
}

/* Means nothing to gnuplot between double quotes. */
static bool is_harmless(char c)
{
	return isalnum((unsigned char)c) || ((unsigned char)c & 0x80) || (c && strchr(" -.,:/()[]_+=", c));
}

/* At most `room` characters: what does not fit goes away. */
static void put_text(struct scripting *s, const char *text, unsigned room)
{
	unsigned count = 0;

	putc('"', s->to);
	for (; *text; text++) {
		if (((unsigned char)*text & 0xc0) != 0x80 && ++count > room) {
			fputs("\xe2\x80\xa6", s->to);
			break;
		}
		if (is_no_character(text)) {
			fputs("\xef\xbf\xbd", s->to);
			text += 2;
		} else if (strncmp(text, "]]>", 3) == 0) {
			/* The end of CDATA may not stand in a text of XML, and gnuplot leaves it there: a space without width divides it. */
			fputs("]]\xe2\x80\x8b", s->to);
			text++;
		} else if (is_harmless(*text)) {
			putc(*text, s->to);
		} else {
			fprintf(s->to, "\\%03o", (unsigned)*text);
		}
	}
	putc('"', s->to);
}

/* As many characters of this size as surely fit. */
static unsigned room_for(unsigned pixels, unsigned size)
{
	return pixels * 20 / (size * 11);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void put_time(struct scripting *s, uint64_t time)
{
	const struct picture *p = s->picture;
	uint64_t first = p->ask->host_clock ? 0 : model_first_time(p->ask->model);

	time = time > first ? time - first : 0;
	fprintf(s->to, "%" PRIu64 ".%09" PRIu64, time / 1000000000, time % 1000000000);
}

static void put_row(struct scripting *s, const struct panel *panel, unsigned step, uint64_t time)
{
	put_time(s, time);
	for (unsigned i = 0; i < panel->count; i++)
		fprintf(s->to, " %" PRIu64, panel->curves[i].values[step]);
	putc('\n', s->to);
}

/* The counts as they are; what is drawn is made of them by the factor of each curve. */
static void put_data(struct scripting *s, const struct panel *panel, unsigned number)
{
	const struct series *series = &s->picture->series;

	fprintf(s->to, "\n# of each step its first and its last moment in seconds");
	for (unsigned i = 0; i < panel->count; i++)
		fprintf(s->to, ", %s", panel->curves[i].name);
	fprintf(s->to, "\n$data%u << END\n", number);
	for (unsigned step = 0; step < series->steps; step++) {
		put_row(s, panel, step, step ? series_end_of(series, step - 1) : series->first);
		put_row(s, panel, step, series_end_of(series, step));
	}
	fputs("END\n", s->to);
}

static void put_marks(struct scripting *s, const char *name, const char *what, bool losses)
{
	const struct picture *p = s->picture;
	unsigned count = 0;

	for (unsigned i = 0; i < p->series.steps; i++) {
		const struct series_mark *mark = &p->marks[i];

		if (losses ? !mark->lost && !mark->uncounted : !mark->zaps)
			continue;
		if (!count++)
			fprintf(s->to, "\n# seconds, %s\n$%s << END\n", what, name);
		put_time(s, mark->time);
		fprintf(s->to, " %" PRIu64 "\n", losses ? mark->lost : mark->zaps);
	}
	if (count)
		fputs("END\n", s->to);
}

/* ---- a panel ----------------------------------------------------------------------------------- */

static void put_time_axis(struct scripting *s)
{
	const struct picture *p = s->picture;
	unsigned wanted = (s->layout.width - s->layout.left - s->layout.right) / 110;
	struct ticks ticks = ticks_make(p->begin, p->begin + p->length, wanted < 2 ? 2 : wanted, false);

	fputs("set xtics nomirror (", s->to);
	for (unsigned i = 0; i < ticks.count; i++) {
		double at = ticks.first + ticks.step * i;
		char *text = tick_time(at, ticks.step, p->length);

		fprintf(s->to, "%s'%s' %.17g", i ? ", " : "", text, at);
		free(text);
	}
	fputs(")\n", s->to);
}

static void put_value_axis(struct scripting *s, const struct panel *panel)
{
	struct ticks ticks = ticks_make(0, panel->top, s->layout.plot < 100 ? 2 : 4, panel->bytes);

	fprintf(s->to, "set yrange [0:%.12g]\nset ytics nomirror (", panel->top * 1.05);
	for (unsigned i = 0; i < ticks.count; i++) {
		double at = ticks.step * i;
		char *text = panel->bytes ? tick_bytes(at) : tick_rate(at);

		fprintf(s->to, "%s'%s' %.12g", i ? ", " : "", text, at);
		free(text);
	}
	fputs(")\n", s->to);
}

/* The curves lie on each other. From the sum of all of them down, each is painted over by the next. */
static void put_curves(struct scripting *s, const struct panel *panel, unsigned number)
{
	const char *between = "plot ";

	for (unsigned top = panel->count; top-- > 0;) {
		if (!panel->curves[top].any)
			continue;
		fprintf(s->to, "%s$data%u using 1:(", between, number);
		for (unsigned i = 0; i <= top; i++)
			fprintf(s->to, "%s$%u*%.17g", i ? "+" : "", i + 2, panel->curves[i].factor);
		fprintf(s->to, ") with filledcurves y=0 lc rgb '%.*s' notitle", COLOUR_LENGTH, colour(COLOUR_FIRST + top));
		between = ", \\\n     ";
	}
	for (unsigned i = 0; i < panel->count; i++) {
		if (!panel->curves[i].any)
			continue;
		fprintf(s->to, "%skeyentry with boxes lc rgb '%.*s' title ", between, COLOUR_LENGTH, colour(COLOUR_FIRST + i));
		put_text(s, panel->curves[i].name, 40);
	}
	if (s->picture->zaps)
		fprintf(s->to, "%s$zaps using 1:(%.12g) with impulses lc rgb '%.*s' lw 1.5 dt (2,4) title '" PICTURE_ZAPS "'", between,
		        panel->top * 1.05, COLOUR_LENGTH, colour(COLOUR_SOFT));
	if (s->picture->lost)
		fprintf(s->to, "%s$lost using 1:(%.12g) with impulses lc rgb '%.*s' lw 1.5 dt (5,4) title '" PICTURE_LOST "'", between,
		        panel->top * 1.05, COLOUR_LENGTH, colour(COLOUR_WARN));
	putc('\n', s->to);
}

static void put_label(struct scripting *s, const char *text, unsigned x, unsigned y, unsigned size, unsigned which)
{
	const struct layout *l = &s->layout;

	fputs("set label ", s->to);
	put_text(s, text, room_for(l->width - x - 8, size));
	fprintf(s->to, " at screen %.6f,%.6f left noenhanced front font 'sans-serif,%.4g' textcolor rgb '%.*s'\n", (double)x / l->width,
	        1.0 - (double)y / l->height, font(s, size), COLOUR_LENGTH, colour(which));
}

static void put_axes_style(struct scripting *s)
{
	fprintf(s->to, "set border 3 lc rgb '%.*s'\nset tics nomirror out scale 0.5 noenhanced textcolor rgb '%.*s'\n"
	               "set grid ytics lt 1 lc rgb '%.*s'\n",
	        COLOUR_LENGTH, colour(COLOUR_LINE), COLOUR_LENGTH, colour(COLOUR_SOFT), COLOUR_LENGTH, colour(COLOUR_FAINT));
}

static void put_panel(struct scripting *s, unsigned number)
{
	const struct panel *panel = &s->picture->panels[number];
	const struct layout *l = &s->layout;
	unsigned title = l->panels[number].title, axes = l->panels[number].axes;

	if (!panel->empty)
		put_data(s, panel, number + 1);
	fputs("\nunset label\n", s->to);
	put_label(s, panel->title, 12, title + 12, FONT + 1, COLOUR_INK);
	fprintf(s->to, "set tmargin at screen %.6f\nset bmargin at screen %.6f\n", 1.0 - (double)axes / l->height,
	        1.0 - (double)(axes + l->plot) / l->height);
	if (panel->empty) {
		fputs("unset key\nunset border\nset xrange [0:1]\nset yrange [0:1]\nunset xtics\nunset ytics\n", s->to);
		put_label(s, panel->empty, l->left + 12, axes + l->plot / 2, FONT, COLOUR_SOFT);
		fputs("plot -1 notitle\n", s->to);
		return;
	}
	put_axes_style(s);
	fprintf(s->to, "set key at graph 0,1 left bottom horizontal Left reverse samplen 1 width 1 maxcols %u noenhanced\n",
	        l->panels[number].key_columns);
	fprintf(s->to, "set xrange [%.17g:%.17g]\n", s->picture->begin, s->picture->begin + s->picture->length);
	put_time_axis(s);
	put_value_axis(s, panel);
	put_curves(s, panel, number + 1);
}

/* ---- the script -------------------------------------------------------------------------------- */

static void put_head(struct scripting *s)
{
	const struct plot_options *options = s->picture->options;
	const struct layout *l = &s->layout;

	fprintf(s->to, "# gnuplot 5.4 or later. The picture goes to standard output.\nset encoding utf8\n"
	               "set terminal %s size %u,%u noenhanced font 'sans-serif,%.4g' background '%.*s'\n",
	        options->format == PLOT_PNG ? "pngcairo" : "svg", l->width, l->height, font(s, FONT), COLOUR_LENGTH,
	        colour(COLOUR_CARD));
	fprintf(s->to, "set multiplot\nset style fill solid 1.0 noborder\nset lmargin at screen %.6f\nset rmargin at screen %.6f\n",
	        (double)l->left / l->width, 1.0 - (double)l->right / l->width);
}

/* An empty plot of its own: labels of a panel go with it. */
static void put_title(struct scripting *s)
{
	if (!*s->picture->title)
		return;
	put_label(s, s->picture->title, 12, 18, FONT_TITLE, COLOUR_INK);
	put_label(s, s->picture->vm_text, 12, 38, FONT, COLOUR_SOFT);
	fputs("unset border\nunset key\nunset tics\nset tmargin at screen 1\nset bmargin at screen 0.99\n"
	      "plot [0:1] [0:1] -1 notitle\n",
	      s->to);
}

bool script_write(const struct picture *picture, FILE *to)
{
	struct scripting s = {.picture = picture, .to = to};

	s.layout = picture_layout(picture);
	put_head(&s);
	put_marks(&s, "lost", "events that were lost there, 0: nobody counted", true);
	put_marks(&s, "zaps", "moments at which everything was dropped", false);
	put_title(&s);
	for (unsigned i = 0; i < picture->panel_count; i++)
		put_panel(&s, i);
	fputs("unset multiplot\n", to);
	return !ferror(to);
}
