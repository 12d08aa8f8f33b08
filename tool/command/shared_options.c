/* SPDX-License-Identifier: BSD-2-Clause */
#include "shared_options.h"

#include <stdbool.h>
#include <stddef.h>

enum { OPTION_SINCE = 0x400,
       OPTION_UNTIL,
       OPTION_VCPU,
       OPTION_LAST,
       OPTION_HOST_CLOCK,
       OPTION_NO_INDEX,
       OPTION_JSON };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	(void)arg;
	if (key == OPTION_JSON && json)
		*json = true;
	return key >= OPTION_SINCE && key <= OPTION_JSON ? 0 : ARGP_ERR_UNKNOWN;
}

#define SHARED \
	{NULL, 0, NULL, 0, "As in every question (docs/questions.md says what the answer looks like then):", 30}, \
		{"since", OPTION_SINCE, "TIME", 0, "Only what happened from TIME on (1.5, 200ms, 15us, @CLOCK)", 30}, \
		{"until", OPTION_UNTIL, "TIME", 0, "Only what happened up to TIME", 30}, \
		{"vcpu", OPTION_VCPU, "N", 0, "Only this vCPU", 30}, \
		{"last", OPTION_LAST, "N", 0, "At most N lines; for histories the last N", 30}, \
		{"host-clock", OPTION_HOST_CLOCK, NULL, 0, "Times as the recording's clock has them", 30}, \
	{ \
		"no-index", OPTION_NO_INDEX, NULL, 0, "Neither use nor leave an index file", 30 \
	}

static const struct argp_option options[] = {SHARED, {0}};
static const struct argp_option json_options[] = {
	SHARED,
	{"json", OPTION_JSON, NULL, 0, "Print JSON (docs/questions.md has its schema)", 30},
	{0},
};

const struct argp shared_argp = {.options = options, .parser = parse};
const struct argp shared_json_argp = {.options = json_options, .parser = parse};
