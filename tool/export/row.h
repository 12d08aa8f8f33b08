/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is exported of each fact: named columns, one list for all formats
 * (docs/export.md). A format asks here what a fact has and how it is written.
 */
#ifndef TOOL_EXPORT_ROW_H
#define TOOL_EXPORT_ROW_H

#include "../question/ask.h"

enum column {
	/* every fact's */
	COLUMN_NUMBER,
	COLUMN_TIME,
	COLUMN_EVENT,
	COLUMN_VM,
	COLUMN_VCPU,
	COLUMN_TID,
	COLUMN_THREAD,
	COLUMNS_COMMON,
	/* what its kind has beside */
	COLUMN_ADDRESS = COLUMNS_COMMON,
	COLUMN_LEVEL,
	COLUMN_ROOT,
	COLUMN_TABLE,
	COLUMN_OLD,
	COLUMN_NEW,
	COLUMN_OLD_KIND,
	COLUMN_NEW_KIND,
	COLUMN_HPA,
	COLUMN_CAUSE,
	COLUMN_KNOWN,
	COLUMN_UNEXPLAINED,
	COLUMN_AFTER_LOSS,
	COLUMN_ORIGIN,
	COLUMN_FAULT,
	COLUMN_ACCESS,
	COLUMN_ERROR_CODE,
	COLUMN_PRESENT,
	COLUMN_PAGE_WALK,
	COLUMN_RIP,
	COLUMN_FUNCTION,
	COLUMN_RESULT,
	COLUMN_REASON,
	COLUMN_REASON_NAME,
	COLUMN_ERRNO,
	COLUMN_HVA,
	COLUMN_HVA_END,
	COLUMN_LENGTH,
	COLUMN_VALUE,
	COLUMN_SLOT,
	COLUMN_PAGES,
	COLUMN_ROLE,
	COLUMN_LOST,
	COLUMN_CPU,
	COLUMN_COUNT
};

enum column_form {
	FORM_NUMBER,
	FORM_SIGNED, /* -1 where it must have a value and has none */
	FORM_HEX,
	FORM_FLAG,  /* 0 or 1 */
	FORM_LABEL, /* one of a few names */
	FORM_TEXT,
};

struct column_info {
	const char *name;
	enum column_form form;
	const char *(*label)(unsigned value); /* FORM_LABEL; NULL: there is none of this value */
	unsigned labels;                      /* values are below */
};

extern const struct column_info column_info[COLUMN_COUNT];

/* The columns of a kind of fact beside the common ones; they end with COLUMN_COUNT. NULL: it is not exported. */
const uint8_t *row_columns(unsigned kind);

/* The facts of an export, and what stays the same for all of them. */
struct rows {
	const struct ask *ask;
	uint64_t from, to;   /* facts, of which some may not be wanted */
	uint64_t first_time; /* times count from here */
	char **threads;      /* names, as they may be shown */
	size_t thread_count;
};

/* ask->last: only the last so many. */
void rows_init(struct rows *rows, const struct ask *ask);
void rows_free(struct rows *rows);
/* Is it exported? What was lost is always told. */
bool row_wanted(const struct rows *rows, uint64_t number);
/* False: the fact has no such thing. Not for FORM_TEXT. */
bool row_value(const struct rows *rows, uint64_t number, enum column column, uint64_t *value);
/* FORM_TEXT; "" = the fact has none. Valid until the next call. */
const char *row_text(const struct rows *rows, uint64_t number, enum column column);

#endif
