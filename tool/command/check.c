/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu check: does the trace, replayed from empty tables, give its own final dump? */
#include <argp.h>
#include <inttypes.h>
#include <stdlib.h>

#include "../base/text.h"
#include "../trace/verify.h"
#include "../question/question.h"
#include "command.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **path = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (*path)
			argp_error(state, "one trace FILE at a time, not also \"%s\"", arg);
		*path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!*path)
			argp_error(state, "which trace FILE? `vmmu run --trace FILE` makes one");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Check that no record is lost, that every write found the value the one before it left, and that "
	       "replaying the trace from empty tables gives the tables dumped at its end, bit for bit."
	       " FILE may also be a recording of KVM, with options of its own: `vmmu check FILE --help`."
	       "\vExit status: 0 all is well, 1 there is a difference (the first one is printed), 2 the file "
	       "cannot be used.",
};

int command_check(int argc, char **argv)
{
	const char *path = NULL;
	struct trace_file trace;
	struct verdict verdict;
	char *error = NULL;

	if (question_is_for_recording(argc, argv))
		return question_check(argc, argv);
	argp_parse(&argp, argc, argv, 0, NULL, &path);
	if (!trace_open(&trace, path, &error)) {
		complain("%s", error);
		free(error);
		return EXIT_TROUBLE;
	}
	verify_trace(&trace, &verdict);
	printf("%s records in %" PRIu64 " streams, %" PRIu64 " lost\n", text_count(trace.count).text,
	       verdict.streams, verdict.lost);
	printf("%s entry writes replayed, %s entries compared with the dump\n", text_count(verdict.writes).text,
	       text_count(verdict.dumped).text);
	printf("%s accessed and dirty bits were set by the CPU on its own\n",
	       text_count(verdict.cpu_set_bits).text);
	if (trace.unknown)
		printf("%s record%s passed over, of events that a newer vmmu has and this one does not know\n",
		       text_count(trace.unknown).text, trace.unknown == 1 ? "" : "s");
	trace_close(&trace);
	if (!verdict.problems) {
		printf("the trace explains its tables\n");
		return EXIT_OK;
	}
	printf("DIFFERENT: %s\n", verdict.first);
	if (verdict.problems > 1)
		printf("and %s more\n", text_count(verdict.problems - 1).text);
	free(verdict.first);
	return EXIT_DIFFERENCE;
}
