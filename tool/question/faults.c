/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu faults: which addresses fault, from where, what came of it and how long it
 * took; which come again and again, and where the very same frame came back.
 */
#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#include "../base/exit_status.h"
#include "group.h"
#include "history.h"
#include "question.h"
#include "writes.h"

enum { OPTION_BY = 'b',
       OPTION_GPA = 'g',
       OPTION_ORDER = 'o',
       OPTION_FOLLOW = 'f',
       USUAL_LINES = 10 };
enum by { BY_GPA,
	  BY_PLACE,
	  BY_VCPU,
	  BY_CAUSE,
	  BY_PAGE };

/* What became of a fault. */
enum outcome {
	OUTCOME_WRITTEN,  /* it wrote entries */
	OUTCOME_PRESENT,  /* wrote nothing: the entry allowed the access by then */
	OUTCOME_DEVICE,   /* ... there is a device */
	OUTCOME_EMULATED, /* ... a guest's table, or read-only memory: the write was emulated */
	OUTCOME_GUEST,    /* ... the guest's own fault, or its hypervisor's */
	OUTCOME_USER,     /* ... it left to the VMM */
	OUTCOME_NOTHING,  /* ... nothing is mapped: it will come again */
	OUTCOME_UNKNOWN,  /* ... what the entry holds is not known */
	OUTCOME_COUNT
};

static const char *const outcomes[OUTCOME_COUNT] = {
	"wrote entries",
	"wrote nothing: mapped already, by another vCPU or seen late by this one",
	"wrote nothing: a device",
	"wrote nothing: a write to a table of the guest's or to read-only memory, emulated",
	"wrote nothing: the guest's own fault",
	"wrote nothing: left to the VMM",
	"wrote nothing, nothing is mapped: it comes again",
	"wrote nothing; what is mapped there is not known",
};
static const char *const outcome_keys[OUTCOME_COUNT] = {
	"written", "present", "device", "emulated", "guest", "user", "nothing", "unknown"};

/* A vCPU thread's fault that is not over. */
struct open_fault {
	uint64_t number; /* MODEL_NONE: none */
	uint64_t writes, first_write;
	bool mmio, user;
	enum instead instead;
};

struct faults_question {
	struct ask ask;
	enum by by;
	uint64_t first, last;
	bool order;
	struct open_fault *open; /* by thread */
	struct groups groups;    /* by what was asked for */
	struct groups pages;     /* by page: repeats */
	uint64_t faults, outcome[OUTCOME_COUNT], access[3];
	uint64_t by_origin[FACT_ORIGIN_COUNT]; /* those that came back: why they had gone */
	uint64_t refaults, equal;              /* leaves that came back; ... to the same frame */
	struct samples to_write, to_entry;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const names[] = {"gpa", "function", "vcpu", "cause", "page"};
	struct faults_question *q = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &q->ask;
		return 0;
	case OPTION_BY:
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			if (strcmp(arg, names[i]) == 0) {
				q->by = (enum by)i;
				return 0;
			}
		}
		argp_error(state, "--by is gpa, function, vcpu, cause or page, not \"%s\"", arg);
		return EINVAL;
	case OPTION_GPA:
		if (!parse_address_range(arg, &q->first, &q->last))
			argp_error(state, "--gpa takes an address or a range in hexadecimal, not \"%s\"", arg);
		if (q->first == q->last)
			q->last |= (1 << VMMU_PAGE_SHIFT) - 1;
		return 0;
	case OPTION_ORDER:
		q->order = true;
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
	{"by", OPTION_BY, "WHAT", 0,
         "Count by gpa (regions of 2 MiB), function (of the guest), vcpu, cause or page (default: gpa)", 1},
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only faults at this guest-physical address or range", 1},
	{"order", OPTION_ORDER, NULL, 0,
         "Instead: the pages in the order of their first fault, one run per line (a list to prefetch)", 1},
	{"follow", OPTION_FOLLOW, NULL, 0, "Instead: each fault, when it is over, as the recording grows", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Say which addresses fault, by whom, what each fault did, how long it took, and which come again.",
	.children = ask_children,
};

static bool wanted(const struct faults_question *q, const struct fact *fault)
{
	return ask_wants(&q->ask, fault) && fault->address >= q->first && fault->address <= q->last;
}

static enum outcome outcome_of(const struct faults_question *q, const struct open_fault *open, uint64_t end)
{
	const struct fact *fault = model_fact(q->ask.model, open->number);
	const struct model_step *last;
	struct model_walk walk;

	if (open->writes)
		return OUTCOME_WRITTEN;
	if (open->mmio || ask_access(ask_mode(&q->ask, fault), fault->a) & ACCESS_DEVICE)
		return OUTCOME_DEVICE;
	if (open->instead)
		return open->instead == INSTEAD_EMULATED ? OUTCOME_EMULATED : open->instead == INSTEAD_GUEST ? OUTCOME_GUEST
		                                                                                             : OUTCOME_PRESENT;
	if (fault->vm >= model_vm_count(q->ask.model) || !model_vm(q->ask.model, fault->vm)->tdp ||
	    /* It may be a nested guest's, whose address is another one in tables that are not followed. */
	    model_vm(q->ask.model, fault->vm)->counts.nested)
		return open->user ? OUTCOME_USER : OUTCOME_UNKNOWN;
	model_walk(q->ask.model, fault->vm, NULL, fault->address, end, &walk);
	if (!walk.count)
		return open->user ? OUTCOME_USER : OUTCOME_UNKNOWN;
	last = &walk.steps[walk.count - 1];
	switch (kvm_entry_kind(last->entry, last->level)) {
	case KVM_ENTRY_LEAF:
		return OUTCOME_PRESENT;
	case KVM_ENTRY_MMIO:
		return OUTCOME_DEVICE;
	default:
		return open->user ? OUTCOME_USER : last->known == FACT_UNKNOWN ? OUTCOME_UNKNOWN
		                                                               : OUTCOME_NOTHING;
	}
}

static void take_end(struct open_fault *open, const struct fact *end)
{
	open->instead = ask_instead(end->a);
	open->mmio |= open->instead == INSTEAD_DEVICE;
}

static uint64_t key_of(const struct faults_question *q, const struct fact *fault, enum outcome outcome)
{
	unsigned access = ask_access(ask_mode(&q->ask, fault), fault->a);

	switch (q->by) {
	case BY_PLACE:
		return fault->b;
	case BY_VCPU:
		return (uint64_t)fault->vm << 16 | fault->vcpu;
	case BY_CAUSE:
		return access << 8 | outcome;
	case BY_PAGE:
		return fault->address >> VMMU_PAGE_SHIFT;
	default:
		return fault->address >> 21;
	}
}

static void end_fault(struct faults_question *q, struct open_fault *open, uint64_t end, bool entered)
{
	const struct fact *fault;
	enum outcome outcome;
	struct group *group;

	if (open->number == MODEL_NONE)
		return;
	fault = model_fact(q->ask.model, open->number);
	outcome = outcome_of(q, open, end);
	q->faults++;
	q->outcome[outcome]++;
	if (open->writes)
		samples_add(&q->to_write, model_fact(q->ask.model, open->first_write)->time - fault->time);
	if (entered)
		samples_add(&q->to_entry, model_fact(q->ask.model, end)->time - fault->time);
	group = groups_add(&q->groups, key_of(q, fault, outcome), open->number);
	group->extra[0] += open->writes;
	group->extra[1] += outcome != OUTCOME_WRITTEN;
	group = groups_add(&q->pages, (uint64_t)fault->vm << 48 | fault->address >> VMMU_PAGE_SHIFT, open->number);
	group->extra[0] += outcome != OUTCOME_WRITTEN;
	group->extra[1] = outcome;
	open->number = MODEL_NONE;
}

/* A leaf that a fault wrote: was there one before, with the same frame? */
static void look_at_refault(struct faults_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	const struct fact *fault = model_fault_of(q->ask.model, number, NULL);
	struct group *group;
	const struct fact *zap;
	bool same;

	zap = write_maps_again(q->ask.model, number, &same);
	if (!zap)
		return;
	q->by_origin[zap->origin < FACT_ORIGIN_COUNT ? zap->origin : 0]++;
	q->refaults++;
	q->equal += same;
	group = fault ? groups_find(&q->pages, (uint64_t)fact->vm << 48 | fault->address >> VMMU_PAGE_SHIFT) : NULL;
	if (group && same)
		group->extra[2]++;
}

static void begin_fault(struct faults_question *q, uint64_t number)
{
	const struct fact *fault = model_fact(q->ask.model, number);
	unsigned access = ask_access(ask_mode(&q->ask, fault), fault->a);

	q->access[access & ACCESS_FETCH ? 2 : access & ACCESS_WRITE ? 1
	                                                            : 0]++;
	q->open[fault->thread] = (struct open_fault){.number = number};
}

static void take(struct faults_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	struct open_fault *open;
	uint64_t fault;

	if (fact->thread >= model_thread_count(q->ask.model))
		return;
	open = &q->open[fact->thread];
	switch (fact->kind) {
	case FACT_FAULT:
		end_fault(q, open, number, false);
		if (wanted(q, fact))
			begin_fault(q, number);
		break;
	case FACT_WRITE:
	case FACT_SET:
		if (open->number == MODEL_NONE || !model_fault_of(q->ask.model, number, &fault) || fault != open->number)
			break;
		if (!open->writes++)
			open->first_write = number;
		look_at_refault(q, number);
		break;
	case FACT_MMIO:
		open->mmio = true;
		break;
	case FACT_FAULT_END:
		take_end(open, fact);
		end_fault(q, open, number, true);
		break;
	case FACT_ENTRY:
		end_fault(q, open, number, true);
		break;
	case FACT_USER_EXIT:
		open->user = true;
		end_fault(q, open, number, false);
		break;
	default:
		break;
	}
}

static char *key_text(const struct faults_question *q, const struct group *group)
{
	const struct fact *fault = model_fact(q->ask.model, group->last);
	char *text, *access;

	switch (q->by) {
	case BY_PLACE:
		return ask_place_text(&q->ask, group->key);
	case BY_VCPU:
		return formatted("VM %u vCPU %u", fault->vm + 1u, fault->vcpu);
	case BY_CAUSE:
		access = ask_access_text(&q->ask, fault);
		text = formatted("%s: %s", access, outcomes[group->key & 0xff]);
		free(access);
		return text;
	case BY_PAGE:
		return formatted("0x%012" PRIx64, group->key << VMMU_PAGE_SHIFT);
	default:
		return formatted("0x%012" PRIx64 "-0x%012" PRIx64, group->key << 21, (group->key << 21) + (1 << 21) - 1);
	}
}

static void print_groups(struct faults_question *q)
{
	static const char *const headings[] = {"region", "function", "vCPU", "cause", "page"};
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES);

	printf("\n");
	ask_line(&q->ask, "%s      faults  entries written  without  %s%s", q->ask.palette->dim, headings[q->by],
	         q->ask.palette->off);
	for (size_t i = 0; i < q->groups.count && i < limit; i++) {
		const struct group *group = &q->groups.list[i];
		char *key = key_text(q, group);

		ask_line(&q->ask, "%12s  %15s  %7s  %s", text_count(group->count).text, text_count(group->extra[0]).text,
		         text_count(group->extra[1]).text, key);
		free(key);
	}
	if (q->groups.count > limit)
		ask_line(&q->ask, "%s... %s more (--last N)%s", q->ask.palette->dim,
		         text_count(q->groups.count - limit).text, q->ask.palette->off);
}

static uint64_t repeated(const struct faults_question *q)
{
	uint64_t count = 0;

	for (size_t i = 0; i < q->pages.count; i++)
		count += q->pages.list[i].count > 1;
	return count;
}

static void print_repeats(struct faults_question *q)
{
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES), count = repeated(q);

	if (!count)
		return;
	printf("\n");
	ask_heading(&q->ask, "Pages that fault again: %s", text_count(count).text);
	ask_line(&q->ask, "%s      faults  without  same frame back  page            the last one%s", q->ask.palette->dim,
	         q->ask.palette->off);
	for (size_t i = 0; i < q->pages.count && i < limit && q->pages.list[i].count > 1; i++) {
		const struct group *page = &q->pages.list[i];
		const struct fact *fault = model_fact(q->ask.model, page->last);
		char *place = ask_place_text(&q->ask, fault->b), *access = ask_access_text(&q->ask, fault);

		ask_line(&q->ask, "%12s  %7s  %15s  0x%012" PRIx64 "  %s s, %s by %s: %s", text_count(page->count).text,
		         text_count(page->extra[0]).text, text_count(page->extra[2]).text,
		         (uint64_t)(fault->address & ~0xfffull), ask_time(&q->ask, fault->time).text, access, place,
		         outcomes[page->extra[1] < OUTCOME_COUNT ? page->extra[1] : 0]);
		free(place);
		free(access);
	}
}

static void print_percentiles(struct faults_question *q, const char *name, struct samples *samples)
{
	if (!samples->count)
		return;
	ask_line(&q->ask, "%-18s  half within %s, 90 %% %s, 99 %% %s, at most %s", name,
	         ask_duration(samples_percentile(samples, 50)).text, ask_duration(samples_percentile(samples, 90)).text,
	         ask_duration(samples_percentile(samples, 99)).text, ask_duration(samples_percentile(samples, 100)).text);
}

static void print(struct faults_question *q)
{
	ask_heading(&q->ask, "%s faults: %s by writes, %s by reads, %s by fetches", text_count(q->faults).text,
	            text_count(q->access[1]).text, text_count(q->access[0]).text, text_count(q->access[2]).text);
	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		if (q->outcome[i])
			ask_line(&q->ask, "%12s  %s", text_count(q->outcome[i]).text, outcomes[i]);
	if (q->refaults)
		ask_line(&q->ask, "%12s  mapped a page that had been dropped before; in %s of them the same frame came back",
		         text_count(q->refaults).text, text_count(q->equal).text);
	for (unsigned origin = FACT_ORIGIN_NONE + 1; origin < FACT_ORIGIN_COUNT; origin++)
		if (q->by_origin[origin])
			ask_line(&q->ask, "%12s  ... it had been dropped for %s", text_count(q->by_origin[origin]).text,
			         fact_origin_text(origin));
	print_percentiles(q, "fault to its write", &q->to_write);
	print_percentiles(q, "fault to guest", &q->to_entry);
	print_groups(q);
	print_repeats(q);
}

static json_t *percentiles_json(struct samples *samples)
{
	json_t *json = json_object();

	json_object_set_new(json, "count", json_number(samples->count));
	json_object_set_new(json, "p50_ns", json_number(samples_percentile(samples, 50)));
	json_object_set_new(json, "p90_ns", json_number(samples_percentile(samples, 90)));
	json_object_set_new(json, "p99_ns", json_number(samples_percentile(samples, 99)));
	json_object_set_new(json, "max_ns", json_number(samples_percentile(samples, 100)));
	return json;
}

static void show_json(struct faults_question *q)
{
	uint64_t limit = ask_limit(&q->ask, UINT64_MAX);
	json_t *groups = json_array(), *repeats = json_array(), *kinds = json_object();
	json_t *origins = json_object();

	json_object_set_new(q->ask.result, "faults", json_number(q->faults));
	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		json_object_set_new(kinds, outcome_keys[i], json_number(q->outcome[i]));
	json_object_set_new(q->ask.result, "outcomes", kinds);
	json_object_set_new(q->ask.result, "refaults", json_number(q->refaults));
	json_object_set_new(q->ask.result, "refaults_same_frame", json_number(q->equal));
	for (unsigned origin = FACT_ORIGIN_NONE + 1; origin < FACT_ORIGIN_COUNT; origin++)
		if (q->by_origin[origin])
			json_object_set_new(origins, fact_origin_name(origin), json_number(q->by_origin[origin]));
	json_object_set_new(q->ask.result, "refault_origins", origins);
	json_object_set_new(q->ask.result, "fault_to_write", percentiles_json(&q->to_write));
	json_object_set_new(q->ask.result, "fault_to_entry", percentiles_json(&q->to_entry));
	for (size_t i = 0; i < q->groups.count && i < limit; i++) {
		const struct group *group = &q->groups.list[i];
		json_t *json = json_object();
		char *key = key_text(q, group);

		json_object_set_new(json, "key", json_string(key));
		json_object_set_new(json, "faults", json_number(group->count));
		json_object_set_new(json, "writes", json_number(group->extra[0]));
		json_object_set_new(json, "without_write", json_number(group->extra[1]));
		json_array_append_new(groups, json);
		free(key);
	}
	for (size_t i = 0; i < q->pages.count && i < limit && q->pages.list[i].count > 1; i++) {
		const struct group *page = &q->pages.list[i];
		const struct fact *fault = model_fact(q->ask.model, page->last);
		json_t *json = json_object();

		json_object_set_new(json, "gpa", json_hex(fault->address & ~0xfffull));
		json_object_set_new(json, "vm", json_number(fault->vm + 1u));
		json_object_set_new(json, "faults", json_number(page->count));
		json_object_set_new(json, "without_write", json_number(page->extra[0]));
		json_object_set_new(json, "same_frame", json_number(page->extra[2]));
		json_object_set_new(json, "last_outcome",
		                    json_string(outcome_keys[page->extra[1] < OUTCOME_COUNT ? page->extra[1] : 0]));
		json_object_set_new(json, "last_rip", json_hex(fault->b));
		json_array_append_new(repeats, json);
	}
	json_object_set_new(q->ask.result, "groups", groups);
	json_object_set_new(q->ask.result, "repeats", repeats);
}

/* Pages in the order of their first fault; neighbours that follow one another in one line. */
static void show_order(struct faults_question *q)
{
	json_t *list = q->ask.json ? json_array() : NULL;
	uint64_t limit = ask_limit(&q->ask, UINT64_MAX), shown = 0;

	for (size_t i = 0; i < q->pages.count && shown < limit; shown++) {
		const struct group *page = &q->pages.list[i];
		uint64_t start = page->key & 0xffffffffffff, n = 1;
		const struct fact *fault = model_fact(q->ask.model, page->first);

		while (i + n < q->pages.count && q->pages.list[i + n].key == page->key + n)
			n++;
		i += n;
		if (list) {
			json_t *json = json_object();

			json_object_set_new(json, "gpa", json_hex(start << VMMU_PAGE_SHIFT));
			json_object_set_new(json, "pages", json_number(n));
			json_object_set_new(json, "time", json_seconds(&q->ask, fault->time));
			json_object_set_new(json, "vm", json_number(fault->vm + 1u));
			json_array_append_new(list, json);
		} else {
			ask_line(&q->ask, "0x%012" PRIx64 " %" PRIu64, start << VMMU_PAGE_SHIFT, n);
		}
	}
	if (list)
		json_object_set_new(q->ask.result, "order", list);
}

/* ---- while it happens ---------------------------------------------------------------------- */

static void print_ended(struct faults_question *q, const struct open_fault *open, const struct fact *end)
{
	const struct fact *fault = model_fact(q->ask.model, open->number);
	char *access = ask_access_text(&q->ask, fault), *place = ask_place_text(&q->ask, fault->b);
	const char *what = open->mmio                          ? "a device"
	                   : open->instead == INSTEAD_EMULATED ? "emulated"
	                   : open->instead == INSTEAD_GUEST    ? "the guest's own fault"
	                   : open->instead == INSTEAD_ALLOWED  ? "allowed already"
	                   : open->user                        ? "left to the VMM"
	                                                       : "no entry written";

	if (open->writes)
		ask_line(&q->ask, "%12s  vCPU %u  %s at 0x%09" PRIx64 "  by %s  %s entr%s in %s", ask_time(&q->ask, fault->time).text,
		         fault->vcpu, access, fault->address, place, text_count(open->writes).text, open->writes == 1 ? "y" : "ies",
		         ask_duration(end->time - fault->time).text);
	else
		ask_line(&q->ask, "%12s  vCPU %u  %s at 0x%09" PRIx64 "  by %s  %s", ask_time(&q->ask, fault->time).text,
		         fault->vcpu, access, fault->address, place, what);
	free(access);
	free(place);
}

/* A fact of the thread whose fault is open; nothing looks back further than the fault. */
static void follow_one(struct faults_question *q, struct open_fault *open, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	bool ends = fact->kind == FACT_FAULT || fact->kind == FACT_FAULT_END || fact->kind == FACT_ENTRY ||
	            fact->kind == FACT_USER_EXIT;

	/* What has left the ring cannot be told of any more. */
	if (open->number != MODEL_NONE && number - open->number >= MODEL_LIVE_FACTS / 2)
		open->number = MODEL_NONE;
	if (open->number != MODEL_NONE) {
		open->writes += fact->kind == FACT_WRITE || fact->kind == FACT_SET;
		open->mmio |= fact->kind == FACT_MMIO;
		if (fact->kind == FACT_FAULT_END)
			take_end(open, fact);
		open->user |= fact->kind == FACT_USER_EXIT;
		if (ends)
			print_ended(q, open, fact);
		if (ends)
			open->number = MODEL_NONE;
	}
	if (fact->kind == FACT_FAULT && wanted(q, fact))
		*open = (struct open_fault){.number = number};
}

static int follow(struct faults_question *q)
{
	uint64_t done = 0;
	size_t room = 0;

	while (!ferror(stdout) && model_live_more(q->ask.model)) {
		bool known = ask_find_vm_late(&q->ask);

		for (; done < model_count(q->ask.model); done++) {
			const struct fact *fact = model_fact(q->ask.model, done);

			if (fact->thread >= model_thread_count(q->ask.model))
				continue;
			for (; room <= fact->thread; room++) {
				q->open = reallocate(q->open, (room + 1) * sizeof(*q->open));
				q->open[room].number = MODEL_NONE;
			}
			if (known)
				follow_one(q, &q->open[fact->thread], done);
		}
		fflush(stdout);
	}
	free(q->open);
	return ask_close(&q->ask, EXIT_OK);
}

int question_faults(int argc, char **argv)
{
	struct faults_question q = {.last = UINT64_MAX};

	if (!ask_begin(&q.ask, &argp, argc, argv, &q))
		return EXIT_TROUBLE;
	if (q.ask.follow)
		return follow(&q);
	q.open = allocate((model_thread_count(q.ask.model) + 1) * sizeof(*q.open));
	for (size_t i = 0; i < model_thread_count(q.ask.model); i++)
		q.open[i].number = MODEL_NONE;
	groups_init(&q.groups);
	groups_init(&q.pages);
	for (uint64_t n = q.ask.from; n < q.ask.to; n++)
		take(&q, n);
	for (size_t i = 0; i < model_thread_count(q.ask.model); i++)
		end_fault(&q, &q.open[i], q.ask.to, false);
	if (q.order) {
		/* As they came. */
		show_order(&q);
	} else {
		groups_sort(&q.groups);
		groups_sort(&q.pages);
		if (q.ask.json)
			show_json(&q);
		else
			print(&q);
	}
	groups_free(&q.groups);
	groups_free(&q.pages);
	samples_free(&q.to_write);
	samples_free(&q.to_entry);
	free(q.open);
	return ask_close(&q.ask, EXIT_OK);
}
