/* SPDX-License-Identifier: BSD-2-Clause */
#include "ask.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <vmmu/vmmu.h>

#include "../base/columns.h"
#include "../base/moment.h"
#include "../trace/sidecar.h"

enum { OPTION_SYMBOLS = 's',
       OPTION_COLOUR = 0x300,
       OPTION_VM,
       OPTION_VCPU,
       OPTION_SINCE,
       OPTION_UNTIL,
       OPTION_LAST,
       OPTION_JSON,
       OPTION_HOST_CLOCK,
       OPTION_NO_INDEX,
       OPTION_AT };

void ask_init(struct ask *ask)
{
	*ask = (struct ask){.vcpu = UINT64_MAX, .last = UINT64_MAX};
}

/* ---- times -------------------------------------------------------------------------------- */

/* "1.5", "200ms", "15us"; "@4.242510": as the recording's own clock has it. */
static bool parse_time(const struct ask *ask, const char *text, struct moment *moment)
{
	bool host = ask->host_clock || *text == '@';

	return parse_moment(text + (*text == '@'), moment) &&
	       !__builtin_add_overflow(moment->ns, host ? 0 : model_first_time(ask->model), &moment->ns);
}

/*
 * The last nanosecond that has happened by then. Times are printed in microseconds, without
 * what is below: one that was read off means all of its microsecond. One with more digits is
 * meant as it stands.
 */
static uint64_t by_then(const struct moment *moment)
{
	return moment->in_whole && moment->ns < UINT64_MAX - 999 ? moment->ns + 999 : moment->ns;
}

/* ---- options ----------------------------------------------------------------------------------- */

static error_t parse_trace(int key, char *arg, struct argp_state *state)
{
	struct ask *ask = state->input;

	switch (key) {
	case OPTION_SYMBOLS:
		ask->symbols_path = arg;
		return 0;
	case OPTION_VM:
		ask->vm_name = arg;
		return 0;
	case OPTION_VCPU:
		if (!parse_number(arg, &ask->vcpu) || ask->vcpu >= FACT_NO_VCPU)
			argp_error(state, "--vcpu takes the number of a vCPU, not \"%s\"", arg);
		return 0;
	case OPTION_SINCE:
		if (ask->since)
			argp_error(state, "one --since at a time, not also \"%s\"", arg);
		ask->since = arg;
		return 0;
	case OPTION_UNTIL:
		if (ask->until)
			argp_error(state, "one --until at a time, not also \"%s\"", arg);
		ask->until = arg;
		return 0;
	case OPTION_HOST_CLOCK:
		ask->host_clock = true;
		return 0;
	case OPTION_NO_INDEX:
		ask->no_index = true;
		return 0;
	case ARGP_KEY_ARG:
		if (ask->path)
			argp_error(state, "one trace FILE at a time, not also \"%s\"", arg);
		ask->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!ask->path)
			argp_error(state, "which trace FILE? `vmmu record` makes one of KVM, `vmmu run --trace FILE` of its guest");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option trace_options[] = {
	{"since", OPTION_SINCE, "TIME", 0,
         "Only what happened from TIME on: seconds since the first event (also 200ms, 15us), or @ and the "
         "recording's own clock",
         20},
	{"until", OPTION_UNTIL, "TIME", 0, "Only what happened up to TIME", 20},
	{"vm", OPTION_VM, "VM", 0, "Only this VM: its number, PID or name", 20},
	{"vcpu", OPTION_VCPU, "N", 0, "Only this vCPU", 20},
	{"host-clock", OPTION_HOST_CLOCK, NULL, 0,
         "Print and take times as the recording's clock has them, to line up with dmesg or trace-cmd", 20},
	{"symbols", OPTION_SYMBOLS, "FILE", 0,
         "Names for guest addresses: System.map, vmlinux or a copy of /proc/kallsyms", 20},
	{"no-index", OPTION_NO_INDEX, NULL, 0, "Neither use nor leave an index file", 20},
	{0},
};

const struct argp ask_trace_argp = {.options = trace_options, .parser = parse_trace};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct ask *ask = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = ask;
		return 0;
	case OPTION_COLOUR:
		if (!parse_colour_mode(arg ? arg : "always", &ask->colour))
			argp_error(state, "--color is auto, always or never, not \"%s\"", arg);
		return 0;
	case OPTION_LAST:
		if (!parse_number(arg, &ask->last))
			argp_error(state, "--last takes a number, not \"%s\"", arg);
		return 0;
	case OPTION_JSON:
		ask->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"last", OPTION_LAST, "N", 0, "At most N lines; for histories the last N", 20},
	{"json", OPTION_JSON, NULL, 0, "Print JSON (docs/questions.md has its schema)", 20},
	{"color", OPTION_COLOUR, "WHEN", OPTION_ARG_OPTIONAL,
         "auto, always or never (default: auto, which honours NO_COLOR)", 20},
	{"colour", 0, NULL, OPTION_ALIAS, NULL, 20},
	{0},
};

static const struct argp_child trace_child[] = {{&ask_trace_argp, 0, NULL, 0}, {0}};

const struct argp ask_argp = {.options = options, .parser = parse, .children = trace_child};

static error_t take_moment(int key, char *arg, struct argp_state *state)
{
	struct ask *ask = state->input;

	if (key != OPTION_AT)
		return ARGP_ERR_UNKNOWN;
	if (ask->at)
		argp_error(state, "one moment at a time, not also \"%s\"", arg);
	ask->at = arg;
	return 0;
}

static const struct argp_option moment_options[] = {
	{"at", OPTION_AT, "TIME", 0, "As things stood at TIME (default: at the end)", 19},
	{0},
};

const struct argp ask_moment_argp = {.options = moment_options, .parser = take_moment};

/* ---- open ------------------------------------------------------------------------------------------ */

bool ask_find_vm_late(struct ask *ask)
{
	size_t count = model_vm_count(ask->model);
	uint64_t number;

	ask->all_vms = !ask->vm_name;
	if (!ask->vm_name)
		return true;
	for (size_t i = 0; i < count; i++) {
		const struct kvm_vm *vm = model_vm(ask->model, i);
		bool is_number = parse_number(ask->vm_name, &number);

		if ((is_number && (number == i + 1 || (vm->tgid > 0 && number == (uint64_t)vm->tgid))) ||
		    (*vm->name && strcmp(vm->name, ask->vm_name) == 0) || strcmp(vm->comm, ask->vm_name) == 0) {
			ask->vm = (unsigned)i;
			return true;
		}
	}
	return false;
}

static bool find_vm(struct ask *ask)
{
	if (ask_find_vm_late(ask))
		return true;
	complain("the trace has no VM \"%s\"; it has %zu: `vmmu info %s` lists them", ask->vm_name,
	         model_vm_count(ask->model), ask->path);
	return false;
}

/* That a vCPU does nothing that is shown is an answer; that there is none is not. */
static bool find_vcpu(const struct ask *ask)
{
	unsigned count = 0;

	if (ask->vcpu == UINT64_MAX)
		return true;
	for (unsigned i = 0; i < model_vm_count(ask->model); i++)
		if ((ask->all_vms || i == ask->vm) && model_vm(ask->model, i)->vcpus > count)
			count = model_vm(ask->model, i)->vcpus;
	if (ask->vcpu < count)
		return true;
	if (count)
		complain("the trace has no vCPU %" PRIu64 ", its last one is %u", ask->vcpu, count - 1);
	else
		complain("the trace has no vCPU %" PRIu64 ": no event names one", ask->vcpu);
	return false;
}

static bool take_time(const struct ask *ask, const char *option, const char *text, struct moment *moment)
{
	if (parse_time(ask, text, moment))
		return true;
	complain("--%s takes a time (1.5, 200ms, 15us, @4.242510), not \"%s\"", option, text);
	return false;
}

static bool find_times(struct ask *ask)
{
	uint64_t count = model_count(ask->model);
	uint64_t end = count ? model_fact(ask->model, count - 1)->time : 0;
	struct moment since = {0}, until, at;

	/* Events that nothing is made of are part of it, too. */
	if (model_info(ask->model)->last_time > end)
		end = model_info(ask->model)->last_time;
	ask->from = 0;
	ask->to = ask->moment = count;
	if (ask->since) {
		if (!take_time(ask, "since", ask->since, &since))
			return false;
		since.ns += since.inexact;
		if (since.ns > end) {
			complain("the trace ends at %s, before --since %s", ask_time(ask, end).text, ask->since);
			return false;
		}
		ask->from = since.ns ? model_after(ask->model, since.ns - 1) : 0;
	}
	if (ask->until) {
		if (!take_time(ask, "until", ask->until, &until))
			return false;
		ask->to = model_after(ask->model, by_then(&until));
		if (by_then(&until) < since.ns || ask->from > ask->to) {
			complain("--until lies before --since");
			return false;
		}
	}
	if (ask->at) {
		if (!take_time(ask, "at", ask->at, &at))
			return false;
		if (at.ns > end) {
			complain("the trace ends at %s, before --at %s", ask_time(ask, end).text, ask->at);
			return false;
		}
		ask->moment = model_after(ask->model, by_then(&at));
		ask->moment_time = at.ns;
	}
	return true;
}

/* A model that is watched: what asks for an end, or a beginning, has no meaning yet. */
static bool open_live(struct ask *ask, char **error)
{
	if (ask->since || ask->until || ask->last != UINT64_MAX) {
		*error = duplicate("--follow shows what comes: --since, --until and --last do not go with it");
		return false;
	}
	return model_open_live(&ask->model, ask->path, error);
}

/* The kernel that ran, as FILE.json beside a vmmu trace says. That it cannot be used is no matter: numbers stay. */
static void load_symbols_beside(struct ask *ask)
{
	json_t *sidecar = sidecar_read(ask->path);
	const char *kernel = json_string_value(json_object_get(sidecar, "kernel"));
	char *error = NULL;

	if (kernel && !symbols_load_named(&ask->symbols, kernel, &error))
		free(error);
	json_decref(sidecar);
}

bool ask_load_symbols(struct ask *ask)
{
	char *error = NULL;

	if (!ask->symbols_path && ask->path && strcmp(ask->path, "-") != 0)
		load_symbols_beside(ask);
	if (!ask->symbols_path || symbols_load(&ask->symbols, ask->symbols_path, &error))
		return true;
	complain("%s", error);
	free(error);
	return false;
}

bool ask_open(struct ask *ask)
{
	struct model_options how = {.no_cache = ask->no_index};
	char *error = NULL;

	ask->palette = palette_for(stdout, ask->json ? COLOUR_NEVER : ask->colour);
	ask->width = ask->json ? 0 : terminal_columns();
	if (!(ask->follow ? open_live(ask, &error) : model_open(&ask->model, ask->path, &how, &error))) {
		complain("%s", error);
		free(error);
		return false;
	}
	if (!ask_load_symbols(ask)) {
		ask_close(ask, 0);
		return false;
	}
	if (ask->follow)
		return true;
	if (!find_vm(ask) || !find_vcpu(ask) || !find_times(ask)) {
		ask_close(ask, 0);
		return false;
	}
	if (*model_info(ask->model)->damage)
		complain("%s: %s", ask->path, model_info(ask->model)->damage);
	if (ask->json)
		ask->result = json_object();
	ask_doubts(ask);
	return true;
}

int ask_close(struct ask *ask, int status)
{
	if (ask->result) {
		json_dumpf(ask->result, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
		putchar('\n');
		json_decref(ask->result);
		ask->result = NULL;
	}
	model_close(ask->model);
	ask->model = NULL;
	symbols_free(&ask->symbols);
	return status;
}

bool ask_wants(const struct ask *ask, const struct fact *fact)
{
	if (!ask->all_vms && fact->vm != ask->vm)
		return false;
	return ask->vcpu == UINT64_MAX || fact->vcpu == ask->vcpu;
}

/* ---- printing ------------------------------------------------------------------------------------------ */

/* The first `width` columns; escape sequences take none. */
static void print_cut(const char *line, unsigned width)
{
	unsigned column = 0;

	for (const char *at = line; *at; at++) {
		if (*at == '\033') {
			const char *end = strchr(at, 'm');

			if (!end)
				break;
			fwrite(at, 1, (size_t)(end - at + 1), stdout);
			at = end;
		} else if (column < width) {
			putchar(*at);
			column++;
		}
	}
}

void ask_line(const struct ask *ask, const char *format, ...)
{
	va_list arguments;
	char *line;

	va_start(arguments, format);
	if (!ask->width) {
		vprintf(format, arguments);
	} else {
		line = formatted_v(format, arguments);
		print_cut(line, ask->width);
		free(line);
	}
	va_end(arguments);
	putchar('\n');
}

void ask_heading(const struct ask *ask, const char *format, ...)
{
	va_list arguments;
	char *line;

	va_start(arguments, format);
	line = formatted_v(format, arguments);
	va_end(arguments);
	ask_line(ask, "%s%s%s", ask->palette->bold, line, ask->palette->off);
	free(line);
}

struct short_text ask_time(const struct ask *ask, uint64_t time)
{
	uint64_t first = ask->host_clock ? 0 : model_first_time(ask->model);
	struct short_text out;

	time = time > first ? time - first : 0;
	snprintf(out.text, sizeof(out.text), "%" PRIu64 ".%06" PRIu64, time / 1000000000, time / 1000 % 1000000);
	return out;
}

struct short_text ask_moment_time(const struct ask *ask)
{
	uint64_t first = ask->host_clock ? 0 : model_first_time(ask->model);
	struct short_text out = ask_time(ask, ask->moment_time);
	uint64_t below = ask->moment_time > first ? (ask->moment_time - first) % 1000 : 0;
	size_t length = strlen(out.text);

	if (below)
		snprintf(out.text + length, sizeof(out.text) - length, "%03" PRIu64, below);
	return out;
}

uint64_t ask_limit(const struct ask *ask, uint64_t usual)
{
	return ask->last == UINT64_MAX ? usual : ask->last;
}

bool ask_has_vms(const struct ask *ask)
{
	if (model_vm_count(ask->model))
		return true;
	complain("%s tells of no VM: record the events kvmmmu:* and kvm:kvm_page_fault, or use `vmmu record`",
	         ask->path);
	return false;
}

error_t ask_parse_alone(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

const struct argp_child ask_children[] = {{&ask_argp, 0, NULL, 0}, {0}};

bool ask_begin(struct ask *ask, const struct argp *argp, int argc, char **argv, void *question)
{
	ask_init(ask);
	argp_parse(argp, argc, argv, 0, NULL, question);
	if (!ask_open(ask))
		return false;
	/* Those of one that is watched come later. */
	if (ask->follow || ask_has_vms(ask))
		return true;
	json_decref(ask->result);
	ask->result = NULL;
	ask_close(ask, 0);
	return false;
}

bool ask_is_trace(const struct ask *ask, const char *path)
{
	return is_same_file(strcmp(path, "-") == 0 ? "/dev/stdout" : path, strcmp(ask->path, "-") == 0 ? "/dev/stdin" : ask->path);
}

struct short_text ask_duration(uint64_t ns)
{
	struct short_text out;

	if (ns < 10000)
		snprintf(out.text, sizeof(out.text), "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000)
		snprintf(out.text, sizeof(out.text), "%" PRIu64 " us", ns / 1000);
	else if (ns < 1000000000)
		snprintf(out.text, sizeof(out.text), "%.1f ms", (double)ns / 1e6);
	else
		snprintf(out.text, sizeof(out.text), "%.2f s", (double)ns / 1e9);
	return out;
}

char *ask_vm_text(const struct ask *ask, unsigned vm)
{
	const struct kvm_vm *v = model_vm(ask->model, vm);
	char *name = printable(*v->name ? v->name : *v->comm ? v->comm
	                                                     : "unnamed");
	char *levels = v->levels ? formatted(", %u levels", v->levels) : duplicate("");
	char *text;

	if (v->tgid > 0)
		text = formatted("VM %u, %s%s, %s (PID %" PRId64 ")", vm + 1, kvm_mode_name(v->mode), levels, name,
		                 v->tgid);
	else
		text = formatted("VM %u, %s%s, %s", vm + 1, kvm_mode_name(v->mode), levels, name);
	free(levels);
	free(name);
	return text;
}

char *ask_which_vm(const struct ask *ask, unsigned vm)
{
	return ask->all_vms && model_vm_count(ask->model) > 1 ? formatted(", VM %u", vm + 1) : duplicate("");
}

char *ask_thread_text(const struct ask *ask, uint32_t thread)
{
	const struct kvm_thread *t = model_thread(ask->model, thread);

	char *name, *text;

	if (!t)
		return duplicate("nobody known");
	name = printable(*t->comm ? t->comm : "unnamed");
	text = formatted("%s (thread %u)", name, t->pid);
	free(name);
	return text;
}

enum kvm_mode ask_mode(const struct ask *ask, const struct fact *fact)
{
	return fact->vm < model_vm_count(ask->model) ? model_vm(ask->model, fact->vm)->mode : KVM_MODE_UNKNOWN;
}

/* SDM vol. 3, table 28-7 (exit qualification); APM vol. 2, 15.25.6 (EXITINFO1). */
unsigned ask_access(enum kvm_mode mode, uint64_t error)
{
	unsigned access = 0;

	if (mode == KVM_MODE_EPT) {
		access = error & 7;
		access |= error & 0x38 ? ACCESS_PRESENT : 0;
		access |= error & 1 << 7 && !(error & 1 << 8) ? ACCESS_WALK : 0;
		return access;
	}
	access |= error & 1 ? ACCESS_PRESENT : 0;
	access |= error & 1 << 4 ? ACCESS_FETCH : error & 2 ? ACCESS_WRITE
	                                                    : ACCESS_READ;
	access |= mode == KVM_MODE_NPT && error >> 33 & 1 ? ACCESS_WALK : 0;
	access |= mode == KVM_MODE_NPT && error & 1 << 3 ? ACCESS_DEVICE : 0;
	return access;
}

enum instead ask_instead(uint64_t result)
{
	switch (result) {
	case VMMU_FAULT_EMULATE_MMIO:
		return INSTEAD_DEVICE;
	case VMMU_FAULT_READ_ONLY:
	case VMMU_FAULT_WRITE_TABLE:
	case VMMU_FAULT_EMULATE_WRITE:
		return INSTEAD_EMULATED;
	case VMMU_FAULT_REFLECT:
	case VMMU_FAULT_INJECT_PF:
		return INSTEAD_GUEST;
	case VMMU_FAULT_SPURIOUS:
		return INSTEAD_ALLOWED;
	default:
		return INSTEAD_NOTHING;
	}
}

char *ask_access_text(const struct ask *ask, const struct fact *fault)
{
	unsigned access = ask_access(ask_mode(ask, fault), fault->a);

	return formatted("%s%s%s", access & ACCESS_FETCH ? "fetch" : access & ACCESS_WRITE ? "write"
	                                                                                   : "read",
	                 access & ACCESS_WALK ? " by the guest's page walk" : "",
	                 access & ACCESS_DEVICE    ? " of a device"
	                 : access & ACCESS_PRESENT ? " refused by rights"
	                                           : "");
}

char *ask_place_text(const struct ask *ask, uint64_t rip)
{
	char *name = symbols_describe(&ask->symbols, rip);

	if (*name)
		return name;
	free(name);
	return formatted("rip 0x%" PRIx64, rip);
}

/* ---- JSON --------------------------------------------------------------------------------------------------- */

json_t *json_number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

json_t *json_hex(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

json_t *json_seconds(const struct ask *ask, uint64_t time)
{
	uint64_t first = ask->host_clock ? 0 : model_first_time(ask->model);

	return json_real((double)(time > first ? time - first : 0) * 1e-9);
}
