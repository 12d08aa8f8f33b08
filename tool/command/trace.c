/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu trace: every entry write, one line each, under the fault that caused it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../trace/describe.h"
#include "../trace/view.h"
#include "command.h"
#include "trace_json.h"

enum { OPTION_GPA = 'g', OPTION_LEVEL = 'l', OPTION_CAUSE = 'c', OPTION_FOLLOW = 'f', OPTION_ALL = 'a',
       OPTION_LIMIT = 'n', OPTION_JSON = 0x100, OPTION_FAULT };

enum { FOLLOW_POLL_US = 100000 };

/* Records of one stream that wait for the end of their fault. */
struct group {
	struct group *next;
	uint16_t vm, vcpu;
	uint64_t *numbers;
	size_t count, room;
};

struct listing {
	struct view view;
	uint64_t gpa_first, gpa_last;
	unsigned level;               /* 0: all */
	unsigned causes;              /* bit per cause, 0: all */
	uint64_t fault_first, fault_last;
	uint64_t limit;               /* lines of entry writes */
	bool follow, all, json;

	struct replay vms;            /* only for its decoders */
	struct group *groups;
	uint64_t shown;
	uint16_t last_cause;          /* of the management writes shown last */
};

/* Does what the entry covers meet the range that --gpa names? */
static bool range_met(const struct listing *list, const struct vmmu_trace_record *write)
{
	uint64_t bytes = vmmu_level_pages(write->level) << VMMU_PAGE_SHIFT;
	uint64_t start = (write->a[1] << VMMU_PAGE_SHIFT) & ~(bytes - 1);

	return start <= list->gpa_last && start + (bytes - 1) >= list->gpa_first;
}

static bool matches(const struct listing *list, const struct vmmu_trace_record *write)
{
	if (list->view.vm != UINT64_MAX && write->vm != list->view.vm)
		return false;
	if (list->level && write->level != list->level)
		return false;
	if (list->causes && !(list->causes & 1u << write->cause))
		return false;
	if (write->fault < list->fault_first || write->fault > list->fault_last)
		return false;
	return range_met(list, write);
}

static bool unfiltered(const struct listing *list)
{
	return !list->level && !list->causes && list->gpa_first == 0 && list->gpa_last == UINT64_MAX &&
	       list->fault_first == 0 && list->fault_last == UINT64_MAX;
}

static const struct vmmu_decoder *decoder_of(const struct listing *list,
                                             const struct vmmu_trace_record *record)
{
	static const struct vmmu_decoder unknown = {.mode = VMMU_MODE_EPT, .levels = 4};
	const struct replay_vm *vm = replay_vm_of(&list->vms, record->vm);

	return vm ? &vm->decoder : &unknown;
}

static void print_write(struct listing *list, const struct vmmu_trace_record *write)
{
	const struct palette *p = list->view.palette;
	const struct vmmu_decoder *decoder = decoder_of(list, write);
	char *was = describe_entry(decoder, write->level, write->a[2]);
	char *now = describe_entry(decoder, write->level, write->a[3]);

	printf("    L%u %-7s  0x%09" PRIx64 "[%3u]  %s%-10s%s  %s -> %s%s%s\n", write->level,
	       text_level_span(write->level), write->a[0], write->index, p->yellow,
	       vmmu_cause_name(write->cause), p->off, was, write->a[3] ? p->green : p->red, now, p->off);
	free(was);
	free(now);
}

static void print_fault_head(const struct listing *list, const struct vmmu_trace_record *fault,
                             const struct vmmu_trace_record *end)
{
	const struct palette *p = list->view.palette;
	char *access = describe_access(fault), *place = describe_place(fault, &list->view.symbols);

	printf("%sfault %u%s  %s%.6f s%s  %s at %s0x%09" PRIx64 "%s  by %s%s%s", p->bold, fault->fault, p->off,
	       p->dim, trace_seconds(&list->view.trace, fault), p->off, access, p->cyan, fault->a[0], p->off,
	       p->blue, place, p->off);
	if (fault->vcpu)
		printf("  vCPU %u", fault->vcpu);
	if (!end)
		printf("  (no end recorded)");
	else if (end->aux != VMMU_FAULT_FIXED)
		printf("  %s%s%s", p->magenta, vmmu_fault_result_name(end->aux), p->off);
	putchar('\n');
	free(access);
	free(place);
}

/* Everything that is neither a write nor a fault, for --all. */
static void print_other(const struct listing *list, const struct vmmu_trace_record *r)
{
	const struct palette *p = list->view.palette;

	printf("%s    %.6f s  %s", p->dim, trace_seconds(&list->view.trace, r), vmmu_trace_event_name(r->event));
	switch (r->event) {
	case VMMU_TRACE_VM:
		printf("  VM %u, %s, %" PRIu64 " levels, MAXPHYADDR %" PRIu64, r->vm,
		       r->a[0] == VMMU_MODE_NPT ? "NPT" : "EPT", r->a[1], r->a[2]);
		break;
	case VMMU_TRACE_ROOT_LOAD:
		printf("  root %u at 0x%" PRIx64 ", %s 0x%" PRIx64, r->root, r->a[0],
		       decoder_of(list, r)->mode == VMMU_MODE_NPT ? "nCR3" : "EPTP", r->a[1]);
		break;
	case VMMU_TRACE_SLOT:
		printf("  %s slot %u: gpa 0x%" PRIx64 " + %s, flags %u", vmmu_cause_name(r->cause), r->aux,
		       r->a[0] << VMMU_PAGE_SHIFT, text_bytes(r->a[1] << VMMU_PAGE_SHIFT).text, r->index);
		break;
	case VMMU_TRACE_GET_PAGE:
		printf("  level %u table 0x%" PRIx64 " for gfn 0x%" PRIx64 "%s", r->level, r->a[0], r->a[1],
		       r->aux == 1 ? ", new" : "");
		break;
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
		printf("  level %u table 0x%" PRIx64 " for gfn 0x%" PRIx64 ", %s", r->level, r->a[0], r->a[1],
		       vmmu_cause_name(r->cause));
		break;
	case VMMU_TRACE_FREE_PAGE:
		printf("  table 0x%" PRIx64 ", after flush %u", r->a[0], r->aux);
		break;
	case VMMU_TRACE_FLUSH_OWED:
		printf("  flush %u: gfn 0x%" PRIx64 " + %" PRIu64 " pages, %" PRIu64 " tables wait, %s", r->aux,
		       r->a[0], r->a[1], r->a[2], vmmu_cause_name(r->cause));
		break;
	case VMMU_TRACE_FLUSH_DONE:
		printf("  flush %u", r->aux);
		break;
	case VMMU_TRACE_HANDLE_MMIO:
		printf("  addr 0x%" PRIx64 " by the cached entry 0x%" PRIx64, r->a[0], r->a[3]);
		break;
	case VMMU_TRACE_CHECK_MMIO:
		printf("  generation %" PRIu64 " now, %" PRIu64 " in the entry", r->a[0], r->a[1]);
		break;
	case VMMU_TRACE_DROPS:
		printf("  %s%" PRIu64 " records were lost here", p->red, r->a[0]);
		break;
	default:
		break;
	}
	printf("%s\n", p->off);
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
		print_write(list, write);
}

static bool is_detail(uint16_t event)
{
	return event != VMMU_TRACE_PAGE_FAULT && event != VMMU_TRACE_FAULT_END &&
	       event != VMMU_TRACE_SPTE_CHANGED && event != VMMU_TRACE_DUMP && event != VMMU_TRACE_DUMP_END;
}

/* A fault without writes is shown when nothing is filtered and --all is given. */
static bool group_is_shown(const struct listing *list, const struct group *group)
{
	for (size_t i = 0; i < group->count; i++) {
		const struct vmmu_trace_record *r = &list->view.trace.records[group->numbers[i]];

		if (r->event == VMMU_TRACE_SPTE_CHANGED && matches(list, r))
			return true;
	}
	return list->all && unfiltered(list);
}

static void show_group(struct listing *list, struct group *group)
{
	const struct vmmu_trace_record *records = list->view.trace.records, *fault, *last;

	if (group->count == 0)
		return;
	fault = &records[group->numbers[0]];
	last = &records[group->numbers[group->count - 1]];
	if (group_is_shown(list, group) && !limit_reached(list)) {
		if (!list->json)
			print_fault_head(list, fault, last->event == VMMU_TRACE_FAULT_END ? last : NULL);
		for (size_t i = 1; i < group->count; i++) {
			const struct vmmu_trace_record *r = &records[group->numbers[i]];

			if (r->event == VMMU_TRACE_SPTE_CHANGED && matches(list, r))
				show_write(list, r, fault, group->numbers[i]);
			else if (list->all && !list->json && is_detail(r->event))
				print_other(list, r);
		}
	}
	group->count = 0;
	list->last_cause = 0;
}

static struct group *group_of(struct listing *list, const struct vmmu_trace_record *record)
{
	struct group *group;

	for (group = list->groups; group; group = group->next)
		if (group->vm == record->vm && group->vcpu == record->vcpu)
			return group;
	group = allocate(sizeof(*group));
	group->vm = record->vm;
	group->vcpu = record->vcpu;
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

/* A record outside any fault: a management call's. */
static void show_alone(struct listing *list, const struct vmmu_trace_record *record, uint64_t number)
{
	const struct palette *p = list->view.palette;

	if (record->event == VMMU_TRACE_SPTE_CHANGED && matches(list, record)) {
		if (!list->json && list->last_cause != record->cause && !limit_reached(list))
			printf("%s%s%s  %s%.6f s%s\n", p->bold, vmmu_cause_name(record->cause), p->off, p->dim,
			       trace_seconds(&list->view.trace, record), p->off);
		list->last_cause = record->cause;
		show_write(list, record, NULL, number);
	} else if (list->all && !list->json && is_detail(record->event) && !limit_reached(list)) {
		print_other(list, record);
	}
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
}

static void show_all(struct listing *list)
{
	struct trace_file *trace = &list->view.trace;
	uint64_t done = 0;

	if (!list->follow)
		trace_sort(trace);
	for (;;) {
		while (done < trace->count && !limit_reached(list))
			take(list, done++);
		if (!list->follow || trace->ending != TRACE_OPEN || limit_reached(list))
			break;
		fflush(stdout);
		if (trace_read_more(trace) == 0)
			usleep(FOLLOW_POLL_US);
	}
	show_what_is_open(list);
}

static void parse_gpa(struct listing *list, const char *arg, struct argp_state *state)
{
	if (!parse_range(arg, &list->gpa_first, &list->gpa_last))
		argp_error(state, "--gpa takes an address or a range (0x1000 or 0x1000-0x1fff), not \"%s\"", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct listing *list = state->input;
	unsigned cause;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &list->view;
		return 0;
	case OPTION_GPA:
		parse_gpa(list, arg, state);
		return 0;
	case OPTION_LEVEL:
		if (!parse_level(arg, &list->level))
			argp_error(state, "--level is 1 to 5, or 4k, 2m, 1g, 512g, 256t, not \"%s\"", arg);
		return 0;
	case OPTION_CAUSE:
		if (!parse_cause(arg, &cause))
			argp_error(state, "no cause is called \"%s\"; vmmu-trace(1) lists them", arg);
		list->causes |= 1u << cause;
		return 0;
	case OPTION_FAULT:
		if (!parse_range(arg, &list->fault_first, &list->fault_last))
			argp_error(state, "--fault takes a number or a range (12 or 12-20), not \"%s\"", arg);
		return 0;
	case OPTION_LIMIT:
		if (!parse_number(arg, &list->limit))
			argp_error(state, "--limit takes a number of entry writes, not \"%s\"", arg);
		return 0;
	case OPTION_FOLLOW:
		list->follow = true;
		return 0;
	case OPTION_ALL:
		list->all = true;
		return 0;
	case OPTION_JSON:
		list->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only entries that cover this guest-physical address or range", 1},
	{"level", OPTION_LEVEL, "L", 0, "Only entries of this level: 1 to 5, or 4k, 2m, 1g, 512g, 256t", 1},
	{"cause", OPTION_CAUSE, "C", 0, "Only writes with this cause (violation, split ...); may be repeated", 1},
	{"fault", OPTION_FAULT, "N[-M]", 0, "Only what these faults wrote", 1},
	{"limit", OPTION_LIMIT, "N", 0, "Stop after N entry writes", 1},
	{"all", OPTION_ALL, NULL, 0, "Also slots, tables made and freed, flushes, MMIO, faults that wrote nothing", 2},
	{"follow", OPTION_FOLLOW, NULL, 0, "Go on as the trace grows, until the run ends", 2},
	{"json", OPTION_JSON, NULL, 0, "One JSON object per entry write", 2},
	{0},
};

static const struct argp_child children[] = {{&view_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show every write to a paging-structure entry, decoded, under the fault that caused it.",
	.children = children,
};

int command_trace(int argc, char **argv)
{
	struct listing list = {.gpa_last = UINT64_MAX, .fault_last = UINT64_MAX, .limit = UINT64_MAX};
	int status = EXIT_OK;

	view_init(&list.view);
	argp_parse(&argp, argc, argv, 0, NULL, &list);
	if (!view_open(&list.view))
		return EXIT_TROUBLE;
	if (!list.follow)
		trace_warn_ending(&list.view.trace);
	replay_init(&list.vms, NULL, NULL);
	show_all(&list);
	if (list.follow && list.view.trace.ending == TRACE_DAMAGED) {
		trace_warn_ending(&list.view.trace);
		status = EXIT_TROUBLE;
	}
	replay_free(&list.vms);
	view_close(&list.view);
	return status;
}
