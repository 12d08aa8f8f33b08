/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu pages: how much is mapped by pages of which size, over time and by
 * address; what was split, by whom, and did not become one page again; which
 * slots can have no large pages.
 */
#include <stdlib.h>

#include "../base/exit_status.h"
#include "group.h"
#include "question.h"
#include "tables.h"
#include "writes.h"

enum { STEPS = 12,
       USUAL_LINES = 20 };

struct moment {
	uint64_t time;
	uint64_t leaves[4];
};

struct split {
	uint64_t fact;
	uint64_t joined; /* fact that made it one page again; MODEL_NONE = none */
};

struct pages_question {
	struct ask ask;
	struct moment moments[STEPS + 1];
	unsigned moment_count;
	int64_t leaves[4];
	struct split *splits;
	size_t split_count, split_room;
	struct groups by_thread;
	uint64_t joined;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct pages_question *q = state->input;

	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = &q->ask;
	state->child_inputs[1] = &q->ask;
	return 0;
}

static const struct argp_child children[] = {{&ask_argp, 0, NULL, 0}, {&ask_moment_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Say how much memory is mapped by pages of which size, over time and by address; which large pages "
	       "were split, by whom, and which never became one again; and which slots can have no large pages "
	       "because guest and host addresses are not aligned alike (vmmu record tells of slots).",
	.children = children,
};

static bool of_vm(const struct pages_question *q, const struct fact *fact)
{
	return fact->vm == q->ask.vm;
}

static void take_write(struct pages_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	bool was = kvm_entry_kind(fact->a, fact->level) == KVM_ENTRY_LEAF && fact->kind == FACT_WRITE;
	bool is = kvm_entry_kind(fact->b, fact->level) == KVM_ENTRY_LEAF;
	unsigned level = fact->level <= 3 ? fact->level : 3;

	/* A page that was there before the trace began shows when it goes. */
	q->leaves[level] += is - (was && (fact->was_known != FACT_UNKNOWN || q->leaves[level] > 0));
	if (write_is_split(fact) && number >= q->ask.from) {
		if (q->split_count == q->split_room) {
			q->split_room = q->split_room ? 2 * q->split_room : 64;
			q->splits = reallocate(q->splits, q->split_room * sizeof(*q->splits));
		}
		q->splits[q->split_count++] = (struct split){number, MODEL_NONE};
		groups_add(&q->by_thread, fact->thread, number);
	}
}

static void look_for_joins(struct pages_question *q)
{
	for (size_t i = 0; i < q->split_count; i++) {
		q->splits[i].joined = split_joined(q->ask.model, q->splits[i].fact, q->ask.to);
		q->joined += q->splits[i].joined != MODEL_NONE;
	}
}

static void note_moment(struct pages_question *q, uint64_t time)
{
	struct moment *moment = &q->moments[q->moment_count++];

	moment->time = time;
	for (unsigned level = 1; level <= 3; level++)
		moment->leaves[level] = q->leaves[level] > 0 ? (uint64_t)q->leaves[level] : 0;
}

static void scan(struct pages_question *q)
{
	uint64_t first = q->ask.from < q->ask.to ? model_fact(q->ask.model, q->ask.from)->time : 0;
	uint64_t last = q->ask.to ? model_fact(q->ask.model, q->ask.to - 1)->time : 0;
	uint64_t step = (last > first ? last - first : 0) / STEPS + 1, next = first + step;

	for (uint64_t n = 0; n < q->ask.to; n++) {
		const struct fact *fact = model_fact(q->ask.model, n);

		while (n >= q->ask.from && fact->time >= next && q->moment_count < STEPS) {
			note_moment(q, next);
			next += step;
		}
		if ((fact->kind == FACT_WRITE || fact->kind == FACT_FOUND) && of_vm(q, fact) && fact->level >= 1)
			take_write(q, n);
	}
	note_moment(q, last);
	look_for_joins(q);
}

static void print_over_time(const struct pages_question *q)
{
	ask_line(&q->ask, "%s        time         4 KiB         2 MiB         1 GiB  together%s", q->ask.palette->dim,
	         q->ask.palette->off);
	for (unsigned i = 0; i < q->moment_count; i++) {
		const struct moment *m = &q->moments[i];
		uint64_t bytes = (m->leaves[1] << 12) + (m->leaves[2] << 21) + (m->leaves[3] << 30);

		ask_line(&q->ask, "%12s  %12s  %12s  %12s  %s", ask_time(&q->ask, m->time).text, text_count(m->leaves[1]).text,
		         text_count(m->leaves[2]).text, text_count(m->leaves[3]).text, text_bytes(bytes).text);
	}
}

/* Runs of pages of one size, without a hole. */
static void print_by_address(struct pages_question *q)
{
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES), shown = 0, start = 0, end = 0, count = 0, more = 0;
	struct tables tables;
	unsigned level = 0;

	tables_at(&q->ask, q->ask.vm, 0, UINT64_MAX, q->ask.moment, &tables);
	printf("\n");
	ask_heading(&q->ask, "Pages by address %s%s", q->ask.at ? "at " : "at the end",
	            q->ask.at ? ask_moment_time(&q->ask).text : "");
	for (size_t i = 0; i <= tables.count; i++) {
		const struct tables_entry *entry = i < tables.count ? &tables.entries[i] : NULL;

		if (entry && kvm_entry_kind(entry->value, entry->level) != KVM_ENTRY_LEAF)
			continue;
		if (entry && count && entry->level == level && entry->address == end) {
			end += vmmu_level_pages(level) << VMMU_PAGE_SHIFT;
			count++;
			continue;
		}
		if (count && shown < limit) {
			ask_line(&q->ask, "  0x%012" PRIx64 "-0x%012" PRIx64 "  %s x %s", start, end - 1, text_count(count).text,
			         text_level_span(level));
			shown++;
		} else if (count) {
			more++;
		}
		if (!entry)
			break;
		level = entry->level;
		start = entry->address;
		end = start + (vmmu_level_pages(level) << VMMU_PAGE_SHIFT);
		count = 1;
	}
	if (more)
		ask_line(&q->ask, "%s  ... %s more (--last N)%s", q->ask.palette->dim, text_count(more).text, q->ask.palette->off);
	if (!shown)
		ask_line(&q->ask, "  nothing is mapped");
	tables_free(&tables);
}

static void print_splits(struct pages_question *q)
{
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES);

	if (!q->split_count)
		return;
	printf("\n");
	ask_heading(&q->ask, "%s large pages were split; %s of them became one again", text_count(q->split_count).text,
	            text_count(q->joined).text);
	groups_sort(&q->by_thread);
	for (size_t i = 0; i < q->by_thread.count && i < limit; i++) {
		char *who = ask_thread_text(&q->ask, (uint32_t)q->by_thread.list[i].key);

		ask_line(&q->ask, "%12s  by %s", text_count(q->by_thread.list[i].count).text, who);
		free(who);
	}
	for (size_t i = 0; i < q->split_count && i < limit; i++) {
		const struct fact *split = model_fact(q->ask.model, q->splits[i].fact);
		char *who = ask_thread_text(&q->ask, split->thread);

		ask_line(&q->ask, "  0x%012" PRIx64 "  %s split at %s by %s%s%s", split->address, text_level_span(split->level),
		         ask_time(&q->ask, split->time).text, who,
		         q->splits[i].joined == MODEL_NONE ? ", never one again" : ", one again at ",
		         q->splits[i].joined == MODEL_NONE
		                 ? ""
		                 : ask_time(&q->ask, model_fact(q->ask.model, q->splits[i].joined)->time).text);
		free(who);
	}
	if (q->split_count > limit)
		ask_line(&q->ask, "%s  ... %s more (--last N)%s", q->ask.palette->dim, text_count(q->split_count - limit).text,
		         q->ask.palette->off);
}

static void show_slots(struct pages_question *q, json_t *list)
{
	bool any = false;

	for (uint64_t n = 0; n < q->ask.to; n++) {
		const struct fact *slot = model_fact(q->ask.model, n);
		unsigned level = slot->kind == FACT_SLOT ? slot_largest_level(slot) : 0;

		if (slot->kind != FACT_SLOT || !of_vm(q, slot))
			continue;
		if (list) {
			json_t *json = json_object();

			json_object_set_new(json, "slot", json_number(slot->table));
			json_object_set_new(json, "gpa", json_hex(slot->address));
			json_object_set_new(json, "bytes", json_number(slot->a << VMMU_PAGE_SHIFT));
			json_object_set_new(json, "hva", json_hex(slot->b));
			json_object_set_new(json, "largest_page", json_string(level ? text_level_span(level) : "not known"));
			json_array_append_new(list, json);
			continue;
		}
		if (!any) {
			printf("\n");
			ask_heading(&q->ask, "Slots");
		}
		any = true;
		ask_line(&q->ask, "  %3" PRIu64 "  gpa 0x%012" PRIx64 " + %s, hva 0x%" PRIx64 ": %s", slot->table, slot->address,
		         text_bytes(slot->a << VMMU_PAGE_SHIFT).text, slot->b,
		         level == 0   ? "alignment not known"
		         : level == 1 ? "NO large pages: gpa and hva differ below 2 MiB"
		         : level == 2 ? "pages of up to 2 MiB"
		                      : "pages of up to 1 GiB");
	}
}

static void show_json(struct pages_question *q)
{
	json_t *times = json_array(), *splits = json_array(), *slots = json_array();

	for (unsigned i = 0; i < q->moment_count; i++) {
		json_t *json = json_object();

		json_object_set_new(json, "time", json_seconds(&q->ask, q->moments[i].time));
		json_object_set_new(json, "pages_4k", json_number(q->moments[i].leaves[1]));
		json_object_set_new(json, "pages_2m", json_number(q->moments[i].leaves[2]));
		json_object_set_new(json, "pages_1g", json_number(q->moments[i].leaves[3]));
		json_array_append_new(times, json);
	}
	for (size_t i = 0; i < q->split_count; i++) {
		const struct fact *split = model_fact(q->ask.model, q->splits[i].fact);
		json_t *json = json_object();
		char *who = ask_thread_text(&q->ask, split->thread);

		json_object_set_new(json, "gpa", json_hex(split->address));
		json_object_set_new(json, "level", json_number(split->level));
		json_object_set_new(json, "time", json_seconds(&q->ask, split->time));
		json_object_set_new(json, "thread", json_string(who));
		json_object_set_new(json, "joined", q->splits[i].joined == MODEL_NONE ? json_null() : json_seconds(&q->ask, model_fact(q->ask.model, q->splits[i].joined)->time));
		json_array_append_new(splits, json);
		free(who);
	}
	show_slots(q, slots);
	json_object_set_new(q->ask.result, "vm", json_number(q->ask.vm + 1u));
	json_object_set_new(q->ask.result, "over_time", times);
	json_object_set_new(q->ask.result, "splits", splits);
	json_object_set_new(q->ask.result, "slots", slots);
}

int question_pages(int argc, char **argv)
{
	struct pages_question q = {.joined = 0};
	char *name;

	if (!ask_begin(&q.ask, &argp, argc, argv, &q))
		return EXIT_TROUBLE;
	if (!model_vm(q.ask.model, q.ask.vm)->tdp) {
		complain("the legacy and the shadow MMU record no drop of an entry: what is mapped at a moment cannot be known");
		return ask_close(&q.ask, EXIT_TROUBLE);
	}
	groups_init(&q.by_thread);
	scan(&q);
	if (q.ask.json) {
		show_json(&q);
	} else {
		name = ask_vm_text(&q.ask, q.ask.vm);
		ask_heading(&q.ask, "%s", name);
		free(name);
		print_over_time(&q);
		print_by_address(&q);
		print_splits(&q);
		show_slots(&q, NULL);
	}
	groups_free(&q.by_thread);
	free(q.splits);
	return ask_close(&q.ask, EXIT_OK);
}
