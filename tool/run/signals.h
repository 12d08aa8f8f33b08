/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals while an emulator runs. The first one asks for an orderly end. From the
 * second one on, or after signals_expect_no_more(), the program ends within
 * SIGNALS_PATIENCE_S wherever it waits, be it in a write that nobody reads: the
 * terminal is given back and the emulator killed by the handler itself.
 */
#ifndef TOOL_SIGNALS_H
#define TOOL_SIGNALS_H

#include <sys/types.h>

#include "../base/base.h"

enum { SIGNALS_PATIENCE_S = 2 };

/* Handlers for SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGCHLD; SIGPIPE becomes EPIPE. False: *error. */
bool signals_open(char **error);
void signals_close(void);
/* Readable when one has come. -1: not open. */
int signals_fd(void);
/* Take what made it readable away. */
void signals_clear(void);
/* How many came that ask for the end, and the first of them (0: none). */
unsigned signals_count(void);
int signals_first(void);
/* The process group that the hard way out kills; 0: none. */
void signals_guard(pid_t emulator);
/* There is nothing left to end in order: the next signal is the last. */
void signals_expect_no_more(void);

#endif
