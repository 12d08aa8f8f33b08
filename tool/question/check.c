/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu check on a recording of KVM: does each write find what the one before it left? */
#include <stdlib.h>

#include "../base/exit_status.h"
#include "ask.h"
#include "question.h"

static const struct argp argp = {
	.parser = ask_parse_alone,
	.args_doc = "FILE",
	.doc = "Check that every write found in its entry what the one before it left there, and say what is "
	       "seen, inferred and unknown."
	       "\vExit status: 0 everything is explained, 1 it is not, 2 the file cannot be used.",
	.children = ask_children,
};

static void line(const struct ask *ask, uint64_t count, const char *text)
{
	if (count)
		ask_line(ask, "  %12s  %s", text_count(count).text, text);
}

/* What the tables hold at the end, against KVM's own counts. */
struct pages {
	const struct ask *ask;
	unsigned vm;
	uint64_t count[4];
};

static void count_page(void *arg, unsigned vm, unsigned level, uint64_t address, uint64_t last)
{
	struct pages *pages = arg;
	const struct fact *fact = model_fact(pages->ask->model, last);
	struct model_walk walk;

	(void)fact;
	if (vm != pages->vm || level > 3)
		return;
	model_walk(pages->ask->model, vm, NULL, address, UINT64_MAX, &walk);
	if (walk.count && walk.steps[walk.count - 1].level == level &&
	    kvm_entry_kind(walk.steps[walk.count - 1].entry, level) == KVM_ENTRY_LEAF)
		pages->count[level]++;
}

static void check_counts(const struct ask *ask, unsigned vm, const struct kvm_vm *v, json_t *json)
{
	struct pages pages = {.ask = ask, .vm = vm};
	json_t *array = json_array();

	model_each_entry(ask->model, count_page, &pages);
	for (unsigned level = 1; level <= 3; level++) {
		if (!json && v->has_end)
			ask_line(ask, "  %s pages at the end: %s here, %s by KVM's own count%s", text_level_span(level),
			         text_count(pages.count[level]).text, text_count(v->pages_end[level - 1]).text,
			         pages.count[level] == v->pages_end[level - 1] ? "" : ": DIFFERENT");
		json_array_append_new(array, json_number(pages.count[level]));
	}
	if (json)
		json_object_set_new(json, "pages_at_end", array);
	else
		json_decref(array);
}

/* VMs that stand in the trace of that one's process. */
static size_t vms_beside(const struct ask *ask, const struct kvm_vm *vm)
{
	size_t count = 0;

	for (size_t i = 0; i < model_vm_count(ask->model); i++)
		count += model_vm(ask->model, i)->tgid == vm->tgid;
	return count;
}

static void say_tdp(const struct ask *ask, const struct kvm_vm *vm)
{
	const struct kvm_counts *c = &vm->counts;

	line(ask, c->writes, "writes of entries recorded");
	line(ask, c->without_effect, "... of them mark an empty entry as being removed: no effect");
	line(ask, c->fast, "writes by fast page faults, which no other event records");
	line(ask, c->inferred_fast, "fast page faults inferred: that event was not recorded");
	line(ask, c->inferred, "entries inferred: filled in by splits of large pages");
	line(ask, c->inferred_confirmed, "... inferred entries whose next old value agrees");
	line(ask, c->found, "entries read from the tables when recording began");
	line(ask, c->never_seen, "writes to entries not seen before; their old value tells what was there");
	line(ask, c->after_loss, "writes to entries about which events were lost");
	line(ask, c->ambiguous, "writes that may have been in another root, which held the same");
	if (c->machines > vms_beside(ask, vm))
		line(ask, c->machines, "VMs are in this process; events do not name theirs, so not all are told apart");
	line(ask, c->nested, "leaves set in shadow tables of nested guests; they are not followed");
	line(ask, c->addresses_equal, "addresses of entries agree with kvm_mmu_set_spte");
	line(ask, c->addresses_differ, "addresses of entries DIFFER from kvm_mmu_set_spte");
}

static void say_legacy(const struct ask *ask, const struct kvm_counts *c)
{
	line(ask, c->set, "leaves set (kvm_mmu_set_spte)");
	line(ask, c->set_again_other, "... of an entry that held another frame: dropped in between, without an event");
	line(ask, c->set_again_same, "... of an entry that held the same: dropped in between, or set twice");
	line(ask, c->zapped_tables, "tables zapped (kvm_mmu_prepare_zap_page)");
	ask_line(ask, "  The legacy and the shadow MMU record no drop of an entry and no write of an upper level:");
	ask_line(ask, "  what is present at a moment cannot be known, only what was set before.");
}

static void vm_json(const struct ask *ask, json_t *list, unsigned i, const struct kvm_vm *vm)
{
	const struct kvm_counts *c = &vm->counts;
	const struct {
		const char *name;
		uint64_t value;
	} values[] = {
		{"writes", c->writes},
		{"without_effect", c->without_effect},
		{"fast", c->fast},
		{"inferred", c->inferred},
		{"inferred_fast", c->inferred_fast},
		{"unexplained", c->unexplained},
		{"never_seen", c->never_seen},
		{"after_loss", c->after_loss},
		{"ambiguous", c->ambiguous},
		{"inferred_confirmed", c->inferred_confirmed},
		{"addresses_equal", c->addresses_equal},
		{"addresses_differ", c->addresses_differ},
		{"legacy_set", c->set},
		{"legacy_set_again_other", c->set_again_other},
		{"legacy_set_again_same", c->set_again_same},
		{"tables_zapped", c->zapped_tables},
		{"found", c->found},
		{"nested", c->nested},
		{"machines", c->machines},
		{"faults", c->faults},
	};
	json_t *json = json_object();

	json_object_set_new(json, "vm", json_number(i + 1));
	json_object_set_new(json, "pid", json_integer(vm->tgid));
	json_object_set_new(json, "mode", json_string(kvm_mode_name(vm->mode)));
	json_object_set_new(json, "legacy", json_boolean(vm->legacy && !vm->tdp));
	for (size_t n = 0; n < ARRAY_SIZE(values); n++)
		json_object_set_new(json, values[n].name, json_number(values[n].value));
	if (vm->tdp)
		check_counts(ask, i, vm, json);
	json_array_append_new(list, json);
}

static uint64_t check_vms(const struct ask *ask, json_t *list, bool *tdp)
{
	uint64_t unexplained = 0;

	for (unsigned i = 0; i < model_vm_count(ask->model); i++) {
		const struct kvm_vm *vm = model_vm(ask->model, i);
		char *name;

		if (!ask->all_vms && i != ask->vm)
			continue;
		unexplained += vm->counts.unexplained + vm->counts.addresses_differ;
		if (list) {
			vm_json(ask, list, i, vm);
			continue;
		}
		name = ask_vm_text(ask, i);
		ask_heading(ask, "%s", name);
		free(name);
		if (vm->tdp)
			say_tdp(ask, vm);
		if (vm->legacy)
			say_legacy(ask, &vm->counts);
		if (vm->tdp && vm->has_end)
			check_counts(ask, i, vm, NULL);
		if (!vm->tdp)
			continue;
		*tdp = true;
		ask_line(ask, "  %s%12s  unexplained%s", vm->counts.unexplained ? ask->palette->red : ask->palette->green,
		         text_count(vm->counts.unexplained).text, ask->palette->off);
	}
	return unexplained;
}

int question_check(int argc, char **argv)
{
	const struct model_info *info;
	uint64_t unexplained;
	struct ask ask;
	json_t *list = NULL;
	bool tdp = false;

	ask_init(&ask);
	argp_parse(&argp, argc, argv, 0, NULL, &ask);
	if (!ask_open(&ask))
		return EXIT_TROUBLE;
	info = model_info(ask.model);
	if (ask.json) {
		list = json_array();
		json_object_set_new(ask.result, "events", json_number(info->events));
		json_object_set_new(ask.result, "lost", json_number(info->lost));
		json_object_set_new(ask.result, "lost_places", json_number(info->lost_times));
		json_object_set_new(ask.result, "vms", list);
	} else {
		ask_line(&ask, "%s events, %s lost%s", text_count(info->events).text, text_count(info->lost).text,
		         info->lost_times ? " (or more: what is known before such a place is not sure after it)" : "");
	}
	unexplained = check_vms(&ask, list, &tdp);
	if (ask.json) {
		json_object_set_new(ask.result, "unexplained", json_number(unexplained));
	} else {
		if (model_vm_count(ask.model) == 0)
			ask_line(&ask, "no VM: record the events kvmmmu:* and kvm:kvm_page_fault");
		for (size_t i = 0; i < info->example_count; i++)
			ask_line(&ask, "UNEXPLAINED: %s", info->examples[i]);
		if (!unexplained && tdp)
			ask_line(&ask, "every write found what the one before it left");
	}
	return ask_close(&ask, unexplained ? EXIT_DIFFERENCE : EXIT_OK);
}
