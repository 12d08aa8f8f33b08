/* SPDX-License-Identifier: BSD-2-Clause */
#include "progress.h"

#include <string.h>
#include <unistd.h>

void progress_start(struct progress *progress, bool on)
{
	*progress = (struct progress){.on = on, .live = isatty(STDERR_FILENO)};
	clock_gettime(CLOCK_MONOTONIC, &progress->start);
}

double progress_seconds(const struct progress *progress)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - progress->start.tv_sec) +
	       (double)(now.tv_nsec - progress->start.tv_nsec) / 1e9;
}

void progress_tick(struct progress *progress)
{
	if (!progress->on || !progress->live || !progress->stage[0])
		return;
	fprintf(stderr, "\r\033[K[%3.0f s] %s", progress_seconds(progress), progress->stage);
	fflush(stderr);
	progress->drawn = true;
}

void progress_stage(struct progress *progress, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(progress->stage, sizeof(progress->stage), format, arguments);
	va_end(arguments);
	if (!progress->on)
		return;
	if (progress->live)
		progress_tick(progress);
	else
		fprintf(stderr, "vmmu: [%.1f s] %s\n", progress_seconds(progress), progress->stage);
}

void progress_end(struct progress *progress)
{
	if (progress->drawn) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
	progress->drawn = false;
	progress->stage[0] = '\0';
}
