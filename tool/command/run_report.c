/* SPDX-License-Identifier: BSD-2-Clause */
/* How a run ended: for people, for programs, and as an exit status. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <vmmu/version.h>

#include "../run/status.h"
#include "../run/summary.h"
#include "../symbols/symbols.h"
#include "../trace/sidecar.h"
#include "run.h"

const char *run_machine_title(enum machine_kind machine)
{
	return machine == MACHINE_BOCHS ? "Bochs" : machine == MACHINE_KVM ? "QEMU with KVM"
	                                                                   : "QEMU";
}

static json_t *facts_json(const struct run *run)
{
	const struct visor_log *log = &run->session.log;
	json_t *facts = json_pack("{ss ss ss ss sI ss}", "vmmu", VMMU_VERSION, "machine",
	                          machine_name(run->plan.kind), "mmu", mmu_name(run->plan.mmu), "append",
	                          run->plan.boot.guest_line, "memory_bytes", (json_int_t)run->boot.memory,
	                          "page_size", run->boot.page_size);
	char *kernel = absolute_path(run->boot.kernel);

	json_object_set_new(facts, "kernel", json_string(kernel));
	free(kernel);
	if (run->boot.initrd) {
		char *initrd = absolute_path(run->boot.initrd);

		json_object_set_new(facts, "initrd", json_string(initrd));
		free(initrd);
	}
	if (log->start)
		json_object_set(facts, "start", log->start);
	if (log->phases)
		json_object_set(facts, "phases", log->phases);
	if (log->summary)
		json_object_set(facts, "summary", log->summary);
	if (log->end)
		json_object_set(facts, "end", log->end);
	if (run->over) {
		json_object_set_new(facts, "seconds", json_real(run->session.seconds));
		json_object_set_new(facts, "exit_status", json_integer(run->status));
	}
	return facts;
}

bool run_write_facts(const struct run *run)
{
	char *path = run->trace ? sidecar_path(run->trace) : NULL, *error = NULL;
	json_t *facts = facts_json(run);
	bool ok = (!path || json_write_file(path, facts, &error)) &&
	          (!run->report || json_write_file(run->report, facts, &error));

	if (!ok)
		complain("%s", error);
	free(error);
	free(path);
	json_decref(facts);
	return ok;
}

static void show_emulator_output(const struct run *run, const char *name)
{
	char *path = formatted("%s/%s", run->work, name), *ignored = NULL;
	struct bytes text;

	if (bytes_read(path, &text, &ignored)) {
		size_t from = text.size > 4000 ? text.size - 4000 : 0;

		if (text.size)
			fprintf(stderr, "%.*s\n", (int)(text.size - from), (char *)text.data + from);
		bytes_free(&text);
	}
	free(ignored);
	free(path);
}

static void say_how_it_died(struct run *run)
{
	int status = run->session.wait_status;

	if (WIFSIGNALED(status))
		complain("%s was killed by signal %d (%s) before the guest ended", run_machine_title(run->plan.kind),
		         WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		complain("%s ended with status %d before the guest did", run_machine_title(run->plan.kind), WEXITSTATUS(status));
	visor_log_print(&run->session.log, stderr, "  ");
	show_emulator_output(run, "emulator.log");
	if (run->plan.kind == MACHINE_BOCHS)
		show_emulator_output(run, "bochs.log");
	run->status = RUN_MACHINE_DIED;
}

static const char *end_text(const struct run *run, const char *key)
{
	const char *text = json_string_value(json_object_get(run->session.log.end, key));

	return text ? text : "";
}

static void say_how_it_ended(struct run *run)
{
	const char *status = end_text(run, "status");
	long long code = json_integer_value(json_object_get(run->session.log.end, "code"));

	run->status = run_status_of(status, code);
	if (run->status == RUN_REFUSED)
		complain("the visor could not start the guest: %s", end_text(run, "reason"));
	if (run->status == RUN_FAILED || run->status == RUN_REFUSED || run->status == RUN_TRIPLE_FAULT)
		visor_log_print(&run->session.log, stderr, run->verbose ? "" : "  ");
	if (run->status == RUN_DEBUG_EXIT_LARGE)
		note("the guest wrote %lld to the debug-exit port", code);
}

static void say_what_is_missing(struct run *run)
{
	const struct session *session = &run->session;
	int error = session->output.error;

	if (session->log.start && !session->log.summary && session->end != SESSION_DIED)
		note("there is no summary: the visor %s", session->log.ended ? "was not waited for" : "did not answer");
	if (!error || error == EPIPE)
		return;
	complain("standard output: %s; the guest's console is not whole", strerror(error));
	run->status = run->status ? run->status : RUN_CANNOT_START;
}

void run_judge(struct run *run)
{
	switch (run->session.end) {
	case SESSION_ENDED:
		say_how_it_ended(run);
		break;
	case SESSION_DIED:
		say_how_it_died(run);
		break;
	case SESSION_TIMEOUT:
		complain("out of time after %.0f s (--timeout); the guest was still running", run->timeout);
		if (!run->session.log.start)
			visor_log_print(&run->session.log, stderr, "  ");
		run->status = RUN_TIMEOUT;
		break;
	case SESSION_SIGNAL:
		if (run->session.quit)
			note("ended with Ctrl-A x");
		else
			note("ended by signal %d (%s)", run->session.signal, strsignal(run->session.signal));
		run->status = RUN_SIGNAL + run->session.signal;
		break;
	case SESSION_OUTPUT:
		run->status = RUN_CANNOT_START;
		break;
	case SESSION_STUCK:
		complain("the guest has ended, but the visor does not finish its report");
		visor_log_print(&run->session.log, stderr, "  ");
		run->status = RUN_TIMEOUT;
		break;
	}
	say_what_is_missing(run);
}

/* Where a guest was that did not end by itself: the instruction, and its function if the kernel tells. */
static char *where_it_was(const struct run *run)
{
	const char *rip = end_text(run, "rip");
	struct symbols symbols = {0};
	char *name, *error = NULL, *where;

	if (!*rip || run->status < RUN_TRIPLE_FAULT)
		return NULL;
	if (!symbols_load(&symbols, run->boot.kernel, &error))
		free(error);
	name = symbols_describe(&symbols, strtoull(rip, NULL, 16));
	where = formatted("rip 0x%s%s%s", rip, *name ? " = " : "", name);
	free(name);
	symbols_free(&symbols);
	return where;
}

void run_report(struct run *run)
{
	const char *status = end_text(run, "status");
	char *where = run->quiet ? NULL : where_it_was(run);
	struct run_facts facts = {
		.status = *status ? status : "not ended",
		.exit_status = run->status,
		.machine = run_machine_title(run->plan.kind),
		.mmu = mmu_title(run->plan.mmu),
		.page_size = run->boot.page_size,
		.seconds = run->session.seconds,
		.trace = run->trace,
		.trace_records = run->trace_records,
		.trace_dropped = run->trace_dropped,
		.where = where,
	};

	if (run->session.log.summary && !run->quiet)
		summary_print(stderr, run->session.log.summary, &facts, palette_for(stderr, run->colour));
	else if (run->trace)
		note("%s holds the %s records that were written", run->trace, text_count(run->trace_records).text);
	free(where);
}
