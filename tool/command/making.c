/* SPDX-License-Identifier: BSD-2-Clause */
#include "making.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct making *making = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &making->ask;
		return 0;
	case 'o':
		making->output = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"output", 'o', "OUT", 0, "What is made; - is standard output (default: the trace's name with another ending, beside it)", 1},
	{0},
};

static const struct argp_child children[] = {{&ask_trace_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {.options = options, .parser = parse, .children = children};

const struct argp_child making_children[] = {{&argp, 0, NULL, 0}, {0}};

static char *path_of(const struct making *making, const struct maker *maker)
{
	if (making->output)
		return duplicate(making->output);
	/* What a program behind a pipe wants. */
	if (!maker->files && !isatty(STDOUT_FILENO) && strcmp(making->ask.path, "-") == 0)
		return duplicate("-");
	return output_beside(making->ask.path, maker->ending, maker->name);
}

static bool make(struct making *making, const struct maker *maker, const char *path, char **error)
{
	struct output output;
	struct meter meter;
	char *name;
	bool ok;

	*error = NULL;
	if (maker->files ? !output_open_folder(&output, path, maker->files, error) : !output_open(&output, path, error))
		return false;
	meter_begin(&meter, maker->doing);
	errno = 0;
	ok = maker->write(making, &output, &meter, error);
	meter_end(&meter);
	if (ok)
		return output_finish(&output, error);
	if (!*error) {
		name = output_name(path);
		*error = formatted("%s cannot be written: %s", name, strerror(errno ? errno : EIO));
		free(name);
	}
	output_drop(&output);
	return false;
}

char *making_make(struct making *making, const struct maker *maker)
{
	char *path = path_of(making, maker), *name, *error = NULL;
	bool ok;

	if (ask_is_trace(&making->ask, path)) {
		name = output_name(path);
		error = formatted("%s is the trace itself", name);
		free(name);
		ok = false;
	} else {
		ok = make(making, maker, path, &error);
	}
	if (ok)
		return path;
	complain("%s", error);
	free(error);
	free(path);
	return NULL;
}

void making_say(const char *path, const char *more)
{
	char *name = output_name(path);

	if (strcmp(path, "-") != 0)
		note("%s is made%s", name, more);
	free(name);
}
