/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu plot: the curves of a trace as a picture. */
#include "../plot/plot.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "command.h"
#include "making.h"

enum { OPTION_FORMAT = 'f',
       OPTION_WHAT = 'w',
       OPTION_TITLE = 't',
       OPTION_SIZE = 0x400,
       OPTION_STEPS };

struct plot_command {
	struct making making;
	struct plot_options options;
	unsigned vm;
	bool has_format;
};

static bool parse_format(const char *text, enum plot_format *format)
{
	static const struct {
		const char *name;
		enum plot_format format;
	} names[] = {{"svg", PLOT_SVG}, {"png", PLOT_PNG}, {"gnuplot", PLOT_SCRIPT}, {"gp", PLOT_SCRIPT}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(text, names[i].name) == 0) {
			*format = names[i].format;
			return true;
		}
	}
	return false;
}

/* From the name of what is made; SVG if it has no ending. False: nothing of that kind can be made. */
static bool format_of(const char *output, enum plot_format *format)
{
	const char *name = output ? strrchr(output, '/') : NULL, *end;

	name = name ? name + 1 : output;
	end = name ? strrchr(name, '.') : NULL;
	*format = PLOT_SVG;
	return !end || end == name || !end[1] || parse_format(end + 1, format);
}

static bool has_panel(const struct plot_options *options, enum plot_panel panel)
{
	for (unsigned i = 0; i < options->panel_count; i++)
		if (options->panels[i] == panel)
			return true;
	return false;
}

static void parse_what(struct plot_options *options, const char *arg, struct argp_state *state)
{
	char *list = duplicate(arg), *rest = list, *name;

	while ((name = strsep(&rest, ","))) {
		enum plot_panel panel;

		if (!plot_panel_named(name, &panel))
			argp_error(state, "--what takes %s, with commas between them, not \"%s\"", plot_panel_names, name);
		else if (!has_panel(options, panel))
			options->panels[options->panel_count++] = panel;
	}
	free(list);
}

static bool parse_pixels(const char *text, unsigned least, unsigned *pixels)
{
	uint64_t number;

	if (!parse_number(text, &number) || number < least || number > PLOT_SIZE_MAX)
		return false;
	*pixels = (unsigned)number;
	return true;
}

/* "800" or "800x600" */
static bool parse_plot_size(const char *arg, struct plot_options *options)
{
	char *width = duplicate(arg), *height = strchr(width, 'x');
	bool ok;

	if (height)
		*height++ = '\0';
	ok = parse_pixels(width, PLOT_WIDTH_MIN, &options->width) && (!height || parse_pixels(height, 1, &options->height));
	free(width);
	return ok;
}

static void parse_steps(struct plot_options *options, const char *arg, struct argp_state *state)
{
	uint64_t steps;

	if (!parse_number(arg, &steps) || !steps || steps > PLOT_STEPS_MAX)
		argp_error(state, "--steps takes a number from 1 to %d, not \"%s\"", PLOT_STEPS_MAX, arg);
	else
		options->steps = (unsigned)steps;
}

static void complete(struct plot_command *c, struct argp_state *state)
{
	unsigned panels = c->options.panel_count ? c->options.panel_count : PLOT_PANELS;

	if (!c->has_format && !format_of(c->making.output, &c->options.format))
		argp_error(state, "which --format? svg, png or gnuplot: the ending of \"%s\" names none of them", c->making.output);
	if (c->options.height && c->options.height < plot_least_height(&c->options, panels))
		argp_error(state, "a picture of %u panels is at least %u pixels high at this width; --what chooses fewer", panels,
		           plot_least_height(&c->options, panels));
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct plot_command *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &c->making;
		return 0;
	case OPTION_FORMAT:
		c->has_format = true;
		if (!parse_format(arg, &c->options.format))
			argp_error(state, "--format is svg, png or gnuplot, not \"%s\"", arg);
		return 0;
	case OPTION_WHAT:
		parse_what(&c->options, arg, state);
		return 0;
	case OPTION_TITLE:
		c->options.title = arg;
		return 0;
	case OPTION_SIZE:
		if (!parse_plot_size(arg, &c->options))
			argp_error(state, "--size takes pixels, WIDTH or WIDTHxHEIGHT from %dx1 to %dx%d, not \"%s\"", PLOT_WIDTH_MIN,
			           PLOT_SIZE_MAX, PLOT_SIZE_MAX, arg);
		return 0;
	case OPTION_STEPS:
		parse_steps(&c->options, arg, state);
		return 0;
	case ARGP_KEY_SUCCESS:
		complete(c, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"format", OPTION_FORMAT, "FORMAT", 0,
         "svg, png, or gnuplot: what gnuplot is told, with all numbers, to be changed and drawn by hand (default: by the "
         "ending of OUT: .svg, .png, .gp)",
         1},
	{"what", OPTION_WHAT, "LIST", 0,
         "Which curves: some of pages, tables, faults, writes, exits, with commas between them (default: all of which "
         "the trace knows something)",
         1},
	{"size", OPTION_SIZE, "WxH", 0, "Width, or width and height, in pixels (default: 1000, and as high as the panels are)", 1},
	{"steps", OPTION_STEPS, "N", 0, "Equal steps of time into which the trace is cut (default: 480)", 1},
	{"title", OPTION_TITLE, "TEXT", 0, "What stands above the picture (default: the file's name; empty: nothing)", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Draw the curves of a VM over time: mapped memory by size of page, memory of the tables, faults by what they "
	       "were about, entry writes by what they did, exits by reason. gnuplot draws.",
	.children = making_children,
};

static bool write_plot(struct making *making, struct output *output, struct meter *meter, char **error)
{
	struct plot_command *c = (struct plot_command *)making;

	return plot_write(&making->ask, c->vm, &c->options, output->file, meter, error);
}

static void say_done(const struct plot_command *c, const char *path)
{
	const struct ask *ask = &c->making.ask;

	if (ask->all_vms && model_vm_count(ask->model) > 1)
		note("drawn is VM %u, of which most is recorded; --vm draws another of the %zu", c->vm + 1, model_vm_count(ask->model));
	if (!c->making.output)
		making_say(path, "");
}

int command_plot(int argc, char **argv)
{
	static const char *const endings[] = {[PLOT_SVG] = ".svg", [PLOT_PNG] = ".png", [PLOT_SCRIPT] = ".gp"};
	struct plot_command c = {.options = {.width = PLOT_WIDTH, .steps = PLOT_STEPS}};
	struct maker maker = {.name = "plot", .doing = "drawing", .write = write_plot};
	char *path;
	bool ok;

	if (!ask_begin(&c.making.ask, &argp, argc, argv, &c))
		return EXIT_TROUBLE;
	maker.ending = endings[c.options.format];
	c.vm = plot_vm(&c.making.ask);
	path = making_make(&c.making, &maker);
	ok = path;
	if (ok)
		say_done(&c, path);
	free(path);
	return ask_close(&c.making.ask, ok ? EXIT_OK : EXIT_TROUBLE);
}
