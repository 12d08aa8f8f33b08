/* SPDX-License-Identifier: BSD-2-Clause */
/* One recording while it lasts, and its parts: whom it records, the command, what is saved. */
#ifndef TOOL_RECORD_SESSION_H
#define TOOL_RECORD_SESSION_H

#include <sys/types.h>
#include <time.h>

#include "counts.h"
#include "drain.h"
#include "marker.h"
#include "record.h"
#include "snapshot.h"
#include "tracing.h"
#include "vms.h"

struct session {
	const struct record_options *options;
	struct tracing tracing;
	struct drain *drain;
	struct marker marker;
	int signals;        /* signalfd of all that end a recording, and SIGCHLD */
	pid_t command;      /* 0: none, or it has ended */
	int command_status; /* wait status */
	bool command_ended;
	int stop_signal; /* what told us to stop; 0: nothing yet */
	struct vms vms;  /* those that have been marked */
	pid_t *threads;  /* of these, marked */
	size_t thread_count;
	struct snapshot_reader *reader; /* NULL: not needed yet, or not to be had */
	char *no_reader;                /* why not */
	struct page_counts begin, end;
	struct timespec start;
	uint64_t lost;
};

double session_seconds(const struct session *s);

/* ---- subjects.c: VMs, threads, slots and tables that are recorded ---- */

/* Is it clear what to record? One VM alone needs no naming. */
bool session_choose(struct session *s, char **error);
/* The first line of the stream. */
void session_mark_recording(struct session *s);
/* New VMs and new threads go into the recording; the filter follows. */
void session_look_for_vms(struct session *s);
/* Slots come and go without an event; here they are looked at now and then. */
void session_look_for_slots(struct session *s);
/* What the kernel has noted about threads that came and went between two looks. */
void session_mark_noted_threads(struct session *s);
/* May tables and slots be read? Asked once, where there is a VM; it takes a moment. */
void session_prepare_reader(struct session *s);
/* What the VMs' tables hold before any event, or that it is not known. */
void session_find_tables(struct session *s);

/* ---- command.c: the program that is recorded ---- */

bool session_start_command(struct session *s, char **error);
/* Has it ended by itself? */
void session_reap_command(struct session *s);
/* Ask it to end, then make it. */
void session_end_command(struct session *s);

/* ---- save.c: the file and the last words ---- */

/* A recording is put together at its end and takes its name then: what stands there must be a file, or nothing. */
bool session_output_usable(const struct session *s, char **error);
bool session_save(struct session *s, char **error);

#endif
