/* SPDX-License-Identifier: BSD-2-Clause */
/* The program whose VMs are recorded: it is started when all is ready, and goes when the recording does. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

enum { COMMAND_PATIENCE_MS = 10000 };

bool session_start_command(struct session *s, char **error)
{
	int report[2];
	int why = 0;

	if (!s->options->command)
		return true;
	if (pipe2(report, O_CLOEXEC)) {
		*error = formatted("no pipe: %s", strerror(errno));
		return false;
	}
	s->command = fork();
	if (s->command == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGXFSZ, SIG_DFL);
		execvp(s->options->command[0], s->options->command);
		why = errno;
		if (write(report[1], &why, sizeof(why)) < 0)
			_exit(127);
		_exit(127);
	}
	close(report[1]);
	if (s->command < 0) {
		why = errno;
		s->command = 0;
	} else if (read(report[0], &why, sizeof(why)) != sizeof(why)) {
		why = 0;
	}
	close(report[0]);
	if (!why)
		return true;
	if (s->command)
		waitpid(s->command, NULL, 0);
	s->command = 0;
	*error = formatted("%s: %s", s->options->command[0], strerror(why));
	return false;
}

void session_reap_command(struct session *s)
{
	if (s->command && waitpid(s->command, &s->command_status, WNOHANG) == s->command) {
		s->command = 0;
		s->command_ended = true;
	}
}

/* Ask it to end, then make it. */
void session_end_command(struct session *s)
{
	for (int waited = 0; s->command; waited += 10) {
		if (waited == 0)
			kill(s->command, SIGTERM);
		if (waited == COMMAND_PATIENCE_MS)
			kill(s->command, SIGKILL);
		usleep(10000);
		session_reap_command(s);
	}
}
