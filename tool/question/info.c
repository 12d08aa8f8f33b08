/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu info: what is this file? */
#include <stdlib.h>
#include <string.h>

#include "../base/exit_status.h"
#include "ask.h"
#include "question.h"

static const struct argp argp = {
	.parser = ask_parse_alone,
	.args_doc = "FILE",
	.doc = "Say what a trace is: where and how it was recorded, its length, VMs, vCPUs, events, and what is "
	       "missing.",
	.children = ask_children,
};

static void field(const struct ask *ask, const char *name, const char *text)
{
	if (*text)
		ask_line(ask, "%-10s  %s", name, text);
}

static void print_vm(const struct ask *ask, unsigned i)
{
	const struct kvm_vm *vm = model_vm(ask->model, i);
	char *name = ask_vm_text(ask, i), *written, *beside;

	written = vm->tdp ? formatted("%s writes", text_count(vm->counts.writes + vm->counts.fast).text)
	                  : formatted("%s leaves set by the legacy or shadow MMU", text_count(vm->counts.set).text);
	beside = !vm->beside     ? duplicate("")
	         : vm->restarted ? formatted("; it begins where VM %u of the same PID has ended", vm->beside)
	                         : formatted("; in one process with VM %u", vm->beside);
	ask_line(ask, "%s%s%s: %u vCPU%s, %s faults, %s, %zu root%s%s%s", ask->palette->bold, name, ask->palette->off,
	         vm->vcpus, vm->vcpus == 1 ? "" : "s", text_count(vm->counts.faults).text,
	         written, vm->root_count, vm->root_count == 1 ? "" : "s",
	         vm->tdp && !vm->born ? "; it ran before recording began" : "", beside);
	free(name);
	free(beside);
	free(written);
}

static void print_threads(const struct ask *ask)
{
	for (uint32_t i = 0; i < model_thread_count(ask->model); i++) {
		const struct kvm_thread *thread = model_thread(ask->model, i);
		char *whose = thread->vm == FACT_NO_VM ? duplicate("no VM of its own") : formatted("VM %u", thread->vm + 1u);

		if (thread->vcpu != FACT_NO_VCPU)
			ask_line(ask, "  %-15s  thread %-8u  %s, vCPU %u", thread->comm, thread->pid, whose, thread->vcpu);
		else
			ask_line(ask, "  %-15s  thread %-8u  %s", thread->comm, thread->pid, whose);
		free(whose);
	}
}

static void show(const struct ask *ask, const struct model_info *info)
{
	uint64_t count = model_count(ask->model), first = model_first_time(ask->model);
	uint64_t last = count ? model_fact(ask->model, count - 1)->time : 0;
	bool vmmu = strcmp(info->kind, "vmmu trace") == 0;
	char *text;

	field(ask, "format", info->kind);
	field(ask, "machine", info->machine);
	field(ask, "made by", info->tool);
	field(ask, "clock", info->clock);
	field(ask, "record", info->record);
	if (info->cpus)
		ask_line(ask, "%-10s  %u", "CPUs", info->cpus);
	text = formatted("%s from %" PRIu64 ".%06" PRIu64 " s on", ask_duration(last > first ? last - first : 0).text,
	                 first / 1000000000, first / 1000 % 1000000);
	field(ask, "length", text);
	free(text);
	ask_line(ask, "%-10s  %s, from which come %s facts", "events", text_count(info->events).text,
	         text_count(count).text);
	if (info->lost || info->lost_times)
		ask_line(ask, "%s%-10s  %s events in %s places%s", ask->palette->red, "LOST", text_count(info->lost).text,
		         text_count(info->lost_times).text, ask->palette->off);
	if (info->incomplete)
		ask_line(ask, "%-10s  %s events without a field that matters", "left out", text_count(info->incomplete).text);
	if (info->foreign)
		ask_line(ask, "%-10s  %s lines or records are no events", "left out", text_count(info->foreign).text);
	if (info->out_of_order)
		ask_line(ask, "%-10s  %s events came with a time before the one before; %s could not be put in order", "order",
		         text_count(info->out_of_order).text, info->late ? text_count(info->late).text : "none");
	printf("\n");
	for (unsigned i = 0; i < model_vm_count(ask->model); i++)
		print_vm(ask, i);
	print_threads(ask);
	printf("\n");
	for (size_t i = 0; i < info->count_count; i++)
		ask_line(ask, "  %12s  %s%s", text_count(info->counts[i].count).text, info->counts[i].name,
		         info->counts[i].used || vmmu ? "" : " (not used)");
}

static void show_json(const struct ask *ask, const struct model_info *info)
{
	uint64_t count = model_count(ask->model), first = model_first_time(ask->model);
	uint64_t last = count ? model_fact(ask->model, count - 1)->time : 0;
	json_t *vms = json_array(), *events = json_object(), *threads = json_array();

	json_object_set_new(ask->result, "format", json_string(info->kind));
	json_object_set_new(ask->result, "machine", json_string(info->machine));
	json_object_set_new(ask->result, "tool", json_string(info->tool));
	json_object_set_new(ask->result, "clock", json_string(info->clock));
	json_object_set_new(ask->result, "cpus", json_number(info->cpus));
	json_object_set_new(ask->result, "first_ns", json_number(first));
	json_object_set_new(ask->result, "last_ns", json_number(last));
	json_object_set_new(ask->result, "events", json_number(info->events));
	json_object_set_new(ask->result, "facts", json_number(count));
	json_object_set_new(ask->result, "lost", json_number(info->lost));
	json_object_set_new(ask->result, "lost_places", json_number(info->lost_times));
	json_object_set_new(ask->result, "incomplete", json_number(info->incomplete));
	json_object_set_new(ask->result, "foreign", json_number(info->foreign));
	json_object_set_new(ask->result, "out_of_order", json_number(info->out_of_order));
	json_object_set_new(ask->result, "late", json_number(info->late));
	json_object_set_new(ask->result, "damage", json_string(info->damage));
	for (unsigned i = 0; i < model_vm_count(ask->model); i++) {
		const struct kvm_vm *vm = model_vm(ask->model, i);
		json_t *json = json_object();

		json_object_set_new(json, "vm", json_number(i + 1));
		json_object_set_new(json, "pid", json_integer(vm->tgid));
		json_object_set_new(json, "name", json_string(*vm->name ? vm->name : vm->comm));
		json_object_set_new(json, "mode", json_string(kvm_mode_name(vm->mode)));
		json_object_set_new(json, "levels", json_number(vm->levels));
		json_object_set_new(json, "vcpus", json_number(vm->vcpus));
		json_object_set_new(json, "roots", json_number(vm->root_count));
		json_object_set_new(json, "faults", json_number(vm->counts.faults));
		json_object_set_new(json, "writes", json_number(vm->counts.writes + vm->counts.fast));
		json_object_set_new(json, "from_its_start", json_boolean(vm->born));
		if (vm->beside) {
			json_object_set_new(json, "beside", json_number(vm->beside));
			json_object_set_new(json, "restarted", json_boolean(vm->restarted));
		}
		json_array_append_new(vms, json);
	}
	for (uint32_t i = 0; i < model_thread_count(ask->model); i++) {
		const struct kvm_thread *thread = model_thread(ask->model, i);
		json_t *json = json_object();

		json_object_set_new(json, "tid", json_number(thread->pid));
		json_object_set_new(json, "comm", json_string(thread->comm));
		if (thread->vm != FACT_NO_VM)
			json_object_set_new(json, "vm", json_number(thread->vm + 1u));
		if (thread->vcpu != FACT_NO_VCPU)
			json_object_set_new(json, "vcpu", json_number(thread->vcpu));
		json_array_append_new(threads, json);
	}
	for (size_t i = 0; i < info->count_count; i++)
		json_object_set_new(events, info->counts[i].name, json_number(info->counts[i].count));
	json_object_set_new(ask->result, "vms", vms);
	json_object_set_new(ask->result, "threads", threads);
	json_object_set_new(ask->result, "event_counts", events);
}

int question_info(int argc, char **argv)
{
	struct ask ask;

	ask_init(&ask);
	argp_parse(&argp, argc, argv, 0, NULL, &ask);
	if (!ask_open(&ask))
		return EXIT_TROUBLE;
	if (ask.json)
		show_json(&ask, model_info(ask.model));
	else
		show(&ask, model_info(ask.model));
	return ask_close(&ask, EXIT_OK);
}
