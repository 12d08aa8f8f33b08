/* SPDX-License-Identifier: BSD-2-Clause */
/* One `vmmu run`: what was asked for, what came of it, and how that is told. */
#ifndef TOOL_RUN_H
#define TOOL_RUN_H

#include "../base/text.h"
#include "../run/session.h"
#include "../run/trace_disk.h"
#include "boot_options.h"

struct run {
	struct boot_options boot;
	enum machine_kind machine;
	const char *trace, *report, *log;
	uint64_t trace_size;
	double timeout;
	bool quiet, verbose, keep, dry_run;
	enum colour_mode colour;

	char *work;       /* temporary folder */
	char *trace_path; /* absolute */
	struct machine_plan plan;
	struct arguments command;
	struct session session;
	struct trace_disk disk;
	bool over; /* session.end and status are known */
	int status;
	uint64_t trace_records, trace_dropped;
};

/* "Bochs", "QEMU" */
const char *run_machine_title(enum machine_kind machine);
/* FILE.json beside the trace, and --report, with what is known so far. False: the user has been told. */
bool run_write_facts(const struct run *run);
/* From how the session ended to run->status, with whatever the user should be told about it. */
void run_judge(struct run *run);
/* The summary on stderr. */
void run_report(struct run *run);

#endif
