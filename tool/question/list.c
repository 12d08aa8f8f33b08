/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu trace on a recording of KVM: every write of an entry, one line each, under the fault that caused it. */
#include <stdlib.h>
#include <string.h>

#include "../base/exit_status.h"
#include "history.h"
#include "question.h"

enum { OPTION_GPA = 'g',
       OPTION_LEVEL = 'l',
       OPTION_CAUSE = 'c',
       OPTION_ALL = 'a',
       OPTION_LIMIT = 'n',
       OPTION_FOLLOW = 'f' };

struct list_question {
	struct ask ask;
	uint64_t first, last;
	unsigned level;
	uint64_t limit, shown;
	bool all;
	bool causes[FACT_CAUSE_END], some_cause;
	uint64_t fault; /* under which the last line stood */
	unsigned cause;
};

static bool parse_fact_cause(const char *text, unsigned *cause)
{
	for (*cause = FACT_CAUSE_KVM; *cause < FACT_CAUSE_END; ++*cause)
		if (strcmp(text, fact_cause_name(*cause)) == 0)
			return true;
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct list_question *q = state->input;
	unsigned cause;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &q->ask;
		return 0;
	case OPTION_GPA:
		if (!parse_address_range(arg, &q->first, &q->last))
			argp_error(state, "--gpa takes an address or a range in hexadecimal, not \"%s\"", arg);
		return 0;
	case OPTION_LEVEL:
		if (!parse_level(arg, &q->level))
			argp_error(state, "--level is 1 to 5, or 4k, 2m, 1g, 512g, 256t, not \"%s\"", arg);
		return 0;
	case OPTION_CAUSE:
		if (!parse_fact_cause(arg, &cause))
			argp_error(state, "no cause is called \"%s\"; vmmu-trace(1) lists them", arg);
		q->causes[cause] = q->some_cause = true;
		return 0;
	case OPTION_LIMIT:
		if (!parse_number(arg, &q->limit))
			argp_error(state, "--limit takes a number of entry writes, not \"%s\"", arg);
		return 0;
	case OPTION_ALL:
		q->all = true;
		return 0;
	case OPTION_FOLLOW:
		q->ask.follow = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only entries that cover this guest-physical address or range", 1},
	{"level", OPTION_LEVEL, "L", 0, "Only entries of this level: 1 to 5, or 4k, 2m, 1g, 512g, 256t", 1},
	{"cause", OPTION_CAUSE, "C", 0, "Only writes with this cause (fault, split, zap-notifier ...); may be repeated", 1},
	{"limit", OPTION_LIMIT, "N", 0, "Stop after N entry writes", 1},
	{"all", OPTION_ALL, NULL, 0, "Also faults that wrote nothing, tables, unmaps, exits, losses", 1},
	{"follow", OPTION_FOLLOW, NULL, 0,
         "Show each write as it comes, from a pipe (tracefs' trace_pipe) or a file that grows", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show every write of an entry, decoded, under the fault that caused it. With --json one object "
	       "per line.",
	.children = ask_children,
};

static bool in_range(const struct list_question *q, const struct fact *fact)
{
	uint64_t bytes = fact->level >= 1 && fact->level <= VMMU_LEVEL_MAX
	                         ? vmmu_level_pages(fact->level) << VMMU_PAGE_SHIFT
	                         : 1;

	return fact->address <= q->last && fact->address + bytes - 1 >= q->first;
}

static bool is_write(const struct fact *fact)
{
	return fact->kind == FACT_WRITE || fact->kind == FACT_SET || fact->kind == FACT_FOUND;
}

static bool wanted(const struct list_question *q, const struct fact *fact)
{
	if (!ask_wants(&q->ask, fact)) {
		/* Whose events they were is not known; all are meant. */
		if (fact->vm != FACT_NO_VM || !q->all)
			return false;
	}
	if (is_write(fact))
		return (!q->level || fact->level == q->level) && in_range(q, fact) &&
		       (!q->some_cause || (fact->cause < FACT_CAUSE_END && q->causes[fact->cause]));
	if (!q->all || q->level || q->some_cause)
		return false;
	if (fact->kind == FACT_FAULT || fact->kind == FACT_MMIO || fact->kind == FACT_TABLE ||
	    fact->kind == FACT_TABLE_ZAP)
		return in_range(q, fact);
	return q->first == 0 && q->last == UINT64_MAX;
}

static void print_fault(const struct list_question *q, uint64_t number)
{
	const struct palette *p = q->ask.palette;
	const struct fact *fault = model_fact(q->ask.model, number);
	char *access = ask_access_text(&q->ask, fault), *place = ask_place_text(&q->ask, fault->b);
	char *vm = ask_which_vm(&q->ask, fault->vm);

	ask_line(&q->ask, "%sfault%s  %s%s s%s  %s at %s0x%09" PRIx64 "%s  by %s%s%s  vCPU %u%s", p->bold, p->off, p->dim,
	         ask_time(&q->ask, fault->time).text, p->off, access, p->cyan, fault->address, p->off, p->blue, place,
	         p->off, fault->vcpu, vm);
	free(vm);
	free(access);
	free(place);
}

static void print_heading(struct list_question *q, uint64_t number)
{
	const struct palette *p = q->ask.palette;
	const struct fact *fact = model_fact(q->ask.model, number);
	uint64_t fault = MODEL_NONE;

	model_fault_of(q->ask.model, number, &fault);
	if (fault != MODEL_NONE) {
		if (fault != q->fault)
			print_fault(q, fault);
	} else if (q->fault != MODEL_NONE || q->cause != fact->cause) {
		char *reason = history_reason(&q->ask, number);

		ask_line(&q->ask, "%s%s%s  %s%s s%s  %s", p->bold, fact->kind == FACT_FOUND ? "found" : fact_cause_name(fact->cause),
		         p->off, p->dim, ask_time(&q->ask, fact->time).text, p->off, reason);
		free(reason);
	}
	q->fault = fault;
	q->cause = fact->cause;
}

static void print_write(struct list_question *q, uint64_t number)
{
	const struct palette *p = q->ask.palette;
	const struct fact *fact = model_fact(q->ask.model, number);
	enum kvm_mode mode = ask_mode(&q->ask, fact);
	char *was, *now = kvm_entry_describe(mode, fact->b, fact->level), *known = history_known(fact);

	print_heading(q, number);
	was = fact->kind == FACT_WRITE || fact->was_known ? kvm_entry_describe(mode, fact->a, fact->level)
	                                                  : duplicate("not known");
	ask_line(&q->ask, "    L%u %-7s  gpa 0x%09" PRIx64 "  %s%-12s%s  %s -> %s%s%s%s%s", fact->level,
	         text_level_span(fact->level), fact->address, p->yellow, fact_cause_name(fact->cause), p->off, was,
	         kvm_entry_is_there(fact->b, fact->level) ? p->green : p->red, now, p->off,
	         fact->known == FACT_SEEN && !fact->flags ? "" : "  ",
	         fact->known == FACT_SEEN && !fact->flags ? "" : known);
	free(was);
	free(now);
	free(known);
}

static void print_other(struct list_question *q, uint64_t number)
{
	const struct palette *p = q->ask.palette;
	const struct fact *fact = model_fact(q->ask.model, number);
	struct short_text time = ask_time(&q->ask, fact->time);
	char *thread;

	if (fact->kind == FACT_FAULT) {
		if (q->fault != number)
			print_fault(q, number);
		q->fault = number;
		return;
	}
	thread = ask_thread_text(&q->ask, fact->thread);
	switch (fact->kind) {
	case FACT_TABLE:
	case FACT_TABLE_ZAP:
		ask_line(&q->ask, "%s    %s s  %s: level %u for gpa 0x%" PRIx64 ", by %s%s", p->dim, time.text,
		         fact->kind == FACT_TABLE ? fact->b ? "a table is made" : "a table is found again" : "a table is zapped",
		         fact->level, fact->address, thread, p->off);
		break;
	case FACT_UNMAP:
	case FACT_AGE:
		ask_line(&q->ask, "%s    %s s  %s hva 0x%" PRIx64 "-0x%" PRIx64 ", by %s%s", p->dim, time.text,
		         fact->kind == FACT_UNMAP ? "unmap" : "age", fact->address, fact->a, thread, p->off);
		break;
	case FACT_LOST:
		ask_line(&q->ask, "%s    %s s  %s events of CPU %" PRIu64 " were lost here%s", p->red, time.text,
		         fact->a ? text_count(fact->a).text : "some", fact->b, p->off);
		break;
	case FACT_MMIO:
		ask_line(&q->ask, "%s    %s s  mmio at 0x%" PRIx64 ", %" PRIu64 " bytes, value 0x%" PRIx64 "%s", p->dim, time.text,
		         fact->address, fact->a, fact->b, p->off);
		break;
	default:
		ask_line(&q->ask, "%s    %s s  %s, by %s%s", p->dim, time.text, fact_kind_name(fact->kind), thread, p->off);
	}
	free(thread);
}

static void show(struct list_question *q, uint64_t number)
{
	if (q->ask.json) {
		if (is_write(model_fact(q->ask.model, number))) {
			json_t *json = history_json(&q->ask, number);

			json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
			putchar('\n');
			json_decref(json);
		}
	} else if (is_write(model_fact(q->ask.model, number))) {
		print_write(q, number);
	} else {
		print_other(q, number);
	}
}

/* Where to begin, so that no more than the last N writes are shown. */
static uint64_t start(const struct list_question *q)
{
	uint64_t n = q->ask.to, count = 0;

	if (q->ask.last == UINT64_MAX)
		return q->ask.from;
	while (n > q->ask.from && count < q->ask.last) {
		const struct fact *fact = model_fact(q->ask.model, --n);

		count += is_write(fact) && wanted(q, fact);
	}
	return n;
}

static void follow(struct list_question *q)
{
	uint64_t done = 0;

	while (q->shown < q->limit && model_live_more(q->ask.model)) {
		bool known = ask_find_vm_late(&q->ask);

		for (; done < model_count(q->ask.model) && q->shown < q->limit; done++) {
			const struct fact *fact = model_fact(q->ask.model, done);

			if (!known || !wanted(q, fact))
				continue;
			show(q, done);
			q->shown += is_write(fact);
		}
		fflush(stdout);
		if (ferror(stdout))
			break;
	}
}

int question_list(int argc, char **argv)
{
	struct list_question q = {
		.last = UINT64_MAX,
		.limit = UINT64_MAX,
		.fault = MODEL_NONE,
		.cause = UINT32_MAX,
	};

	ask_init(&q.ask);
	argp_parse(&argp, argc, argv, 0, NULL, &q);
	if (!ask_open(&q.ask))
		return EXIT_TROUBLE;
	json_decref(q.ask.result);
	q.ask.result = NULL;
	if (q.ask.follow) {
		follow(&q);
		return ask_close(&q.ask, EXIT_OK);
	}
	for (uint64_t n = start(&q); n < q.ask.to && q.shown < q.limit; n++) {
		const struct fact *fact = model_fact(q.ask.model, n);

		if (!wanted(&q, fact))
			continue;
		show(&q, n);
		q.shown += is_write(fact);
	}
	return ask_close(&q.ask, EXIT_OK);
}
