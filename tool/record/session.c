/* SPDX-License-Identifier: BSD-2-Clause */
/* One recording from its options to its end: the order of it all. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/exit_status.h"
#include "../base/text.h"
#include "session.h"

enum {
	RESCAN_MS = 200,      /* new VMs and threads are looked for so often ... */
	RESCAN_FIRST_MS = 10, /* ... and so often while a command may be starting some */
	FIRST_SECONDS = 3,
};

double session_seconds(const struct session *s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - s->start.tv_sec) + (double)(now.tv_nsec - s->start.tv_nsec) / 1e9;
}

static bool catch_signals(struct session *s, char **error)
{
	sigset_t set;

	sigemptyset(&set);
	for (const int *signal_number = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, 0}; *signal_number;
	     signal_number++)
		sigaddset(&set, *signal_number);
	/* Before any thread is made, so that none of them takes one. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		*error = formatted("no signalfd: %s", strerror(errno));
	return s->signals >= 0;
}

static void take_signals(struct session *s)
{
	struct signalfd_siginfo signal_info;

	while (read(s->signals, &signal_info, sizeof(signal_info)) == sizeof(signal_info))
		if (signal_info.ssi_signo != SIGCHLD)
			s->stop_signal = (int)signal_info.ssi_signo;
	session_reap_command(s);
}

/* The only VM asked for, or the last of them, is gone. */
static bool nobody_left(struct session *s)
{
	if (s->options->command || s->options->all)
		return false;
	for (size_t i = 0; i < s->vms.count; i++)
		if (kill(s->vms.vm[i].pid, 0) == 0 || errno == EPERM)
			return false;
	return true;
}

static bool over(struct session *s, const char **why)
{
	int failed;

	drain_bytes(s->drain, &failed);
	if (failed) {
		*why = strerror(failed);
		return true;
	}
	return s->stop_signal || s->command_ended || nobody_left(s) ||
	       (s->options->seconds > 0 && session_seconds(s) >= s->options->seconds);
}

static void show_progress(struct session *s, bool live)
{
	int failed;

	if (live)
		fprintf(stderr, "\r\033[Kvmmu: recording, %.0f s, %s, %zu VM%s (Ctrl-C ends it)", session_seconds(s),
		        text_bytes(drain_bytes(s->drain, &failed)).text, s->vms.count, s->vms.count == 1 ? "" : "s");
}

/* Until the next look at what is there. */
static int patience_ms(const struct session *s)
{
	double passed = session_seconds(s), left = s->options->seconds - passed;
	int ms = s->options->command && passed < FIRST_SECONDS ? RESCAN_FIRST_MS : RESCAN_MS;

	return s->options->seconds > 0 && left * 1000 < ms ? (int)(left * 1000) + 1 : ms;
}

/* Until something ends it. Returns NULL, or why the data could not be written. */
static const char *record(struct session *s)
{
	/* A command owns the terminal: it may be drawing there. */
	bool live = isatty(STDERR_FILENO) && !s->options->command;
	const char *trouble = NULL;

	while (!over(s, &trouble)) {
		struct pollfd wait = {.fd = s->signals, .events = POLLIN};

		show_progress(s, live);
		poll(&wait, 1, patience_ms(s));
		take_signals(s);
		session_look_for_vms(s);
		session_look_for_slots(s);
	}
	if (live)
		fputs("\r\033[K", stderr);
	session_end_command(s);
	return trouble;
}

static void finish_stream(struct session *s)
{
	counts_read(&s->end);
	for (size_t i = 0; i < s->vms.count; i++) {
		char *id = formatted("%d-%d", s->vms.vm[i].pid, s->vms.vm[i].fd);

		counts_mark(&s->marker, "end", id);
		free(id);
	}
	session_mark_noted_threads(s);
	marker_write(&s->marker, "vmmu: end");
	tracing_on(&s->tracing, false);
	drain_stop(s->drain);
	s->lost = tracing_lost(&s->tracing);
}

static bool begin(struct session *s, char **error)
{
	struct tracing_wish wish = {
		.buffer = s->options->buffer,
		.exits = s->options->exits,
		.nested = s->options->nested,
		.stacks = s->options->stacks,
	};
	char *output = duplicate(s->options->output);
	struct vms already = vms_now();
	bool ok;

	/* Before anything is recorded and any VM starts: later, it would keep us from looking at what there is. */
	if (already.count || s->options->command)
		session_prepare_reader(s);
	vms_free(&already);

	if (!tracing_open(&s->tracing, &wish, error)) {
		free(output);
		return false;
	}
	s->drain = drain_start(&s->tracing, dirname(output), error);
	free(output);
	if (!s->drain)
		return false;
	ok = marker_open(&s->marker, &s->tracing) && tracing_on(&s->tracing, true);
	if (!ok) {
		*error = formatted("tracing cannot be switched on: %s", strerror(errno));
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &s->start);
	/* Who is who comes first, so that a reader knows it at the first event. */
	session_mark_recording(s);
	session_look_for_vms(s);
	ok = tracing_events_on(&s->tracing, error);
	counts_read(&s->begin);
	if (ok)
		session_find_tables(s);
	return ok && session_start_command(s, error);
}

static void clean_up(struct session *s)
{
	session_end_command(s);
	marker_close(&s->marker);
	if (s->drain) {
		tracing_on(&s->tracing, false);
		drain_stop(s->drain);
		drain_free(s->drain);
	}
	tracing_close(&s->tracing);
	snapshot_close(s->reader);
	free(s->no_reader);
	vms_free(&s->vms);
	free(s->threads);
	if (s->signals >= 0)
		close(s->signals);
}

static int exit_status(const struct session *s, bool ok)
{
	if (!ok)
		return EXIT_TROUBLE;
	if (!s->command_ended)
		return EXIT_OK;
	return WIFSIGNALED(s->command_status) ? 128 + WTERMSIG(s->command_status) : WEXITSTATUS(s->command_status);
}

int record_session(const struct record_options *options)
{
	struct session s = {.options = options, .signals = -1, .marker = {.fd = -1}};
	const char *trouble = NULL;
	char *error = NULL;
	unsigned leftovers;
	bool ok;

	if (!session_output_usable(&s, &error) || !tracing_usable(&error) || !session_choose(&s, &error) || !catch_signals(&s, &error)) {
		complain("%s", error);
		free(error);
		return EXIT_TROUBLE;
	}
	leftovers = tracing_remove_leftovers();
	if (leftovers)
		note("removed what %u recording%s left behind", leftovers, leftovers == 1 ? "" : "s");
	ok = begin(&s, &error);
	if (ok) {
		trouble = record(&s);
		finish_stream(&s);
		if (trouble)
			complain("the recording ends early: %s", trouble);
		ok = session_save(&s, &error) && !trouble;
	}
	if (error)
		complain("%s", error);
	free(error);
	clean_up(&s);
	return exit_status(&s, ok);
}
