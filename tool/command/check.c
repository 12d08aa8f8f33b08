/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu check: does the trace, replayed from empty tables, give its own final dump? */
#include <argp.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "../base/text.h"
#include "../trace/verify.h"
#include "../question/question.h"
#include "command.h"

enum { OPTION_JSON = 'j' };

struct check {
	const char *path;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct check *check = state->input;

	switch (key) {
	case OPTION_JSON:
		check->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (check->path)
			argp_error(state, "one trace FILE at a time, not also \"%s\"", arg);
		check->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!check->path)
			argp_error(state, "which trace FILE? `vmmu run --trace FILE` makes one");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"json", OPTION_JSON, NULL, 0, "Print JSON; docs/questions.md has its schema", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Check that no record is lost, that every write found the value the one before it left, and that "
	       "replaying the trace from empty tables gives the tables dumped at its end, bit for bit."
	       " FILE may also be a recording of KVM, with options of its own: `vmmu check FILE --help`."
	       "\vExit status: 0 all is well, 1 there is a difference (the first one is printed), 2 the file "
	       "cannot be used.",
};

static void print(const struct trace_file *trace, const struct verdict *verdict)
{
	printf("%s records in %" PRIu64 " streams, %" PRIu64 " lost\n", text_count(trace->count).text,
	       verdict->streams, verdict->lost);
	printf("%s entry writes replayed, %s entries compared with the dump\n", text_count(verdict->writes).text,
	       text_count(verdict->dumped).text);
	printf("%s accessed and dirty bits were set by the CPU on its own\n",
	       text_count(verdict->cpu_set_bits).text);
	if (trace->unknown)
		printf("%s record%s passed over, of events that a newer vmmu has and this one does not know\n",
		       text_count(trace->unknown).text, trace->unknown == 1 ? "" : "s");
	if (!verdict->problems)
		printf("the trace explains its tables\n");
	else
		printf("DIFFERENT: %s\n", verdict->first);
	if (verdict->problems > 1)
		printf("and %s more\n", text_count(verdict->problems - 1).text);
}

static void show_json(const struct trace_file *trace, const struct verdict *verdict)
{
	json_t *json = json_object();

	json_object_set_new(json, "records", json_integer((json_int_t)trace->count));
	json_object_set_new(json, "streams", json_integer((json_int_t)verdict->streams));
	json_object_set_new(json, "lost", json_integer((json_int_t)verdict->lost));
	json_object_set_new(json, "writes", json_integer((json_int_t)verdict->writes));
	json_object_set_new(json, "entries_compared", json_integer((json_int_t)verdict->dumped));
	json_object_set_new(json, "cpu_set_bits", json_integer((json_int_t)verdict->cpu_set_bits));
	json_object_set_new(json, "passed_over", json_integer((json_int_t)trace->unknown));
	json_object_set_new(json, "differences", json_integer((json_int_t)verdict->problems));
	if (verdict->problems)
		json_object_set_new(json, "first_difference", json_string(verdict->first));
	json_dumpf(json, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(json);
}

int command_check(int argc, char **argv)
{
	struct check check = {.path = NULL};
	struct trace_file trace;
	struct verdict verdict;
	char *error = NULL;

	if (question_is_asked(argc, argv, QUESTION_FOR_KVM))
		return question_check(argc, argv);
	argp_parse(&argp, argc, argv, 0, NULL, &check);
	if (!trace_open(&trace, check.path, &error)) {
		complain("%s", error);
		free(error);
		return EXIT_TROUBLE;
	}
	verify_trace(&trace, &verdict);
	if (check.json)
		show_json(&trace, &verdict);
	else
		print(&trace, &verdict);
	trace_close(&trace);
	free(verdict.first);
	return verdict.problems ? EXIT_DIFFERENCE : EXIT_OK;
}
