/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu export: a trace for other programs. */
#include "../export/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/output.h"
#include "command.h"

enum { OPTION_OUTPUT = 'o',
       OPTION_FORMAT = 'f',
       OPTION_SERIES = 0x400,
       OPTION_LAST,
       STEPS_MAX = 1000000 };

enum format { FORMAT_NONE,
	      FORMAT_CTF,
	      FORMAT_PERFETTO,
	      FORMAT_CSV };

struct export_command {
	struct ask ask;
	const char *output;
	enum format format;
	uint64_t steps; /* --series; 0: facts are exported */
};

static bool parse_format(const char *text, enum format *format)
{
	static const struct {
		const char *name;
		enum format format;
	} names[] = {
		{"ctf", FORMAT_CTF}, {"perfetto", FORMAT_PERFETTO}, {"json", FORMAT_PERFETTO}, {"chrome", FORMAT_PERFETTO}, {"csv", FORMAT_CSV}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i].name) == 0) {
			*format = names[i].format;
			return true;
		}
	}
	return false;
}

static error_t parse_series(struct export_command *c, const char *arg, struct argp_state *state)
{
	c->steps = EXPORT_STEPS;
	if (arg && (!parse_number(arg, &c->steps) || !c->steps || c->steps > STEPS_MAX))
		argp_error(state, "--series takes a number of steps from 1 to %d, not \"%s\"", STEPS_MAX, arg);
	return 0;
}

/* From the name of what is made. */
static enum format format_of(const char *output)
{
	const char *end = output ? strrchr(output, '.') : NULL;

	if (end && strcmp(end, ".csv") == 0)
		return FORMAT_CSV;
	if (end && strcmp(end, ".json") == 0)
		return FORMAT_PERFETTO;
	return end && strcmp(end, ".ctf") == 0 ? FORMAT_CTF : FORMAT_NONE;
}

static void complete(struct export_command *c, struct argp_state *state)
{
	if (!c->format)
		c->format = format_of(c->output);
	if (!c->format)
		argp_error(state, "which --format? ctf, perfetto or csv");
	if (c->steps && c->format != FORMAT_CSV)
		argp_error(state, "--series goes with --format csv: perfetto has the curves as counters");
	if (c->steps && c->ask.last != UINT64_MAX)
		argp_error(state, "--last counts events, --series has none: one of the two");
	if (c->format == FORMAT_CTF && c->output && strcmp(c->output, "-") == 0)
		argp_error(state, "CTF is a folder: it cannot go to standard output");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct export_command *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &c->ask;
		return 0;
	case OPTION_OUTPUT:
		c->output = arg;
		return 0;
	case OPTION_FORMAT:
		if (!parse_format(arg, &c->format))
			argp_error(state, "--format is ctf, perfetto or csv, not \"%s\"", arg);
		return 0;
	case OPTION_SERIES:
		return parse_series(c, arg, state);
	case OPTION_LAST:
		if (!parse_number(arg, &c->ask.last))
			argp_error(state, "--last takes a number, not \"%s\"", arg);
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
         "ctf: Common Trace Format 1.8, a folder, for babeltrace2 and Trace Compass; perfetto (or json): Chrome's trace "
         "events in JSON, for ui.perfetto.dev; csv (default: by the ending of OUT: .ctf, .json, .csv)",
         1},
	{"output", OPTION_OUTPUT, "OUT", 0,
         "The file, or for ctf the folder, to be made; - is standard output (default: the trace's name with the format's ending)", 1},
	{"series", OPTION_SERIES, "N", OPTION_ARG_OPTIONAL,
         "csv: instead of events the curves, in N steps of time (default 480): mapped memory, tables, faults, writes, exits", 1},
	{"last", OPTION_LAST, "N", 0, "Only the last N events", 20},
	{0},
};

static const struct argp_child children[] = {{&ask_trace_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Write a trace for other programs: every fault, entry write, zap, exit and device access with its fields "
	       "by name (docs/export.md has them). What is made is there as a whole or not at all.",
	.children = children,
};

static char *default_path(const struct export_command *c)
{
	static const char *const endings[] = {
		[FORMAT_CTF] = ".ctf", [FORMAT_PERFETTO] = ".json", [FORMAT_CSV] = ".csv"};

	if (c->output)
		return duplicate(c->output);
	/* What a program behind a pipe wants. */
	if (c->format != FORMAT_CTF && !isatty(STDOUT_FILENO) && strcmp(c->ask.path, "-") == 0)
		return duplicate("-");
	return output_beside(c->ask.path, endings[c->format], "export");
}

static bool write_folder(struct export_command *c, struct output *output, struct meter *meter, char **error)
{
	char *name, *why = NULL;

	if (export_ctf(&c->ask, output->contents, meter, &why))
		return true;
	name = printable(output->path);
	*error = formatted("%s cannot be written: %s", name, why);
	free(name);
	free(why);
	return false;
}

static bool write_file(struct export_command *c, struct output *output, struct meter *meter, char **error)
{
	char *name;

	errno = 0;
	if (c->format == FORMAT_PERFETTO && export_perfetto(&c->ask, output->file, meter))
		return true;
	if (c->format == FORMAT_CSV && c->steps && export_csv_series(&c->ask, (unsigned)c->steps, output->file, meter))
		return true;
	if (c->format == FORMAT_CSV && !c->steps && export_csv(&c->ask, output->file, meter))
		return true;
	name = printable(output->path);
	*error = formatted("%s cannot be written: %s", name, strerror(errno ? errno : EIO));
	free(name);
	return false;
}

static bool refuse_trace(const struct export_command *c, const char *path, char **error)
{
	char *name;

	if (!ask_is_trace(&c->ask, path))
		return false;
	name = printable(path);
	*error = formatted("%s is the trace itself", name);
	free(name);
	return true;
}

static bool make(struct export_command *c, const char *path, char **error)
{
	struct output output;
	struct meter meter;
	bool ok;

	if (c->format == FORMAT_CTF ? !output_open_folder(&output, path, export_ctf_files, error)
	                            : !output_open(&output, path, error))
		return false;
	meter_begin(&meter, "exporting");
	ok = c->format == FORMAT_CTF ? write_folder(c, &output, &meter, error) : write_file(c, &output, &meter, error);
	meter_end(&meter);
	if (ok)
		return output_finish(&output, error);
	output_drop(&output);
	return false;
}

int command_export(int argc, char **argv)
{
	struct export_command c = {.steps = 0};
	char *path, *name, *error = NULL;
	bool ok;

	if (!ask_begin(&c.ask, &argp, argc, argv, &c))
		return EXIT_TROUBLE;
	path = default_path(&c);
	ok = !refuse_trace(&c, path, &error) && make(&c, path, &error);
	name = printable(path);
	if (!ok)
		complain("%s", error);
	else if (strcmp(path, "-") != 0 && !c.output)
		note("%s is made", name);
	free(name);
	free(error);
	free(path);
	return ask_close(&c.ask, ok ? EXIT_OK : EXIT_TROUBLE);
}
