/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/version.h>

#include "../question/group.h"
#include "../series/series.h"
#include "../trace/sidecar.h"
#include "columns.h"
#include "entries.h"
#include "page.h"
#include "strip.h"

enum { STEPS = 480,
       FUNCTIONS = 40,
       EXITS = 12 }; /* reasons by name; the rest are one */

struct report {
	const struct ask *ask;
	const struct report_options *options;
	struct meter *meter;
	unsigned *vms; /* those in the page, in the trace's order */
	unsigned vm_shown, vm_count;
};

static void show_progress(void *arg, double done)
{
	struct report *r = arg;

	meter_show(r->meter, (r->vm_shown + done / 2) / r->vm_count);
}

static void set_text(json_t *json, const char *name, const char *text)
{
	char *safe = printable(text);

	json_object_set_new(json, name, json_string(safe));
	free(safe);
}

/* ---- curves -------------------------------------------------------------------------------- */

static json_t *curve(const uint64_t *values, unsigned steps)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < steps; i++)
		json_array_append_new(list, json_number(values[i]));
	return list;
}

static json_t *named_curve(const char *name, const uint64_t *values, unsigned steps)
{
	return json_pack("{s:s, s:o}", "name", name, "values", curve(values, steps));
}

static json_t *exit_curves(const struct series *s, enum kvm_mode mode)
{
	json_t *list = json_array();
	uint64_t *rest;

	for (size_t i = 0; i < s->exit_count && i < EXITS; i++) {
		char *name = series_exit_name(s, mode, i);

		json_array_append_new(list, named_curve(name, s->exits[i].counts, s->steps));
		free(name);
	}
	if (s->exit_count <= EXITS)
		return list;
	rest = allocate(s->steps * sizeof(*rest));
	for (size_t i = EXITS; i < s->exit_count; i++)
		for (unsigned step = 0; step < s->steps; step++)
			rest[step] += s->exits[i].counts[step];
	json_array_append_new(list, named_curve("all others", rest, s->steps));
	free(rest);
	return list;
}

static json_t *curves(const struct series *s, enum kvm_mode mode)
{
	json_t *json = json_object(), *pages = json_array(), *tables = json_array(), *faults = json_array();
	json_t *writes = json_array();

	for (unsigned level = 1; level <= 3; level++)
		json_array_append_new(pages, named_curve(text_level_span(level), s->pages[level], s->steps));
	for (unsigned level = 1; level < SERIES_LEVELS; level++) {
		char *name = formatted("level %u", level);

		json_array_append_new(tables, named_curve(name, s->tables[level], s->steps));
		free(name);
	}
	for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
		json_array_append_new(faults, named_curve(series_fault_name(i), s->faults[i], s->steps));
	for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
		json_array_append_new(writes, named_curve(series_write_name(i), s->writes[i], s->steps));
	json_object_set_new(json, "pages", pages);
	json_object_set_new(json, "tables", tables);
	json_object_set_new(json, "faults", faults);
	json_object_set_new(json, "writes", writes);
	json_object_set_new(json, "exits", exit_curves(s, mode));
	return json;
}

/* ---- functions ------------------------------------------------------------------------------- */

enum { OF_FAULTS,
       OF_WRITES,
       OF_EXITS };

static void count_place(struct groups *groups, const struct ask *ask, uint64_t rip, uint64_t number, unsigned what)
{
	uint64_t offset = 0;
	const char *name = symbols_find(&ask->symbols, rip, &offset);

	groups_add(groups, name ? rip - offset : rip, number)->extra[what]++;
}

/* A function has the address where it begins as its key. */
static char *place_name(const struct ask *ask, uint64_t key)
{
	uint64_t offset = 0;
	const char *name = symbols_find(&ask->symbols, key, &offset);

	return name && !offset ? printable(name) : ask_place_text(ask, key);
}

static json_t *functions(const struct ask *ask, unsigned vm)
{
	json_t *list = json_array();
	struct groups groups;

	groups_init(&groups);
	for (uint64_t n = ask->from; n < ask->to; n++) {
		const struct fact *fact = model_fact(ask->model, n), *fault;

		if (fact->vm != vm || (ask->vcpu != UINT64_MAX && fact->vcpu != ask->vcpu))
			continue;
		if (fact->kind == FACT_FAULT)
			count_place(&groups, ask, fact->b, n, OF_FAULTS);
		else if (fact->kind == FACT_EXIT && fact->b)
			count_place(&groups, ask, fact->b, n, OF_EXITS);
		else if (fact->kind == FACT_WRITE && (fault = model_fault_of(ask->model, n, NULL)))
			count_place(&groups, ask, fault->b, n, OF_WRITES);
	}
	groups_sort(&groups);
	for (size_t i = 0; i < groups.count && i < FUNCTIONS; i++) {
		const struct group *group = &groups.list[i];
		char *name = place_name(ask, group->key);

		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "name", name, "faults",
		                                      (json_int_t)group->extra[OF_FAULTS], "writes",
		                                      (json_int_t)group->extra[OF_WRITES], "exits",
		                                      (json_int_t)group->extra[OF_EXITS]));
		free(name);
	}
	groups_free(&groups);
	return list;
}

/* ---- marks: what happened at once --------------------------------------------------------------- */

static json_t *marks(const struct ask *ask, unsigned vm, const struct series *series)
{
	struct series_mark *list = series_marks(series, ask, vm);
	json_t *json = json_array();

	for (unsigned i = 0; i < series->steps; i++)
		if (series_is_marked(&list[i]))
			json_array_append_new(json, json_pack("{s:f, s:I, s:b, s:I}", "time",
			                                      (double)(list[i].time - series->first) * 1e-9, "lost",
			                                      (json_int_t)list[i].lost, "uncounted", list[i].uncounted,
			                                      "zaps", (json_int_t)list[i].zaps));
	free(list);
	return json;
}

/* ---- a VM ---------------------------------------------------------------------------------------- */

/* Seconds that go before every time of this VM's columns. */
static double shown_seconds(const struct ask *ask, uint64_t time)
{
	uint64_t first = ask->host_clock ? 0 : model_first_time(ask->model);

	return (double)(time > first ? time - first : 0) * 1e-9;
}

static json_t *roots(const struct ask *ask, const struct kvm_vm *vm, uint64_t origin)
{
	json_t *list = json_array();

	for (size_t i = 0; i < vm->root_count; i++) {
		const struct kvm_root_info *root = &vm->roots[i];
		uint64_t since = root->since < model_count(ask->model) ? model_fact(ask->model, root->since)->time : origin;
		json_t *json;

		if (root->as_id || root->since >= ask->to)
			continue;
		json = json_pack("{s:i, s:f}", "id", root->id, "since", since > origin ? (double)(since - origin) * 1e-9 : 0.0);
		if (root->hpa)
			json_object_set_new(json, "table", json_hex(root->hpa));
		json_array_append_new(list, json);
	}
	return list;
}

static json_t *vm_json(struct report *r, unsigned number, struct columns *columns, struct report_result *result)
{
	const struct ask *ask = r->ask;
	const struct kvm_vm *vm = model_vm(ask->model, number);
	json_t *json = json_object();
	struct entries entries;
	struct series series;
	uint64_t unit;
	char *title;

	series_make(&series, ask, number, STEPS, show_progress, r);
	unit = (series.last - series.first) / UINT32_MAX + 1;
	entries_find(&entries, ask, number, r->options->first, r->options->last);
	entries_fit(&entries, ask, (r->options->room ? r->options->room : REPORT_ROOM) / r->vm_count);
	entries_columns(&entries, ask, number, series.first, unit, columns, json);
	strip_make(ask, number, &entries, &series, columns, json);

	title = ask_vm_text(ask, number);
	json_object_set_new(json, "title", json_string(title));
	free(title);
	json_object_set_new(json, "mode", json_string(kvm_mode_name(vm->mode)));
	json_object_set_new(json, "levels", json_number(vm->levels ? vm->levels : 4));
	json_object_set_new(json, "exact", json_boolean(vm->tdp));
	json_object_set_new(json, "born", json_boolean(vm->born));
	json_object_set_new(json, "vcpus", json_number(vm->vcpus));
	json_object_set_new(json, "roots", roots(ask, vm, series.first));
	json_object_set_new(json, "begin", json_real(shown_seconds(ask, series.first)));
	json_object_set_new(json, "length", json_real((double)(series.last - series.first) * 1e-9));
	json_object_set_new(json, "step", json_real((double)series.step * 1e-9));
	json_object_set_new(json, "steps", json_number(series.steps));
	json_object_set_new(json, "unit", json_real((double)unit * 1e-9));
	json_object_set_new(json, "faults", json_number(series.fault_total));
	json_object_set_new(json, "writes", json_number(series.write_total));
	json_object_set_new(json, "exits", json_number(series.exit_total));
	json_object_set_new(json, "lowest_level", json_number(entries.lowest_level));
	json_object_set_new(json, "coarse_steps", json_number(entries.steps));
	json_object_set_new(json, "kept", json_number(entries.kept));
	json_object_set_new(json, "curves", curves(&series, vm->mode));
	json_object_set_new(json, "functions", functions(ask, number));
	json_object_set_new(json, "marks", marks(ask, number, &series));
	json_object_set_new(json, "columns", columns_index(columns));

	result->writes += entries.writes;
	result->kept += entries.kept;
	if (entries.lowest_level > result->lowest_level)
		result->lowest_level = entries.lowest_level;
	if (entries.steps && (!result->steps || entries.steps < result->steps))
		result->steps = entries.steps;
	entries_free(&entries);
	series_free(&series);
	return json;
}

/* ---- the page -------------------------------------------------------------------------------------- */

static json_t *causes(void)
{
	json_t *list = json_array();

	for (unsigned cause = 0; cause < FACT_CAUSE_END; cause++)
		json_array_append_new(list, json_string(fact_cause_name(cause)));
	return list;
}

static json_t *known(void)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < FACT_KNOWN_COUNT; i++)
		json_array_append_new(list, json_string(fact_known_name(i)));
	return list;
}

static json_t *threads(const struct ask *ask)
{
	json_t *list = json_array();

	for (size_t i = 0; i < model_thread_count(ask->model); i++) {
		char *text = ask_thread_text(ask, (uint32_t)i);

		json_array_append_new(list, json_string(text));
		free(text);
	}
	return list;
}

static char *file_name(const struct ask *ask)
{
	char *path, *name;

	if (strcmp(ask->path, "-") == 0)
		return duplicate("standard input");
	path = duplicate(ask->path);
	name = printable(basename(path));
	free(path);
	return name;
}

/* A vmmu trace has no exits in it; the run's own counts stand in the file beside it. */
static json_t *counted_exits(const struct ask *ask)
{
	json_t *sidecar = strcmp(ask->path, "-") == 0 ? NULL : sidecar_read(ask->path);
	const json_t *counts = json_object_get(json_object_get(sidecar, "summary"), "exits");
	json_t *list = json_array(), *value;
	const char *name;

	json_object_foreach((json_t *)counts, name, value) if (json_integer_value(value) > 0 && json_array_size(list) < SERIES_EXITS)
	{
		char *safe = printable(name);

		json_array_append_new(list, json_pack("{s:s, s:I}", "name", safe, "count", json_integer_value(value)));
		free(safe);
	}
	json_decref(sidecar);
	return list;
}

static json_t *trace_json(const struct ask *ask, const char *name)
{
	const struct model_info *info = model_info(ask->model);
	json_t *json = json_object();

	json_object_set_new(json, "vmmu", json_string(VMMU_VERSION));
	set_text(json, "file", name);
	set_text(json, "format", info->kind);
	set_text(json, "machine", info->machine);
	set_text(json, "clock", info->clock);
	set_text(json, "damage", info->damage);
	set_text(json, "symbols", ask->symbols.source ? ask->symbols.source : "");
	json_object_set_new(json, "host_clock", json_boolean(ask->host_clock));
	json_object_set_new(json, "events", json_number(info->events));
	json_object_set_new(json, "lost", json_number(info->lost));
	json_object_set_new(json, "lost_places", json_number(info->lost_times));
	json_object_set_new(json, "counted_exits", counted_exits(ask));
	json_object_set_new(json, "causes", causes());
	json_object_set_new(json, "known", known());
	json_object_set_new(json, "threads", threads(ask));
	return json;
}

struct busy {
	uint64_t facts;
	unsigned vm;
};

static int busiest_first(const void *a, const void *b)
{
	const struct busy *x = a, *y = b;

	if (x->facts != y->facts)
		return x->facts > y->facts ? -1 : 1;
	return x->vm < y->vm ? -1 : x->vm > y->vm;
}

static int by_number(const void *a, const void *b)
{
	const unsigned *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The VMs that are asked for; of very many those of which most is known. */
static void choose_vms(struct report *r, struct report_result *result)
{
	const struct ask *ask = r->ask;
	unsigned count = (unsigned)model_vm_count(ask->model);
	struct busy *list;

	r->vms = allocate(REPORT_VMS * sizeof(*r->vms));
	if (!ask->all_vms) {
		r->vms[r->vm_count++] = ask->vm;
		return;
	}
	list = allocate((count + 1) * sizeof(*list));
	for (unsigned i = 0; i < count; i++)
		list[i].vm = i;
	for (uint64_t n = ask->from; n < ask->to; n++) {
		const struct fact *fact = model_fact(ask->model, n);

		if (fact->vm < count)
			list[fact->vm].facts++;
	}
	qsort(list, count, sizeof(*list), busiest_first);
	while (r->vm_count < count && r->vm_count < REPORT_VMS) {
		r->vms[r->vm_count] = list[r->vm_count].vm;
		r->vm_count++;
	}
	result->vms_left_out = count - r->vm_count;
	qsort(r->vms, r->vm_count, sizeof(*r->vms), by_number);
	free(list);
}

static bool write_vms(struct report *r, json_t *list, FILE *to, struct report_result *result)
{
	bool ok = true;

	while (r->vm_shown < r->vm_count && ok) {
		struct columns columns = {0};
		char id[32];

		snprintf(id, sizeof(id), "data-%u", r->vm_shown);
		json_array_append_new(list, vm_json(r, r->vms[r->vm_shown], &columns, result));
		ok = page_data_begin(to, id) && columns_write(&columns, to) && page_data_end(to);
		columns_free(&columns);
		r->vm_shown++;
	}
	return ok;
}

bool report_write(const struct ask *ask, const struct report_options *options, FILE *to, struct meter *meter,
                  struct report_result *result)
{
	struct report r = {.ask = ask, .options = options, .meter = meter};
	char *name = file_name(ask), *title = formatted("%s \xe2\x80\x93 vmmu report", name);
	json_t *json = trace_json(ask, name), *vms = json_array();
	bool ok;

	*result = (struct report_result){.lowest_level = 1};
	choose_vms(&r, result);
	json_object_set_new(json, "vms_left_out", json_number(result->vms_left_out));
	json_object_set_new(json, "vms", vms);
	ok = page_begin(to, title) && write_vms(&r, vms, to, result) && page_json(to, "trace", json) && page_end(to);
	json_decref(json);
	free(r.vms);
	free(title);
	free(name);
	return ok;
}
