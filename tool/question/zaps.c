/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu zaps: what was taken away, each storm in one line: by whom and why, which
 * range, how many entries and tables, how long it took, and what came back within
 * a second.
 */
#include <stdlib.h>

#include "../base/exit_status.h"
#include "group.h"
#include "history.h"
#include "question.h"
#include "writes.h"

enum { OPTION_GPA = 'g',
       OPTION_FOLLOW = 'f',
       USUAL_LINES = 20,
       STORM_GAP_NS = 10000000,
       REFAULT_NS = 1000000000,
       LOOK_BACK = 256 };

struct storm {
	uint64_t first, last; /* facts */
	uint64_t low, high;   /* addresses, the last one included */
	uint64_t leaves[4], tables, devices;
	uint64_t by_cause[FACT_CAUSE_END];
	unsigned reason;     /* enum fact_cause; 0: nothing but entries of unlinked tables so far */
	unsigned origin;     /* enum fact_origin */
	uint64_t back, same; /* leaves mapped again within a second; ... to the same frame */
	uint32_t thread;
	uint16_t vm;
};

struct zaps_question {
	struct ask ask;
	uint64_t first, last;
	struct storm *storms;
	size_t count, room;
	size_t *open; /* by thread: its storm that may go on, + 1; 0 = none */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct zaps_question *q = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &q->ask;
		return 0;
	case OPTION_GPA:
		if (!parse_address_range(arg, &q->first, &q->last))
			argp_error(state, "--gpa takes an address or a range in hexadecimal, not \"%s\"", arg);
		return 0;
	case OPTION_FOLLOW:
		q->ask.follow = true;
		return 0;
	case ARGP_KEY_END:
		if (q->ask.follow && q->ask.json)
			argp_error(state, "--follow prints lines, --json one object at the end: one of the two");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only entries that cover this guest-physical address or range", 1},
	{"follow", OPTION_FOLLOW, NULL, 0, "Each storm, when it is over, as the recording grows", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Say what was dropped from the tables: each storm in one line, by whom, why, which range, how many "
	       "entries and tables, how long it took, and how much of it was mapped again within a second. A storm "
	       "is what one thread drops without a pause of 10 ms, for one reason and, as far as stacks were recorded, for "
	       "one end.",
	.children = ask_children,
};

/* Entries of an unlinked table go because the table does: their reason is the table's. */
static unsigned reason_of(const struct fact *fact)
{
	return fact->cause == FACT_CAUSE_ZAP_TABLE || fact->cause >= FACT_CAUSE_END ? 0 : fact->cause;
}

static bool goes_on(const struct storm *storm, const struct fact *fact, const struct fact *last)
{
	unsigned reason = reason_of(fact);

	return storm->vm == fact->vm && (!fact->origin || !storm->origin || fact->origin == storm->origin) &&
	       (!reason || !storm->reason || reason == storm->reason) && fact->time - last->time <= STORM_GAP_NS;
}

static struct storm *storm_for(struct zaps_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	size_t *open = fact->thread < model_thread_count(q->ask.model) ? &q->open[fact->thread] : NULL;
	struct storm *storm;

	if (open && *open) {
		storm = &q->storms[*open - 1];
		if (goes_on(storm, fact, model_fact(q->ask.model, storm->last)))
			return storm;
	}
	if (q->count == q->room) {
		q->room = q->room ? 2 * q->room : 64;
		q->storms = reallocate(q->storms, q->room * sizeof(*q->storms));
	}
	storm = &q->storms[q->count++];
	*storm = (struct storm){.first = number, .low = UINT64_MAX, .thread = fact->thread, .vm = fact->vm};
	if (open)
		*open = q->count;
	return storm;
}

static void take_zap(struct zaps_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	struct storm *storm = storm_for(q, number);
	enum kvm_entry_kind kind = kvm_entry_kind(fact->a, fact->level);

	storm->last = number;
	/* The range is that of pages: an upper table covers far more than was mapped. */
	if (kind != KVM_ENTRY_TABLE && fact->address < storm->low)
		storm->low = fact->address;
	if (kind != KVM_ENTRY_TABLE && write_end(fact) > storm->high)
		storm->high = write_end(fact);
	storm->by_cause[fact->cause < FACT_CAUSE_END ? fact->cause : 0]++;
	if (reason_of(fact))
		storm->reason = reason_of(fact);
	if (fact->origin)
		storm->origin = fact->origin;
	if (kind == KVM_ENTRY_LEAF)
		storm->leaves[fact->level <= 3 ? fact->level : 3]++;
	else if (kind == KVM_ENTRY_TABLE)
		storm->tables++;
	else
		storm->devices++;
}

/* A thread that deals with a fault, or begins to drop everything, has done with what it dropped before. */
static void end_storm(struct zaps_question *q, const struct fact *fact)
{
	if (fact->thread < model_thread_count(q->ask.model) &&
	    (fact->kind == FACT_FAULT || fact->kind == FACT_ENTRY || fact->kind == FACT_ZAP_ALL))
		q->open[fact->thread] = 0;
}

/* The storm that a zap was part of: the last one of its thread that began before. */
static struct storm *storm_of(struct zaps_question *q, uint64_t zap)
{
	const struct fact *fact = model_fact(q->ask.model, zap);
	size_t low = 0, high = q->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (q->storms[middle].first <= zap)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low, looked = 0; i-- > 0 && looked < LOOK_BACK; looked++) {
		struct storm *storm = &q->storms[i];

		if (storm->last >= zap && storm->thread == fact->thread && storm->vm == fact->vm)
			return storm;
	}
	return NULL;
}

static void take_map(struct zaps_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	bool same;
	const struct fact *zap = write_maps_again(q->ask.model, number, &same);
	struct storm *storm;

	if (!zap || fact->time - zap->time > REFAULT_NS || !(storm = storm_of(q, model_before(q->ask.model, number))))
		return;
	storm->back++;
	storm->same += same;
}

static uint64_t leaves(const struct storm *storm)
{
	return storm->leaves[1] + storm->leaves[2] + storm->leaves[3];
}

static void print_storm_heading(const struct zaps_question *q)
{
	ask_line(&q->ask, "%s        time  took      why           pages       tables  back in 1 s (same)     range, by whom%s",
	         q->ask.palette->dim, q->ask.palette->off);
}

static void print_storm(const struct zaps_question *q, const struct storm *storm)
{
	uint64_t start = model_fact(q->ask.model, storm->first)->time;
	char *who = ask_thread_text(&q->ask, storm->thread), *vm = ask_which_vm(&q->ask, storm->vm);
	char *again = q->ask.follow ? duplicate("-")
	                            : formatted("%s (%s)", text_count(storm->back).text, text_count(storm->same).text);
	bool pages = storm->low != UINT64_MAX;
	char *range = pages ? formatted("0x%" PRIx64 "-0x%" PRIx64, storm->low, storm->high)
	                    : duplicate("no page");
	char *sizes = formatted("%s%s%s", text_count(leaves(storm)).text, storm->leaves[2] ? " 2M" : "",
	                        storm->leaves[3] ? " 1G" : "");

	ask_line(&q->ask, "%12s  %-8s  %-12s  %-10s  %6s  %-20s  %s, %s%s%s%s", ask_time(&q->ask, start).text,
	         ask_duration(model_fact(q->ask.model, storm->last)->time - start).text,
	         fact_cause_name(storm->reason ? storm->reason : FACT_CAUSE_ZAP), sizes, text_count(storm->tables).text, again, range, who, vm, storm->origin ? ", for " : "",
	         storm->origin ? fact_origin_text(storm->origin) : "");
	free(vm);
	free(who);
	free(again);
	free(sizes);
	free(range);
}

static void print(struct zaps_question *q)
{
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES), all = 0, back = 0, same = 0, unmaps = 0;
	size_t from = q->count > limit ? q->count - limit : 0;

	for (size_t i = 0; i < q->count; i++) {
		all += leaves(&q->storms[i]);
		back += q->storms[i].back;
		same += q->storms[i].same;
	}
	for (uint64_t n = q->ask.from; n < q->ask.to; n++)
		unmaps += model_fact(q->ask.model, n)->kind == FACT_UNMAP && ask_wants(&q->ask, model_fact(q->ask.model, n));
	ask_heading(&q->ask, "%s pages dropped, in storms: %s; %s mapped again within a second, %s of them to the same frame",
	            text_count(all).text, text_count(q->count).text, text_count(back).text, text_count(same).text);
	if (unmaps)
		ask_line(&q->ask, "%s call%s of the MMU notifier (kvm_unmap_hva_range)", text_count(unmaps).text,
		         unmaps == 1 ? "" : "s");
	if (!q->count)
		return;
	printf("\n");
	if (from)
		ask_line(&q->ask, "%s... %s before (--last N)%s", q->ask.palette->dim, text_count(from).text, q->ask.palette->off);
	print_storm_heading(q);
	for (size_t i = from; i < q->count; i++)
		print_storm(q, &q->storms[i]);
}

static void show_json(struct zaps_question *q)
{
	uint64_t limit = ask_limit(&q->ask, UINT64_MAX);
	json_t *list = json_array();

	for (size_t i = q->count > limit ? q->count - limit : 0; i < q->count; i++) {
		const struct storm *storm = &q->storms[i];
		uint64_t start = model_fact(q->ask.model, storm->first)->time;
		json_t *json = json_object(), *causes = json_object();
		char *who = ask_thread_text(&q->ask, storm->thread);

		json_object_set_new(json, "time", json_seconds(&q->ask, start));
		json_object_set_new(json, "duration_ns", json_number(model_fact(q->ask.model, storm->last)->time - start));
		json_object_set_new(json, "vm", json_number(storm->vm + 1u));
		json_object_set_new(json, "thread", json_string(who));
		if (storm->low != UINT64_MAX) {
			json_object_set_new(json, "first", json_hex(storm->low));
			json_object_set_new(json, "last", json_hex(storm->high));
		}
		json_object_set_new(json, "pages_4k", json_number(storm->leaves[1]));
		json_object_set_new(json, "pages_2m", json_number(storm->leaves[2]));
		json_object_set_new(json, "pages_1g", json_number(storm->leaves[3]));
		json_object_set_new(json, "tables", json_number(storm->tables));
		json_object_set_new(json, "devices", json_number(storm->devices));
		for (unsigned cause = 0; cause < FACT_CAUSE_END; cause++)
			if (storm->by_cause[cause])
				json_object_set_new(causes, fact_cause_name(cause), json_number(storm->by_cause[cause]));
		json_object_set_new(json, "causes", causes);
		if (storm->origin)
			json_object_set_new(json, "origin", json_string(fact_origin_name(storm->origin)));
		json_object_set_new(json, "mapped_again_1s", json_number(storm->back));
		json_object_set_new(json, "mapped_again_same_frame", json_number(storm->same));
		json_array_append_new(list, json);
		free(who);
	}
	json_object_set_new(q->ask.result, "storms", list);
}

/* ---- while it happens ------------------------------------------------------------------------ */

/* Storms that are over: their thread goes on, or nothing of theirs has come for as long as parts two storms. */
static void print_ended_storms(struct zaps_question *q, uint64_t now, bool all)
{
	size_t kept = 0;

	for (size_t i = 0; i < q->count; i++) {
		const struct storm *storm = &q->storms[i];
		bool open = storm->thread < model_thread_count(q->ask.model) && q->open[storm->thread] == i + 1;
		/* What has left the ring cannot be told of any more. */
		bool old = model_count(q->ask.model) - storm->first >= MODEL_LIVE_FACTS / 2;

		if (all || old || !open || now - model_fact(q->ask.model, storm->last)->time > STORM_GAP_NS) {
			print_storm(q, storm);
			if (open)
				q->open[storm->thread] = 0;
		} else {
			q->open[storm->thread] = kept + 1;
			q->storms[kept++] = *storm;
		}
	}
	q->count = kept;
}

static int follow(struct zaps_question *q)
{
	uint64_t done = 0;
	size_t room = 0;

	print_storm_heading(q);
	fflush(stdout);
	while (!ferror(stdout) && model_live_more(q->ask.model)) {
		bool known = ask_find_vm_late(&q->ask);

		for (; done < model_count(q->ask.model); done++) {
			const struct fact *fact = model_fact(q->ask.model, done);

			for (; room < model_thread_count(q->ask.model); room++) {
				q->open = reallocate(q->open, (room + 1) * sizeof(*q->open));
				q->open[room] = 0;
			}
			end_storm(q, fact);
			if (q->count)
				print_ended_storms(q, fact->time, false);
			if (known && fact->kind == FACT_WRITE && write_is_zap(fact) && ask_wants(&q->ask, fact) &&
			    fact->address <= q->last && write_end(fact) >= q->first)
				take_zap(q, done);
		}
		fflush(stdout);
	}
	print_ended_storms(q, 0, true);
	free(q->storms);
	free(q->open);
	return ask_close(&q->ask, EXIT_OK);
}

int question_zaps(int argc, char **argv)
{
	struct zaps_question q = {.last = UINT64_MAX};
	uint64_t count;

	if (!ask_begin(&q.ask, &argp, argc, argv, &q))
		return EXIT_TROUBLE;
	if (q.ask.follow)
		return follow(&q);
	count = model_count(q.ask.model);
	q.open = allocate((model_thread_count(q.ask.model) + 1) * sizeof(*q.open));
	/* What came back after --until still tells of what was dropped before it. */
	for (uint64_t n = q.ask.from; n < count; n++) {
		const struct fact *fact = model_fact(q.ask.model, n);

		end_storm(&q, fact);
		if (fact->kind != FACT_WRITE)
			continue;
		if (!write_is_zap(fact))
			take_map(&q, n);
		else if (n < q.ask.to && ask_wants(&q.ask, fact) && fact->address <= q.last && write_end(fact) >= q.first)
			take_zap(&q, n);
	}
	if (q.ask.json)
		show_json(&q);
	else
		print(&q);
	free(q.storms);
	free(q.open);
	return ask_close(&q.ask, EXIT_OK);
}
