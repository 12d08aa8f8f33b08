/* SPDX-License-Identifier: BSD-2-Clause */
/* One run of an emulator: its serial lines, the user's keys, signals and time. */
#ifndef TOOL_SESSION_H
#define TOOL_SESSION_H

#include <sys/types.h>

#include "../machine/machine.h"
#include "progress.h"
#include "terminal.h"
#include "visor_log.h"

enum session_end {
	SESSION_ENDED,         /* the visor said so; see log.end */
	SESSION_DIED,          /* the emulator ended first */
	SESSION_TIMEOUT,
	SESSION_SIGNAL,        /* a signal, or Ctrl-A x */
};

struct session {
	/* set by the caller */
	double timeout;                  /* seconds of real time; 0: none */
	bool verbose;                    /* show the visor's log lines */
	bool paced;                      /* the machine loses keys that come faster than it looks */
	const char *machine_title;       /* "Bochs" */
	FILE *log_copy;                  /* every log line also goes here; may be NULL */

	struct serial_line console, log_line, screen;
	struct visor_log log;
	struct progress progress;
	struct keys keys;

	pid_t emulator;
	int signals;                     /* signalfd */
	int wait_status;                 /* of the emulator, when SESSION_DIED */
	int signal;                      /* which, when SESSION_SIGNAL */
	bool quit;                       /* it was Ctrl-A x; then signal is SIGINT */
	bool raw;                        /* stdin is a terminal in raw mode */
	bool stdin_open;
	bool console_spoke;
	double seconds;                  /* real time from start to end */
	char pending[4096];              /* keys that the line has not taken yet */
	size_t pending_size;
	double sent_at;                  /* when the last of them went out, by progress_seconds */
};

/* Serial lines and signal handling. False: *error. */
bool session_open(struct session *session, char **error);
/* Start the emulator and serve it to the end. It no longer runs on return. False: not started; *error. */
bool session_run(struct session *session, const struct arguments *command, const char *work,
                 enum session_end *end, char **error);
void session_close(struct session *session);

#endif
