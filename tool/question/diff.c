/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu diff: how the tables differ between two moments, or between two traces. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/exit_status.h"
#include "question.h"
#include "tables.h"

enum { OPTION_GPA = 'g',
       USUAL_LINES = 40 };

enum difference { ONLY_FIRST,
	          ONLY_SECOND,
	          OTHER_SIZE,
	          OTHER_FRAME,
	          OTHER_RIGHTS,
	          DIFFERENCES };

static const char *const names[DIFFERENCES] = {"only in the first", "only in the second", "other page size",
                                               "other frame", "other rights"};
static const char *const keys[DIFFERENCES] = {"only_first", "only_second", "size", "frame", "rights"};

struct side {
	struct ask ask;
	char *path;
	struct tables tables;
	size_t at;
};

struct diff_question {
	struct ask ask; /* the options, for both sides */
	const char *arguments[2];
	unsigned argument_count;
	uint64_t first, last;
	struct side side[2];
	uint64_t pages[DIFFERENCES], same; /* in 4 KiB pages */
	struct {
		enum difference kind;
		uint64_t start, end;
		unsigned level[2];
	} run;
	bool in_run;
	uint64_t shown, left_out;
	json_t *list;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct diff_question *q = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &q->ask;
		return 0;
	case OPTION_GPA:
		if (!parse_address_range(arg, &q->first, &q->last))
			argp_error(state, "--gpa takes an address or a range in hexadecimal, not \"%s\"", arg);
		return 0;
	case ARGP_KEY_ARG:
		if (q->argument_count == 2)
			argp_error(state, "two at a time, not also \"%s\"", arg);
		q->arguments[q->argument_count++] = arg;
		q->ask.path = arg;
		return 0;
	case ARGP_KEY_END:
		if (q->argument_count != 2)
			argp_error(state, "which two? FILE@TIME @TIME, FILE FILE, or FILE@TIME FILE@TIME");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only what covers this guest-physical address or range", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE[@TIME] [FILE][@TIME]",
	.doc = "Compare the tables of a VM at two moments, of one trace or of two: what is mapped only in one of them, "
	       "by pages of another size, to another frame, with other rights."
	       "\vTIME is as for --at; without it the end of the trace is meant. Exit status: 0 equal, 1 different, 2 trouble.",
	.children = ask_children,
};

/* "FILE@TIME" where no file has that very name; "@TIME": of the first one's file. */
static bool open_side(struct diff_question *q, unsigned i)
{
	struct side *side = &q->side[i];
	const char *argument = q->arguments[i], *at = access(argument, F_OK) == 0 ? NULL : strrchr(argument, '@');

	side->ask = q->ask;
	side->ask.json = false;
	side->path = at ? strndup(argument, (size_t)(at - argument)) : duplicate(argument);
	if (i == 1 && at == argument) {
		free(side->path);
		side->path = duplicate(q->side[0].path);
	}
	side->ask.path = side->path;
	side->ask.at = at ? at + 1 : NULL;
	if (!ask_open(&side->ask))
		return false;
	if (!ask_has_vms(&side->ask))
		return false;
	if (!model_vm(side->ask.model, side->ask.vm)->tdp) {
		complain("%s: the legacy and the shadow MMU record no drop of an entry, so its tables cannot be compared",
		         side->path);
		return false;
	}
	tables_at(&side->ask, side->ask.vm, q->first, q->last, side->ask.moment, &side->tables);
	return true;
}

/* Its next leaf or device entry at or behind `address`; NULL: there is none. */
static const struct tables_entry *entry_at(struct side *side, uint64_t address)
{
	for (; side->at < side->tables.count; side->at++) {
		const struct tables_entry *entry = &side->tables.entries[side->at];
		uint64_t bytes = vmmu_level_pages(entry->level) << VMMU_PAGE_SHIFT;

		if (kvm_entry_kind(entry->value, entry->level) != KVM_ENTRY_TABLE && entry->address + bytes > address)
			return entry;
	}
	return NULL;
}

static void end_run(struct diff_question *q)
{
	const struct palette *p = q->ask.palette;

	if (!q->in_run)
		return;
	q->in_run = false;
	q->pages[q->run.kind] += (q->run.end - q->run.start) >> VMMU_PAGE_SHIFT;
	if (q->list) {
		json_t *json = json_object();

		json_object_set_new(json, "first", json_hex(q->run.start));
		json_object_set_new(json, "last", json_hex(q->run.end - 1));
		json_object_set_new(json, "difference", json_string(keys[q->run.kind]));
		for (unsigned i = 0; i < 2; i++)
			if (q->run.level[i])
				json_object_set_new(json, i ? "second_page" : "first_page",
				                    json_string(text_level_span(q->run.level[i])));
		json_array_append_new(q->list, json);
		return;
	}
	if (q->shown >= ask_limit(&q->ask, USUAL_LINES)) {
		q->left_out++;
		return;
	}
	q->shown++;
	ask_line(&q->ask, "0x%012" PRIx64 "-0x%012" PRIx64 "  %s%-18s%s  %s%s%s", q->run.start, q->run.end - 1,
	         q->run.kind == ONLY_FIRST ? p->red : q->run.kind == ONLY_SECOND ? p->green
	                                                                         : p->yellow,
	         names[q->run.kind], p->off, q->run.level[0] ? text_level_span(q->run.level[0]) : "",
	         q->run.level[0] && q->run.level[1] ? " -> " : "",
	         q->run.level[1] ? text_level_span(q->run.level[1]) : "");
}

static void add(struct diff_question *q, enum difference kind, uint64_t start, uint64_t end,
                const struct tables_entry *a, const struct tables_entry *b)
{
	unsigned first = a ? a->level : 0, second = b ? b->level : 0;

	if (!q->in_run || q->run.kind != kind || q->run.end != start || q->run.level[0] != first ||
	    q->run.level[1] != second) {
		end_run(q);
		q->in_run = true;
		q->run.kind = kind;
		q->run.start = start;
		q->run.level[0] = first;
		q->run.level[1] = second;
	}
	q->run.end = end;
}

static uint64_t hpa_at(const struct tables_entry *entry, uint64_t address)
{
	return kvm_entry_hpa(entry->value, entry->level) + (address - entry->address);
}

/* Rights, not the bits that the CPU sets. */
static uint64_t rights_of(const struct diff_question *q, unsigned i, const struct tables_entry *entry)
{
	enum kvm_mode mode = model_vm(q->side[i].ask.model, q->side[i].ask.vm)->mode;

	return entry->value & (mode == KVM_MODE_EPT ? 7 : 1ull << 63 | 7);
}

static void compare_piece(struct diff_question *q, uint64_t start, uint64_t end, const struct tables_entry *a,
                          const struct tables_entry *b)
{
	bool device_a = kvm_entry_kind(a->value, a->level) == KVM_ENTRY_MMIO;
	bool device_b = kvm_entry_kind(b->value, b->level) == KVM_ENTRY_MMIO;

	if (a->level != b->level)
		add(q, OTHER_SIZE, start, end, a, b);
	else if (device_a != device_b || (!device_a && hpa_at(a, start) != hpa_at(b, start)))
		add(q, OTHER_FRAME, start, end, a, b);
	else if (!device_a && rights_of(q, 0, a) != rights_of(q, 1, b))
		add(q, OTHER_RIGHTS, start, end, a, b);
	else
		q->same += (end - start) >> VMMU_PAGE_SHIFT;
}

static void compare(struct diff_question *q)
{
	uint64_t address = 0;

	for (;;) {
		const struct tables_entry *entry[2] = {entry_at(&q->side[0], address), entry_at(&q->side[1], address)};
		uint64_t start[2], end[2], stop;

		if (!entry[0] && !entry[1])
			break;
		for (unsigned i = 0; i < 2; i++) {
			start[i] = end[i] = UINT64_MAX;
			if (!entry[i])
				continue;
			start[i] = entry[i]->address > address ? entry[i]->address : address;
			end[i] = entry[i]->address + (vmmu_level_pages(entry[i]->level) << VMMU_PAGE_SHIFT);
		}
		if (start[0] == start[1]) {
			stop = end[0] < end[1] ? end[0] : end[1];
			compare_piece(q, start[0], stop, entry[0], entry[1]);
		} else if (start[0] < start[1]) {
			stop = end[0] < start[1] ? end[0] : start[1];
			add(q, ONLY_FIRST, start[0], stop, entry[0], NULL);
		} else {
			stop = end[1] < start[0] ? end[1] : start[0];
			add(q, ONLY_SECOND, start[1], stop, NULL, entry[1]);
		}
		address = stop;
	}
	end_run(q);
}

static void print_heading(const struct diff_question *q)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct side *side = &q->side[i];
		char *vm = ask_vm_text(&side->ask, side->ask.vm);

		ask_line(&q->ask, "%s%s%s  %s %s%s, %s", q->ask.palette->bold, i ? "second" : "first ", q->ask.palette->off,
		         side->path, side->ask.at ? "at " : "at its end", side->ask.at ? ask_moment_time(&side->ask).text : "",
		         vm);
		free(vm);
	}
	printf("\n");
}

static bool differs(const struct diff_question *q)
{
	for (unsigned i = 0; i < DIFFERENCES; i++)
		if (q->pages[i])
			return true;
	return false;
}

static void print_sum(const struct diff_question *q)
{
	if (q->left_out)
		ask_line(&q->ask, "%s... %s more (--last N)%s", q->ask.palette->dim, text_count(q->left_out).text,
		         q->ask.palette->off);
	if (differs(q))
		printf("\n");
	ask_line(&q->ask, "%12s  equal", text_bytes(q->same << VMMU_PAGE_SHIFT).text);
	for (unsigned i = 0; i < DIFFERENCES; i++)
		if (q->pages[i])
			ask_line(&q->ask, "%12s  %s", text_bytes(q->pages[i] << VMMU_PAGE_SHIFT).text, names[i]);
}

static void show_json(struct diff_question *q)
{
	json_t *json = json_object();

	for (unsigned i = 0; i < DIFFERENCES; i++)
		json_object_set_new(json, keys[i], json_number(q->pages[i] << VMMU_PAGE_SHIFT));
	json_object_set_new(json, "equal_bytes", json_number(q->same << VMMU_PAGE_SHIFT));
	json_object_set_new(json, "ranges", q->list);
	json_dumpf(json, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(json);
}

int question_diff(int argc, char **argv)
{
	struct diff_question q = {.last = UINT64_MAX};
	int status = EXIT_TROUBLE;

	ask_init(&q.ask);
	argp_parse(&argp, argc, argv, 0, NULL, &q);
	if (open_side(&q, 0) && open_side(&q, 1)) {
		q.ask.palette = palette_for(stdout, q.ask.json ? COLOUR_NEVER : q.ask.colour);
		q.ask.width = q.side[0].ask.width;
		q.list = q.ask.json ? json_array() : NULL;
		if (!q.list)
			print_heading(&q);
		compare(&q);
		if (q.list)
			show_json(&q);
		else
			print_sum(&q);
		status = differs(&q) ? EXIT_DIFFERENCE : EXIT_OK;
	}
	for (unsigned i = 0; i < 2; i++) {
		tables_free(&q.side[i].tables);
		ask_close(&q.side[i].ask, 0);
		free(q.side[i].path);
	}
	return status;
}
