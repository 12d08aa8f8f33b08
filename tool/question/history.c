/* SPDX-License-Identifier: BSD-2-Clause */
#include "history.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SHOWN = 3,
       LAST_SHOWN = 12,
       LOOK_BACK = 20000,
       CHAIN_MAX = 200000 };

/* The kvm_unmap_hva_range of the same thread that comes before a zap. */
static const struct fact *unmap_before(const struct ask *ask, uint64_t number)
{
	const struct fact *zap = model_fact(ask->model, number);

	for (uint64_t n = number, looked = 0; n-- > 0 && looked < LOOK_BACK; looked++) {
		const struct fact *fact = model_fact(ask->model, n);

		if (fact->kind == FACT_UNMAP && fact->thread == zap->thread)
			return fact;
	}
	return NULL;
}

char *history_reason(const struct ask *ask, uint64_t number)
{
	const struct fact *fact = model_fact(ask->model, number), *unmap;
	uint64_t at;
	const struct fact *fault = model_fault_of(ask->model, number, &at);
	char *thread, *access, *place, *text;

	if (fault) {
		access = ask_access_text(ask, fault);
		place = ask_place_text(ask, fault->b);
		text = formatted("%s at 0x%" PRIx64 " by vCPU %u, %s, %s before", access, fault->address, fault->vcpu,
		                 place, ask_duration(fact->time - fault->time).text);
		free(access);
		free(place);
		return text;
	}
	thread = ask_thread_text(ask, fact->thread);
	unmap = fact->cause == FACT_CAUSE_ZAP_NOTIFIER ? unmap_before(ask, number) : NULL;
	if (unmap)
		text = formatted("by %s, %s after it unmapped hva 0x%" PRIx64 "-0x%" PRIx64 "%s%s", thread,
		                 ask_duration(fact->time - unmap->time).text, unmap->address, unmap->a,
		                 fact->origin ? ", for " : "", fact->origin ? fact_origin_text(fact->origin) : "");
	else if (fact->kind == FACT_FOUND)
		text = duplicate("there when recording began");
	else
		text = formatted("by %s%s%s", thread, fact->origin ? ", for " : "",
		                 fact->origin ? fact_origin_text(fact->origin) : "");
	free(thread);
	return text;
}

char *history_known(const struct fact *fact)
{
	return formatted("%s%s%s%s%s%s", fact_known_name(fact->known),
	                 fact->flags & FACT_UNEXPLAINED ? ", UNEXPLAINED" : "",
	                 fact->flags & FACT_AMBIGUOUS ? ", perhaps in another root" : "",
	                 fact->flags & FACT_AFTER_LOSS ? ", after a loss" : "",
	                 fact->flags & FACT_NEVER_SEEN ? ", what was there was never seen" : "",
	                 fact->flags & FACT_ZAPPED_UNSEEN ? ", changed in between without an event" : "");
}

json_t *history_json(const struct ask *ask, uint64_t number)
{
	const struct fact *fact = model_fact(ask->model, number), *fault;
	json_t *json = json_object();
	char *text;
	uint64_t at;

	json_object_set_new(json, "number", json_number(number));
	json_object_set_new(json, "time", json_seconds(ask, fact->time));
	json_object_set_new(json, "vm", json_number(fact->vm + 1u));
	json_object_set_new(json, "root", json_number(fact->root));
	json_object_set_new(json, "level", json_number(fact->level));
	json_object_set_new(json, "gpa", json_hex(fact->address));
	if (fact->table)
		json_object_set_new(json, "table", json_hex(fact->table));
	json_object_set_new(json, "cause", json_string(fact_cause_name(fact->cause)));
	if (fact->origin)
		json_object_set_new(json, "origin", json_string(fact_origin_name(fact->origin)));
	json_object_set_new(json, "known", json_string(fact_known_name(fact->known)));
	json_object_set_new(json, "unexplained", json_boolean(fact->flags & FACT_UNEXPLAINED));
	if (fact->flags & FACT_AMBIGUOUS)
		json_object_set_new(json, "ambiguous", json_true());
	if (fact->kind == FACT_WRITE || fact->was_known != FACT_UNKNOWN)
		json_object_set_new(json, "old", json_hex(fact->a));
	json_object_set_new(json, "new", json_hex(fact->b));
	text = kvm_entry_describe(ask_mode(ask, fact), fact->b, fact->level);
	json_object_set_new(json, "meaning", json_string(text));
	free(text);
	text = ask_thread_text(ask, fact->thread);
	json_object_set_new(json, "thread", json_string(text));
	free(text);
	fault = model_fault_of(ask->model, number, &at);
	if (fault) {
		json_t *inner = json_object();

		json_object_set_new(inner, "number", json_number(at));
		json_object_set_new(inner, "time", json_seconds(ask, fault->time));
		json_object_set_new(inner, "gpa", json_hex(fault->address));
		json_object_set_new(inner, "error_code", json_hex(fault->a));
		json_object_set_new(inner, "rip", json_hex(fault->b));
		json_object_set_new(inner, "vcpu", json_number(fault->vcpu));
		json_object_set_new(json, "fault", inner);
	}
	return json;
}

/* Numbers of an entry's facts, the oldest first, at most CHAIN_MAX of the newest. */
static uint64_t *chain(const struct ask *ask, unsigned vm, unsigned level, uint64_t address, size_t *count)
{
	uint64_t *numbers = NULL, n = model_last(ask->model, vm, level, address, 0, ask->to);
	size_t room = 0;

	*count = 0;
	for (; n != MODEL_NONE && n >= ask->from && *count < CHAIN_MAX; n = model_before(ask->model, n)) {
		if (*count == room) {
			room = room ? 2 * room : 64;
			numbers = reallocate(numbers, room * sizeof(*numbers));
		}
		numbers[(*count)++] = n;
	}
	for (size_t i = 0; i < *count / 2; i++) {
		uint64_t moved = numbers[i];

		numbers[i] = numbers[*count - 1 - i];
		numbers[*count - 1 - i] = moved;
	}
	return numbers;
}

static void print_one(const struct ask *ask, uint64_t number)
{
	const struct palette *p = ask->palette;
	const struct fact *fact = model_fact(ask->model, number);
	enum kvm_mode mode = ask_mode(ask, fact);
	char *was = fact->kind == FACT_WRITE || fact->was_known ? kvm_entry_describe(mode, fact->a, fact->level)
	                                                        : duplicate("not known");
	char *now = kvm_entry_describe(mode, fact->b, fact->level);
	char *reason = history_reason(ask, number), *known = history_known(fact);

	ask_line(ask, "    %s%12s s%s  %s%-12s%s  %s", p->dim, ask_time(ask, fact->time).text, p->off, p->yellow,
	         fact->kind == FACT_FOUND ? "found" : fact_cause_name(fact->cause), p->off, reason);
	ask_line(ask, "                    %s%s%s: %s -> %s%s%s", fact->flags & FACT_UNEXPLAINED ? p->red : p->dim,
	         known, p->off, was, kvm_entry_is_there(fact->b, fact->level) ? p->green : p->red, now, p->off);
	free(was);
	free(now);
	free(reason);
	free(known);
}

/* "... 412 more alike: protect 206, fast-fault 206" */
static void print_middle(const struct ask *ask, const uint64_t *numbers, size_t count)
{
	uint64_t by_cause[FACT_CAUSE_END] = {0};
	char *list = duplicate("");

	for (size_t i = 0; i < count; i++) {
		const struct fact *fact = model_fact(ask->model, numbers[i]);

		by_cause[fact->cause < FACT_CAUSE_END ? fact->cause : 0]++;
	}
	for (unsigned cause = 0; cause < FACT_CAUSE_END; cause++) {
		char *longer;

		if (!by_cause[cause])
			continue;
		longer = formatted("%s%s %s %s", list, *list ? "," : "", fact_cause_name(cause),
		                   text_count(by_cause[cause]).text);
		free(list);
		list = longer;
	}
	ask_line(ask, "    %s... %s more:%s%s", ask->palette->dim, text_count(count).text, list, ask->palette->off);
	free(list);
}

void history_print(const struct ask *ask, unsigned vm, unsigned level, uint64_t address)
{
	const struct palette *p = ask->palette;
	size_t count, before = 0, first = FIRST_SHOWN, last = LAST_SHOWN;
	uint64_t *numbers = chain(ask, vm, level, address, &count);
	unsigned root = UINT32_MAX;
	uint64_t table = UINT64_MAX;

	while (before < count && numbers[before] < ask->moment)
		before++;
	if (count == CHAIN_MAX)
		note("only the last %s writes of the entry at level %u are looked at; --until goes further back",
		     text_count(count).text, level);
	printf("\n");
	if (count == 0)
		ask_line(ask, "%s  level %u%s, which covers %s: never written", p->bold, level, p->off,
		         text_level_span(level));
	else
		ask_line(ask, "%s  level %u%s, which covers %s: %s write%s%s%s", p->bold, level, p->off,
		         text_level_span(level), text_count(before).text, before == 1 ? "" : "s",
		         before < count ? ", more later: " : "",
		         before < count ? text_count(count - before).text : "");
	if (ask->last != UINT64_MAX) {
		first = 0;
		last = ask->last;
	}
	for (size_t i = 0; i < count; i++) {
		const struct fact *fact = model_fact(ask->model, numbers[i]);

		if (i == first && count > first + last + 1) {
			print_middle(ask, numbers + i, count - first - last);
			i = count - last - 1;
			root = UINT32_MAX;
			continue;
		}
		if (fact->root != root || fact->table != table) {
			root = fact->root;
			table = fact->table;
			if (fact->table)
				ask_line(ask, "    %sin table 0x%" PRIx64 ", entry %u%s", p->dim, fact->table,
				         (unsigned)(fact->address >> (VMMU_PAGE_SHIFT + 9 * (level - 1)) & 511), p->off);
			else
				ask_line(ask, "    %sin root %u, entry %u%s", p->dim, root,
				         (unsigned)(fact->address >> (VMMU_PAGE_SHIFT + 9 * (level - 1)) & 511), p->off);
		}
		if (i == before && before)
			ask_line(ask, "    %s--- after that moment ---%s", p->magenta, p->off);
		print_one(ask, numbers[i]);
	}
	free(numbers);
}

json_t *history_list(const struct ask *ask, unsigned vm, unsigned level, uint64_t address)
{
	json_t *list = json_array();
	size_t count;
	uint64_t *numbers = chain(ask, vm, level, address, &count);

	for (size_t i = ask->last < count ? count - ask->last : 0; i < count; i++)
		json_array_append_new(list, history_json(ask, numbers[i]));
	free(numbers);
	return list;
}
