/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool output_open(struct output *output, const char *path, char **error)
{
	struct stat st;
	int fd;

	*output = (struct output){.path = duplicate(path)};
	*error = NULL;
	if (strcmp(path, "-") == 0) {
		output->file = stdout;
		return true;
	}
	/* A pipe or /dev/null cannot be replaced by a new file. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		fd = S_ISDIR(st.st_mode) ? (errno = EISDIR, -1) : open(path, O_WRONLY | O_CLOEXEC);
	} else {
		output->partial = formatted("%s.partial-%ld", path, (long)getpid());
		fd = open(output->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	}
	output->file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (output->file)
		return true;
	*error = formatted("%s cannot be written: %s", path, strerror(errno));
	if (fd < 0) {
		free(output->partial);
		output->partial = NULL;
	} else {
		close(fd);
	}
	output_drop(output);
	return false;
}

void output_drop(struct output *output)
{
	if (output->file && output->file != stdout)
		fclose(output->file);
	if (output->partial)
		unlink(output->partial);
	free(output->partial);
	free(output->path);
	*output = (struct output){0};
}

bool output_finish(struct output *output, char **error)
{
	bool ok = fflush(output->file) == 0 && !ferror(output->file);

	*error = NULL;
	if (output->file != stdout) {
		ok = fclose(output->file) == 0 && ok;
		output->file = NULL;
	}
	if (ok && output->partial) {
		ok = rename(output->partial, output->path) == 0;
		if (ok) {
			free(output->partial);
			output->partial = NULL;
		}
	}
	if (!ok)
		*error = formatted("%s cannot be written: %s", output->path, strerror(errno));
	output_drop(output);
	return ok;
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
