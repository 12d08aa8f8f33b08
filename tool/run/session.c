/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../machine/process.h"

enum {
	TICK_MS = 200,
	/* How long the console may be silent before what it had to say counts as said. */
	DRAIN_MS = 50,
	/* Bochs does not act on SIGTERM; nothing of ours is in its memory any more. */
	STOP_PATIENCE_MS = 200,
	/*
	 * An emulated UART whose clock runs ahead drops what its 16-byte FIFO has
	 * no room for (Bochs): send less than that at once, and let the guest look.
	 */
	PACE_BYTES = 8,
	PACE_MS = 20,
};

enum { POLL_CONSOLE, POLL_LOG, POLL_SCREEN, POLL_SIGNALS, POLL_STDIN, POLL_COUNT };

static bool open_signals(struct session *session, char **error)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	session->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (session->signals < 0)
		*error = formatted("signalfd: %s", strerror(errno));
	return session->signals >= 0;
}

bool session_open(struct session *session, char **error)
{
	session->signals = -1;
	session->console.master = session->console.slave = -1;
	session->log_line = session->screen = session->console;
	return serial_line_open(&session->console, error) && serial_line_open(&session->log_line, error) &&
	       serial_line_open(&session->screen, error) && open_signals(session, error);
}

void session_close(struct session *session)
{
	serial_line_close(&session->console);
	serial_line_close(&session->log_line);
	serial_line_close(&session->screen);
	if (session->signals >= 0)
		close(session->signals);
	visor_log_free(&session->log);
}

static bool start_emulator(struct session *session, const struct arguments *command, const char *work,
                           char **error)
{
	char *path = formatted("%s/emulator.log", work);
	int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	/* Bochs draws its screen on a terminal; nobody looks at that one. */
	struct process_setup setup = {.argv = command->argv, .folder = work, .in = session->screen.slave,
	                              .out = session->screen.slave, .err = log, .term = "vt100"};

	session->emulator = process_start(&setup);
	if (session->emulator < 0)
		*error = formatted("%s cannot be started: %s", command->argv[0], strerror(errno));
	if (log >= 0)
		close(log);
	free(path);
	return session->emulator >= 0;
}

/* False: nobody reads it any more. */
static bool write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t done = write(fd, bytes, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
			continue;
		}
		if (done <= 0)
			return false;
		bytes += done;
		size -= (size_t)done;
	}
	return true;
}

static void on_console(struct session *session, const char *bytes, size_t size)
{
	if (!session->console_spoke)
		progress_end(&session->progress);
	session->console_spoke = true;
	if (!write_all(STDOUT_FILENO, bytes, size) && !session->signal)
		session->signal = SIGPIPE;
}

static void on_log_line(void *arg, const char *line)
{
	struct session *session = arg;

	if (session->log_copy)
		fprintf(session->log_copy, "%s\n", line);
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
	static const struct { const char *stage, *words; } stages[] = {
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

static void on_log(struct session *session, const char *bytes, size_t size)
{
	visor_log_take(&session->log, bytes, size, on_log_line, session);
	follow_progress(session);
}

/* Everything that is there now; false when there was nothing. */
static bool read_line(struct session *session, int fd, void (*take)(struct session *, const char *, size_t))
{
	char bytes[16384];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	if (got <= 0)
		return false;
	if (take)
		take(session, bytes, (size_t)got);
	return true;
}

static void drain(struct session *session)
{
	bool more = true;

	while (more) {
		struct pollfd lines[] = {{.fd = session->console.master, .events = POLLIN},
		                         {.fd = session->log_line.master, .events = POLLIN}};

		more = poll(lines, 2, DRAIN_MS) > 0;
		if (lines[0].revents & POLLIN)
			read_line(session, session->console.master, on_console);
		if (lines[1].revents & POLLIN)
			read_line(session, session->log_line.master, on_log);
		more = more && ((lines[0].revents | lines[1].revents) & POLLIN);
	}
}

static bool may_send_keys(const struct session *session)
{
	/* Before the guest runs they would be lost in the UART. */
	if (!session->pending_size || !session->log.start)
		return false;
	return !session->paced || progress_seconds(&session->progress) - session->sent_at >= PACE_MS / 1e3;
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
	session->sent_at = progress_seconds(&session->progress);
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

/* True: one of them ends the session; *end says how. */
static bool read_signals(struct session *session, enum session_end *end)
{
	struct signalfd_siginfo info;

	while (read(session->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD) {
			session->signal = (int)info.ssi_signo;
			*end = SESSION_SIGNAL;
			return true;
		}
		if (waitpid(session->emulator, &session->wait_status, WNOHANG) == session->emulator) {
			session->emulator = 0;
			drain(session);
			*end = session->log.end ? SESSION_ENDED : SESSION_DIED;
			return true;
		}
	}
	return false;
}

static void choose_events(const struct session *session, struct pollfd *polls)
{
	bool room = session->pending_size < sizeof(session->pending);

	polls[POLL_CONSOLE] = (struct pollfd){session->console.master, POLLIN, 0};
	if (may_send_keys(session))
		polls[POLL_CONSOLE].events |= POLLOUT;
	polls[POLL_LOG] = (struct pollfd){session->log_line.master, POLLIN, 0};
	polls[POLL_SCREEN] = (struct pollfd){session->screen.master, POLLIN, 0};
	polls[POLL_SIGNALS] = (struct pollfd){session->signals, POLLIN, 0};
	polls[POLL_STDIN] = (struct pollfd){session->stdin_open && room ? STDIN_FILENO : -1, POLLIN, 0};
}

/* One round of waiting; true when the session is over. */
static bool serve(struct session *session, enum session_end *end)
{
	struct pollfd polls[POLL_COUNT];

	choose_events(session, polls);
	if (poll(polls, POLL_COUNT, session->paced && session->pending_size ? PACE_MS : TICK_MS) < 0 &&
	    errno != EINTR)
		return false;
	if (polls[POLL_CONSOLE].revents & POLLIN)
		read_line(session, session->console.master, on_console);
	if (polls[POLL_LOG].revents & POLLIN)
		read_line(session, session->log_line.master, on_log);
	if (polls[POLL_SCREEN].revents & POLLIN)
		read_line(session, session->screen.master, NULL);
	if (session->log.end) {
		drain(session);
		*end = SESSION_ENDED;
		return true;
	}
	if (session->signal) {
		*end = SESSION_SIGNAL;
		return true;
	}
	if (polls[POLL_CONSOLE].revents & POLLOUT)
		send_keys(session);
	if (polls[POLL_STDIN].revents && read_keys(session)) {
		session->quit = true;
		session->signal = SIGINT;
		*end = SESSION_SIGNAL;
		return true;
	}
	if (polls[POLL_SIGNALS].revents & POLLIN && read_signals(session, end))
		return true;
	if (session->timeout > 0 && progress_seconds(&session->progress) > session->timeout) {
		*end = SESSION_TIMEOUT;
		return true;
	}
	if (!session->console_spoke)
		progress_tick(&session->progress);
	return false;
}

bool session_run(struct session *session, const struct arguments *command, const char *work,
                 enum session_end *end, char **error)
{
	double begin = progress_seconds(&session->progress);

	session->stdin_open = true;
	session->raw = isatty(STDIN_FILENO);
	if (!start_emulator(session, command, work, error))
		return false;
	terminal_take();
	progress_stage(&session->progress, "%s starts", session->machine_title);
	while (!serve(session, end))
		continue;
	drain(session);
	progress_end(&session->progress);
	session->seconds = progress_seconds(&session->progress) - begin;
	process_stop(session->emulator, STOP_PATIENCE_MS);
	session->emulator = 0;
	terminal_give_back();
	return true;
}
