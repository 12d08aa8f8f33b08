/* SPDX-License-Identifier: BSD-2-Clause */
#include "gnuplot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../machine/process.h"

enum { POLL_US = 5000,
       COMPLAINT = 4096 };

char *gnuplot_program(char **error)
{
	char *program = find_program("gnuplot", NULL);

	if (!program)
		*error = duplicate("gnuplot is not installed; Debian has it in the package gnuplot-nox "
		                   "(--format gnuplot needs none: it writes what gnuplot would be told)");
	return program;
}

FILE *gnuplot_script(void)
{
	int fd = memfd_create("script", MFD_CLOEXEC);

	return fd >= 0 ? fdopen(fd, "w+") : NULL;
}

static bool read_all(int fd, size_t most, struct bytes *out)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size < 0)
		return false;
	if ((uint64_t)size > most)
		size = (off_t)most;
	out->data = allocate((size_t)size + 1);
	out->size = read_at(fd, out->data, (size_t)size, 0);
	return true;
}

/* The line in which gnuplot says what is wrong: it shows the command and points at a place in it first. */
static char *complaint_of(int fd)
{
	struct bytes said = {0};
	char *line = NULL, *save = NULL, *shown;

	if (read_all(fd, COMPLAINT, &said))
		for (char *each = strtok_r((char *)said.data, "\n", &save); each; each = strtok_r(NULL, "\n", &save))
			line = strspn(each, " \t^") == strlen(each) ? line : each;
	shown = printable(line ? line + strspn(line, " \t") : "");
	bytes_free(&said);
	return shown;
}

/* The wait status of a child. */
static int wait_for_end(pid_t pid, struct meter *meter)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
		meter_show(meter, -1);
		usleep(POLL_US);
	}
	return got == pid ? status : -1;
}

static bool run(const char *program, int script, int out, int err, struct meter *meter, char **error)
{
	static char settings[] = "-d"; /* no file of the user's is read */
	char *argv[] = {(char *)program, settings, NULL};
	struct process_setup setup = {.argv = argv, .in = script, .out = out, .err = err};
	pid_t pid = lseek(script, 0, SEEK_SET) == 0 ? process_start(&setup) : -1;
	int status;

	if (pid < 0) {
		*error = formatted("gnuplot cannot be started: %s", strerror(errno));
		return false;
	}
	status = wait_for_end(pid, meter);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		char *said = complaint_of(err);

		*error = WIFEXITED(status) ? formatted("gnuplot ended with status %d%s%s", WEXITSTATUS(status), *said ? ": " : "", said)
		                           : formatted("gnuplot was ended by signal %d", WTERMSIG(status));
		free(said);
		return false;
	}
	return true;
}

bool gnuplot_draw(const char *program, FILE *script, struct bytes *picture, struct meter *meter, char **error)
{
	int out = memfd_create("picture", MFD_CLOEXEC), err = memfd_create("complaints", MFD_CLOEXEC);
	bool ok = out >= 0 && err >= 0 && fflush(script) == 0;

	*picture = (struct bytes){0};
	if (!ok)
		*error = formatted("gnuplot cannot be started: %s", strerror(errno));
	ok = ok && run(program, fileno(script), out, err, meter, error);
	if (ok && (!read_all(out, SIZE_MAX, picture) || !picture->size)) {
		char *said = complaint_of(err);

		*error = formatted("gnuplot has drawn nothing%s%s", *said ? ": " : "", said);
		free(said);
		ok = false;
	}
	if (out >= 0)
		close(out);
	if (err >= 0)
		close(err);
	return ok;
}
