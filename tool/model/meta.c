/* SPDX-License-Identifier: BSD-2-Clause */
/* What an index says besides facts, as JSON: the source, VMs with their roots and counts, threads. */
#include <stdlib.h>
#include <string.h>

#include "../source/source.h"
#include "index.h"

/* Texts of a trace are anybody's bytes; JSON wants UTF-8, and so does a terminal. */
static json_t *text(const char *bytes)
{
	char *clean = printable(bytes ? bytes : "");
	json_t *json = json_string(clean);

	free(clean);
	return json ? json : json_string("?");
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *words(const uint64_t *from, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, number(from[i]));
	return array;
}

static json_t *root_json(const struct kvm_root_info *root)
{
	uint64_t values[] = {root->id, root->as_id, root->level, root->born, root->since, root->until, root->hpa};

	return words(values, ARRAY_SIZE(values));
}

static json_t *vm_json(const struct kvm_vm *vm)
{
	json_t *json = json_object(), *roots = json_array();

	json_object_set_new(json, "tgid", json_integer(vm->tgid));
	json_object_set_new(json, "name", text(vm->name));
	json_object_set_new(json, "comm", text(vm->comm));
	json_object_set_new(json, "mode", number(vm->mode));
	json_object_set_new(json, "levels", number(vm->levels));
	json_object_set_new(json, "tdp", json_boolean(vm->tdp));
	json_object_set_new(json, "legacy", json_boolean(vm->legacy));
	json_object_set_new(json, "born", json_boolean(vm->born));
	json_object_set_new(json, "restarted", json_boolean(vm->restarted));
	json_object_set_new(json, "beside", number(vm->beside));
	json_object_set_new(json, "vcpus", number(vm->vcpus));
	json_object_set_new(json, "empty", number(vm->empty));
	json_object_set_new(json, "counts", words((const uint64_t *)&vm->counts, sizeof(vm->counts) / 8));
	if (vm->has_begin)
		json_object_set_new(json, "pages_begin", words(vm->pages_begin, 3));
	if (vm->has_end)
		json_object_set_new(json, "pages_end", words(vm->pages_end, 3));
	for (size_t i = 0; i < vm->root_count; i++)
		json_array_append_new(roots, root_json(&vm->roots[i]));
	json_object_set_new(json, "roots", roots);
	return json;
}

static json_t *thread_json(const struct kvm_thread *thread)
{
	json_t *one = json_array();

	json_array_append_new(one, number(thread->pid));
	json_array_append_new(one, json_integer(thread->tgid));
	json_array_append_new(one, text(thread->comm));
	json_array_append_new(one, number(thread->vm));
	json_array_append_new(one, number(thread->vcpu));
	return one;
}

static void add_count(json_t *counts, const char *name, uint64_t count, bool used)
{
	json_t *one = json_array();

	json_array_append_new(one, text(name));
	json_array_append_new(one, number(count));
	json_array_append_new(one, json_boolean(used));
	json_array_append_new(counts, one);
}

static json_t *source_json(const struct source_info *source)
{
	json_t *json = json_object(), *counts = json_array();

	json_object_set_new(json, "kind", text(source->kind));
	json_object_set_new(json, "machine", text(source->machine));
	json_object_set_new(json, "clock", text(source->clock));
	json_object_set_new(json, "tool", text(source->tool));
	json_object_set_new(json, "damage", text(source->damage));
	json_object_set_new(json, "cpus", number(source->cpus));
	json_object_set_new(json, "events", number(source->events));
	json_object_set_new(json, "incomplete", number(source->incomplete));
	json_object_set_new(json, "lost", number(source->lost));
	json_object_set_new(json, "lost_times", number(source->lost_times));
	json_object_set_new(json, "out_of_order", number(source->out_of_order));
	json_object_set_new(json, "foreign", number(source->foreign));
	json_object_set_new(json, "last_time", number(source->last_time));
	for (unsigned id = EVENT_OTHER + 1; id < EVENT_LOST; id++)
		if (source->counts[id])
			add_count(counts, event_kinds[id].name, source->counts[id], true);
	for (size_t i = 0; i < source->other_count; i++)
		add_count(counts, source->others[i].name, source->others[i].count, false);
	json_object_set_new(json, "counts", counts);
	return json;
}

json_t *meta_make(const struct meta_parts *parts, const struct index_writer *writer)
{
	json_t *meta = json_object(), *vms = json_array(), *threads = json_array(), *examples = json_array();

	for (size_t i = 0; i < parts->vm_count; i++)
		json_array_append_new(vms, vm_json(parts->vms[i]));
	for (size_t i = 0; i < parts->thread_count; i++)
		json_array_append_new(threads, thread_json(parts->threads[i]));
	for (size_t i = 0; i < parts->example_count; i++)
		json_array_append_new(examples, text(parts->examples[i]));
	json_object_set_new(meta, "source", source_json(parts->source));
	json_object_set_new(meta, "late", number(parts->late));
	json_object_set_new(meta, "vms", vms);
	json_object_set_new(meta, "threads", threads);
	json_object_set_new(meta, "examples", examples);
	json_object_set_new(meta, "record", text(parts->record));
	json_object_set_new(meta, "losses", words(writer->losses, writer->loss_count));
	return meta;
}

/* ---- and back ------------------------------------------------------------------------------- */

static uint64_t get_number(const json_t *json, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(json, key));
}

static const char *get_text(const json_t *json, const char *key)
{
	const char *value = json_string_value(json_object_get(json, key));

	return value ? value : "";
}

static uint64_t at_number(const json_t *array, size_t i)
{
	return (uint64_t)json_integer_value(json_array_get(array, i));
}

static void get_words(const json_t *json, const char *key, uint64_t *to, size_t count)
{
	const json_t *array = json_object_get(json, key);

	for (size_t i = 0; i < count; i++)
		to[i] = at_number(array, i);
}

static void get_chars(char *to, size_t room, const char *from)
{
	snprintf(to, room, "%s", from);
}

static void read_vm(struct kvm_vm *vm, const json_t *json)
{
	const json_t *roots = json_object_get(json, "roots");

	vm->tgid = json_integer_value(json_object_get(json, "tgid"));
	get_chars(vm->name, sizeof(vm->name), get_text(json, "name"));
	get_chars(vm->comm, sizeof(vm->comm), get_text(json, "comm"));
	vm->mode = (enum kvm_mode)(get_number(json, "mode") & 3);
	vm->levels = (unsigned)get_number(json, "levels") == 5 ? 5 : (unsigned)get_number(json, "levels") == 4 ? 4
	                                                                                                       : 0;
	vm->tdp = json_is_true(json_object_get(json, "tdp"));
	vm->legacy = json_is_true(json_object_get(json, "legacy"));
	vm->born = json_is_true(json_object_get(json, "born"));
	vm->restarted = json_is_true(json_object_get(json, "restarted"));
	vm->beside = (uint16_t)get_number(json, "beside");
	vm->vcpus = (unsigned)get_number(json, "vcpus");
	vm->empty = get_number(json, "empty");
	get_words(json, "counts", (uint64_t *)&vm->counts, sizeof(vm->counts) / 8);
	vm->has_begin = json_object_get(json, "pages_begin") != NULL;
	vm->has_end = json_object_get(json, "pages_end") != NULL;
	get_words(json, "pages_begin", vm->pages_begin, 3);
	get_words(json, "pages_end", vm->pages_end, 3);
	vm->root_count = json_array_size(roots);
	vm->roots = allocate(vm->root_count * sizeof(*vm->roots));
	for (size_t i = 0; i < vm->root_count; i++) {
		const json_t *one = json_array_get(roots, i);

		vm->roots[i] = (struct kvm_root_info){
			.id = (uint16_t)at_number(one, 0), .as_id = (uint8_t)at_number(one, 1), .level = at_number(one, 2) == 5 ? 5 : 4, .born = at_number(one, 3) != 0, .since = at_number(one, 4), .until = at_number(one, 5), .hpa = at_number(one, 6)};
	}
}

static void read_source(struct model_info *info, const json_t *json)
{
	const json_t *counts = json_object_get(json, "counts");

	info->kind = get_text(json, "kind");
	info->machine = get_text(json, "machine");
	info->clock = get_text(json, "clock");
	info->tool = get_text(json, "tool");
	info->damage = get_text(json, "damage");
	info->cpus = (unsigned)get_number(json, "cpus");
	info->events = get_number(json, "events");
	info->incomplete = get_number(json, "incomplete");
	info->lost = get_number(json, "lost");
	info->lost_times = get_number(json, "lost_times");
	info->out_of_order = get_number(json, "out_of_order");
	info->foreign = get_number(json, "foreign");
	info->last_time = get_number(json, "last_time");
	info->ticks_per_second = get_number(json, "ticks_per_second");
	info->count_count = json_array_size(counts);
	info->counts = allocate(info->count_count * sizeof(*info->counts));
	for (size_t i = 0; i < info->count_count; i++) {
		const json_t *one = json_array_get(counts, i);
		const char *name = json_string_value(json_array_get(one, 0));

		info->counts[i] = (struct model_event_count){name ? name : "", at_number(one, 1),
		                                             json_is_true(json_array_get(one, 2))};
	}
}

bool meta_read(struct model *model)
{
	const json_t *vms = json_object_get(model->meta, "vms"), *threads = json_object_get(model->meta, "threads");
	const json_t *examples = json_object_get(model->meta, "examples");
	const json_t *losses = json_object_get(model->meta, "losses");

	if (!json_is_array(vms) || !json_is_array(threads))
		return false;
	read_source(&model->info, json_object_get(model->meta, "source"));
	model->info.late = get_number(model->meta, "late");
	model->info.record = get_text(model->meta, "record");
	model->info.build_seconds = json_number_value(json_object_get(model->meta, "build_seconds"));
	model->info.example_count = json_array_size(examples);
	model->info.examples = allocate(model->info.example_count * sizeof(char *));
	for (size_t i = 0; i < model->info.example_count; i++)
		model->info.examples[i] = json_string_value(json_array_get(examples, i)) ?: "";
	model->vm_count = json_array_size(vms);
	model->vms = allocate(model->vm_count * sizeof(*model->vms));
	for (size_t i = 0; i < model->vm_count; i++)
		read_vm(&model->vms[i], json_array_get(vms, i));
	model->thread_count = json_array_size(threads);
	model->threads = allocate(model->thread_count * sizeof(*model->threads));
	for (size_t i = 0; i < model->thread_count; i++) {
		const json_t *one = json_array_get(threads, i);
		struct kvm_thread *thread = &model->threads[i];

		thread->pid = (uint32_t)at_number(one, 0);
		thread->tgid = json_integer_value(json_array_get(one, 1));
		get_chars(thread->comm, sizeof(thread->comm), json_string_value(json_array_get(one, 2)) ?: "");
		thread->vm = (uint16_t)at_number(one, 3);
		thread->vcpu = (uint16_t)at_number(one, 4);
	}
	model->loss_count = json_array_size(losses);
	model->losses = allocate(model->loss_count * sizeof(*model->losses));
	for (size_t i = 0; i < model->loss_count; i++)
		model->losses[i] = at_number(losses, i);
	return true;
}
