/* SPDX-License-Identifier: BSD-2-Clause */
/* From a recording of KVM's events to an index. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/text.h"
#include "../source/source.h"
#include "index.h"

enum { EVENTS_PER_LOOK = 65536 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct progress {
	double start, next;
	bool on, shown;
};

static void show_progress(struct progress *progress, const struct source *source, const char *path, uint64_t events)
{
	double done = source_progress(source), t = now();

	if (!progress->on || t < progress->next)
		return;
	progress->next = t + 0.5;
	progress->shown = true;
	fprintf(stderr, "\rvmmu: reading %s: ", path);
	if (done >= 0)
		fprintf(stderr, "%.0f %%, ", done * 100);
	fprintf(stderr, "%s events ", text_count(events).text);
	fflush(stderr);
}

static void end_progress(const struct progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r%*s\r", 100, "");
}

static void add_fact(void *arg, const struct fact *fact)
{
	index_add(arg, fact);
}

/*
 * Which thread belongs to which process, from the whole recording, before its events are
 * taken. What came through a pipe is read again from the copy that its source keeps.
 */
static void learn_threads(struct kvm *kvm, const char *path, const struct source *taken, int file)
{
	struct source_event event;
	struct source *source;
	struct stat st;
	char *error = NULL, *copy = NULL;
	bool opened;

	if (source_file(taken) >= 0)
		file = source_file(taken);
	if (file >= 0)
		path = copy = formatted("/proc/self/fd/%d", file);
	opened = strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	         source_open(&source, path, &error);
	free(copy);
	if (!opened) {
		free(error);
		return;
	}
	while (source_next(source, &event))
		kvm_learn_thread(kvm, &event);
	source_close(source);
}

/*
 * The text of a recording of vmmu record that comes through a pipe is needed twice, like any
 * other one of its: a copy is made of it, and *copy is its open file; else -1.
 */
static bool open_source(struct source **source, const char *path, int *copy, char **error)
{
	static const char first[] = "vmmu: record version=";
	struct stream *stream;
	const uint8_t *data;
	struct stat st;
	size_t size;
	bool ok;

	*copy = -1;
	if (strcmp(path, "-") != 0 && (stat(path, &st) != 0 || S_ISREG(st.st_mode)))
		return source_open(source, path, error);
	*source = NULL;
	if (!stream_open(&stream, path, error))
		return false;
	size = stream_peek(stream, &data, STREAM_PEEK_MAX);
	if (source_kind_of(data, size) != SOURCE_TEXT || !memmem(data, size, first, sizeof(first) - 1))
		return source_open_stream(source, stream, strcmp(path, "-") ? path : "standard input", error);
	*copy = stream_to_file(stream, error);
	stream_close(stream);
	if (*copy < 0)
		return false;
	path = formatted("/proc/self/fd/%d", *copy);
	ok = source_open(source, path, error);
	free((char *)path);
	if (!ok)
		close(*copy);
	return ok;
}

static json_t *meta_of(const struct kvm *kvm, const struct source_info *source, const struct index_writer *writer)
{
	struct meta_parts parts = {
		.source = source,
		.vm_count = kvm_vm_count(kvm),
		.thread_count = kvm_thread_count(kvm),
		.record = kvm_record_line(kvm),
		.late = kvm_late(kvm),
	};
	json_t *meta;

	parts.example_count = kvm_examples(kvm, &parts.examples);
	parts.vms = allocate(parts.vm_count * sizeof(*parts.vms));
	parts.threads = allocate(parts.thread_count * sizeof(*parts.threads));
	for (size_t i = 0; i < parts.vm_count; i++)
		parts.vms[i] = kvm_vm_at(kvm, i);
	for (size_t i = 0; i < parts.thread_count; i++)
		parts.threads[i] = kvm_thread_at(kvm, i);
	meta = meta_make(&parts, writer);
	free(parts.vms);
	free(parts.threads);
	return meta;
}

bool build_from_source(struct index_writer *writer, const char *path, bool quiet, json_t **meta, char **error)
{
	struct progress progress = {.start = now(), .on = !quiet && isatty(STDERR_FILENO)};
	const char *name = strcmp(path, "-") ? path : "standard input";
	struct source_event event;
	struct source *source;
	struct kvm *kvm;
	uint64_t events = 0;
	bool learnt = false;
	int copy;

	progress.next = progress.start + 2;
	if (!open_source(&source, path, &copy, error))
		return false;
	kvm = kvm_new(add_fact, writer);
	kvm_look_ahead(kvm);
	while (source_next(source, &event) && !writer->failed) {
		if (!learnt && kvm_is_record_line(&event)) {
			learn_threads(kvm, path, source, copy);
			learnt = true;
		}
		kvm_take(kvm, &event);
		if (++events % EVENTS_PER_LOOK == 0)
			show_progress(&progress, source, name, events);
	}
	kvm_finish(kvm);
	end_progress(&progress);
	*meta = meta_of(kvm, source_info(source), writer);
	json_object_set_new(*meta, "build_seconds", json_real(now() - progress.start));
	kvm_free(kvm);
	source_close(source);
	if (copy >= 0)
		close(copy);
	return true;
}
