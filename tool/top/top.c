/* SPDX-License-Identifier: BSD-2-Clause */
/* Options, the thread that reads, keys, and one picture after the other. */
#include "top.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/exit_status.h"

enum { OPTION_BATCH = 'b',
       OPTION_COUNT = 'n',
       OPTION_INTERVAL = 'd',
       OPTION_SORT = 'o',
       OPTION_EXITS = 'e',
       OPTION_SYMBOLS = 's',
       OPTION_FUNCTIONS = 'g' };
enum { BATCH_ROWS = 24,
       BATCH_COLUMNS = 100,
       MAX_INTERVAL_MS = 3600 * 1000,
       ENTER = '\r',
       ESCAPE = 27 };

struct top {
	struct ask ask;
	const char *path; /* NULL: the host's own KVM */
	bool batch, exits;
	uint64_t frames; /* then end; 0: no end */
	int interval_ms;
	struct view view;
	struct gather gather;
	struct host *host;
	pthread_t reader;
	bool reading;
	pthread_mutex_t lock; /* of the model */
	bool ended;           /* the reader has; under the lock */
};

static volatile sig_atomic_t stop;

static void on_signal(int number) { stop = number; }

/* ---- options ----------------------------------------------------------------------------------- */

static bool parse_sort(const char *text, enum sort *sort)
{
	for (unsigned i = 0; i < SORTS; i++) {
		if (strcmp(text, sort_names[i]) == 0) {
			*sort = (enum sort)i;
			return true;
		}
	}
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct top *top = state->input;
	char *end;
	double seconds;

	switch (key) {
	case OPTION_BATCH:
		top->batch = true;
		return 0;
	case OPTION_COUNT:
		if (!parse_number(arg, &top->frames) || !top->frames)
			argp_error(state, "--count takes a number from 1 on, not \"%s\"", arg);
		return 0;
	case OPTION_INTERVAL:
		seconds = strtod(arg, &end);
		if (end == arg || *end || !(seconds >= 0.1) || seconds * 1000 > MAX_INTERVAL_MS)
			argp_error(state, "--interval takes seconds, from 0.1 to 3600, not \"%s\"", arg);
		top->interval_ms = (int)(seconds * 1000);
		return 0;
	case OPTION_SORT:
		if (!parse_sort(arg, &top->view.sort))
			argp_error(state, "--sort is faults, writes, drops, device, total or address, not \"%s\"", arg);
		return 0;
	case OPTION_EXITS:
		top->exits = true;
		return 0;
	case OPTION_FUNCTIONS:
		top->view.functions = true;
		return 0;
	case OPTION_SYMBOLS:
		top->ask.symbols_path = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (top->path)
			return ARGP_ERR_UNKNOWN;
		top->path = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"interval", OPTION_INTERVAL, "S", 0, "Seconds from one picture to the next (default 1)", 0},
	{"sort", OPTION_SORT, "WHAT", 0, "By faults, writes, drops, device, total or address (default: faults)", 0},
	{"functions", OPTION_FUNCTIONS, NULL, 0, "By the guest's functions, not by regions of its memory", 0},
	{"symbols", OPTION_SYMBOLS, "FILE", 0, "Names for the guest's functions: System.map, vmlinux or a copy of /proc/kallsyms", 0},
	{"exits", OPTION_EXITS, NULL, 0, "On this host: also exits and accesses to devices (costs more)", 0},
	{"batch", OPTION_BATCH, NULL, 0, "Print one picture after the other: no terminal is needed", 1},
	{"count", OPTION_COUNT, "N", 0, "End after N pictures", 1},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "[FILE]",
	.doc = "Show what happens to second-level tables while it happens: rates of faults, writes and drops, by cause, by "
	       "region of guest memory and by the guest's function; what is mapped by pages of which size, and how much "
	       "memory the tables take. Without FILE of the VMs on this host (root); else of a recording or of a guest's trace as it grows, or of "
	       "a pipe (-). Keys: h.",
};

/* ---- reading ------------------------------------------------------------------------------------- */

static void *read_all(void *argument)
{
	struct top *top = argument;
	bool more = true;

	/* The end may come while it waits, and then only. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	while (more) {
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		more = model_live_wait(top->ask.model);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		pthread_mutex_lock(&top->lock);
		if (more) {
			model_live_take(top->ask.model);
			gather_take(&top->gather, &top->ask);
		}
		top->ended = !more;
		pthread_mutex_unlock(&top->lock);
	}
	return NULL;
}

static void close_all(struct top *top)
{
	if (top->reading) {
		pthread_cancel(top->reader);
		pthread_join(top->reader, NULL);
	}
	gather_free(&top->gather);
	symbols_free(&top->ask.symbols);
	if (top->ask.model)
		model_close(top->ask.model);
	/* The instance cannot go while its trace_pipe is open. */
	if (top->host)
		host_close(top->host);
}

static bool open_all(struct top *top)
{
	char *error = NULL, *path = NULL;
	sigset_t signals, before;
	bool ok;

	if (top->path) {
		path = duplicate(top->path);
	} else {
		top->host = host_open(top->exits, &path, &error);
		if (!top->host) {
			complain("%s", error);
			free(error);
			return false;
		}
	}
	ok = model_open_live(&top->ask.model, path, &error);
	if (!ok)
		complain("%s", error);
	top->ask.path = top->path;
	ok = ok && ask_load_symbols(&top->ask);
	free(error);
	free(path);
	if (!ok)
		return false;
	/* Signals are for the thread that can clean up. */
	sigfillset(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, &before);
	ok = top->reading = pthread_create(&top->reader, NULL, read_all, top) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!ok)
		complain("no thread can be started");
	return ok;
}

/* ---- keys ------------------------------------------------------------------------------------------ */

static void next_vm(struct top *top)
{
	size_t vms = model_vm_count(top->ask.model);

	if (top->view.vm == UINT_MAX)
		top->view.vm = vms ? 0 : UINT_MAX;
	else
		top->view.vm = top->view.vm + 1 < vms ? top->view.vm + 1 : UINT_MAX;
	top->view.chosen = 0;
}

/* False: it is over. */
static bool take_key(struct top *top, int key)
{
	static const char sorts[] = "fwdmta";
	struct view *view = &top->view;
	const char *sort = key ? strchr(sorts, key) : NULL;

	if (sort && *sort) {
		view->sort = (enum sort)(sort - sorts);
		view->chosen = 0;
		return true;
	}
	switch (key) {
	case 'q':
		return false;
	case 'g':
		view->functions = !view->functions;
		view->history = false;
		view->chosen = 0;
		break;
	case 'v':
		next_vm(top);
		break;
	case 'j':
		*(view->history ? &view->scroll : &view->chosen) += 1;
		break;
	case 'k':
		*(view->history ? &view->scroll : &view->chosen) -= view->history ? view->scroll > 0 : view->chosen > 0;
		break;
	case ' ':
		view->frozen = !view->frozen;
		break;
	case 'h':
	case '?':
		view->help = !view->help;
		break;
	case ENTER:
		view->history = !view->functions && !view->help && top->gather.regions.count;
		view->scroll = 0;
		break;
	case ESCAPE:
		view->history = view->help = false;
		break;
	default:
		break;
	}
	return true;
}

/* ---- the loop --------------------------------------------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void draw(struct top *top)
{
	struct frame frame;

	pthread_mutex_lock(&top->lock);
	frame_make(&frame, &top->ask, &top->gather, &top->view);
	pthread_mutex_unlock(&top->lock);
	if (top->batch)
		screen_print(&frame);
	else
		screen_show(&frame);
	frame_free(&frame);
}

/* Until so many milliseconds have passed, a key has come, or it is over. */
static int wait_for_key(const struct top *top, int milliseconds)
{
	struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

	if (!top->batch)
		return screen_key(milliseconds);
	nanosleep(&t, NULL);
	return TOP_KEY_NONE;
}

static bool tick(struct top *top, double seconds)
{
	if (top->host)
		host_look(top->host);
	pthread_mutex_lock(&top->lock);
	if (!top->view.frozen)
		gather_tick(&top->gather, seconds);
	top->view.ended = top->ended;
	pthread_mutex_unlock(&top->lock);
	return !top->batch || !top->view.ended;
}

static void run(struct top *top)
{
	double last = now();
	uint64_t shown = 0;
	bool more = true;

	top->view.rows = BATCH_ROWS;
	top->view.columns = BATCH_COLUMNS;
	while (more && !stop) {
		int left = top->interval_ms - (int)((now() - last) * 1000);
		int key = wait_for_key(top, left > 0 ? left : 0);

		if (!top->batch)
			screen_size(&top->view.rows, &top->view.columns);
		pthread_mutex_lock(&top->lock);
		more = take_key(top, key);
		pthread_mutex_unlock(&top->lock);
		if ((now() - last) * 1000 >= top->interval_ms) {
			more = tick(top, now() - last) && more;
			last = now();
			shown++;
			draw(top);
		} else if (key && more) {
			draw(top);
		}
		if (top->frames && shown >= top->frames)
			break;
	}
}

int question_top(int argc, char **argv)
{
	struct top top = {.interval_ms = 1000, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct sigaction action = {.sa_handler = on_signal};
	char *error = NULL;
	int status = EXIT_TROUBLE;

	ask_init(&top.ask);
	top.view.vm = UINT_MAX;
	argp_parse(&argp, argc, argv, 0, NULL, &top);
	gather_init(&top.gather);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	if (open_all(&top) && (top.batch || screen_open(&error))) {
		run(&top);
		screen_close();
		status = EXIT_OK;
	}
	if (error)
		complain("%s", error);
	free(error);
	close_all(&top);
	return stop ? 128 + stop : status;
}
