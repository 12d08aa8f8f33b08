/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu report: a page that shows a trace. */
#include "../report/report.h"

#include <stdlib.h>

#include "command.h"
#include "making.h"

enum { OPTION_GPA = 'g' };

struct report_command {
	struct making making;
	struct report_options options;
	struct report_result result;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct report_command *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &c->making;
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
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only the entries of this guest-physical address or range", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Make a page for a browser that shows where guest memory was mapped, when and by what: the map over "
	       "time, the tables at any moment, each entry's history, faults, exits and guest functions. It is one "
	       "file, needs no network and asks for nothing.",
	.children = making_children,
};

static bool write_page(struct making *making, struct output *output, struct meter *meter, char **error)
{
	struct report_command *c = (struct report_command *)making;

	(void)error;
	return report_write(&making->ask, &c->options, output->file, meter, &c->result);
}

static void say_done(const struct report_result *result, const char *path)
{
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
	making_say(path, "; open it in a browser");
}

int command_report(int argc, char **argv)
{
	static const struct maker maker = {.ending = ".html", .name = "report", .doing = "making the report", .write = write_page};
	struct report_command c = {.options = {.last = UINT64_MAX}};
	char *path;
	bool ok;

	if (!ask_begin(&c.making.ask, &argp, argc, argv, &c))
		return EXIT_TROUBLE;
	path = making_make(&c.making, &maker);
	ok = path;
	if (ok)
		say_done(&c.result, path);
	free(path);
	return ask_close(&c.making.ask, ok ? EXIT_OK : EXIT_TROUBLE);
}
