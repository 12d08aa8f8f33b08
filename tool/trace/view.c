/* SPDX-License-Identifier: BSD-2-Clause */
#include "view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/columns.h"
#include "../base/map.h"
#include "sidecar.h"

enum {
	OPTION_SYMBOLS = 's',
	OPTION_KERNEL = 'k',
	OPTION_COLOUR = 0x200,
	OPTION_VM,
	OPTION_AT,
	OPTION_AT_RECORD,
	OPTION_AT_FAULT,
	OPTION_AT_PHASE,
};

void view_init(struct view *view)
{
	*view = (struct view){.vm = UINT64_MAX, .trace = {.fd = -1}};
}

static error_t parse_view(int key, char *arg, struct argp_state *state)
{
	struct view *view = state->input;

	switch (key) {
	case OPTION_SYMBOLS:
		view->symbols_path = arg;
		return 0;
	case OPTION_KERNEL:
		view->kernel_path = arg;
		return 0;
	case OPTION_COLOUR:
		if (!parse_colour_mode(arg ? arg : "always", &view->colour))
			argp_error(state, "--color is auto, always or never, not \"%s\"", arg);
		return 0;
	case OPTION_VM:
		if (!parse_number(arg, &view->vm) || view->vm > UINT16_MAX)
			argp_error(state, "--vm takes the number of a VM, not \"%s\"", arg);
		return 0;
	case ARGP_KEY_ARG:
		if (view->path)
			argp_error(state, "one trace FILE at a time, not also \"%s\"", arg);
		view->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!view->path)
			argp_error(state, "which trace FILE? `vmmu run --trace FILE` makes one");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option view_options[] = {
	{"symbols", OPTION_SYMBOLS, "FILE", 0,
         "Names for guest addresses: System.map, vmlinux or a copy of /proc/kallsyms", 10},
	{"kernel", OPTION_KERNEL, "FILE", 0,
         "The kernel that ran; its own symbol table is used (default: as FILE.json says)", 10},
	{"color", OPTION_COLOUR, "WHEN", OPTION_ARG_OPTIONAL,
         "auto, always or never (default: auto, which honours NO_COLOR)", 10},
	{"colour", 0, NULL, OPTION_ALIAS, NULL, 10},
	{"vm", OPTION_VM, "N", 0, "Which VM of the trace (default: the first)", 10},
	{0},
};

const struct argp view_argp = {.options = view_options, .parser = parse_view};

static error_t take_moment(int key, char *arg, struct argp_state *state)
{
	struct view *view = state->input;

	if ((key == OPTION_AT || key == OPTION_AT_RECORD || key == OPTION_AT_FAULT || key == OPTION_AT_PHASE) && view->moment != MOMENT_END)
		argp_error(state, "one moment at a time: --at, --at-record, --at-fault or --at-phase, and once");
	switch (key) {
	case OPTION_AT:
		view->moment = MOMENT_TIME;
		if (!parse_moment(arg, &view->at))
			argp_error(state, "--at takes seconds since the first record (1.5, 200ms), not \"%s\"", arg);
		return 0;
	case OPTION_AT_RECORD:
	case OPTION_AT_FAULT:
	case OPTION_AT_PHASE:
		view->moment = key == OPTION_AT_RECORD ? MOMENT_RECORD : key == OPTION_AT_FAULT ? MOMENT_FAULT
		                                                                                : MOMENT_PHASE;
		if (!parse_number(arg, &view->at_number))
			argp_error(state, "a number is needed, not \"%s\"", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option moment_options[] = {
	{"at", OPTION_AT, "TIME", 0,
         "As things stood at TIME seconds after the first record (also 200ms, 15us); default: at the end", 5},
	{"at-record", OPTION_AT_RECORD, "N", 0, "... right after record N", 5},
	{"at-fault", OPTION_AT_FAULT, "N", 0, "... when fault N had been dealt with", 5},
	{"at-phase", OPTION_AT_PHASE, "N", 0, "... when phase N of the guest's run ended (vmmu trace --all shows the marks)", 5},
	{0},
};

const struct argp moment_argp = {.options = moment_options, .parser = take_moment};

/* Where to look for symbols, and whether the user asked for it. NULL: nowhere. */
static char *symbols_source(struct view *view, bool *asked)
{
	json_t *sidecar = sidecar_read(view->path);
	const char *kernel = json_string_value(json_object_get(sidecar, "kernel"));
	char *source = NULL;

	*asked = view->symbols_path || view->kernel_path;
	if (view->symbols_path)
		source = duplicate(view->symbols_path);
	else if (view->kernel_path)
		source = duplicate(view->kernel_path);
	else if (kernel)
		source = duplicate(kernel);
	if (kernel || view->kernel_path)
		view->kernel_name = printable(basename(view->kernel_path ? view->kernel_path : kernel));
	if (json_object_get(sidecar, "append"))
		view->guest_line = duplicate(json_string_value(json_object_get(sidecar, "append")) ?: "");
	json_decref(sidecar);
	return source;
}

/* Linux moves itself at its start unless told not to; then its table's addresses do not fit. */
static void warn_of_kaslr(const struct view *view)
{
	if (view->symbols.text && view->guest_line && !strstr(view->guest_line, "nokaslr"))
		note("the guest ran without \"nokaslr\": it may have moved itself, and then the functions named "
		     "here are wrong");
}

static bool open_symbols(struct view *view)
{
	bool asked;
	char *error = NULL, *source = symbols_source(view, &asked);
	bool ok = true;

	if (!source)
		note("no kernel is known for %s, so guest addresses stay numbers; --kernel or --symbols names them",
		     view->path);
	else if (!(asked ? symbols_load : symbols_load_named)(&view->symbols, source, &error)) {
		complain("%s", error);
		if (!asked)
			note("guest addresses stay numbers; --kernel or --symbols names them");
		ok = !asked;
	}
	warn_of_kaslr(view);
	free(error);
	free(source);
	return ok;
}

bool view_open(struct view *view)
{
	char *error = NULL;

	if (!(view->growing ? trace_open_growing : trace_open)(&view->trace, view->path, &error)) {
		complain("%s", error);
		free(error);
		return false;
	}
	view->palette = palette_for(stdout, view->colour);
	if (!view->whole_lines)
		cut_lines();
	view->machine = printable_n(view->trace.header.machine, sizeof(view->trace.header.machine));
	if (view->no_symbols || open_symbols(view))
		return true;
	view_close(view);
	return false;
}

void view_close(struct view *view)
{
	trace_close(&view->trace);
	symbols_free(&view->symbols);
	free(view->faults);
	view->faults = NULL;
	free(view->machine);
	free(view->kernel_name);
	free(view->guest_line);
	view->machine = view->kernel_name = view->guest_line = NULL;
}

static bool moment_of_time(const struct view *view, uint64_t *records, char **label)
{
	/*
	 * Times are printed in microseconds, rounded: one that was read off must include its record.
	 * One with more digits is meant as it stands.
	 */
	double seconds = (double)view->at.ns * 1e-9, last = 0;
	double until = seconds + (view->at.in_whole ? 0.5e-6 : 0.5e-9);
	uint64_t n = 0;

	if (view->trace.count)
		last = trace_seconds(&view->trace, &view->trace.records[view->trace.count - 1]);
	if (seconds > last + 1e-6) {
		complain("the trace ends at %s", text_seconds(last).text);
		return false;
	}

	while (n < view->trace.count && trace_seconds(&view->trace, &view->trace.records[n]) <= until)
		n++;
	*records = n;
	*label = formatted("at %s", text_seconds(seconds).text);
	return true;
}

static bool moment_of_fault(const struct view *view, uint64_t *records, char **label)
{
	for (uint64_t n = 0; n < view->trace.count; n++) {
		const struct vmmu_trace_record *record = &view->trace.records[n];

		if (record->event == VMMU_TRACE_FAULT_END && record->fault == view->at_number) {
			*records = n + 1;
			*label = formatted("after fault %u (%s)", record->fault,
			                   text_seconds(trace_seconds(&view->trace, record)).text);
			return true;
		}
	}
	complain("the trace has no end of a fault %" PRIu64, view->at_number);
	return false;
}

static bool moment_of_phase(const struct view *view, uint64_t *records, char **label)
{
	for (uint64_t n = 0; n < view->trace.count; n++) {
		const struct vmmu_trace_record *record = &view->trace.records[n];

		if (record->event == VMMU_TRACE_MARK && record->mark.number == view->at_number) {
			*records = n + 1;
			*label = formatted("after phase %" PRIu64 " (%s)", view->at_number,
			                   text_seconds(trace_seconds(&view->trace, record)).text);
			return true;
		}
	}
	complain("no phase %" PRIu64 " ends in the trace", view->at_number);
	return false;
}

bool view_moment(const struct view *view, uint64_t *records, char **label)
{
	const struct trace_file *trace = &view->trace;

	switch (view->moment) {
	case MOMENT_TIME:
		return moment_of_time(view, records, label);
	case MOMENT_FAULT:
		return moment_of_fault(view, records, label);
	case MOMENT_PHASE:
		return moment_of_phase(view, records, label);
	case MOMENT_RECORD:
		if (view->at_number >= trace->count) {
			complain("there is no record %" PRIu64 ", the trace has %" PRIu64 " (counted from 0)",
			         view->at_number, trace->count);
			return false;
		}
		*records = view->at_number + 1;
		*label = formatted("after record %" PRIu64 " (%s)", view->at_number,
		                   text_seconds(trace_seconds(trace, &trace->records[view->at_number])).text);
		return true;
	case MOMENT_END:
		break;
	}
	*records = trace->count;
	*label = duplicate("at the end of the trace");
	return true;
}

struct replay_vm *view_vm(const struct view *view, const struct replay *replay)
{
	if (replay->vm_count == 0) {
		complain("the trace does not name a VM up to there");
		return NULL;
	}
	if (view->vm == UINT64_MAX)
		return &replay->vms[0];
	for (size_t i = 0; i < replay->vm_count; i++)
		if (replay->vms[i].id == view->vm)
			return &replay->vms[i];
	complain("the trace has no VM %" PRIu64 " up to there", view->vm);
	return NULL;
}

void view_index_faults(struct view *view)
{
	struct map open = {0}; /* vm, vcpu and fault -> its record */

	view->faults = allocate(view->trace.count * sizeof(*view->faults));
	for (uint64_t n = 0; n < view->trace.count; n++) {
		const struct vmmu_trace_record *record = &view->trace.records[n];
		uint64_t key = (uint64_t)record->vm << 48 | (uint64_t)record->vcpu << 32 | record->fault;

		view->faults[n] = MAP_NONE;
		if (!record->fault)
			continue;
		if (record->event == VMMU_TRACE_PAGE_FAULT)
			*map_at(&open, key) = n;
		view->faults[n] = map_get(&open, key);
	}
	map_free(&open);
}

const struct vmmu_trace_record *view_fault_of(const struct view *view, uint64_t number)
{
	uint64_t fault = view->faults[number];

	return fault != MAP_NONE ? &view->trace.records[fault] : NULL;
}
