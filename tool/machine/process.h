/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting other programs. */
#ifndef TOOL_PROCESS_H
#define TOOL_PROCESS_H

#include <sys/types.h>

#include "../base/base.h"

struct process_setup {
	char *const *argv;
	const char *folder;  /* working directory; NULL: ours */
	int in, out, err;    /* descriptors; -1: /dev/null */
	const char *term;    /* TERM for it; NULL: ours */
	const char *scratch; /* TMPDIR for it; NULL: ours */
};

/* Process id, or -1 with errno. It is killed when we die, whatever the cause. */
pid_t process_start(const struct process_setup *setup);

/* SIGTERM, and SIGKILL when it has not gone after `patience_ms`. Reaps it. */
void process_stop(pid_t pid, unsigned patience_ms);

/*
 * Run to its end, at most `timeout_ms`; output goes to `log` (NULL: nowhere). What
 * it writes to TMPDIR goes to `folder`, if there is one.
 * Returns the wait status, or -1: not started or out of time.
 */
int process_run(char *const *argv, const char *folder, const char *log, unsigned timeout_ms);

#endif
