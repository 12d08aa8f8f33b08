/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what a signal must take away -------------------------------------------------------- */

enum { UNFINISHED_MAX = 8 };

/* Paths of what is not whole yet, files before the folders that hold them. */
static struct {
	char *paths[UNFINISHED_MAX];
	volatile sig_atomic_t count;
} unfinished;

static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGPIPE, SIGTERM, SIGXCPU, SIGALRM};
static struct sigaction before[ARRAY_SIZE(deadly)];
static bool guarded;

void output_remove_unfinished(void)
{
	for (int i = 0; i < unfinished.count; i++)
		if (unlink(unfinished.paths[i]) != 0)
			rmdir(unfinished.paths[i]);
}

static void on_deadly_signal(int number)
{
	output_remove_unfinished();
	/* SA_RESETHAND: this time it is the default. */
	raise(number);
}

static void guard(void)
{
	struct sigaction action = {.sa_handler = on_deadly_signal, .sa_flags = SA_RESETHAND};
	static bool at_exit;

	if (!at_exit)
		atexit(output_remove_unfinished);
	at_exit = true;
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
		sigaction(deadly[i], NULL, &before[i]);
		/* nohup */
		if (before[i].sa_handler != SIG_IGN)
			sigaction(deadly[i], &action, NULL);
	}
	guarded = true;
}

static void end_guard(void)
{
	if (guarded) {
		for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
			sigaction(deadly[i], &before[i], NULL);
	}
	guarded = false;
	while (unfinished.count) {
		char *path = unfinished.paths[unfinished.count - 1];

		unfinished.count--;
		free(path);
	}
}

static void add_unfinished(char *path)
{
	if (unfinished.count == UNFINISHED_MAX) {
		free(path);
		return;
	}
	unfinished.paths[unfinished.count] = path;
	unfinished.count++;
}

/* ---- files ----------------------------------------------------------------------------------- */

char *output_name(const char *path)
{
	return strcmp(path, "-") == 0 ? duplicate("standard output") : printable(path);
}

static bool cannot_write(struct output *output, int why, char **error)
{
	char *name = output_name(output->path);

	*error = formatted("%s cannot be written: %s", name, strerror(why));
	free(name);
	output_drop(output);
	return false;
}

/* A symbolic link stays what it is. */
static char *without_links(const char *path)
{
	char *real = realpath(path, NULL);
	char *target = duplicate(real ? real : path);

	free(real);
	return target;
}

bool output_open(struct output *output, const char *path, char **error)
{
	mode_t mode = 0;
	struct stat st;
	int fd;

	*output = (struct output){.path = duplicate(path)};
	*error = NULL;
	if (strcmp(path, "-") == 0) {
		output->file = stdout;
		return true;
	}
	output->target = without_links(path);
	if (stat(path, &st) != 0) {
		if (errno != ENOENT)
			return cannot_write(output, errno, error);
	} else if (S_ISDIR(st.st_mode)) {
		return cannot_write(output, EISDIR, error);
	} else if (access(path, W_OK) != 0) {
		return cannot_write(output, errno, error);
	} else if (S_ISREG(st.st_mode)) {
		mode = st.st_mode & 07777;
	} else {
		/* A pipe or /dev/null cannot be replaced by a new file. */
		fd = open(path, O_WRONLY | O_CLOEXEC);
		output->file = fd >= 0 ? fdopen(fd, "w") : NULL;
		return output->file ? true : cannot_write(output, errno, error);
	}
	output->partial = formatted("%s.partial-%ld", output->target, (long)getpid());
	add_unfinished(duplicate(output->partial));
	guard();
	fd = open(output->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0 && mode)
		(void)!fchmod(fd, mode);
	output->file = fd >= 0 ? fdopen(fd, "w") : NULL;
	return output->file ? true : cannot_write(output, errno, error);
}

/* False: errno says why not. */
static bool is_missing_or_empty(const char *path)
{
	const struct dirent *entry;
	bool empty = true;
	DIR *folder = opendir(path);

	if (!folder)
		return errno == ENOENT;
	while ((entry = readdir(folder)))
		empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
	closedir(folder);
	errno = ENOTEMPTY;
	return empty;
}

bool output_open_folder(struct output *output, const char *path, const char *const *names, char **error)
{
	struct stat st;
	size_t length;

	*output = (struct output){.path = duplicate(path), .target = without_links(path)};
	*error = NULL;
	if (lstat(output->target, &st) == 0 && !S_ISDIR(st.st_mode))
		return cannot_write(output, EEXIST, error);
	/* rename() takes an empty folder's place and no other's: better said now than at the end. */
	if (!is_missing_or_empty(output->target))
		return cannot_write(output, errno, error);
	length = strlen(output->target);
	while (length > 1 && output->target[length - 1] == '/')
		output->target[--length] = '\0';
	output->partial = formatted("%s.partial-%ld", output->target, (long)getpid());
	output->contents = formatted("%s/made", output->partial);
	for (; *names; names++)
		add_unfinished(formatted("%s/%s", output->contents, *names));
	add_unfinished(duplicate(output->contents));
	add_unfinished(duplicate(output->partial));
	guard();
	return mkdir(output->partial, 0777) == 0 ? true : cannot_write(output, errno, error);
}

void output_drop(struct output *output)
{
	if (output->file && output->file != stdout)
		fclose(output->file);
	if (output->partial) {
		output_remove_unfinished();
		end_guard();
	}
	free(output->contents);
	free(output->partial);
	free(output->target);
	free(output->path);
	*output = (struct output){0};
}

/* A library may have made a folder's files for its user alone. */
static void open_to_all(const struct output *output)
{
	size_t length = output->contents ? strlen(output->contents) : 0;
	mode_t mask = umask(0);

	umask(mask);
	for (int i = 0; i < unfinished.count; i++)
		if (length && strncmp(unfinished.paths[i], output->contents, length) == 0 && unfinished.paths[i][length] == '/')
			(void)!chmod(unfinished.paths[i], 0666 & ~mask);
}

/* Gives it its name; what is left of a folder's place of making goes with the rest. */
static bool put_in_place(struct output *output)
{
	if (!output->partial)
		return true;
	open_to_all(output);
	return rename(output->contents ? output->contents : output->partial, output->target) == 0;
}

bool output_finish(struct output *output, char **error)
{
	bool ok = true;

	*error = NULL;
	errno = 0;
	if (output->file) {
		ok = fflush(output->file) == 0 && !ferror(output->file);
		if (output->file != stdout) {
			ok = fclose(output->file) == 0 && ok;
			output->file = NULL;
		}
	}
	ok = ok && put_in_place(output);
	if (!ok)
		return cannot_write(output, errno ? errno : EIO, error);
	output_drop(output);
	return true;
}

char *output_beside(const char *trace, const char *ending, const char *fallback)
{
	static const char *const endings[] = {".gz", ".zst", ".trace", ".dat", ".data", ".txt"};
	char *name, *out;

	if (strcmp(trace, "-") == 0)
		return formatted("%s%s", fallback, ending);
	name = duplicate(trace);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t size = strlen(name), end = strlen(endings[i]);

		if (size > end && name[size - end - 1] != '/' && strcmp(name + size - end, endings[i]) == 0)
			name[size - end] = '\0';
	}
	out = formatted("%s%s", name, ending);
	free(name);
	return out;
}
