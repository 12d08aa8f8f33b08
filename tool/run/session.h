/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One run of an emulator: its serial lines, the user's keys, signals and time, in
 * one loop that waits for nothing but all of them at once.
 *
 * The guest may end by itself. Time, a signal, Ctrl-A x or output that cannot be
 * written make the session ask the visor to end it (docs/visor.md); a visor that
 * does not answer is not waited for. The time limit is the guest's: it does not
 * run while the visor writes its report.
 */
#ifndef TOOL_SESSION_H
#define TOOL_SESSION_H

#include <sys/types.h>

#include "../machine/machine.h"
#include "outlet.h"
#include "progress.h"
#include "terminal.h"
#include "visor_log.h"

enum session_end {
	SESSION_ENDED, /* the visor said so; see log.end */
	SESSION_DIED,  /* the emulator ended first */
	SESSION_TIMEOUT,
	SESSION_SIGNAL, /* a signal, or Ctrl-A x */
	SESSION_OUTPUT, /* the console could not be written; see output.error */
	SESSION_STUCK,  /* the guest ended, the visor's report did not come to its end */
};

enum session_stage {
	STAGE_GUEST,  /* the machine starts, the guest runs */
	STAGE_ASKED,  /* the visor has been asked to end the guest */
	STAGE_REPORT, /* the guest has ended, the visor looks through its tables */
	STAGE_REST,   /* all has been said; what is on its way still comes */
	STAGE_OVER,
};

struct session {
	/* set by the caller */
	double timeout;            /* seconds of real time; 0: none */
	bool verbose;              /* show the visor's log lines */
	bool paced;                /* the machine loses keys that come faster than it looks */
	const char *machine_title; /* "Bochs" */
	FILE *log_copy;            /* every log line also goes here; may be NULL */

	struct serial_line console, log_line, screen;
	struct visor_log log;
	struct progress progress;
	struct keys keys;

	enum session_stage stage;
	enum session_end end;         /* why it ends; set when it leaves STAGE_GUEST */
	double stage_began, heard_at; /* by progress_seconds: the stage, and the last byte of the visor's log */
	unsigned signals_seen;
	struct outlet output; /* standard output */
	bool output_told;     /* its error has been acted on */
	bool log_failed;      /* log_copy could not be written */

	pid_t emulator;
	int wait_status; /* of the emulator, when SESSION_DIED */
	int signal;      /* which, when SESSION_SIGNAL */
	bool quit;       /* it was Ctrl-A x; then signal is SIGINT */
	bool raw;        /* stdin is a terminal in raw mode */
	bool stdin_open;
	bool console_spoke;
	double seconds;     /* real time from start to end */
	char pending[4096]; /* keys that the line has not taken yet */
	size_t pending_size;
	bool leak_told; /* that the machine does not isolate the guest */
	double sent_at; /* when the last of them went out, by progress_seconds */
};

/* Serial lines and signal handling. False: *error. */
bool session_open(struct session *session, char **error);
/* Start the emulator and serve it to session->end. It no longer runs on return. False: not started; *error. */
bool session_run(struct session *session, const struct arguments *command, const char *work, char **error);
void session_close(struct session *session);

#endif
