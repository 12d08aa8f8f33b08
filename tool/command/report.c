/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu report: a page that shows a trace. */
#include "../report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "../base/output.h"

enum { OPTION_OUTPUT = 'o',
       OPTION_GPA = 'g' };

struct report_command {
	struct ask ask;
	struct report_options options;
	const char *output;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct report_command *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &c->ask;
		return 0;
	case OPTION_OUTPUT:
		c->output = arg;
		return 0;
	case OPTION_GPA:
		if (!parse_address_range(arg, &c->options.first, &c->options.last))
			argp_error(state, "--gpa takes an address or a range in hexadecimal, not \"%s\"", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"output", OPTION_OUTPUT, "FILE", 0, "The page; - is standard output (default: the trace's name with .html)", 1},
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only the entries of this guest-physical address or range", 1},
	{0},
};

static const struct argp_child children[] = {{&ask_trace_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Make a page for a browser that shows where guest memory was mapped, when and by what: the map over "
	       "time, the tables at any moment, each entry's history, faults, exits and guest functions. It is one "
	       "file, needs no network and asks for nothing.",
	.children = children,
};

static void say_done(const char *path, const struct report_result *result)
{
	char *name = printable(path);

	if (result->lowest_level > 1)
		note("the trace has %s entry writes, more than a page holds: entries of less than %s are left out of the "
		     "tables; --since, --until or --gpa bring them in",
		     text_count(result->writes).text, text_level_span(result->lowest_level));
	else if (result->steps)
		note("the trace has %s entry writes, more than a page holds: those of one entry are shown in %u steps of "
		     "time; --since, --until or --gpa show every one",
		     text_count(result->writes).text, result->steps);
	if (result->vms_left_out)
		note("the %u VMs of which most is recorded are in the page; --vm shows one of the %u others", REPORT_VMS,
		     result->vms_left_out);
	if (strcmp(path, "-") != 0)
		note("%s is made; open it in a browser", name);
	free(name);
}

int command_report(int argc, char **argv)
{
	struct report_command c = {.options = {.last = UINT64_MAX}};
	struct report_result result;
	struct output output;
	char *path, *error = NULL;
	int status = EXIT_OK;

	if (!ask_begin(&c.ask, &argp, argc, argv, &c))
		return EXIT_TROUBLE;
	path = c.output ? duplicate(c.output) : output_beside(c.ask.path, ".html", "report");
	if (ask_is_trace(&c.ask, path)) {
		error = formatted("%s is the trace itself: its page needs another name", path);
		status = EXIT_TROUBLE;
	} else if (!output_open(&output, path, &error)) {
		status = EXIT_TROUBLE;
	} else if (!report_write(&c.ask, &c.options, output.file, &result)) {
		error = formatted("%s cannot be written: %s", path, strerror(errno));
		output_drop(&output);
		status = EXIT_TROUBLE;
	} else if (!output_finish(&output, &error)) {
		status = EXIT_TROUBLE;
	}
	if (error)
		complain("%s", error);
	else
		say_done(path, &result);
	free(error);
	free(path);
	return ask_close(&c.ask, status);
}
