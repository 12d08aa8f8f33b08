/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu trace: every entry write, one line each, under the fault that caused it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/map.h"
#include "../trace/sidecar.h"
#include "../trace/view.h"
#include "../question/question.h"
#include "command.h"
#include "shared_options.h"
#include "trace_filter.h"
#include "trace_json.h"
#include "trace_lines.h"

enum { OPTION_GPA = 'g',
       OPTION_LEVEL = 'l',
       OPTION_CAUSE = 'c',
       OPTION_FOLLOW = 'f',
       OPTION_ALL = 'a',
       OPTION_LIMIT = 'n',
       OPTION_JSON = 0x100,
       OPTION_FAULT,
       OPTION_GVA,
       OPTION_PHASE };

enum { FOLLOW_POLL_US = 100000 };

/* Records of one stream that wait for the end of their fault. */
struct group {
	struct group *next;
	uint64_t *numbers;
	size_t count, room;
};

struct listing {
	struct view view;
	struct trace_filter filter;
	uint64_t limit; /* lines of entry writes */
	bool follow, json;
	bool by_phase;  /* only what stands in this phase: */
	uint64_t phase; /* its number, in the mark that ends it */

	struct replay vms; /* only for its decoders */
	struct group *groups;
	struct map streams; /* vm and vcpu -> its group */
	uint64_t shown;
	uint16_t last_cause; /* of the management writes shown last */
};

static const struct vmmu_decoder *decoder_of(const struct listing *list,
                                             const struct vmmu_trace_record *record)
{
	static const struct vmmu_decoder unknown = {.mode = VMMU_MODE_EPT, .levels = 4};
	const struct replay_vm *vm = replay_vm_of(&list->vms, record->vm);

	return vm ? &vm->decoder : &unknown;
}

static bool limit_reached(const struct listing *list)
{
	return list->shown >= list->limit;
}

static void show_write(struct listing *list, const struct vmmu_trace_record *write,
                       const struct vmmu_trace_record *fault, uint64_t number)
{
	if (limit_reached(list))
		return;
	list->shown++;
	if (list->json)
		trace_json_print(&list->view, decoder_of(list, write), write, fault, number);
	else
		lines_write(&list->view, decoder_of(list, write), write);
}

static void show_record(struct listing *list, const struct vmmu_trace_record *record,
                        const struct vmmu_trace_record *fault, uint64_t number)
{
	if (record->event == VMMU_TRACE_SPTE_CHANGED) {
		if (filter_write(&list->filter, decoder_of(list, record), record, fault))
			show_write(list, record, fault, number);
	} else if (!limit_reached(list) && filter_other(&list->filter, record)) {
		if (list->json)
			trace_json_other(&list->view, record, number);
		else
			lines_other(&list->view, decoder_of(list, record), record);
	}
}

static bool group_is_shown(const struct listing *list, const struct group *group)
{
	const struct vmmu_trace_record *records = list->view.trace.records, *fault = &records[group->numbers[0]], *end;

	if (limit_reached(list))
		return false;
	for (size_t i = 1; i < group->count; i++) {
		const struct vmmu_trace_record *record = &records[group->numbers[i]];

		if (record->event == VMMU_TRACE_SPTE_CHANGED &&
		    filter_write(&list->filter, decoder_of(list, record), record, fault))
			return true;
	}
	end = &records[group->numbers[group->count - 1]];
	return filter_fault(&list->filter, decoder_of(list, fault), fault,
	                    end->event == VMMU_TRACE_FAULT_END ? end : NULL);
}

static void show_group(struct listing *list, struct group *group)
{
	const struct vmmu_trace_record *records = list->view.trace.records, *fault, *end = NULL;
	size_t count = group->count;

	if (count == 0 || !group_is_shown(list, group)) {
		group->count = 0;
		return;
	}
	fault = &records[group->numbers[0]];
	if (records[group->numbers[count - 1]].event == VMMU_TRACE_FAULT_END)
		end = &records[group->numbers[--count]];
	if (!list->json)
		lines_fault(&list->view, fault, end, list->filter.all);
	else if (list->filter.all)
		trace_json_fault(&list->view, fault, end, group->numbers[0]);
	for (size_t i = 1; i < count; i++)
		show_record(list, &records[group->numbers[i]], fault, group->numbers[i]);
	group->count = 0;
	list->last_cause = VMMU_CAUSE_NONE;
}

static struct group *group_of(struct listing *list, const struct vmmu_trace_record *record)
{
	uint64_t *place = map_at(&list->streams, (uint64_t)record->vm << 16 | record->vcpu);
	struct group *group;

	if (*place != MAP_NONE)
		return (struct group *)(uintptr_t)*place;
	group = allocate(sizeof(*group));
	*place = (uintptr_t)group;
	group->next = list->groups;
	list->groups = group;
	return group;
}

static void group_add(struct group *group, uint64_t number)
{
	if (group->count == group->room) {
		group->room = group->room ? group->room * 2 : 16;
		group->numbers = reallocate(group->numbers, group->room * sizeof(*group->numbers));
	}
	group->numbers[group->count++] = number;
}

/* A record outside any fault: a management call's. Its writes stand under their cause. */
static void show_alone(struct listing *list, const struct vmmu_trace_record *record, uint64_t number)
{
	bool heads = record->event == VMMU_TRACE_SPTE_CHANGED && record->cause != list->last_cause &&
	             filter_write(&list->filter, decoder_of(list, record), record, NULL);

	if (heads && !list->json && !limit_reached(list))
		lines_cause(&list->view, record);
	if (heads)
		list->last_cause = record->cause;
	show_record(list, record, NULL, number);
}

static void take(struct listing *list, uint64_t number)
{
	const struct vmmu_trace_record *record = &list->view.trace.records[number];
	struct group *group = group_of(list, record);

	if (record->event == VMMU_TRACE_VM)
		replay_apply(&list->vms, &list->view.trace, number);
	if (record->event == VMMU_TRACE_PAGE_FAULT) {
		show_group(list, group);
		group_add(group, number);
	} else if (group->count && record->fault) {
		group_add(group, number);
		if (record->event == VMMU_TRACE_FAULT_END)
			show_group(list, group);
	} else {
		show_alone(list, record, number);
	}
}

static void show_what_is_open(struct listing *list)
{
	while (list->groups) {
		struct group *group = list->groups;

		show_group(list, group);
		list->groups = group->next;
		free(group->numbers);
		free(group);
	}
	map_free(&list->streams);
}

/* False: the user has been told. */
static bool sort_by_time(struct trace_file *trace)
{
	char *error = NULL;

	if (trace_sort(trace, &error))
		return true;
	complain("%s", error);
	free(error);
	return false;
}

/* The records [*first, *end) of the phase: from the mark before its own to its own. False: nothing marks it. */
static bool find_phase(const struct listing *list, uint64_t *first, uint64_t *end)
{
	const struct trace_file *trace = &list->view.trace;
	uint64_t begin = 0;

	for (uint64_t n = 0; n < trace->count; n++) {
		const struct vmmu_trace_record *r = &trace->records[n];

		if (r->event != VMMU_TRACE_MARK || (list->filter.vm != UINT64_MAX && r->vm != list->filter.vm))
			continue;
		*first = begin;
		*end = begin = n + 1;
		if (r->mark.number == list->phase)
			return true;
	}
	return false;
}

/* The decoders come from what stands before the phase. */
static bool show_phase(struct listing *list)
{
	struct trace_file *trace = &list->view.trace;
	uint64_t first, end;

	if (!sort_by_time(trace))
		return false;
	if (!find_phase(list, &first, &end)) {
		complain("no phase %" PRIu64 " ends in %s (`vmmu trace --all FILE | grep mark` lists those that do)", list->phase,
		         trace->path);
		return false;
	}
	for (uint64_t n = 0; n < first; n++)
		if (trace->records[n].event == VMMU_TRACE_VM)
			replay_apply(&list->vms, trace, n);
	while (first < end && !limit_reached(list))
		take(list, first++);
	show_what_is_open(list);
	return true;
}

/* False: the user has been told. */
static bool show_all(struct listing *list)
{
	struct trace_file *trace = &list->view.trace;
	uint64_t done = 0;

	if (!list->follow && !sort_by_time(trace))
		return false;
	for (;;) {
		while (done < trace->count && !limit_reached(list))
			take(list, done++);
		if (!list->follow || !trace_may_grow(trace) || limit_reached(list))
			break;
		fflush(stdout);
		if (trace_read_more(trace))
			continue;
		/* A run that was cut short does not close its trace, but it says that it is over. */
		if ((trace->is_copy || sidecar_run_is_over(trace->path)) && trace_read_more(trace) == 0)
			break;
		usleep(FOLLOW_POLL_US);
	}
	show_what_is_open(list);
	return true;
}

static void parse_gpa(struct listing *list, const char *arg, struct argp_state *state)
{
	if (list->filter.gpa_first != 0 || list->filter.gpa_last != UINT64_MAX)
		argp_error(state, "one --gpa at a time; a range is X-Y");
	if (!parse_address_range(arg, &list->filter.gpa_first, &list->filter.gpa_last))
		argp_error(state, "--gpa takes an address or a range in hex (1000 or 0x1000-0x1fff), not \"%s\"", arg);
}

static void parse_gva(struct listing *list, const char *arg, struct argp_state *state)
{
	if (list->filter.gva_first != 0 || list->filter.gva_last != UINT64_MAX)
		argp_error(state, "one --gva at a time; a range is X-Y");
	if (!parse_address_range(arg, &list->filter.gva_first, &list->filter.gva_last))
		argp_error(state, "--gva takes an address or a range in hex (1000 or 0x1000-0x1fff), not \"%s\"", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct listing *list = state->input;
	unsigned cause;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &list->view;
		return 0;
	case ARGP_KEY_END:
		if (list->by_phase && list->follow)
			argp_error(state, "--phase and --follow exclude each other: a phase is known when it has ended");
		return 0;
	case OPTION_GPA:
		parse_gpa(list, arg, state);
		return 0;
	case OPTION_GVA:
		parse_gva(list, arg, state);
		return 0;
	case OPTION_LEVEL:
		if (list->filter.level)
			argp_error(state, "one --level at a time");
		if (!parse_level(arg, &list->filter.level))
			argp_error(state, "--level is 1 to 5, or 4k, 2m, 1g, 512g, 256t, not \"%s\"", arg);
		return 0;
	case OPTION_CAUSE:
		if (!parse_cause(arg, &cause))
			argp_error(state, "no cause is called \"%s\"; vmmu-trace(1) lists them", arg);
		list->filter.causes |= 1ull << cause;
		return 0;
	case OPTION_FAULT:
		if (list->filter.fault_first || list->filter.fault_last != UINT64_MAX)
			argp_error(state, "one --fault at a time; a range is N-M");
		if (!parse_range(arg, &list->filter.fault_first, &list->filter.fault_last))
			argp_error(state, "--fault takes a number or a range (12 or 12-20), not \"%s\"", arg);
		return 0;
	case OPTION_PHASE:
		list->by_phase = true;
		if (!parse_number(arg, &list->phase))
			argp_error(state, "--phase takes a phase's number, not \"%s\"", arg);
		return 0;
	case OPTION_LIMIT:
		if (!parse_number(arg, &list->limit))
			argp_error(state, "--limit takes a number of entry writes, not \"%s\"", arg);
		return 0;
	case OPTION_FOLLOW:
		list->follow = true;
		return 0;
	case OPTION_ALL:
		list->filter.all = true;
		return 0;
	case OPTION_JSON:
		list->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only entries that cover this guest-physical address or range, in hex with or without 0x", 1},
	{"gva", OPTION_GVA, "X[-Y]", 0, "Under shadow paging: only what faults at this guest-virtual address or range wrote", 1},
	{"level", OPTION_LEVEL, "L", 0, "Only entries of this level: 1 to 5, or 4k, 2m, 1g, 512g, 256t", 1},
	{"cause", OPTION_CAUSE, "C", 0, "Only writes with this cause (violation, split ...); may be repeated", 1},
	{"fault", OPTION_FAULT, "N[-M]", 0, "Only what these faults wrote", 1},
	{"phase", OPTION_PHASE, "N", 0, "Only what stands between two marks of the guest's: the phase that ends with mark N", 1},
	{"limit", OPTION_LIMIT, "N", 0, "Stop after N entry writes", 1},
	{"all", OPTION_ALL, NULL, 0, "Also slots, tables made and freed, flushes, MMIO, faults that wrote nothing", 2},
	{"follow", OPTION_FOLLOW, NULL, 0, "Go on as the trace grows, until the run ends", 2},
	{"json", OPTION_JSON, NULL, 0, "One JSON object per entry write; with --all for everything else, too", 2},
	{0},
};

static const struct argp_child children[] = {{&view_argp, 0, NULL, 0}, {&shared_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show every write to a paging-structure entry, decoded, under the fault that caused it."
	       " FILE may also be a recording of KVM, with options of its own: `vmmu trace FILE --help`.",
	.children = children,
};

int command_trace(int argc, char **argv)
{
	struct listing list = {.filter = TRACE_FILTER_NONE, .limit = UINT64_MAX};
	int status = EXIT_OK;

	if (question_is_asked(argc, argv, QUESTION_FOR_OPTION))
		return question_list(argc, argv);
	view_init(&list.view);
	argp_parse(&argp, argc, argv, 0, NULL, &list);
	list.filter.vm = list.view.vm;
	list.view.growing = list.follow;
	list.view.whole_lines = list.json;
	if (!view_open(&list.view))
		return EXIT_TROUBLE;
	if (!list.follow)
		trace_warn_ending(&list.view.trace);
	replay_init(&list.vms, NULL, NULL);
	if (!(list.by_phase ? show_phase(&list) : show_all(&list)))
		status = EXIT_TROUBLE;
	else if (list.view.vm != UINT64_MAX && !replay_vm_of(&list.vms, (uint16_t)list.view.vm) && !limit_reached(&list)) {
		complain("the trace has no VM %" PRIu64, list.view.vm);
		status = EXIT_TROUBLE;
	}
	if (list.follow && list.view.trace.ending == TRACE_DAMAGED) {
		trace_warn_ending(&list.view.trace);
		status = EXIT_TROUBLE;
	}
	replay_free(&list.vms);
	view_close(&list.view);
	return status;
}
