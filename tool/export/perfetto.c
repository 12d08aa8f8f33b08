/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chrome's trace events as JSON, which Perfetto and chrome://tracing open. A VM is a
 * process. Its threads are its vCPUs, with exits and faults as slices; then one for each
 * level of its tables, with the entry writes. An arrow (flow) leads from each fault to
 * its writes. Events are written as they come: nothing is kept but what is open.
 */
#include <stdlib.h>
#include <string.h>

#include <vmmu/version.h>

#include "../kvm/exit_name.h"
#include "../series/series.h"
#include "export.h"
#include "row.h"

enum { FACTS_PER_LOOK = 1 << 12,
       NO_VM = 0,             /* VMs count from 1 */
       NO_THREAD = 0,         /* likewise threads */
       TABLES = 2000000000 }; /* the thread for entries of level N is TABLES + N */

/* What is open on a thread. */
struct open_slices {
	bool fault, exit;
	uint64_t fault_number;
	uint64_t writes; /* of the fault */
	unsigned process;
};

struct perfetto {
	struct rows rows;
	FILE *to;
	struct meter *meter;
	bool any; /* an event is written */
	struct open_slices *threads;
	struct map named; /* tracks that have their name */
	unsigned vm, vms; /* progress of the counters */
};

/* ---- values --------------------------------------------------------------------------------- */

static void put_quoted(const char *text, FILE *to)
{
	char *safe = printable(text);
	json_t *json = json_string(safe);

	if (json_dumpf(json, to, JSON_ENCODE_ANY) != 0)
		fputs("\"\"", to);
	json_decref(json);
	free(safe);
}

/* Microseconds, with three more digits. */
static void put_stamp(const struct perfetto *p, uint64_t time)
{
	uint64_t first = p->rows.ask->host_clock ? 0 : p->rows.first_time;

	time = time > first ? time - first : 0;
	fprintf(p->to, "%" PRIu64 ".%03" PRIu64, time / 1000, time % 1000);
}

static void put_argument(const struct perfetto *p, uint64_t number, enum column column)
{
	const struct column_info *info = &column_info[column];
	uint64_t value;

	if (info->form == FORM_TEXT) {
		const char *text = row_text(&p->rows, number, column);

		if (!*text)
			return;
		fprintf(p->to, ",\"%s\":", info->name);
		put_quoted(text, p->to);
		return;
	}
	if (!row_value(&p->rows, number, column, &value))
		return;
	fprintf(p->to, ",\"%s\":", info->name);
	if (info->form == FORM_HEX)
		fprintf(p->to, "\"0x%" PRIx64 "\"", value);
	else if (info->form == FORM_LABEL)
		fprintf(p->to, "\"%s\"", info->label((unsigned)value));
	else if (info->form == FORM_SIGNED)
		fprintf(p->to, "%" PRId64, (int64_t)value);
	else
		fprintf(p->to, "%" PRIu64, value);
}

static void put_arguments(const struct perfetto *p, uint64_t number)
{
	const uint8_t *column = row_columns(model_fact(p->rows.ask->model, number)->kind);

	fprintf(p->to, ",\"args\":{\"number\":%" PRIu64, number);
	for (; *column != COLUMN_COUNT; column++)
		put_argument(p, number, (enum column) * column);
	putc('}', p->to);
}

/* The beginning of every event; its end is the caller's. */
static void begin_event(struct perfetto *p, const char *phase, unsigned process, uint64_t thread)
{
	fprintf(p->to, "%s{\"ph\":\"%s\",\"pid\":%u,\"tid\":%" PRIu64, p->any ? ",\n" : "", phase, process, thread);
	p->any = true;
}

static void begin_timed(struct perfetto *p, const char *phase, unsigned process, uint64_t thread, uint64_t time)
{
	begin_event(p, phase, process, thread);
	fputs(",\"ts\":", p->to);
	put_stamp(p, time);
}

/* ---- tracks ---------------------------------------------------------------------------------- */

static void put_metadata(struct perfetto *p, const char *what, unsigned process, uint64_t thread, const char *name)
{
	begin_event(p, "M", process, thread);
	fprintf(p->to, ",\"name\":\"%s\",\"args\":{\"name\":", what);
	put_quoted(name, p->to);
	fputs("}}", p->to);
}

static void put_order(struct perfetto *p, const char *what, unsigned process, uint64_t thread, uint64_t order)
{
	begin_event(p, "M", process, thread);
	fprintf(p->to, ",\"name\":\"%s\",\"args\":{\"sort_index\":%" PRIu64 "}}", what, order);
}

static bool is_named(struct perfetto *p, unsigned process, uint64_t thread)
{
	uint64_t *named = map_at(&p->named, (uint64_t)process << 32 | thread);

	if (*named != MAP_NONE)
		return true;
	*named = 1;
	return false;
}

static void name_process(struct perfetto *p, unsigned process)
{
	char *name;

	if (is_named(p, process, UINT32_MAX))
		return;
	name = process == NO_VM ? duplicate("of no VM that is known") : ask_vm_text(p->rows.ask, process - 1);
	put_metadata(p, "process_name", process, 0, name);
	put_order(p, "process_sort_index", process, 0, process);
	free(name);
}

static char *thread_label(const struct perfetto *p, uint32_t number)
{
	const struct kvm_thread *thread = model_thread(p->rows.ask->model, number);
	char *vcpu, *text;

	if (thread->vcpu == FACT_NO_VCPU)
		return formatted("%s (thread %u)", thread->comm, thread->pid);
	vcpu = formatted("vCPU %u", thread->vcpu);
	if (strcmp(vcpu, thread->comm) == 0)
		return vcpu;
	text = formatted("%s: %s (thread %u)", vcpu, *thread->comm ? thread->comm : "unnamed", thread->pid);
	free(vcpu);
	return text;
}

/* The thread of a fact, which has its name from now on. */
static uint64_t thread_of(struct perfetto *p, const struct fact *fact, unsigned process)
{
	const struct kvm_thread *thread = model_thread(p->rows.ask->model, fact->thread);
	uint64_t id = fact->thread + 1ull;
	char *name;

	name_process(p, process);
	if (is_named(p, process, id))
		return id;
	name = thread_label(p, fact->thread);
	put_metadata(p, "thread_name", process, id, name);
	put_order(p, "thread_sort_index", process, id, thread->vcpu == FACT_NO_VCPU ? 100000 + id : thread->vcpu);
	free(name);
	return id;
}

static uint64_t table_thread(struct perfetto *p, const struct fact *fact, unsigned process)
{
	uint64_t id = TABLES + fact->level;
	char *name;

	name_process(p, process);
	if (is_named(p, process, id))
		return id;
	name = formatted("entries of level %u (%s each)", fact->level, text_level_span(fact->level));
	put_metadata(p, "thread_name", process, id, name);
	put_order(p, "thread_sort_index", process, id, TABLES + 16u - fact->level);
	free(name);
	return id;
}

/* ---- slices and moments ------------------------------------------------------------------------- */

static void end_fault_slice(struct perfetto *p, uint64_t thread, uint64_t time, const char *result)
{
	struct open_slices *open = &p->threads[thread - 1];

	if (!open->fault)
		return;
	open->fault = false;
	begin_timed(p, "E", open->process, thread, time);
	fprintf(p->to, ",\"args\":{\"entries_written\":%" PRIu64, open->writes);
	if (result)
		fprintf(p->to, ",\"result\":\"%s\"", result);
	fputs("}}", p->to);
}

static void end_slices(struct perfetto *p, uint64_t thread, uint64_t time)
{
	struct open_slices *open = &p->threads[thread - 1];

	end_fault_slice(p, thread, time, NULL);
	if (!open->exit)
		return;
	open->exit = false;
	begin_timed(p, "E", open->process, thread, time);
	putc('}', p->to);
}

/* What is open at the end, or when events are lost: nobody says when it ended. */
static void end_all(struct perfetto *p, uint64_t time)
{
	for (size_t i = 0; i < p->rows.thread_count; i++)
		end_slices(p, i + 1, time);
}

static void put_fault(struct perfetto *p, uint64_t number, const struct fact *fact, unsigned process, uint64_t thread)
{
	static const char *const names[] = {"read fault", "write fault", "fetch fault"};
	uint64_t access = 0;

	end_fault_slice(p, thread, fact->time, NULL);
	row_value(&p->rows, number, COLUMN_ACCESS, &access);
	begin_timed(p, "B", process, thread, fact->time);
	fprintf(p->to, ",\"cat\":\"fault\",\"name\":\"%s\"", names[access < ARRAY_SIZE(names) ? access : 0]);
	put_arguments(p, number);
	putc('}', p->to);
	p->threads[thread - 1].fault = true;
	p->threads[thread - 1].fault_number = number;
	p->threads[thread - 1].writes = 0;
	p->threads[thread - 1].process = process;
}

static void put_exit(struct perfetto *p, uint64_t number, const struct fact *fact, unsigned process, uint64_t thread)
{
	const char *name = kvm_exit_name(ask_mode(p->rows.ask, fact), fact->a);

	end_slices(p, thread, fact->time);
	begin_timed(p, "B", process, thread, fact->time);
	if (name)
		fprintf(p->to, ",\"cat\":\"exit\",\"name\":\"exit %s\"", name);
	else
		fprintf(p->to, ",\"cat\":\"exit\",\"name\":\"exit %" PRIu64 "\"", fact->a);
	put_arguments(p, number);
	putc('}', p->to);
	p->threads[thread - 1].exit = true;
	p->threads[thread - 1].process = process;
}

static const char *moment_name(unsigned kind)
{
	static const char *const names[FACT_KIND_COUNT] = {
		[FACT_USER_EXIT] = "exit to the VMM",
		[FACT_TABLE] = "table made",
		[FACT_TABLE_ZAP] = "table dropped",
		[FACT_MMIO] = "device access",
		[FACT_UNMAP] = "unmap by the host",
		[FACT_AGE] = "age",
		[FACT_ZAP_ALL] = "zap all",
	};

	return kind < FACT_KIND_COUNT && names[kind] ? names[kind] : fact_kind_name(kind);
}

static void put_moment(struct perfetto *p, uint64_t number, const struct fact *fact, unsigned process, uint64_t thread,
                       const char *name)
{
	begin_timed(p, "i", process, thread, fact->time);
	fprintf(p->to, ",\"s\":\"%s\",\"cat\":\"%s\",\"name\":\"%s\"", thread == NO_THREAD ? "p" : "t",
	        fact_kind_name(fact->kind), name);
	put_arguments(p, number);
	putc('}', p->to);
}

/* An arrow from the fault, which is open now, to the next slice on the entry's track. */
static void put_flow(struct perfetto *p, uint64_t number, const struct fact *fact, unsigned process, uint64_t to)
{
	uint64_t fault_number;
	const struct fact *fault = model_fault_of(p->rows.ask->model, number, &fault_number);
	struct open_slices *open = fault && fault->thread < p->rows.thread_count ? &p->threads[fault->thread] : NULL;

	if (!open || !open->fault || open->fault_number != fault_number)
		return;
	open->writes++;
	begin_timed(p, "s", open->process, fault->thread + 1ull, fact->time);
	fprintf(p->to, ",\"cat\":\"write\",\"name\":\"fault to write\",\"id\":%" PRIu64 "}", number);
	begin_timed(p, "f", process, to, fact->time);
	fprintf(p->to, ",\"cat\":\"write\",\"name\":\"fault to write\",\"id\":%" PRIu64 "}", number);
}

static void put_write(struct perfetto *p, uint64_t number, const struct fact *fact, unsigned process)
{
	uint64_t thread = table_thread(p, fact, process);
	const char *what = fact->kind == FACT_FOUND ? "found" : fact->kind == FACT_SET ? "set"
	                                                                               : series_write_name(series_write_kind(fact));

	put_flow(p, number, fact, process, thread);
	begin_timed(p, "X", process, thread, fact->time);
	fprintf(p->to, ",\"dur\":0,\"cat\":\"write\",\"name\":\"%s", what);
	if (fact->kind != FACT_FOUND && column_info[COLUMN_CAUSE].label(fact->cause))
		fprintf(p->to, ": %s", fact_cause_name(fact->cause));
	putc('"', p->to);
	put_arguments(p, number);
	putc('}', p->to);
}

static void put_loss(struct perfetto *p, uint64_t number, const struct fact *fact)
{
	end_all(p, fact->time);
	name_process(p, NO_VM);
	begin_timed(p, "i", NO_VM, NO_THREAD, fact->time);
	fputs(",\"s\":\"g\",\"cat\":\"lost\",\"name\":\"", p->to);
	if (fact->a)
		fprintf(p->to, "%" PRIu64 " events lost\"", fact->a);
	else
		fputs("events lost\"", p->to);
	put_arguments(p, number);
	putc('}', p->to);
}

/* ---- facts ---------------------------------------------------------------------------------------- */

static void put_fact(struct perfetto *p, uint64_t number)
{
	const struct fact *fact = model_fact(p->rows.ask->model, number);
	unsigned process = fact->vm == FACT_NO_VM ? NO_VM : fact->vm + 1u;
	const char *result;
	uint64_t thread;

	if (fact->kind == FACT_LOST) {
		put_loss(p, number, fact);
		return;
	}
	if (fact->kind == FACT_WRITE || fact->kind == FACT_FOUND || fact->kind == FACT_SET) {
		put_write(p, number, fact, process);
		return;
	}
	if (fact->thread >= p->rows.thread_count) {
		name_process(p, process);
		put_moment(p, number, fact, process, NO_THREAD, fact_kind_name(fact->kind));
		return;
	}
	thread = thread_of(p, fact, process);
	switch (fact->kind) {
	case FACT_FAULT:
		put_fault(p, number, fact, process, thread);
		break;
	case FACT_FAULT_END:
		result = column_info[COLUMN_RESULT].label((unsigned)fact->a);
		end_fault_slice(p, thread, fact->time, result);
		break;
	case FACT_EXIT:
		put_exit(p, number, fact, process, thread);
		break;
	case FACT_ENTRY:
		end_slices(p, thread, fact->time);
		break;
	case FACT_USER_EXIT:
		end_fault_slice(p, thread, fact->time, NULL);
		put_moment(p, number, fact, process, thread, moment_name(fact->kind));
		break;
	default:
		put_moment(p, number, fact, process, thread, moment_name(fact->kind));
		break;
	}
}

/* ---- counters --------------------------------------------------------------------------------------- */

static void begin_counter(struct perfetto *p, unsigned process, uint64_t time, const char *name)
{
	begin_timed(p, "C", process, 0, time);
	fprintf(p->to, ",\"name\":\"%s\",\"args\":{", name);
}

static void put_memory(struct perfetto *p, const struct series *s, unsigned process, unsigned step)
{
	uint64_t tables = 0;

	begin_counter(p, process, series_end_of(s, step), "mapped bytes");
	for (unsigned level = 1; level <= 3; level++)
		fprintf(p->to, "%s\"by %s pages\":%" PRIu64, level > 1 ? "," : "", text_level_span(level),
		        s->pages[level][step] * (vmmu_level_pages(level) << VMMU_PAGE_SHIFT));
	fputs("}}", p->to);
	for (unsigned level = 1; level < SERIES_LEVELS; level++)
		tables += s->tables[level][step] << VMMU_PAGE_SHIFT;
	begin_counter(p, process, series_end_of(s, step), "table bytes");
	fprintf(p->to, "\"tables\":%" PRIu64 "}}", tables);
}

static void put_rates(struct perfetto *p, const struct series *s, unsigned process, unsigned step)
{
	uint64_t begin = step ? series_end_of(s, step - 1) : s->first, end = series_end_of(s, step);
	double seconds = (double)(end > begin ? end - begin : 1) * 1e-9;

	begin_counter(p, process, begin, "faults per second");
	for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
		fprintf(p->to, "%s\"%s\":%.6g", i ? "," : "", series_fault_name(i), (double)s->faults[i][step] / seconds);
	fputs("}}", p->to);
	if (!s->exact)
		return;
	begin_counter(p, process, begin, "entry writes per second");
	for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
		fprintf(p->to, "%s\"%s\":%.6g", i ? "," : "", series_write_name(i), (double)s->writes[i][step] / seconds);
	fputs("}}", p->to);
}

/* Counters are the first third of the work at most. */
static void show_counters(void *arg, double done)
{
	const struct perfetto *p = arg;

	meter_show(p->meter, (p->vm + done) / p->vms / 3);
}

static void put_counters(struct perfetto *p)
{
	const struct ask *ask = p->rows.ask;

	p->vms = (unsigned)model_vm_count(ask->model);
	for (; p->vm < p->vms && !ferror(p->to); p->vm++) {
		struct series series;

		if (!ask->all_vms && p->vm != ask->vm)
			continue;
		name_process(p, p->vm + 1);
		series_make(&series, ask, p->vm, EXPORT_STEPS, show_counters, p);
		for (unsigned step = 0; step < series.steps; step++) {
			if (series.exact)
				put_memory(p, &series, p->vm + 1, step);
			put_rates(p, &series, p->vm + 1, step);
		}
		series_free(&series);
	}
}

/* ---- the file ---------------------------------------------------------------------------------------- */

static void put_about(const struct perfetto *p, const char *name, const char *text)
{
	if (!*text)
		return;
	fprintf(p->to, ",\"%s\":", name);
	put_quoted(text, p->to);
}

bool export_perfetto(const struct ask *ask, FILE *to, struct meter *meter)
{
	struct perfetto p = {.to = to, .meter = meter};
	const struct model_info *info = model_info(ask->model);
	uint64_t last = 0;

	rows_init(&p.rows, ask);
	map_init(&p.named, map_random_seed());
	p.threads = allocate(p.rows.thread_count * sizeof(*p.threads));
	fprintf(to, "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"tool\":\"vmmu %s\"", VMMU_VERSION);
	put_about(&p, "source_format", info->kind);
	put_about(&p, "source_machine", info->machine);
	put_about(&p, "source_clock", info->clock);
	put_about(&p, "source_tool", info->tool);
	put_about(&p, "source_damage", info->damage);
	fputs("},\n\"traceEvents\":[\n", to);
	put_counters(&p);
	for (uint64_t n = p.rows.from; n < p.rows.to && !ferror(to); n++) {
		if (row_wanted(&p.rows, n)) {
			put_fact(&p, n);
			last = model_fact(ask->model, n)->time;
		}
		if (n % FACTS_PER_LOOK == 0)
			meter_show(meter, (1 + 2 * (double)(n - p.rows.from) / (double)(p.rows.to - p.rows.from)) / 3);
	}
	end_all(&p, last);
	fputs("\n]}\n", to);
	map_free(&p.named);
	free(p.threads);
	rows_free(&p.rows);
	return !ferror(to);
}
