/* SPDX-License-Identifier: BSD-2-Clause */
/* The user's terminal while the guest's console has it, and the ptys on the other side. */
#ifndef TOOL_TERMINAL_H
#define TOOL_TERMINAL_H

#include <termios.h>

#include "../base/base.h"

/* stdin passes every key to the guest. Does nothing where stdin is no terminal of ours. */
void terminal_take(void);
/* Back to what it was, whatever is still to be shown. Safe to call twice, without terminal_take, and in a signal handler. */
void terminal_give_back(void);

/* A serial line: the emulator opens `name`, we hold `master`. */
struct serial_line {
	int master;
	int slave; /* kept open, so that the line does not hang up */
	char *name;
};
bool serial_line_open(struct serial_line *line, char **error);
void serial_line_close(struct serial_line *line);

/* Keys on their way to the guest; Ctrl-A begins a command to vmmu. */
struct keys {
	bool escape; /* the last one was Ctrl-A */
};
enum key_action { KEY_NONE,
	          KEY_QUIT,
	          KEY_HELP };
/*
 * Takes one key. *pass is set when `*out` is to go to the guest. With `raw`
 * off (stdin is no terminal) everything passes.
 */
enum key_action keys_take(struct keys *keys, bool raw, char key, char *out, bool *pass);

#endif
