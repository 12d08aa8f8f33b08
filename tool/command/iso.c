/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu iso: what a real machine boots from a CD or USB stick. */
#include <argp.h>
#include <stdlib.h>

#include "../run/work_folder.h"
#include "boot_options.h"
#include "command.h"

enum { OPTION_OUTPUT = 'o' };

struct iso {
	struct boot_options boot;
	const char *output;
};

static bool make(struct iso *iso, char **error)
{
	struct boot_plan plan;
	uint64_t images;
	char *work, *output;
	bool ok;

	if (!boot_options_check(&iso->boot, &images, error) || !boot_options_spare(&iso->boot, iso->output, error) ||
	    !boot_options_plan(&iso->boot, false, &plan, error))
		return false;
	work = work_folder_make(false, error);
	if (!work)
		return false;
	output = iso->output[0] == '/' ? duplicate(iso->output) : NULL;
	if (!output) {
		char *here = absolute_path(".");

		output = formatted("%s/%s", here, iso->output);
		free(here);
	}
	ok = boot_iso_make(&plan, work, output, false, error);
	work_folder_remove(work);
	free(work);
	free(output);
	return ok;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct iso *iso = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &iso->boot;
		return 0;
	case OPTION_OUTPUT:
		iso->output = arg;
		return 0;
	case ARGP_KEY_END:
		if (!iso->output)
			argp_error(state, "which file? Give --output FILE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"output", OPTION_OUTPUT, "FILE", 0, "The image to make", 1},
	{0},
};

static const struct argp_child children[] = {{&boot_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Make a bootable image (CD or USB stick, BIOS) that starts the visor with a guest."
	       "\vThe guest's console is the machine's first serial port, the visor's log its second one.",
	.children = children,
};

int command_iso(int argc, char **argv)
{
	struct iso iso = {0};
	char *error = NULL;
	bool ok;

	boot_options_init(&iso.boot);
	argp_parse(&argp, argc, argv, 0, NULL, &iso);
	ok = make(&iso, &error);
	if (ok)
		note("%s is ready: write it to a USB stick with `dd`, or to a CD", iso.output);
	else
		complain("%s", error);
	free(error);
	boot_options_free(&iso.boot);
	return ok ? EXIT_OK : EXIT_TROUBLE;
}
