/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../machine/process.h"
#include "signals.h"

/* What the visor takes from COM2 (docs/visor.md); one FIFO has room for it. */
#define ORDER_TO_END "@vmmu end\n"

enum {
	TICK_MS = 200,
	/* What is read in one round; after it everything else gets its turn. */
	ROUND_BYTES = 16384,
	/* Bochs does not act on SIGTERM; nothing of ours is in its memory any more. */
	STOP_PATIENCE_MS = 200,
	/*
	 * An emulated UART whose clock runs ahead drops what its 16-byte FIFO has
	 * no room for (Bochs): send less than that at once, and let the guest look.
	 */
	PACE_BYTES = 8,
	PACE_MS = 20,
};

/* Seconds. How long the console may be silent before what it had to say counts as said, and that in all. */
#define REST_SILENCE 0.05
#define REST_LIMIT 1.0
/* How long the visor may take to hear that it is to end the guest, and be silent while it writes its report. */
#define ASKED_LIMIT 5.0
#define REPORT_SILENCE 60.0
/* A report that takes longer than this is shown as progress. */
#define REPORT_SHOWN 2.0

enum { POLL_CONSOLE,
       POLL_LOG,
       POLL_SCREEN,
       POLL_SIGNALS,
       POLL_STDIN,
       POLL_STDOUT,
       POLL_COUNT };

bool session_open(struct session *session, char **error)
{
	session->console.master = session->console.slave = -1;
	session->log_line = session->screen = session->console;
	outlet_open(&session->output, STDOUT_FILENO);
	return serial_line_open(&session->console, error) && serial_line_open(&session->log_line, error) &&
	       serial_line_open(&session->screen, error) && signals_open(error);
}

void session_close(struct session *session)
{
	serial_line_close(&session->console);
	serial_line_close(&session->log_line);
	serial_line_close(&session->screen);
	outlet_close(&session->output);
	signals_close();
	visor_log_free(&session->log);
}

static double now(const struct session *session)
{
	return progress_seconds(&session->progress);
}

static void go_to(struct session *session, enum session_stage stage)
{
	session->stage = stage;
	session->stage_began = session->heard_at = now(session);
}

static bool start_emulator(struct session *session, const struct arguments *command, const char *work,
                           char **error)
{
	char *path = formatted("%s/emulator.log", work);
	int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	/* Bochs draws its screen on a terminal; nobody looks at that one. */
	struct process_setup setup = {
		.argv = command->argv,
		.folder = work,
		.in = session->screen.slave,
		.out = session->screen.slave,
		.err = log,
		.term = "vt100",
	};

	session->emulator = process_start(&setup);
	if (session->emulator < 0)
		*error = formatted("%s cannot be started: %s", command->argv[0], strerror(errno));
	if (log >= 0)
		close(log);
	free(path);
	return session->emulator >= 0;
}

static void on_console(struct session *session, const char *bytes, size_t size)
{
	if (session->progress.stage[0])
		progress_end(&session->progress);
	session->console_spoke = true;
	outlet_put(&session->output, bytes, size);
}

static void on_log_line(void *arg, const char *line)
{
	struct session *session = arg;

	if (session->log_copy && fprintf(session->log_copy, "%s\n", line) < 0)
		session->log_failed = true;
	if (!session->verbose)
		return;
	if (session->progress.drawn)
		fputs("\r\033[K", stderr);
	fprintf(stderr, "%s\n", line);
	session->progress.drawn = false;
}

/* The stage that the log has come to, in words; only while the guest is silent. */
static void follow_progress(struct session *session)
{
	static const struct {
		const char *stage, *words;
	} stages[] = {
		{"grub", "GRUB starts"},
		{"kernel", "GRUB loads the guest's kernel"},
		{"initrd", "GRUB loads the guest's initrd"},
		{"visor", "the visor starts"},
	};
	char words[96] = "";

	if (session->console_spoke)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
		if (strcmp(session->log.stage, stages[i].stage) == 0)
			snprintf(words, sizeof(words), "%s: %s", session->machine_title, stages[i].words);
	if (session->log.visor_spoke)
		snprintf(words, sizeof(words), "%s: the visor starts", session->machine_title);
	if (session->log.start)
		snprintf(words, sizeof(words), "%s: the guest starts", session->machine_title);
	if (words[0] && strcmp(words, session->progress.stage) != 0)
		progress_stage(&session->progress, "%s", words);
}

/* Once, as soon as the visor has said so, whatever else is to be quiet. */
static void warn_of_leak(struct session *session)
{
	const char *leak = json_string_value(json_object_get(session->log.start, "leak"));

	if (leak && !session->leak_told)
		complain("this machine does not isolate the guest: %s (--require-isolation refuses it)", leak);
	session->leak_told = leak;
}

static void on_log(struct session *session, const char *bytes, size_t size)
{
	visor_log_take(&session->log, bytes, size, on_log_line, session);
	follow_progress(session);
	warn_of_leak(session);
}

/* One round's worth. */
static void read_line(struct session *session, int fd, void (*take)(struct session *, const char *, size_t))
{
	char bytes[ROUND_BYTES];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	if (got <= 0)
		return;
	session->heard_at = now(session);
	if (take)
		take(session, bytes, (size_t)got);
}

static bool may_send_keys(const struct session *session)
{
	/* Before the guest runs they would be lost in the UART. */
	if (!session->pending_size || !session->log.start)
		return false;
	return !session->paced || now(session) - session->sent_at >= PACE_MS / 1e3;
}

static void send_keys(struct session *session)
{
	size_t size = session->pending_size;
	ssize_t done;

	if (session->paced && size > PACE_BYTES)
		size = PACE_BYTES;
	done = write(session->console.master, session->pending, size);
	if (done <= 0)
		return;
	session->sent_at = now(session);
	session->pending_size -= (size_t)done;
	memmove(session->pending, session->pending + done, session->pending_size);
}

static void print_key_help(void)
{
	fprintf(stderr, "\nvmmu: Ctrl-A x  end the guest\n"
	                "      Ctrl-A a  send Ctrl-A\n"
	                "      Ctrl-A h  this help\n");
}

/* True: the user wants to leave. */
static bool read_keys(struct session *session)
{
	char keys[1024];
	size_t room = sizeof(session->pending) - session->pending_size;
	ssize_t got = read(STDIN_FILENO, keys, room < sizeof(keys) ? room : sizeof(keys));

	if (got <= 0) {
		session->stdin_open = got < 0 && (errno == EINTR || errno == EAGAIN);
		return false;
	}
	for (ssize_t i = 0; i < got; i++) {
		bool pass;
		char key;
		enum key_action action = keys_take(&session->keys, session->raw, keys[i], &key, &pass);

		if (pass)
			session->pending[session->pending_size++] = key;
		if (action == KEY_QUIT)
			return true;
		if (action == KEY_HELP)
			print_key_help();
	}
	return false;
}

/* ---- how it ends ------------------------------------------------------------------ */

static bool guest_has_ended(const struct session *session)
{
	return session->log.ended || session->log.summary || session->log.end;
}

/* `why` is the reason for everything that follows. Who asks a second time does not want to wait. */
static void ask_for_end(struct session *session, enum session_end why)
{
	if (session->stage != STAGE_GUEST) {
		/* The guest had ended by itself, but its report is not there. */
		if (session->end == SESSION_ENDED && !session->log.end)
			session->end = why;
		session->stage = STAGE_OVER;
		return;
	}
	session->end = why;
	if (session->log.start && !session->log.end &&
	    write(session->log_line.master, ORDER_TO_END, strlen(ORDER_TO_END)) == (ssize_t)strlen(ORDER_TO_END)) {
		go_to(session, STAGE_ASKED);
	} else {
		session->stage = STAGE_OVER;
	}
}

static void take_signals(struct session *session)
{
	signals_clear();
	if (signals_count() > session->signals_seen) {
		session->signals_seen = signals_count();
		if (!session->signal)
			session->signal = signals_first();
		ask_for_end(session, SESSION_SIGNAL);
	}
	if (session->emulator && waitpid(session->emulator, &session->wait_status, WNOHANG) == session->emulator) {
		session->emulator = 0;
		signals_guard(0);
		if (session->stage == STAGE_GUEST || (session->end == SESSION_ENDED && !session->log.end))
			session->end = SESSION_DIED;
		if (session->stage < STAGE_REST)
			go_to(session, STAGE_REST);
	}
}

/* What the visor has said may begin another stage. */
static void follow_log(struct session *session)
{
	if (session->stage <= STAGE_ASKED && guest_has_ended(session)) {
		if (session->stage == STAGE_GUEST)
			session->end = SESSION_ENDED;
		go_to(session, STAGE_REPORT);
	}
	if (session->log.end && session->end == SESSION_DIED)
		session->end = SESSION_ENDED; /* it said so just before */
	if (session->log.end && session->stage < STAGE_REST)
		go_to(session, STAGE_REST);
}

/* Nobody asked for it. */
static bool ends_by_itself(const struct session *session)
{
	return session->end == SESSION_ENDED || session->end == SESSION_DIED;
}

/* A guest that is being ended must not wait for a reader that does not come. */
static bool takes_console(const struct session *session)
{
	return outlet_room(&session->output) >= ROUND_BYTES ||
	       (session->stage > STAGE_GUEST && !ends_by_itself(session));
}

static bool silent_for(const struct session *session, double seconds)
{
	return now(session) - session->heard_at > seconds && takes_console(session);
}

/* What is to be done because of the time that has passed. */
static void watch_time(struct session *session)
{
	double spent = now(session) - session->stage_began;

	switch (session->stage) {
	case STAGE_GUEST:
		if (session->timeout > 0 && now(session) > session->timeout)
			ask_for_end(session, SESSION_TIMEOUT);
		break;
	case STAGE_ASKED:
		if (spent > ASKED_LIMIT)
			session->stage = STAGE_OVER;
		break;
	case STAGE_REPORT:
		if (now(session) - session->heard_at > REPORT_SHOWN && !session->progress.stage[0])
			progress_stage(&session->progress, "%s: the guest has ended, the visor checks its tables",
			               session->machine_title);
		if (silent_for(session, REPORT_SILENCE) && (session->timeout > 0 || session->end != SESSION_ENDED)) {
			if (session->end == SESSION_ENDED)
				session->end = SESSION_STUCK;
			session->stage = STAGE_OVER;
		}
		break;
	case STAGE_REST:
		if (silent_for(session, REST_SILENCE) || (spent > REST_LIMIT && takes_console(session)))
			session->stage = STAGE_OVER;
		break;
	case STAGE_OVER:
		break;
	}
}

static void watch_output(struct session *session)
{
	int error = session->output.error;

	if (!error || session->output_told)
		return;
	session->output_told = true;
	if (error == EPIPE)
		session->signal = SIGPIPE;
	ask_for_end(session, error == EPIPE ? SESSION_SIGNAL : SESSION_OUTPUT);
}

/* ---- the loop --------------------------------------------------------------------- */

static void choose_events(const struct session *session, struct pollfd *polls)
{
	bool room = session->pending_size < sizeof(session->pending);

	polls[POLL_CONSOLE] = (struct pollfd){session->console.master, takes_console(session) ? POLLIN : 0, 0};
	if (may_send_keys(session))
		polls[POLL_CONSOLE].events |= POLLOUT;
	polls[POLL_LOG] = (struct pollfd){session->log_line.master, POLLIN, 0};
	polls[POLL_SCREEN] = (struct pollfd){session->screen.master, POLLIN, 0};
	polls[POLL_SIGNALS] = (struct pollfd){signals_fd(), POLLIN, 0};
	polls[POLL_STDIN] = (struct pollfd){session->stdin_open && room ? STDIN_FILENO : -1, POLLIN, 0};
	polls[POLL_STDOUT] = (struct pollfd){session->output.size ? session->output.fd : -1, POLLOUT, 0};
}

static int round_ms(const struct session *session)
{
	if (session->stage == STAGE_REST)
		return (int)(REST_SILENCE * 1000);
	return session->paced && session->pending_size ? PACE_MS : TICK_MS;
}

/* One round of waiting. Each source is read once, so that none keeps the others from their turn. */
static void serve(struct session *session)
{
	struct pollfd polls[POLL_COUNT];

	choose_events(session, polls);
	if (poll(polls, POLL_COUNT, round_ms(session)) < 0)
		memset(polls, 0, sizeof(polls)); /* a signal: its pipe is read below all the same */
	if (polls[POLL_STDOUT].revents)
		outlet_write(&session->output);
	if (polls[POLL_CONSOLE].revents & POLLIN)
		read_line(session, session->console.master, on_console);
	if (polls[POLL_LOG].revents & POLLIN)
		read_line(session, session->log_line.master, on_log);
	if (polls[POLL_SCREEN].revents & POLLIN)
		read_line(session, session->screen.master, NULL);
	if (polls[POLL_CONSOLE].revents & POLLOUT)
		send_keys(session);
	if (polls[POLL_STDIN].revents && read_keys(session)) {
		session->quit = true;
		session->signal = SIGINT;
		ask_for_end(session, SESSION_SIGNAL);
	}
	if (session->stage < STAGE_OVER)
		follow_log(session);
	take_signals(session);
	watch_output(session);
	watch_time(session);
	if (!session->console_spoke || session->stage == STAGE_REPORT)
		progress_tick(&session->progress);
}

/*
 * What the reader of standard output has not taken yet. It is waited for as any
 * program waits, unless somebody wanted an end: a signal ends that, too.
 */
static void write_out(struct session *session)
{
	double until = now(session) + REST_LIMIT;

	while (session->output.size && signals_count() <= session->signals_seen &&
	       (ends_by_itself(session) || now(session) < until)) {
		struct pollfd polls[] = {{session->output.fd, POLLOUT, 0}, {signals_fd(), POLLIN, 0}};

		if (poll(polls, ARRAY_SIZE(polls), TICK_MS) > 0 && polls[0].revents)
			outlet_write(&session->output);
	}
	session->output.lost += session->output.size;
	session->output.size = 0;
	if (session->output.lost)
		note("%llu bytes of the guest's console found no reader", (unsigned long long)session->output.lost);
}

bool session_run(struct session *session, const struct arguments *command, const char *work, char **error)
{
	double begin = now(session);

	session->stdin_open = true;
	session->raw = isatty(STDIN_FILENO);
	if (!start_emulator(session, command, work, error))
		return false;
	signals_guard(session->emulator);
	terminal_take();
	progress_stage(&session->progress, "%s starts", session->machine_title);
	go_to(session, STAGE_GUEST);
	while (session->stage != STAGE_OVER)
		serve(session);
	progress_end(&session->progress);
	session->seconds = now(session) - begin;
	process_stop(session->emulator, STOP_PATIENCE_MS);
	session->emulator = 0;
	signals_guard(0);
	terminal_give_back();
	write_out(session);
	signals_expect_no_more();
	return true;
}
