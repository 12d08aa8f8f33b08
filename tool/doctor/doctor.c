/* SPDX-License-Identifier: BSD-2-Clause */
#include "doctor.h"

#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#include "../base/exit_status.h"

static const struct illness *const illnesses[] = {
	&illness_repeating_fault,
	&illness_page_comes_and_goes,
	&illness_device_storm,
	&illness_large_pages_split,
	&illness_nx_splits,
	&illness_idle_dirty_log,
	&illness_zap_all_storm,
	&illness_notifier_storm,
	&illness_misaligned_slot,
};

enum { SECOND_NS = 1000000000,
       USUAL_EVIDENCE = 5 };

/* A vCPU thread's fault that is not over. */
struct open_fault {
	uint64_t number; /* of its fact, + 1; 0: none */
	bool wrote, device, instead, user;
};

static const struct argp argp = {
	.parser = ask_parse_alone,
	.args_doc = "FILE",
	.doc = "Look for known illnesses of second-level tables: a fault that repeats without end, a page that comes "
	       "and goes, device storms, large pages that were split and stayed so, dirty logging of what nobody writes, "
	       "storms of zap-all and of MMU notifiers, slots that allow no large pages. Each with its evidence and what "
	       "to do. Exit status: 0 none found, 1 some found, 2 trouble.",
	.children = ask_children,
};

/* ---- what the illnesses use ------------------------------------------------------------- */

struct finding *doctor_find(struct doctor *doctor, const struct illness *illness, unsigned vm, char *what)
{
	struct finding *finding;

	if (!doctor->ask.all_vms && vm != doctor->ask.vm) {
		free(what);
		return NULL;
	}
	doctor->findings = reallocate(doctor->findings, (doctor->count + 1) * sizeof(*doctor->findings));
	finding = &doctor->findings[doctor->count++];
	*finding = (struct finding){
		.illness = illness,
		.vm = vm,
		.what = what,
	};
	return finding;
}

void doctor_evidence(struct finding *finding, uint64_t fact, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	finding->evidence = reallocate(finding->evidence, (finding->evidence_count + 1) * sizeof(*finding->evidence));
	finding->evidence[finding->evidence_count++] = (struct evidence){fact, formatted_v(format, arguments)};
	va_end(arguments);
}

void doctor_more(const struct doctor *doctor, struct finding *finding, const char *question)
{
	finding->command = formatted("vmmu %s --vm %u %s", question, finding->vm + 1, doctor->ask.path);
}

bool doctor_of_visor(const struct doctor *doctor)
{
	return strcmp(model_info(doctor->ask.model)->kind, "vmmu trace") == 0;
}

char *doctor_without_tdp(const struct doctor *doctor, const char *what)
{
	for (size_t i = 0; i < model_vm_count(doctor->ask.model); i++)
		if (model_vm(doctor->ask.model, i)->tdp)
			return NULL;
	if (doctor_of_visor(doctor))
		return duplicate("the visor's shadow tables are of many address spaces, and this is asked of one map");
	return formatted("KVM's legacy and shadow MMU record no %s", what);
}

void extent_add(struct extent *extent, uint64_t first, uint64_t last, uint64_t low, uint64_t high)
{
	if (!extent->any)
		*extent = (struct extent){true, first, last, low, high};
	if (first < extent->first)
		extent->first = first;
	if (last > extent->last)
		extent->last = last;
	if (low < extent->low)
		extent->low = low;
	if (high > extent->high)
		extent->high = high;
}

const char *doctor_address_name(const struct doctor *doctor, unsigned vm)
{
	return model_vm(doctor->ask.model, vm)->mode == KVM_MODE_SHADOW ? "address" : "gpa";
}

double doctor_seconds(const struct doctor *doctor, uint64_t first, uint64_t last)
{
	return (double)(model_fact(doctor->ask.model, last)->time - model_fact(doctor->ask.model, first)->time) * 1e-9;
}

void rate_add(struct rate *rate, uint64_t time)
{
	if (!rate->count || time - rate->begin >= SECOND_NS) {
		rate->begin = time;
		rate->count = 0;
	}
	if (++rate->count > rate->worst)
		rate->worst = rate->count;
}

void majority_add(struct majority *majority, uint64_t value)
{
	if (!majority->lead)
		majority->value = value;
	if (majority->value == value)
		majority->lead++;
	else
		majority->lead--;
}

/* ---- one pass over the facts --------------------------------------------------------------- */

struct pass {
	struct doctor *doctor;
	void *state[ARRAY_SIZE(illnesses)];
	char *blind[ARRAY_SIZE(illnesses)];
};

/* A fault that wrote nothing, because the entry that it found stands for a device. */
static bool found_device(const struct doctor *doctor, uint64_t number)
{
	const struct fact *fault = model_fact(doctor->ask.model, number);
	const struct model_step *last;
	struct model_walk walk;

	if (ask_access(ask_mode(&doctor->ask, fault), fault->a) & ACCESS_DEVICE)
		return true;
	if (!model_vm(doctor->ask.model, fault->vm)->tdp)
		return false;
	model_walk(doctor->ask.model, fault->vm, NULL, fault->address, number, &walk);
	if (!walk.count)
		return false;
	last = &walk.steps[walk.count - 1];
	return kvm_entry_kind(last->entry, last->level) == KVM_ENTRY_MMIO;
}

static void end_fault(struct pass *pass, struct open_fault *open)
{
	struct ended_fault ended = {open->number - 1, open->wrote, open->device, open->instead, open->user};

	if (!open->number)
		return;
	ended.device |= !ended.wrote && found_device(pass->doctor, ended.number);
	open->number = 0;
	for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++)
		if (!pass->blind[i] && illnesses[i]->fault)
			illnesses[i]->fault(pass->doctor, pass->state[i], &ended);
}

static void follow_fault(struct pass *pass, uint64_t number)
{
	const struct model *model = pass->doctor->ask.model;
	const struct fact *fact = model_fact(model, number);
	struct open_fault *open;
	uint64_t fault;

	if (fact->thread >= model_thread_count(model))
		return;
	open = &pass->doctor->open[fact->thread];
	switch (fact->kind) {
	case FACT_FAULT:
		end_fault(pass, open);
		if (ask_wants(&pass->doctor->ask, fact) && fact->vm < model_vm_count(model))
			*open = (struct open_fault){.number = number + 1};
		break;
	case FACT_WRITE:
	case FACT_SET:
		if (open->number && model_fault_of(model, number, &fault) && fault + 1 == open->number)
			open->wrote = true;
		break;
	case FACT_MMIO:
		open->device = true;
		break;
	case FACT_USER_EXIT:
		open->user = true;
		break;
	case FACT_FAULT_END:
		open->device |= ask_instead(fact->a) == INSTEAD_DEVICE;
		open->instead |= ask_instead(fact->a) != INSTEAD_NOTHING;
		end_fault(pass, open);
		break;
	case FACT_ENTRY:
		end_fault(pass, open);
		break;
	default:
		break;
	}
}

static void scan(struct pass *pass)
{
	struct doctor *doctor = pass->doctor;

	for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++) {
		pass->blind[i] = illnesses[i]->blind ? illnesses[i]->blind(doctor) : NULL;
		if (!pass->blind[i])
			pass->state[i] = illnesses[i]->begin(doctor);
	}
	for (uint64_t n = doctor->ask.from; n < doctor->ask.to; n++) {
		follow_fault(pass, n);
		for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++)
			if (!pass->blind[i] && illnesses[i]->take)
				illnesses[i]->take(doctor, pass->state[i], n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++)
		if (!pass->blind[i])
			illnesses[i]->end(doctor, pass->state[i]);
}

/* ---- the report -------------------------------------------------------------------------------- */

/* Text of several lines: broken between words, each line behind the indent. */
static void paragraph(const struct ask *ask, const char *label, const char *text)
{
	enum { INDENT = 3,
	       READABLE = 96 };
	unsigned width = ask->width && ask->width < READABLE ? ask->width : READABLE;
	size_t column = INDENT;

	printf("   %s%s%s", ask->palette->bold, label, ask->palette->off);
	column += strlen(label);
	while (*text) {
		size_t word = strcspn(text, " ");

		if (column > INDENT && column + 1 + word > width) {
			printf("\n   ");
			column = INDENT;
		} else if (column > INDENT) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)word, text);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_finding(const struct doctor *doctor, size_t number, const struct finding *f)
{
	const struct ask *ask = &doctor->ask;
	const struct palette *p = ask->palette;
	uint64_t limit = ask_limit(ask, USUAL_EVIDENCE);
	char *vm = ask_vm_text(ask, f->vm);

	printf("\n");
	ask_line(ask, "%s%zu. %s%s%s: %s%s", p->bold, number, p->red, f->illness->name, p->off, f->illness->title, p->off);
	ask_line(ask, "   %s%s%s", p->dim, vm, p->off);
	paragraph(ask, "", f->what);
	for (size_t i = 0; i < f->evidence_count && i < limit; i++) {
		const struct evidence *e = &f->evidence[i];

		if (e->fact == MODEL_NONE)
			ask_line(ask, "   %12s    %s", "", e->text);
		else
			ask_line(ask, "   %s%12s s%s  %s", p->dim, ask_time(ask, model_fact(ask->model, e->fact)->time).text,
			         p->off, e->text);
	}
	if (f->evidence_count > limit)
		ask_line(ask, "   %s... %s more (--last N)%s", p->dim, text_count(f->evidence_count - limit).text, p->off);
	paragraph(ask, "What to do:", f->illness->advice);
	if (f->command)
		printf("   %sMore:%s %s\n", p->bold, p->off, f->command);
	free(vm);
}

static bool was_found(const struct doctor *doctor, const struct illness *illness)
{
	for (size_t i = 0; i < doctor->count; i++)
		if (doctor->findings[i].illness == illness)
			return true;
	return false;
}

static void print(const struct pass *pass)
{
	const struct doctor *doctor = pass->doctor;
	const struct ask *ask = &doctor->ask;
	const struct palette *p = ask->palette;
	double seconds = ask->from < ask->to ? doctor_seconds(doctor, ask->from, ask->to - 1) : 0;

	ask_heading(ask, "%s illness%s found in %.3f s of %s VM%s (%s facts)",
	            doctor->count ? text_count(doctor->count).text : "No", doctor->count > 1 ? "es" : "", seconds,
	            text_count(model_vm_count(ask->model)).text, model_vm_count(ask->model) == 1 ? "" : "s",
	            text_count(ask->to - ask->from).text);
	for (size_t i = 0; i < doctor->count; i++)
		print_finding(doctor, i + 1, &doctor->findings[i]);
	printf("\n");
	for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++) {
		if (pass->blind[i])
			ask_line(ask, "%s%-22s%s not looked for: %s", p->yellow, illnesses[i]->name, p->off, pass->blind[i]);
		else if (!was_found(doctor, illnesses[i]))
			ask_line(ask, "%s%-22s%s not found", p->green, illnesses[i]->name, p->off);
	}
	if (model_info(ask->model)->lost)
		ask_line(ask, "%s%s events were lost: what is not found may still have happened%s", p->yellow,
		         text_count(model_info(ask->model)->lost).text, p->off);
}

static json_t *finding_json(const struct doctor *doctor, const struct finding *f)
{
	const struct ask *ask = &doctor->ask;
	json_t *json = json_object(), *list = json_array();

	json_object_set_new(json, "illness", json_string(f->illness->name));
	json_object_set_new(json, "title", json_string(f->illness->title));
	json_object_set_new(json, "vm", json_number(f->vm + 1u));
	json_object_set_new(json, "what", json_string(f->what));
	json_object_set_new(json, "count", json_number(f->count));
	if (f->where.any) {
		json_object_set_new(json, "first_time", json_seconds(ask, model_fact(ask->model, f->where.first)->time));
		json_object_set_new(json, "last_time", json_seconds(ask, model_fact(ask->model, f->where.last)->time));
	}
	if (f->where.any && f->where.low <= f->where.high) {
		json_object_set_new(json, "first", json_hex(f->where.low));
		json_object_set_new(json, "last", json_hex(f->where.high));
	}
	json_object_set_new(json, "advice", json_string(f->illness->advice));
	if (f->command)
		json_object_set_new(json, "command", json_string(f->command));
	for (size_t i = 0; i < f->evidence_count && i < ask_limit(ask, UINT64_MAX); i++) {
		json_t *one = json_object();

		if (f->evidence[i].fact != MODEL_NONE) {
			json_object_set_new(one, "number", json_number(f->evidence[i].fact));
			json_object_set_new(one, "time", json_seconds(ask, model_fact(ask->model, f->evidence[i].fact)->time));
		}
		json_object_set_new(one, "text", json_string(f->evidence[i].text));
		json_array_append_new(list, one);
	}
	json_object_set_new(json, "evidence", list);
	return json;
}

static void show_json(const struct pass *pass)
{
	json_t *findings = json_array(), *healthy = json_array(), *blind = json_object();

	for (size_t i = 0; i < pass->doctor->count; i++)
		json_array_append_new(findings, finding_json(pass->doctor, &pass->doctor->findings[i]));
	for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++) {
		if (pass->blind[i])
			json_object_set_new(blind, illnesses[i]->name, json_string(pass->blind[i]));
		else if (!was_found(pass->doctor, illnesses[i]))
			json_array_append_new(healthy, json_string(illnesses[i]->name));
	}
	json_object_set_new(pass->doctor->ask.result, "findings", findings);
	json_object_set_new(pass->doctor->ask.result, "not_found", healthy);
	json_object_set_new(pass->doctor->ask.result, "not_looked_for", blind);
}

int question_doctor(int argc, char **argv)
{
	struct doctor doctor = {.count = 0};
	struct pass pass = {.doctor = &doctor};

	if (!ask_begin(&doctor.ask, &argp, argc, argv, &doctor))
		return EXIT_TROUBLE;
	doctor.open = allocate((model_thread_count(doctor.ask.model) + 1) * sizeof(*doctor.open));
	scan(&pass);
	if (doctor.ask.json)
		show_json(&pass);
	else
		print(&pass);
	for (size_t i = 0; i < doctor.count; i++) {
		for (size_t n = 0; n < doctor.findings[i].evidence_count; n++)
			free(doctor.findings[i].evidence[n].text);
		free(doctor.findings[i].evidence);
		free(doctor.findings[i].what);
		free(doctor.findings[i].command);
	}
	for (size_t i = 0; i < ARRAY_SIZE(illnesses); i++)
		free(pass.blind[i]);
	free(doctor.findings);
	free(doctor.open);
	return ask_close(&doctor.ask, doctor.count ? EXIT_DIFFERENCE : EXIT_OK);
}
