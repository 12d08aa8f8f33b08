/* SPDX-License-Identifier: BSD-2-Clause */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CTRL_A = 1 };

static struct termios before;
static volatile sig_atomic_t taken; /* read in a signal handler */

void terminal_take(void)
{
	static bool registered;
	struct termios raw;

	/* Also when the command ends because there is no memory. */
	if (!registered)
		registered = atexit(terminal_give_back) == 0;
	/* In the background the terminal belongs to somebody else. */
	if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
	    tcgetattr(STDIN_FILENO, &before) != 0)
		return;
	raw = before;
	/* Output processing stays on: our own lines end in a plain newline. */
	raw.c_iflag &= (tcflag_t) ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	taken = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void terminal_give_back(void)
{
	if (taken)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	taken = false;
}

bool serial_line_open(struct serial_line *line, char **error)
{
	struct termios raw;
	char name[64];

	*line = (struct serial_line){.master = -1, .slave = -1};
	if (openpty(&line->master, &line->slave, name, NULL, NULL) != 0) {
		*error = formatted("no pseudo-terminal for the guest's serial line: %s", strerror(errno));
		return false;
	}
	line->name = duplicate(name);
	fcntl(line->master, F_SETFD, FD_CLOEXEC);
	fcntl(line->slave, F_SETFD, FD_CLOEXEC);
	fcntl(line->master, F_SETFL, O_NONBLOCK);
	/* Before the emulator opens it nothing must be echoed or changed. */
	if (tcgetattr(line->slave, &raw) == 0) {
		cfmakeraw(&raw);
		tcsetattr(line->slave, TCSANOW, &raw);
	}
	return true;
}

void serial_line_close(struct serial_line *line)
{
	if (line->master >= 0)
		close(line->master);
	if (line->slave >= 0)
		close(line->slave);
	free(line->name);
	*line = (struct serial_line){.master = -1, .slave = -1};
}

enum key_action keys_take(struct keys *keys, bool raw, char key, char *out, bool *pass)
{
	bool command = keys->escape;

	*out = key;
	*pass = false;
	keys->escape = raw && !command && key == CTRL_A;
	if (keys->escape)
		return KEY_NONE;
	if (!command) {
		*pass = true;
		return KEY_NONE;
	}
	switch (key) {
	case 'x':
	case 'X':
		return KEY_QUIT;
	case CTRL_A:
	case 'a':
		*out = CTRL_A;
		*pass = true;
		return KEY_NONE;
	default:
		return KEY_HELP;
	}
}
