/* SPDX-License-Identifier: BSD-2-Clause */
/* One recording from its options to its summary. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/exit_status.h"
#include "../base/text.h"
#include "counts.h"
#include "drain.h"
#include "marker.h"
#include "record.h"
#include "snapshot.h"
#include "trace_dat.h"
#include "tracing.h"
#include "vms.h"

enum {
	RESCAN_MS = 200,        /* new VMs and threads are looked for so often ... */
	RESCAN_FIRST_MS = 10,   /* ... and so often while a command may be starting some */
	FIRST_SECONDS = 3,
	MUCH = 256 << 20,       /* bytes: what takes a while to write */
	COMMAND_PATIENCE_MS = 10000,
};

struct session {
	const struct record_options *options;
	struct tracing tracing;
	struct drain *drain;
	struct marker marker;
	int signals;            /* signalfd of all that end a recording, and SIGCHLD */
	pid_t command;          /* 0: none, or it has ended */
	int command_status;     /* wait status */
	bool command_ended;
	int stop_signal;        /* what told us to stop; 0: nothing yet */
	struct vms vms;         /* those that have been marked */
	pid_t *threads;         /* of these, marked */
	size_t thread_count;
	struct snapshot_reader *reader; /* NULL: not needed yet, or not to be had */
	char *no_reader;        /* why not */
	struct page_counts begin, end;
	struct timespec start;
	uint64_t lost;
};

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* ---- which VMs ------------------------------------------------------------------- */

static char *list_of(const struct vms *vms)
{
	char *list = duplicate("");

	for (size_t i = 0; i < vms->count; i++) {
		char *longer = formatted("%s\n  --pid %-7d %s%s%s", list, vms->vm[i].pid, vms->vm[i].name,
		                         strcmp(vms->vm[i].name, vms->vm[i].comm) ? ", by " : "",
		                         strcmp(vms->vm[i].name, vms->vm[i].comm) ? vms->vm[i].comm : "");

		free(list);
		list = longer;
	}
	return list;
}

/* Is it clear what to record? One VM alone needs no naming. */
static bool choose(struct session *s, char **error)
{
	const struct record_options *o = s->options;
	struct vms all = vms_now(), chosen;
	char *list = list_of(&all);
	bool ok = true;

	chosen = vms_now();
	vms_keep(&chosen, o->pid, o->name);
	if (o->command || o->all) {
		ok = true;
	} else if (!all.count) {
		*error = duplicate("no VM is running; `vmmu record -- COMMAND...` starts one, --all waits for some");
		ok = false;
	} else if (!chosen.count) {
		*error = formatted("no VM is that one; there are:%s", list);
		ok = false;
	} else if (!o->pid && !o->name && all.count > 1) {
		*error = formatted("which VM? --all for all of them, or one of:%s", list);
		ok = false;
	}
	free(list);
	vms_free(&all);
	vms_free(&chosen);
	return ok;
}

static bool known_vm(const struct session *s, const struct vm *vm)
{
	for (size_t i = 0; i < s->vms.count; i++)
		if (s->vms.vm[i].pid == vm->pid && s->vms.vm[i].fd == vm->fd)
			return true;
	return false;
}

static bool known_thread(const struct session *s, pid_t thread)
{
	for (size_t i = 0; i < s->thread_count; i++)
		if (s->threads[i] == thread)
			return true;
	return false;
}

static void mark_vm(struct session *s, struct vm *vm)
{
	char *comm = marker_quoted(vm->comm), *full = formatted("%.200s", vm->name), *name = marker_quoted(full);

	marker_write(&s->marker, "vmmu: vm id=%d-%d pid=%d comm=%s name=%s", vm->pid, vm->fd, vm->pid, comm, name);
	s->vms.vm = reallocate(s->vms.vm, (s->vms.count + 1) * sizeof(*vm));
	s->vms.vm[s->vms.count++] = *vm;
	vm->comm = vm->name = NULL;
	free(comm);
	free(full);
	free(name);
}

static void mark_thread(struct session *s, pid_t process, pid_t thread)
{
	char *comm = comm_of(thread), *quoted = marker_quoted(comm);

	marker_write(&s->marker, "vmmu: thread tid=%d tgid=%d comm=%s", thread, process, quoted);
	s->threads = reallocate(s->threads, (s->thread_count + 1) * sizeof(*s->threads));
	s->threads[s->thread_count++] = thread;
	free(comm);
	free(quoted);
}

/* New VMs and new threads go into the recording; the filter follows. */
static void look_for_vms(struct session *s)
{
	const struct record_options *o = s->options;
	struct vms now = vms_now();
	bool more = false;

	if (!o->command && !o->all)
		vms_keep(&now, o->pid, o->name);
	for (size_t i = 0; i < now.count; i++) {
		struct vm *vm = &now.vm[i];
		size_t count;
		pid_t *threads = threads_of(vm->pid, &count);

		for (size_t j = 0; j < count; j++) {
			if (known_thread(s, threads[j]))
				continue;
			mark_thread(s, vm->pid, threads[j]);
			more = true;
		}
		free(threads);
		if (!known_vm(s, vm)) {
			char *id = formatted("%d-%d", vm->pid, vm->fd);

			counts_mark(&s->marker, "begin", id);
			free(id);
			mark_vm(s, vm);
		}
	}
	vms_free(&now);
	if (more && !o->command && !o->all)
		tracing_filter_threads(&s->tracing, s->threads, s->thread_count);
}

/* May tables and slots be read? Asked once, where there is a VM; it takes a moment. */
static void prepare_reader(struct session *s)
{
	if (s->reader || s->no_reader)
		return;
	if (s->options->snapshot)
		s->reader = snapshot_open(&s->no_reader);
	else
		s->no_reader = duplicate("--snapshot=none");
}

/* Slots come and go without an event; here they are looked at now and then. */
static void look_for_slots(struct session *s)
{
	if (!s->vms.count)
		return;
	prepare_reader(s);
	if (s->reader)
		snapshot_slots(s->reader, &s->vms, &s->marker);
}

/* What the kernel has noted about threads that came and went between two looks. */
static void mark_noted_threads(struct session *s)
{
	char *text = tracefs_instance_file_read(NULL, "saved_tgids", NULL);

	for (char *at = text, *line; at && (line = strsep(&at, "\n")); ) {
		int thread, process;

		if (sscanf(line, "%d %d", &thread, &process) == 2 && thread != process && process > 0 &&
		    !known_thread(s, thread))
			marker_write(&s->marker, "vmmu: thread tid=%d tgid=%d", thread, process);
	}
	free(text);
}

static void mark_recording(struct session *s)
{
	bool amd = access("/sys/module/kvm_amd", F_OK) == 0;
	char *file = formatted("/sys/module/%s/parameters/%s", amd ? "kvm_amd" : "kvm_intel", amd ? "npt" : "ept");
	FILE *from = fopen(file, "re");
	int value = from ? fgetc(from) : 'N';
	const char *nested = amd ? "npt" : "ept";
	struct utsname host;
	char *kernel;

	if (from)
		fclose(from);
	free(file);
	kernel = uname(&host) == 0 ? marker_quoted(host.release) : duplicate("\"?\"");
	marker_write(&s->marker, "vmmu: record version=1 kernel=%s module=%s tdp_mmu=%c paging=%s filter=noise", kernel,
	             amd ? "kvm_amd" : "kvm_intel", s->tracing.tdp_mmu ? 'Y' : 'N',
	             value == 'Y' || value == '1' ? nested : "shadow");
	free(kernel);
}

/* ---- the command ----------------------------------------------------------------- */

static bool start_command(struct session *s, char **error)
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

static void reap_command(struct session *s)
{
	if (s->command && waitpid(s->command, &s->command_status, WNOHANG) == s->command) {
		s->command = 0;
		s->command_ended = true;
	}
}

/* Ask it to end, then make it. */
static void end_command(struct session *s)
{
	for (int waited = 0; s->command; waited += 10) {
		if (waited == 0)
			kill(s->command, SIGTERM);
		if (waited == COMMAND_PATIENCE_MS)
			kill(s->command, SIGKILL);
		usleep(10000);
		reap_command(s);
	}
}

/* ---- recording ------------------------------------------------------------------- */

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
	reap_command(s);
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
	       (s->options->seconds > 0 && seconds_since(&s->start) >= s->options->seconds);
}

static void show_progress(struct session *s, bool live)
{
	int failed;

	if (live)
		fprintf(stderr, "\r\033[Kvmmu: recording, %.0f s, %s, %zu VM%s (Ctrl-C ends it)", seconds_since(&s->start),
		        text_bytes(drain_bytes(s->drain, &failed)).text, s->vms.count, s->vms.count == 1 ? "" : "s");
}

/* Until the next look at what is there. */
static int patience_ms(const struct session *s)
{
	double passed = seconds_since(&s->start), left = s->options->seconds - passed;
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
		look_for_vms(s);
		look_for_slots(s);
	}
	if (live)
		fputs("\r\033[K", stderr);
	end_command(s);
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
	mark_noted_threads(s);
	marker_write(&s->marker, "vmmu: end");
	tracing_on(&s->tracing, false);
	drain_stop(s->drain);
	s->lost = tracing_lost(&s->tracing);
}

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

static bool save(struct session *s, char **error)
{
	char *names = names_of_threads(s);
	double seconds = seconds_since(&s->start);
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

static void let_drain(void)
{
	usleep(2 * DRAIN_LOOK_EVERY_MS * 1000);
}

/* What the VMs' tables hold before any event, or that it is not known. */
static void find_tables(struct session *s)
{
	const char *whose = s->vms.count == 1 ? s->vms.vm[0].name : "the VMs that run already";
	const char *why_not = s->no_reader ? s->no_reader : s->tracing.tdp_mmu ? "not all are in KVM's list" :
	                      "KVM keeps them outside its TDP MMU";
	struct snapshot snapshot = {0};

	if (!s->vms.count)
		return;
	if (s->reader && s->tracing.tdp_mmu)
		snapshot = snapshot_take(s->reader, &s->vms, &s->marker, s->tracing.buffer / 8, let_drain);
	if (snapshot.vms)
		note("found %s entries in %s tables of %s", text_count(snapshot.entries).text,
		     text_count(snapshot.tables).text, whose);
	if (snapshot.vms < s->vms.count)
		complain("the tables of %s are not read (%s): entries written before now will show only when they "
		         "change", whose, why_not);
	if (snapshot.unsteady)
		complain("%s tables changed at every attempt to read them and are not known",
		         text_count(snapshot.unsteady).text);
}

static bool begin(struct session *s, char **error)
{
	struct tracing_wish wish = {.buffer = s->options->buffer, .exits = s->options->exits,
	                            .nested = s->options->nested, .stacks = s->options->stacks};
	char *output = duplicate(s->options->output);
	struct vms already = vms_now();
	bool ok;

	/* Before anything is recorded and any VM starts: later, it would keep us from looking at what there is. */
	if (already.count || s->options->command)
		prepare_reader(s);
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
	mark_recording(s);
	look_for_vms(s);
	ok = tracing_events_on(&s->tracing, error);
	counts_read(&s->begin);
	if (ok)
		find_tables(s);
	return ok && start_command(s, error);
}

static void clean_up(struct session *s)
{
	end_command(s);
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

	if (!tracing_usable(&error) || !choose(&s, &error) || !catch_signals(&s, &error)) {
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
		ok = save(&s, &error) && !trouble;
	}
	if (error)
		complain("%s", error);
	free(error);
	clean_up(&s);
	return exit_status(&s, ok);
}
