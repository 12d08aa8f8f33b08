/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu record: record what KVM does to the tables of running VMs. */
#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/text.h"
#include "../record/record.h"
#include "command.h"

#define DEFAULT_OUTPUT "vmmu-record.dat"

enum {
	OPTION_PID = 'p',
	OPTION_NAME = 'n',
	OPTION_ALL = 'a',
	OPTION_OUTPUT = 'o',
	OPTION_BUFFER = 'b',
	OPTION_QUIET = 'q',
	OPTION_FOR = 256,
	OPTION_EXITS,
	OPTION_NESTED,
	OPTION_STACKS,
	OPTION_SNAPSHOT,
};

/* "30", "30s", "500ms", "5m", "2h". */
static bool parse_duration(const char *text, double *seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {
		{"", 1},
		{"s", 1},
		{"ms", 0.001},
		{"m", 60},
		{"h", 3600},
	};
	char *end;
	double value = strtod(text, &end);

	for (size_t i = 0; end != text && i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		*seconds = value * units[i].seconds;
		return isfinite(*seconds) && *seconds > 0 && *seconds < 1e9;
	}
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct record_options *o = state->input;
	uint64_t number;

	switch (key) {
	case OPTION_PID:
		if (!parse_number(arg, &number) || !number || number > 1u << 30)
			argp_error(state, "\"%s\" is no process id", arg);
		o->pid = (int)number;
		return 0;
	case OPTION_NAME:
		o->name = arg;
		return 0;
	case OPTION_ALL:
		o->all = true;
		return 0;
	case OPTION_OUTPUT:
		o->output = arg;
		return 0;
	case OPTION_BUFFER:
		if (!parse_size(arg, &o->buffer) || o->buffer < 64 << 10 || o->buffer > 1ull << 36)
			argp_error(state, "\"%s\" is no size of a buffer (64K to 64G)", arg);
		return 0;
	case OPTION_FOR:
		if (!parse_duration(arg, &o->seconds))
			argp_error(state, "\"%s\" is no duration (30s, 500ms, 5m, 2h)", arg);
		return 0;
	case OPTION_EXITS:
		o->exits = true;
		return 0;
	case OPTION_NESTED:
		o->nested = true;
		return 0;
	case OPTION_STACKS:
		o->stacks = true;
		return 0;
	case OPTION_SNAPSHOT:
		o->snapshot = strcmp(arg, "bpf") == 0;
		if (!o->snapshot && strcmp(arg, "none") != 0)
			argp_error(state, "\"%s\" is no snapshot: bpf or none", arg);
		return 0;
	case OPTION_QUIET:
		note_enable(false);
		return 0;
	case ARGP_KEY_ARGS:
		o->command = state->argv + state->next;
		return 0;
	case ARGP_KEY_END:
		if ((o->pid != 0) + (o->name != NULL) + o->all + (o->command != NULL) > 1)
			argp_error(state, "one of --pid, --name, --all and -- COMMAND is enough");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"pid", OPTION_PID, "PID", 0, "The VM of this VMM (QEMU's process id)", 1},
	{"name", OPTION_NAME, "NAME", 0, "The VM with this name (QEMU's -name), or the VMM with it", 1},
	{"all", OPTION_ALL, NULL, 0, "All VMs, also those that start later", 1},
	{"for", OPTION_FOR, "TIME", 0, "Stop after so long: 30s, 500ms, 5m, 2h", 2},
	{"output", OPTION_OUTPUT, "FILE", 0, "The recording (" DEFAULT_OUTPUT ")", 2},
	{"exits", OPTION_EXITS, NULL, 0, "Also every exit and entry, device access and nested switch", 3},
	{"nested", OPTION_NESTED, NULL, 0, "Also the tables for guests of guests, and the switches to them", 3},
	{"stacks", OPTION_STACKS, NULL, 0, "Also the kernel's stack when pages are taken away: who did it", 3},
	{"snapshot", OPTION_SNAPSHOT, "HOW", 0, "How to learn of tables that exist already: bpf or none (bpf)", 3},
	{"buffer", OPTION_BUFFER, "SIZE", 0, "The kernel's buffer on each CPU (64M, and no more than 1/16 of memory)", 3},
	{"quiet", OPTION_QUIET, NULL, 0, "Say only what went wrong", 4},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "[-- COMMAND...]",
	.doc = "Record when, why and by whom KVM writes the second-level tables of a running VM, or of one that "
	       "COMMAND starts. Needs root. A VM that runs alone need not be named."
	       "\vEnds by Ctrl-C, after --for, with the VM, or with COMMAND. The file is trace-cmd's (version 6). "
	       "Nothing of the recording stays in the kernel.\n\n"
	       "Exit status: 0 recorded, 2 not; with COMMAND, its own.",
};

int command_record(int argc, char **argv)
{
	struct record_options o = {.output = DEFAULT_OUTPUT, .snapshot = true};

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
	return record_session(&o);
}
