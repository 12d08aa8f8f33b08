/* SPDX-License-Identifier: BSD-2-Clause */
/* Comma-separated values as in RFC 4180: lines end with CR LF, a text with a comma or a quote is quoted. */
#include <string.h>

#include "../series/series.h"
#include "export.h"
#include "row.h"

enum { FACTS_PER_LOOK = 1 << 12 };

/* ---- fields ------------------------------------------------------------------------------- */

static void put_text(const char *text, FILE *to)
{
	if (!strpbrk(text, ",\"\r\n") && *text != ' ') {
		fputs(text, to);
		return;
	}
	putc('"', to);
	for (; *text; text++) {
		if (*text == '"')
			putc('"', to);
		putc(*text, to);
	}
	putc('"', to);
}

/* Seconds with all nine digits: a nanosecond is not lost. */
static void put_time(uint64_t ns, FILE *to)
{
	fprintf(to, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

/* Since the first event, or of the recording's clock. */
static uint64_t shown_time(const struct ask *ask, uint64_t first, uint64_t time)
{
	if (ask->host_clock)
		return time;
	return time > first ? time - first : 0;
}

/* ---- facts --------------------------------------------------------------------------------- */

static void put_column(const struct rows *rows, uint64_t number, enum column column, FILE *to)
{
	const struct column_info *info = &column_info[column];
	uint64_t value;

	if (info->form == FORM_TEXT) {
		put_text(row_text(rows, number, column), to);
		return;
	}
	if (!row_value(rows, number, column, &value))
		return;
	if (column == COLUMN_TIME)
		put_time(shown_time(rows->ask, rows->first_time, value), to);
	else if (info->form == FORM_HEX)
		fprintf(to, "0x%" PRIx64, value);
	else if (info->form == FORM_LABEL)
		fputs(info->label((unsigned)value), to);
	else if (info->form == FORM_SIGNED)
		fprintf(to, "%" PRId64, (int64_t)value);
	else
		fprintf(to, "%" PRIu64, value);
}

static void put_row(const struct rows *rows, uint64_t number, FILE *to)
{
	const uint8_t *own = row_columns(model_fact(rows->ask->model, number)->kind);
	bool there[COLUMN_COUNT] = {false};

	for (; *own != COLUMN_COUNT; own++)
		there[*own] = true;
	for (enum column column = 0; column < COLUMN_COUNT; column++) {
		if (column)
			putc(',', to);
		if (column < COLUMNS_COMMON || there[column])
			put_column(rows, number, column, to);
	}
	fputs("\r\n", to);
}

bool export_csv(const struct ask *ask, FILE *to, struct meter *meter)
{
	struct rows rows;

	rows_init(&rows, ask);
	for (enum column column = 0; column < COLUMN_COUNT; column++)
		fprintf(to, "%s%s", column ? "," : "", column_info[column].name);
	fputs("\r\n", to);
	for (uint64_t n = rows.from; n < rows.to && !ferror(to); n++) {
		if (row_wanted(&rows, n))
			put_row(&rows, n, to);
		if (n % FACTS_PER_LOOK == 0)
			meter_show(meter, (double)(n - rows.from) / (double)(rows.to - rows.from));
	}
	rows_free(&rows);
	return !ferror(to);
}

/* ---- curves --------------------------------------------------------------------------------- */

/* A name as a column has it: "page walk" is page_walk. */
static void put_name(const char *prefix, const char *name, FILE *to)
{
	fprintf(to, ",%s", prefix);
	for (; *name; name++)
		putc(*name == ' ' || *name == '-' ? '_' : *name, to);
}

static void put_series_head(FILE *to)
{
	fputs("time,vm,pages_4k,pages_2m,pages_1g,mapped_bytes,table_bytes", to);
	for (unsigned level = 1; level < SERIES_LEVELS; level++)
		fprintf(to, ",tables_level_%u", level);
	for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
		put_name("faults_", series_fault_name(i), to);
	for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
		put_name("writes_", series_write_name(i), to);
	fputs(",exits\r\n", to);
}

/* Nothing where it is not known. */
static void put_count(bool known, uint64_t count, FILE *to)
{
	putc(',', to);
	if (known)
		fprintf(to, "%" PRIu64, count);
}

static void put_step(const struct ask *ask, const struct series *s, unsigned vm, unsigned step, FILE *to)
{
	uint64_t mapped = 0, tables = 0, exits = 0;

	put_time(shown_time(ask, model_first_time(ask->model), series_end_of(s, step)), to);
	fprintf(to, ",%u", vm + 1);
	for (unsigned level = 1; level <= 3; level++) {
		put_count(s->exact, s->pages[level][step], to);
		mapped += s->pages[level][step] * (vmmu_level_pages(level) << VMMU_PAGE_SHIFT);
	}
	for (unsigned level = 1; level < SERIES_LEVELS; level++)
		tables += s->tables[level][step] << VMMU_PAGE_SHIFT;
	put_count(s->exact, mapped, to);
	put_count(s->exact, tables, to);
	for (unsigned level = 1; level < SERIES_LEVELS; level++)
		put_count(s->exact, s->tables[level][step], to);
	for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
		put_count(true, s->faults[i][step], to);
	for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
		put_count(s->exact, s->writes[i][step], to);
	for (size_t i = 0; i < s->exit_count; i++)
		exits += s->exits[i].counts[step];
	put_count(s->any_exit, exits, to);
	fputs("\r\n", to);
}

struct share {
	struct meter *meter;
	unsigned vm, vms;
};

static void show_share(void *arg, double done)
{
	const struct share *share = arg;

	meter_show(share->meter, (share->vm + done) / share->vms);
}

bool export_csv_series(const struct ask *ask, unsigned steps, FILE *to, struct meter *meter)
{
	struct share share = {.meter = meter, .vms = (unsigned)model_vm_count(ask->model)};

	put_series_head(to);
	for (; share.vm < share.vms && !ferror(to); share.vm++) {
		struct series series;

		if (!ask->all_vms && share.vm != ask->vm)
			continue;
		series_make(&series, ask, share.vm, steps, show_share, &share);
		for (unsigned step = 0; step < series.steps; step++)
			put_step(ask, &series, share.vm, step, to);
		series_free(&series);
	}
	return !ferror(to);
}
