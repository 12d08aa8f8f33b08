/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a session: the file, what it holds, and whether it is complete. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/text.h"
#include "session.h"
#include "trace_dat.h"

enum { MUCH = 256 << 20 }; /* bytes: what takes a while to write */

static void say_counts(struct session *s, const struct count_changes *changes)
{
	bool differ = false;

	for (unsigned i = 0; i < PAGE_SIZES; i++) {
		int64_t off = s->begin.pages[i] + changes->pages[i] - s->end.pages[i];

		if ((off < 0 ? -off : off) <= changes->unsure[i])
			continue;
		differ = true;
		complain("%s: KVM counted %lld at first and %lld at the end, the events give %+lld", counts_name(i),
		         (long long)s->begin.pages[i], (long long)s->end.pages[i], (long long)changes->pages[i]);
	}
	if (!differ)
		note("the events agree with KVM's own counts: %lld, %lld, %lld pages of 4 KiB, 2 MiB, 1 GiB at the end",
		     (long long)s->end.pages[0], (long long)s->end.pages[1], (long long)s->end.pages[2]);
}

static void compare_counts(struct session *s)
{
	struct count_changes changes;

	if (!s->begin.known || !s->end.known || !s->tracing.tdp_mmu || s->lost)
		return;
	if (s->begin.nested || s->end.nested) {
		note("KVM's own counts hold the tables of guests' guests, too: not compared");
		return;
	}
	if (counts_replay(&s->tracing, s->drain, &s->begin, &s->end, &changes))
		say_counts(s, &changes);
}

static char *names_of_threads(struct session *s)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	for (size_t i = 0; to && i < s->thread_count; i++) {
		char *comm = comm_of(s->threads[i]);

		if (strcmp(comm, "?") != 0)
			fprintf(to, "%d %s\n", s->threads[i], comm);
		free(comm);
	}
	if (to)
		fclose(to);
	return text ? text : duplicate("");
}

bool session_output_usable(const struct session *s, char **error)
{
	const char *output = s->options->output;
	struct stat there;

	if (strcmp(output, "-") == 0)
		*error = duplicate("a recording cannot go to standard output: it is put together at its end, in a file (-o FILE)");
	else if (!*output)
		*error = duplicate("-o takes the name of a file");
	else if (stat(output, &there) == 0 && !S_ISREG(there.st_mode))
		*error = formatted("%s is %s, and a recording needs a file of its own", output,
		                   S_ISDIR(there.st_mode) ? "a folder" : "no regular file");
	return !*error;
}

bool session_save(struct session *s, char **error)
{
	char *names = names_of_threads(s);
	double seconds = session_seconds(s);
	int failed;
	bool ok;

	if (drain_bytes(s->drain, &failed) > MUCH)
		note("%s of events; putting %s together", text_bytes(drain_bytes(s->drain, &failed)).text,
		     s->options->output);
	/* The data is gone from the drain once it is written. */
	compare_counts(s);
	ok = trace_dat_write(s->options->output, &s->tracing, s->drain, names, s->options->stacks, error);
	free(names);
	if (!ok)
		return false;
	note("%s: %.1f s, %zu VM%s, %s of events", s->options->output, seconds, s->vms.count,
	     s->vms.count == 1 ? "" : "s", text_bytes(drain_bytes(s->drain, &failed)).text);
	if (s->lost)
		complain("%s events were LOST: the buffers of %s for each CPU were full; try a larger --buffer",
		         text_count(s->lost).text, text_bytes(s->tracing.buffer).text);
	if (!s->vms.count)
		complain("no VM was seen while the recording lasted");
	if (s->marker.refused)
		complain("%s lines about VMs and tables did not fit into the recording",
		         text_count(s->marker.refused).text);
	return true;
}
