/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu dump on a recording of KVM: the tree of tables at one moment, equal neighbours in one line. */
#include <stdlib.h>

#include "../base/exit_status.h"
#include "question.h"
#include "tables.h"

enum { OPTION_RAW = 'r',
       OPTION_GPA = 'g' };

struct tree_question {
	struct ask ask;
	bool raw;
	uint64_t first, last;
	enum kvm_mode mode;
	unsigned levels;
	uint64_t tables[VMMU_LEVEL_MAX + 1], leaves[VMMU_LEVEL_MAX + 1], devices, shown, left_out;
};

/* Leaves that continue one another in both address spaces, with equal bits. */
struct run {
	uint64_t gpa, hpa, bytes, count, bits;
	unsigned level, known;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct tree_question *q = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &q->ask;
		state->child_inputs[1] = &q->ask;
		return 0;
	case OPTION_RAW:
		q->raw = true;
		return 0;
	case OPTION_GPA:
		if (!parse_address_range(arg, &q->first, &q->last))
			argp_error(state, "--gpa takes an address or a range in hexadecimal, not \"%s\"", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"raw", OPTION_RAW, NULL, 0, "Every entry on a line of its own", 1},
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only what covers this guest-physical address or range", 1},
	{0},
};

static const struct argp_child children[] = {{&ask_argp, 0, NULL, 0}, {&ask_moment_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show the tree of tables of a VM as it stood at one moment.",
	.children = children,
};

/* Everything but the address, and the bits that the CPU sets. */
static uint64_t bits_of(uint64_t entry)
{
	return entry & ~0x000ffffffffff000ull & ~0x360ull;
}

static bool may_print(struct tree_question *q)
{
	if (q->shown < q->ask.last) {
		q->shown++;
		return true;
	}
	q->left_out++;
	return false;
}

static void print_run(struct tree_question *q, struct run *run)
{
	const struct palette *p = q->ask.palette;

	if (run->count == 0)
		return;
	if (may_print(q)) {
		char *meaning = kvm_entry_describe(q->mode, run->bits | run->hpa, run->level);

		ask_line(&q->ask, "%*sL%u  gpa %s0x%09" PRIx64 "-0x%09" PRIx64 "%s -> hpa %s0x%09" PRIx64 "%s  %" PRIu64 " x %s%s%s", 2 * (int)(q->levels - run->level), "", run->level, p->cyan, run->gpa,
		         run->gpa + run->bytes - 1, p->off, p->green, run->hpa, p->off, run->count, meaning,
		         run->known == FACT_SEEN ? "" : "  ", run->known == FACT_SEEN ? "" : fact_known_name(run->known));
		free(meaning);
	}
	run->count = 0;
}

static void add_leaf(struct tree_question *q, struct run *run, const struct tables_entry *entry, unsigned known)
{
	uint64_t bytes = vmmu_level_pages(entry->level) << VMMU_PAGE_SHIFT;
	uint64_t hpa = kvm_entry_hpa(entry->value, entry->level);
	bool continues = run->count && run->level == entry->level && run->gpa + run->bytes == entry->address &&
	                 run->hpa + run->bytes == hpa && run->bits == bits_of(entry->value) && run->known == known;

	if (!continues) {
		print_run(q, run);
		*run = (struct run){
			.gpa = entry->address,
			.hpa = hpa,
			.level = entry->level,
			.bits = bits_of(entry->value),
			.known = known,
		};
	}
	run->count++;
	run->bytes += bytes;
}

static void print_entry(struct tree_question *q, const struct tables_entry *entry, const struct fact *fact)
{
	char *meaning;

	if (!may_print(q))
		return;
	meaning = kvm_entry_describe(q->mode, entry->value, entry->level);
	ask_line(&q->ask, "%*sL%u  gpa 0x%09" PRIx64 " [%3u]  0x%016" PRIx64 "  %-8s  %s",
	         2 * (int)(q->levels - entry->level), "", entry->level, entry->address,
	         (unsigned)(entry->address >> (VMMU_PAGE_SHIFT + 9 * (entry->level - 1)) & 511), entry->value,
	         fact_known_name(fact->known), meaning);
	free(meaning);
}

static json_t *entry_json(const struct tree_question *q, const struct tables_entry *entry, const struct fact *fact)
{
	json_t *json = json_object();
	char *meaning = kvm_entry_describe(q->mode, entry->value, entry->level);

	json_object_set_new(json, "level", json_number(entry->level));
	json_object_set_new(json, "gpa", json_hex(entry->address));
	if (fact->table)
		json_object_set_new(json, "table", json_hex(fact->table));
	json_object_set_new(json, "entry", json_hex(entry->value));
	json_object_set_new(json, "known", json_string(fact_known_name(fact->known)));
	json_object_set_new(json, "since", json_seconds(&q->ask, fact->time));
	json_object_set_new(json, "meaning", json_string(meaning));
	free(meaning);
	return json;
}

static void show(struct tree_question *q, const struct tables *tables)
{
	json_t *list = q->ask.json ? json_array() : NULL;
	struct run run = {0};

	for (size_t i = 0; i < tables->count; i++) {
		const struct tables_entry *entry = &tables->entries[i];
		const struct fact *fact = model_fact(q->ask.model, entry->fact);
		enum kvm_entry_kind kind = kvm_entry_kind(entry->value, entry->level);

		*(kind == KVM_ENTRY_TABLE ? &q->tables[entry->level - 1] : kind == KVM_ENTRY_LEAF ? &q->leaves[entry->level]
		                                                                                  : &q->devices) += 1;
		if (list) {
			json_array_append_new(list, entry_json(q, entry, fact));
		} else if (kind == KVM_ENTRY_LEAF && !q->raw) {
			add_leaf(q, &run, entry, fact->known);
		} else {
			print_run(q, &run);
			print_entry(q, entry, fact);
		}
	}
	print_run(q, &run);
	if (list)
		json_object_set_new(q->ask.result, "entries", list);
}

static void print_sum(const struct tree_question *q)
{
	printf("\n");
	if (q->left_out)
		ask_line(&q->ask, "... %s lines more (--last)", text_count(q->left_out).text);
	for (unsigned level = q->levels - 1; level >= 1; level--)
		if (q->tables[level])
			ask_line(&q->ask, "%s tables of level %u", text_count(q->tables[level]).text, level);
	for (unsigned level = 3; level >= 1; level--)
		if (q->leaves[level])
			ask_line(&q->ask, "%s pages of %s", text_count(q->leaves[level]).text, text_level_span(level));
	if (q->devices)
		ask_line(&q->ask, "%s entries that stand for devices", text_count(q->devices).text);
}

int question_tree(int argc, char **argv)
{
	struct tree_question q = {.last = UINT64_MAX};
	const struct kvm_vm *vm;
	struct tables tables;
	char *name;

	ask_init(&q.ask);
	argp_parse(&argp, argc, argv, 0, NULL, &q);
	if (!ask_open(&q.ask))
		return EXIT_TROUBLE;
	if (model_vm_count(q.ask.model) == 0) {
		complain("%s tells of no VM: record the events kvmmmu:* and kvm:kvm_page_fault", q.ask.path);
		return ask_close(&q.ask, EXIT_TROUBLE);
	}
	vm = model_vm(q.ask.model, q.ask.vm);
	if (vm->legacy && !vm->tdp) {
		complain("the legacy and the shadow MMU record no drop of an entry: what stood in the tables at a moment "
		         "cannot be known; `vmmu walk --gpa X` shows what was set");
		return ask_close(&q.ask, EXIT_TROUBLE);
	}
	q.mode = vm->mode;
	q.levels = vm->levels ? vm->levels : 4;
	tables_at(&q.ask, q.ask.vm, q.first, q.last, q.ask.moment, &tables);
	if (!q.ask.json) {
		name = ask_vm_text(&q.ask, q.ask.vm);
		ask_heading(&q.ask, "%s, %s%s", name, q.ask.at ? "at " : "at the end of the trace",
		            q.ask.at ? ask_moment_time(&q.ask).text : "");
		if (tables.root)
			ask_line(&q.ask, "root %u%s", tables.root->id,
			         tables.root->born ? "" : ", which was there before recording began: parts of it are not known");
		free(name);
	}
	show(&q, &tables);
	if (!q.ask.json)
		print_sum(&q);
	tables_free(&tables);
	return ask_close(&q.ask, EXIT_OK);
}
