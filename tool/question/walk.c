/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu walk on a recording of KVM: the entries that translate an address, and how each came to be. */
#include <stdlib.h>
#include <string.h>

#include "../base/exit_status.h"
#include "../fact/bits.h"
#include "history.h"
#include "question.h"

enum { OPTION_GPA = 'g',
       OPTION_BRIEF = 'b',
       OPTION_SMM = 0x100,
       OPTION_L2,
       OPTION_BITS };

struct walk_question {
	struct ask ask;
	uint64_t address;
	bool given, brief, smm, bits;
	struct model_walk walk;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct walk_question *q = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &q->ask;
		state->child_inputs[1] = &q->ask;
		return 0;
	case OPTION_GPA:
		if (q->given)
			argp_error(state, "one address at a time");
		if (!parse_address(arg, &q->address))
			argp_error(state, "--gpa takes an address in hexadecimal, not \"%s\"", arg);
		q->given = true;
		return 0;
	case OPTION_L2:
		argp_error(state, "--l2 is for traces of `vmmu run --nested`: KVM's events do not tell what its guest's tables were");
		return 0;
	case OPTION_BRIEF:
		q->brief = true;
		return 0;
	case OPTION_SMM:
		q->smm = true;
		return 0;
	case OPTION_BITS:
		q->bits = true;
		return 0;
	case ARGP_KEY_END:
		if (!q->given)
			argp_error(state, "which address? Give --gpa X");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X", 0, "The guest-physical address, in hexadecimal with or without 0x", 1},
	{"bits", OPTION_BITS, NULL, 0, "Take each entry apart, bit by bit", 1},
	{"brief", OPTION_BRIEF, NULL, 0, "The entries only, without their history", 1},
	{"l2", OPTION_L2, "X", OPTION_HIDDEN, NULL, 1},
	{"smm", OPTION_SMM, NULL, 0, "In the address space of system management mode", 1},
	{0},
};

static const struct argp_child children[] = {{&ask_argp, 0, NULL, 0}, {&ask_moment_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show the entries that translate a guest-physical address as they stood at one moment, how each "
	       "is known, and when, why and by whom each was written.",
	.children = children,
};

static char *known_text(const struct model_step *step)
{
	if (step->fact == MODEL_NONE && step->known == FACT_SEEN)
		return duplicate(step->after_loss ? "never written; events were lost" : "never written");
	return formatted("%s%s", fact_known_name(step->known), step->after_loss ? ", but events were lost since" : "");
}

static char *table_text(const struct walk_question *q, const struct model_step *step)
{
	if (step->table)
		return formatted("0x%09" PRIx64, step->table);
	if (q->walk.root && step->level == q->walk.root->level)
		return formatted("root %u", q->walk.root->id);
	return duplicate("not known");
}

/* A vmmu trace is asked here, too; what neither names is told by its hardware bits alone. */
static enum bits_format bits_format_of(const struct walk_question *q, enum kvm_mode mode)
{
	static const enum bits_format of_kvm[] = {
		[KVM_MODE_UNKNOWN] = BITS_KVM_NPT, [KVM_MODE_EPT] = BITS_KVM_EPT, [KVM_MODE_NPT] = BITS_KVM_NPT, [KVM_MODE_SHADOW] = BITS_KVM_SHADOW};
	static const enum bits_format of_vmmu[] = {
		[KVM_MODE_UNKNOWN] = BITS_NPT, [KVM_MODE_EPT] = BITS_EPT, [KVM_MODE_NPT] = BITS_NPT, [KVM_MODE_SHADOW] = BITS_SHADOW};

	return strcmp(model_info(q->ask.model)->kind, "vmmu trace") == 0 ? of_vmmu[mode] : of_kvm[mode];
}

/* What is not there, or is there for a device, is no hardware format at all. */
static void each_bit(const struct walk_question *q, const struct model_step *step, enum kvm_mode mode, bits_visit *visit, void *arg)
{
	enum kvm_entry_kind kind = kvm_entry_kind(step->entry, step->level);

	if (step->known != FACT_UNKNOWN && (kind == KVM_ENTRY_LEAF || kind == KVM_ENTRY_TABLE))
		bits_each(bits_format_of(q, mode), kind == KVM_ENTRY_LEAF, step->level, step->entry, visit, arg);
}

static void print_steps(const struct walk_question *q, enum kvm_mode mode)
{
	const struct palette *p = q->ask.palette;

	ask_line(&q->ask, "%s  level  covers   table        index  entry               known     meaning%s", p->dim,
	         p->off);
	for (unsigned i = 0; i < q->walk.count; i++) {
		const struct model_step *step = &q->walk.steps[i];
		bool nothing = step->known == FACT_UNKNOWN;
		char *meaning = nothing ? duplicate("not known") : kvm_entry_describe(mode, step->entry, step->level);
		enum kvm_entry_kind kind = kvm_entry_kind(step->entry, step->level);
		char *known = known_text(step), *table = table_text(q, step);

		ask_line(&q->ask, "  %-5u  %-7s  %-11s  [%3u]  0x%016" PRIx64 "  %-8s  %s%s%s", step->level,
		         text_level_span(step->level), table, step->index, step->entry, known,
		         kind == KVM_ENTRY_LEAF ? p->green : kind == KVM_ENTRY_TABLE ? ""
		                                                                     : p->red,
		         meaning, p->off);
		if (q->bits)
			each_bit(q, step, mode, bits_print_field, &(int){9});
		free(meaning);
		free(known);
		free(table);
	}
}

static void print_result(const struct walk_question *q)
{
	const struct palette *p = q->ask.palette;
	const struct model_step *last;
	uint64_t bytes;

	if (q->walk.count == 0) {
		printf("  no root of this VM was known yet\n");
		return;
	}
	last = &q->walk.steps[q->walk.count - 1];
	bytes = vmmu_level_pages(last->level) << VMMU_PAGE_SHIFT;
	printf("\n  ");
	if (last->known == FACT_UNKNOWN) {
		printf("=> not known: nothing was recorded of this entry\n");
		return;
	}
	switch (kvm_entry_kind(last->entry, last->level)) {
	case KVM_ENTRY_LEAF:
		printf("=> host-physical %s0x%012" PRIx64 "%s in a %s page\n", p->green,
		       kvm_entry_hpa(last->entry, last->level) + (q->address & (bytes - 1)), p->off,
		       text_level_span(last->level));
		break;
	case KVM_ENTRY_MMIO:
		printf("=> a device: every access goes to its emulation\n");
		break;
	case KVM_ENTRY_TABLE:
		printf("=> a table of which nothing else is known\n");
		break;
	default:
		printf("=> %snot mapped%s: the next access faults at level %u\n", p->red, p->off, last->level);
	}
}

static void add_bits(void *array, const struct bits_field *f)
{
	json_array_append_new(array, json_pack("{s:i, s:i, s:o, s:s, s:s}", "high", f->high, "low", f->low, "value",
	                                       json_hex(f->value), "name", f->name, "reader", f->reader));
}

static json_t *step_json(const struct walk_question *q, const struct model_step *step, enum kvm_mode mode)
{
	json_t *json = json_object();
	char *meaning = kvm_entry_describe(mode, step->entry, step->level);

	json_object_set_new(json, "level", json_number(step->level));
	json_object_set_new(json, "index", json_number(step->index));
	if (step->table)
		json_object_set_new(json, "table", json_hex(step->table));
	json_object_set_new(json, "entry", json_hex(step->entry));
	json_object_set_new(json, "known", json_string(fact_known_name(step->known)));
	json_object_set_new(json, "after_loss", json_boolean(step->after_loss));
	json_object_set_new(json, "meaning", json_string(step->known == FACT_UNKNOWN ? "not known" : meaning));
	if (q->bits) {
		json_t *bits = json_array();

		each_bit(q, step, mode, add_bits, bits);
		json_object_set_new(json, "bits", bits);
	}
	if (!q->brief)
		json_object_set_new(json, "history", history_list(&q->ask, q->ask.vm, step->level, q->address));
	free(meaning);
	return json;
}

/* Below the end of the walk there is a level only if one was there once. */
static bool was_there_once(const struct walk_question *q, unsigned level)
{
	return model_last(q->ask.model, q->ask.vm, level, q->address, 0, q->ask.to) != MODEL_NONE;
}

/* The histories of the levels that the walk no longer reaches. */
static json_t *below_json(const struct walk_question *q)
{
	json_t *below = json_array();
	unsigned level = q->walk.count ? q->walk.steps[q->walk.count - 1].level : 5;

	while (--level >= 1)
		if (was_there_once(q, level))
			json_array_append_new(below, json_pack("{s:i, s:o}", "level", (int)level, "history",
			                                       history_list(&q->ask, q->ask.vm, level, q->address)));
	return below;
}

static void show_json(struct walk_question *q, const struct kvm_vm *vm)
{
	json_t *steps = json_array();

	json_object_set_new(q->ask.result, "gpa", json_hex(q->address));
	json_object_set_new(q->ask.result, "vm", json_number(q->ask.vm + 1u));
	if (q->walk.root)
		json_object_set_new(q->ask.result, "root", json_number(q->walk.root->id));
	for (unsigned i = 0; i < q->walk.count; i++)
		json_array_append_new(steps, step_json(q, &q->walk.steps[i], vm->mode));
	json_object_set_new(q->ask.result, "steps", steps);
	if (!q->brief)
		json_object_set_new(q->ask.result, "below", below_json(q));
}

/* The legacy and the shadow MMU tell of leaves, and not of their end. */
static void show_legacy(struct walk_question *q)
{
	printf("  The events of the legacy and of the shadow MMU tell when a leaf was set, not when it was\n"
	       "  dropped, nor of upper levels. So this was so at its time, and may have been dropped since;\n"
	       "  what was set again has been dropped in between, without an event.\n");
	for (unsigned level = 3; level >= 1; level--)
		if (was_there_once(q, level))
			history_print(&q->ask, q->ask.vm, level, q->address);
}

static void show(struct walk_question *q, const struct kvm_vm *vm)
{
	const struct palette *p = q->ask.palette;
	char *name = ask_vm_text(&q->ask, q->ask.vm), *when;

	when = q->ask.at ? formatted("at %s s", ask_moment_time(&q->ask).text) : duplicate("at the end of the trace");
	ask_line(&q->ask, "%sGuest-physical 0x%012" PRIx64 " %s%s", p->bold, q->address, when, p->off);
	ask_line(&q->ask, "%s%s%s", p->dim, name, p->off);
	putchar('\n');
	free(name);
	free(when);
	if (vm->legacy && !vm->tdp) {
		show_legacy(q);
		return;
	}
	print_steps(q, vm->mode);
	print_result(q);
	if (q->brief)
		return;
	printf("\n%sWhen and why each entry was written%s\n", p->bold, p->off);
	for (unsigned level = q->walk.count ? q->walk.steps[0].level : 4; level >= 1; level--) {
		bool below = q->walk.count && level < q->walk.steps[q->walk.count - 1].level;

		if (below && !was_there_once(q, level))
			continue;
		history_print(&q->ask, q->ask.vm, level, q->address);
	}
}

int question_walk(int argc, char **argv)
{
	struct walk_question q = {.given = false};
	const struct kvm_vm *vm;
	unsigned bits;

	ask_init(&q.ask);
	argp_parse(&argp, argc, argv, 0, NULL, &q);
	if (!ask_open(&q.ask))
		return EXIT_TROUBLE;
	if (model_vm_count(q.ask.model) == 0) {
		complain("%s tells of no VM: record the events kvmmmu:* and kvm:kvm_page_fault", q.ask.path);
		return ask_close(&q.ask, EXIT_TROUBLE);
	}
	vm = model_vm(q.ask.model, q.ask.vm);
	bits = VMMU_PAGE_SHIFT + 9 * (vm->levels ? vm->levels : 4);
	if (q.address >> bits) {
		complain("0x%" PRIx64 " is beyond what %u levels of tables can translate", q.address,
		         vm->levels ? vm->levels : 4);
		return ask_close(&q.ask, EXIT_TROUBLE);
	}
	if (q.ask.all_vms && model_vm_count(q.ask.model) > 1 && !q.ask.json)
		note("the trace has %zu VMs; this is the first one, --vm names another", model_vm_count(q.ask.model));
	model_walk(q.ask.model, q.ask.vm, q.smm ? model_root(q.ask.model, q.ask.vm, 1, q.ask.moment) : NULL,
	           q.address, q.ask.moment, &q.walk);
	if (q.ask.json)
		show_json(&q, vm);
	else
		show(&q, vm);
	return ask_close(&q.ask, EXIT_OK);
}
