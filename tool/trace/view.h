/* SPDX-License-Identifier: BSD-2-Clause */
/* What `vmmu trace`, `walk` and `dump` share: their file, options and symbols. */
#ifndef TOOL_VIEW_H
#define TOOL_VIEW_H

#include <argp.h>

#include "../base/moment.h"
#include "../base/text.h"
#include "../symbols/symbols.h"
#include "replay.h"
#include "trace_file.h"

enum moment_kind { MOMENT_END,
	           MOMENT_TIME,
	           MOMENT_RECORD,
	           MOMENT_FAULT,
	           MOMENT_PHASE };

struct view {
	/* options */
	const char *path;
	const char *symbols_path;
	const char *kernel_path;
	enum colour_mode colour;
	uint64_t vm; /* UINT64_MAX: the first one */
	enum moment_kind moment;
	struct moment at;
	uint64_t at_number; /* record, fault or phase */
	bool no_symbols;    /* the command names no functions */
	bool whole_lines;   /* not cut where the terminal ends */
	bool growing;       /* of what comes through a pipe, only the header is waited for */
	/* made by view_open */
	struct trace_file trace;
	struct symbols symbols;
	const struct palette *palette;
	char *machine;     /* for headings, as it may be shown; "" when not known */
	uint64_t *faults;  /* made by view_index_faults */
	char *kernel_name; /* the same; NULL when not known */
	char *guest_line;  /* the guest's command line; NULL when not known */
};

void view_init(struct view *view);
/* FILE, --symbols, --kernel, --color, --vm. `input` of this child parser is the view. */
extern const struct argp view_argp;
/* --at, --at-record, --at-fault, --at-phase; also with the view as input. */
extern const struct argp moment_argp;

/* Open the trace and load symbols. False: the user has been told. */
bool view_open(struct view *view);
void view_close(struct view *view);

/*
 * How many records of the sorted trace lie before or at the moment; *label is
 * how to call it in a heading (caller frees). False: there is no such moment,
 * and the user has been told.
 */
bool view_moment(const struct view *view, uint64_t *records, char **label);

/* The VM that --vm names, once `replay` has seen it. NULL: the user has been told. */
struct replay_vm *view_vm(const struct view *view, const struct replay *replay);

/* Find out once for all records of the sorted trace which fault each belongs to. */
void view_index_faults(struct view *view);
/* The kvm_page_fault record that record `number` belongs to, or NULL. Needs the index. */
const struct vmmu_trace_record *view_fault_of(const struct view *view, uint64_t number);

#endif
