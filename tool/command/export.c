/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu export: a trace for other programs. */
#include "../export/export.h"

#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "making.h"

enum { OPTION_FORMAT = 'f',
       OPTION_SERIES = 0x400,
       OPTION_LAST,
       STEPS_MAX = 1000000 };

enum format { FORMAT_NONE,
	      FORMAT_CTF,
	      FORMAT_PERFETTO,
	      FORMAT_CSV };

struct export_command {
	struct making making;
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
		c->format = format_of(c->making.output);
	if (!c->format)
		argp_error(state, "which --format? ctf, perfetto or csv");
	if (c->steps && c->format != FORMAT_CSV)
		argp_error(state, "--series goes with --format csv: perfetto has the curves as counters");
	if (c->steps && c->making.ask.last != UINT64_MAX)
		argp_error(state, "--last counts events, --series has none: one of the two");
	if (c->format == FORMAT_CTF && c->making.output && strcmp(c->making.output, "-") == 0)
		argp_error(state, "CTF is a folder: it cannot go to standard output");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct export_command *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &c->making;
		return 0;
	case OPTION_FORMAT:
		if (!parse_format(arg, &c->format))
			argp_error(state, "--format is ctf, perfetto or csv, not \"%s\"", arg);
		return 0;
	case OPTION_SERIES:
		return parse_series(c, arg, state);
	case OPTION_LAST:
		if (!parse_number(arg, &c->making.ask.last))
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
	{"series", OPTION_SERIES, "N", OPTION_ARG_OPTIONAL,
         "csv: instead of events the curves, in N steps of time (default 480): mapped memory, tables, faults, writes, exits", 1},
	{"last", OPTION_LAST, "N", 0, "Only the last N events", 20},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Write a trace for other programs: every fault, entry write, zap, exit and device access with its fields "
	       "by name (docs/export.md has them). What is made is there as a whole or not at all.",
	.children = making_children,
};

static bool write_folder(struct making *making, struct output *output, struct meter *meter, char **error)
{
	char *name, *why = NULL;

	if (export_ctf(&making->ask, output->contents, meter, &why))
		return true;
	name = printable(output->path);
	*error = formatted("%s cannot be written: %s", name, why);
	free(name);
	free(why);
	return false;
}

static bool write_file(struct making *making, struct output *output, struct meter *meter, char **error)
{
	const struct export_command *c = (struct export_command *)making;

	(void)error;
	if (c->format == FORMAT_PERFETTO)
		return export_perfetto(&making->ask, output->file, meter);
	return c->steps ? export_csv_series(&making->ask, (unsigned)c->steps, output->file, meter)
	                : export_csv(&making->ask, output->file, meter);
}

int command_export(int argc, char **argv)
{
	static const char *const endings[] = {[FORMAT_CTF] = ".ctf", [FORMAT_PERFETTO] = ".json", [FORMAT_CSV] = ".csv"};
	struct export_command c = {.steps = 0};
	struct maker maker = {.name = "export", .doing = "exporting", .write = write_file};
	char *path;
	bool ok;

	if (!ask_begin(&c.making.ask, &argp, argc, argv, &c))
		return EXIT_TROUBLE;
	maker.ending = endings[c.format];
	if (c.format == FORMAT_CTF) {
		maker.files = export_ctf_files;
		maker.write = write_folder;
	}
	path = making_make(&c.making, &maker);
	ok = path;
	if (ok && !c.making.output)
		making_say(path, "");
	free(path);
	return ask_close(&c.making.ask, ok ? EXIT_OK : EXIT_TROUBLE);
}
