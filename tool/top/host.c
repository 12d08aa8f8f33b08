/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's own KVM: its events in a tracefs instance of ours, read as text while they come. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../record/session.h"
#include "top.h"

struct host {
	struct record_options options;
	struct session session;
};

static bool begin(struct session *s, char **error)
{
	struct tracing_wish wish = {.exits = s->options->exits};
	struct vms already = vms_now();

	/* Before anything is traced: it takes a moment. */
	if (already.count)
		session_prepare_reader(s);
	vms_free(&already);
	if (!tracing_open(&s->tracing, &wish, error))
		return false;
	if (!marker_open(&s->marker, &s->tracing) || !tracing_on(&s->tracing, true)) {
		*error = formatted("tracing cannot be switched on: %s", strerror(errno));
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &s->start);
	session_mark_recording(s);
	session_look_for_vms(s);
	if (!tracing_events_on(&s->tracing, error))
		return false;
	session_find_tables(s);
	return true;
}

struct host *host_open(bool exits, char **path, char **error)
{
	struct host *host;
	char *file;

	if (!tracing_usable(error))
		return NULL;
	tracing_remove_leftovers();
	host = allocate(sizeof(*host));
	host->options = (struct record_options){.all = true, .snapshot = true, .exits = exits, .output = ""};
	host->session = (struct session){.options = &host->options, .signals = -1, .marker = {.fd = -1}};
	if (!begin(&host->session, error)) {
		host_close(host);
		return NULL;
	}
	file = tracefs_instance_get_file(host->session.tracing.instance, "trace_pipe");
	*path = duplicate(file ? file : "");
	tracefs_put_tracing_file(file);
	return host;
}

void host_look(struct host *host)
{
	session_look_for_vms(&host->session);
	session_look_for_slots(&host->session);
}

void host_close(struct host *host)
{
	struct session *s = &host->session;

	marker_close(&s->marker);
	tracing_close(&s->tracing);
	snapshot_close(s->reader);
	free(s->no_reader);
	vms_free(&s->vms);
	free(s->threads);
	free(host);
}
