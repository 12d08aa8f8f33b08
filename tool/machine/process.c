/* SPDX-License-Identifier: BSD-2-Clause */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLL_US = 5000 };

static void put_at(int fd, int target, int null)
{
	if (dup2(fd >= 0 ? fd : null, target) < 0)
		_exit(127);
}

static void become(const struct process_setup *setup, pid_t parent)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A group of its own: what the terminal sends us is ours to act on. */
	setpgid(0, 0);
	if (getppid() != parent)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setup->folder && chdir(setup->folder) != 0)
		_exit(127);
	if (setup->term)
		setenv("TERM", setup->term, 1);
	if (setup->scratch)
		setenv("TMPDIR", setup->scratch, 1);
	put_at(setup->in, STDIN_FILENO, null);
	put_at(setup->out, STDOUT_FILENO, null);
	put_at(setup->err, STDERR_FILENO, null);
	execv(setup->argv[0], setup->argv);
	_exit(127);
}

pid_t process_start(const struct process_setup *setup)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(setup, parent);
	return pid;
}

/* Wait status, or -1 when it still runs after `timeout_ms`. */
static int wait_for(pid_t pid, unsigned timeout_ms)
{
	for (unsigned waited = 0;; waited += POLL_US / 1000) {
		int status;
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return status;
		if ((got < 0 && errno != EINTR) || waited >= timeout_ms)
			return -1;
		usleep(POLL_US);
	}
}

void process_stop(pid_t pid, unsigned patience_ms)
{
	if (pid <= 0)
		return;
	/* Its whole group: it may be a script around the real program. */
	kill(-pid, SIGTERM);
	if (wait_for(pid, patience_ms) >= 0)
		return;
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int process_run(char *const *argv, const char *folder, const char *log, unsigned timeout_ms)
{
	struct process_setup setup = {
		.argv = argv,
		.folder = folder,
		.in = -1,
		.out = -1,
		.err = -1,
		.scratch = folder ? "." : NULL, /* its own path may have signs that mean something: "=" to xorriso */
	};
	int status;
	pid_t pid;

	if (log)
		setup.out = setup.err = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	pid = process_start(&setup);
	if (setup.out >= 0)
		close(setup.out);
	if (pid < 0)
		return -1;
	status = wait_for(pid, timeout_ms);
	if (status < 0)
		process_stop(pid, 0);
	return status;
}
