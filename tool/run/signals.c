/* SPDX-License-Identifier: BSD-2-Clause */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "terminal.h"

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static int wake[2] = {-1, -1};
static volatile sig_atomic_t count, first, last_chance, guarded;

/* All that the handlers call is async-signal-safe (POSIX.1-2017, 2.4.3). */
static void hard_end(int number)
{
	(void)number;
	terminal_give_back();
	if (guarded > 0)
		kill(-(pid_t)guarded, SIGKILL);
	_exit(128 + first);
}

static void wake_up(void)
{
	ssize_t ignored = write(wake[1], "", 1);

	(void)ignored; /* a full pipe wakes just as well */
}

static void on_end(int number)
{
	int saved = errno;

	if (!first)
		first = number;
	if (count++ || last_chance)
		alarm(SIGNALS_PATIENCE_S);
	wake_up();
	errno = saved;
}

static void on_child(int number)
{
	int saved = errno;

	(void)number;
	wake_up();
	errno = saved;
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigemptyset(&action.sa_mask);
	sigaction(number, &action, NULL);
}

bool signals_open(char **error)
{
	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) {
		*error = formatted("no pipe for signals: %s", strerror(errno));
		return false;
	}
	count = first = last_chance = guarded = 0;
	/* Without SA_RESTART: a write that waits for its reader comes back. */
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		handle(ending[i], on_end, 0);
	handle(SIGALRM, hard_end, 0);
	handle(SIGCHLD, on_child, SA_RESTART);
	signal(SIGPIPE, SIG_IGN);
	return true;
}

void signals_close(void)
{
	if (wake[0] < 0)
		return;
	/* Those that end a program stay: what is still written may wait for a reader. */
	handle(SIGCHLD, SIG_DFL, 0);
	close(wake[0]);
	close(wake[1]);
	wake[0] = wake[1] = -1;
}

int signals_fd(void)
{
	return wake[0];
}

void signals_clear(void)
{
	char bytes[64];

	while (read(wake[0], bytes, sizeof(bytes)) > 0)
		continue;
}

unsigned signals_count(void)
{
	return (unsigned)count;
}

int signals_first(void)
{
	return first;
}

void signals_guard(pid_t emulator)
{
	guarded = emulator;
}

void signals_expect_no_more(void)
{
	last_chance = 1;
}
