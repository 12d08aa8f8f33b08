/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu run: boot a guest, show its console, end with its status. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/text.h"
#include "../machine/machine.h"
#include "../run/guest_files.h"
#include "../run/session.h"
#include "../run/status.h"
#include "../run/summary.h"
#include "../run/trace_disk.h"
#include "../run/visor_path.h"
#include "../run/work_folder.h"
#include "../trace/sidecar.h"
#include "boot_options.h"
#include "command.h"

#define TRACE_SIZE_DEFAULT (1ull << 30)

/* ATA's 28-bit sector numbers reach this far, on every emulator's disk. */
#define TRACE_SIZE_MAX (128ull << 30)

enum {
	OPTION_MACHINE = 'm',
	OPTION_TRACE = 't',
	OPTION_TIMEOUT = 'T',
	OPTION_QUIET = 'q',
	OPTION_VERBOSE = 'v',
	OPTION_TRACE_SIZE = 0x300,
	OPTION_ICOUNT,
	OPTION_REPORT,
	OPTION_KEEP,
	OPTION_LOG,
	OPTION_DRY_RUN,
	OPTION_COLOUR,
};

struct run {
	struct boot_options boot;
	enum machine_kind machine;
	const char *trace, *report, *log;
	uint64_t trace_size;
	double timeout;
	bool quiet, verbose, keep, dry_run;
	enum colour_mode colour;

	char *work;                /* temporary folder */
	char *trace_path;          /* absolute */
	struct machine_plan plan;
	struct arguments command;
	struct session session;
	enum session_end end;
	int status;
	uint64_t trace_records, trace_dropped;
};

static int cannot_start(char *error)
{
	complain("%s", error);
	free(error);
	return RUN_CANNOT_START;
}

static const char *title(enum machine_kind machine)
{
	return machine == MACHINE_BOCHS ? "Bochs" : machine == MACHINE_KVM ? "QEMU with KVM" : "QEMU";
}

/* Everything that can be known before a machine is made. */
static bool examine(struct run *run, char **error)
{
	struct machine_plan *plan = &run->plan;
	bool huge = strcmp(run->boot.page_size, "1g") == 0;
	uint64_t images;
	char *why = NULL;

	if (!boot_options_check(&run->boot, &images, error))
		return false;
	plan->kind = run->machine;
	plan->mmu = run->boot.mmu;
	if (!machine_choose(&plan->kind, &plan->mmu, &why, error) ||
	    !machine_memory(plan->kind, run->boot.memory, images, huge, &plan->memory, error))
		return false;
	if (!run->quiet && run->machine == MACHINE_AUTO)
		note("machine: %s", why);
	free(why);
	if (plan->count_instructions && plan->kind != MACHINE_QEMU) {
		*error = formatted("--icount is QEMU's own; %s counts %s", title(plan->kind),
		                   plan->kind == MACHINE_BOCHS ? "instructions always" : "none");
		return false;
	}
	run->boot.mmu = plan->mmu;
	return boot_options_plan(&run->boot, run->trace, &plan->boot, error);
}

static bool make_trace(struct run *run, char **error)
{
	char *machine;
	bool ok;

	if (!run->trace)
		return true;
	machine = formatted("%s-%s", machine_name(run->plan.kind), mmu_name(run->plan.mmu));
	ok = trace_disk_make(run->trace, run->trace_size, machine, error);
	free(machine);
	run->trace_path = absolute_path(run->trace);
	run->plan.trace = run->trace_path;
	return ok;
}

static json_t *facts_json(const struct run *run)
{
	const struct visor_log *log = &run->session.log;
	json_t *facts = json_pack("{ss ss ss ss sI ss si sf}", "vmmu", VMMU_VERSION, "machine",
	                          machine_name(run->plan.kind), "mmu", mmu_name(run->plan.mmu), "append",
	                          run->plan.boot.guest_line, "memory_bytes", (json_int_t)run->boot.memory,
	                          "page_size", run->boot.page_size, "exit_status", run->status, "seconds",
	                          run->session.seconds);
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
	if (log->summary)
		json_object_set(facts, "summary", log->summary);
	if (log->end)
		json_object_set(facts, "end", log->end);
	return facts;
}

/* FILE.json beside the trace, and --report. False: the user has been told. */
static bool write_facts(const struct run *run)
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

static bool finish_trace(struct run *run)
{
	char *error = NULL;

	if (!run->trace || trace_disk_finish(run->trace, &run->trace_records, &run->trace_dropped, &error))
		return true;
	complain("%s", error);
	free(error);
	return false;
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
		complain("%s was killed by signal %d (%s) before the guest ended", title(run->plan.kind),
		         WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		complain("%s ended with status %d before the guest did", title(run->plan.kind), WEXITSTATUS(status));
	visor_log_print(&run->session.log, stderr, "  visor: ");
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
		visor_log_print(&run->session.log, stderr, run->verbose ? "" : "  visor: ");
	if (run->status == RUN_DEBUG_EXIT_LARGE)
		note("the guest wrote %lld to the debug-exit port", code);
}

static void judge(struct run *run)
{
	switch (run->end) {
	case SESSION_ENDED:
		say_how_it_ended(run);
		break;
	case SESSION_DIED:
		say_how_it_died(run);
		break;
	case SESSION_TIMEOUT:
		complain("out of time after %.0f s (--timeout); the guest was still running", run->timeout);
		if (!run->session.log.start)
			visor_log_print(&run->session.log, stderr, "  visor: ");
		run->status = RUN_TIMEOUT;
		break;
	case SESSION_SIGNAL:
		note("ended by the user");
		run->status = RUN_SIGNAL + run->session.signal;
		break;
	}
}

static void report(struct run *run)
{
	const char *status = end_text(run, "status");
	struct run_facts facts = {
		.status = *status ? status : "not ended", .exit_status = run->status,
		.machine = title(run->plan.kind), .mmu = mmu_title(run->plan.mmu), .page_size = run->boot.page_size,
		.seconds = run->session.seconds, .trace = run->trace, .trace_records = run->trace_records,
		.trace_dropped = run->trace_dropped,
	};

	if (run->session.log.summary && !run->quiet)
		summary_print(stderr, run->session.log.summary, &facts, palette_for(stderr, run->colour));
	else if (run->trace && !run->quiet)
		note("%s holds the %s records that were written", run->trace, text_count(run->trace_records).text);
}

static bool open_log(struct run *run, char **error)
{
	if (!run->log)
		return true;
	run->session.log_copy = fopen(run->log, "we");
	if (!run->session.log_copy)
		*error = formatted("%s cannot be written: %s", run->log, strerror(errno));
	return run->session.log_copy;
}

static void print_command(const struct run *run)
{
	for (size_t i = 0; i < run->command.count; i++)
		printf("%s%s", i ? " " : "", run->command.argv[i]);
	putchar('\n');
}

static int run_in_folder(struct run *run)
{
	struct session *session = &run->session;
	char *error = NULL;
	bool ok;

	if (run->plan.kind == MACHINE_BOCHS)
		progress_stage(&session->progress, "making the boot image");
	run->plan.console_tty = session->console.name;
	run->plan.log_tty = session->log_line.name;
	run->plan.work = run->work;
	ok = make_trace(run, &error) && machine_prepare(&run->plan, &run->command, &error);
	if (ok && run->dry_run) {
		progress_end(&session->progress);
		print_command(run);
		return RUN_POWER_OFF;
	}
	if (!ok || !session_run(session, &run->command, run->work, &run->end, &error)) {
		progress_end(&session->progress);
		return cannot_start(error);
	}
	judge(run);
	if (!finish_trace(run) || !write_facts(run))
		run->status = run->status ? run->status : RUN_CANNOT_START;
	report(run);
	return run->status;
}

static int start(struct run *run)
{
	struct session *session = &run->session;
	char *error = NULL;
	int status;

	session->timeout = run->timeout;
	session->verbose = run->verbose;
	progress_start(&session->progress, !run->quiet);
	if (!examine(run, &error))
		return cannot_start(error);
	session->machine_title = title(run->plan.kind);
	session->paced = run->plan.kind == MACHINE_BOCHS;
	if (!session_open(session, &error) || !open_log(run, &error))
		return cannot_start(error);
	run->work = work_folder_make(&error);
	if (!run->work)
		return cannot_start(error);
	status = run_in_folder(run);
	if (run->keep)
		note("the emulator's files are kept in %s", run->work);
	else
		work_folder_remove(run->work);
	if (session->log_copy)
		fclose(session->log_copy);
	session_close(session);
	return status;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct run *run = state->input;
	char *end;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &run->boot;
		return 0;
	case OPTION_MACHINE:
		if (!parse_machine(arg, &run->machine))
			argp_error(state, "--machine is auto, bochs, qemu or kvm, not \"%s\"", arg);
		return 0;
	case OPTION_TRACE:
		run->trace = arg;
		return 0;
	case OPTION_TRACE_SIZE:
		if (!parse_size(arg, &run->trace_size) || run->trace_size < 1 << 20 || run->trace_size > TRACE_SIZE_MAX)
			argp_error(state, "--trace-size is a size from 1M to 128G, not \"%s\"", arg);
		return 0;
	case OPTION_TIMEOUT:
		run->timeout = strtod(arg, &end);
		if (end == arg || *end || !(run->timeout > 0))
			argp_error(state, "--timeout takes seconds above 0, not \"%s\"", arg);
		return 0;
	case OPTION_ICOUNT:
		run->plan.count_instructions = true;
		return 0;
	case OPTION_REPORT:
		run->report = arg;
		return 0;
	case OPTION_LOG:
		run->log = arg;
		return 0;
	case OPTION_KEEP:
		run->keep = true;
		return 0;
	case OPTION_DRY_RUN:
		run->dry_run = run->keep = true;
		return 0;
	case OPTION_QUIET:
		run->quiet = true;
		return 0;
	case OPTION_VERBOSE:
		run->verbose = true;
		return 0;
	case OPTION_COLOUR:
		if (!parse_colour_mode(arg ? arg : "always", &run->colour))
			argp_error(state, "--color is auto, always or never, not \"%s\"", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"machine", OPTION_MACHINE, "M", 0,
	 "auto, bochs (EPT), qemu (NPT) or kvm (QEMU with this processor's own; default: auto, the fastest "
	 "that works here and has the MMU)", 2},
	{"trace", OPTION_TRACE, "FILE", 0, "Write every table entry's every change to FILE, and FILE.json beside it", 3},
	{"trace-size", OPTION_TRACE_SIZE, "N", 0, "Room for the trace (default 1G; only what is written takes space)", 3},
	{"report", OPTION_REPORT, "FILE", 0, "Write what the summary shows to FILE, as JSON", 3},
	{"log", OPTION_LOG, "FILE", 0, "Write the visor's log lines to FILE", 3},
	{"timeout", OPTION_TIMEOUT, "S", 0, "End the guest after S seconds of real time", 4},
	{"icount", OPTION_ICOUNT, NULL, 0, "QEMU: virtual time counts instructions, so that runs repeat exactly", 4},
	{"quiet", OPTION_QUIET, NULL, 0, "The guest's console only: no progress, no summary", 5},
	{"verbose", OPTION_VERBOSE, NULL, 0, "Show the visor's log lines", 5},
	{"color", OPTION_COLOUR, "WHEN", OPTION_ARG_OPTIONAL, "auto, always or never, for the summary", 5},
	{"colour", 0, NULL, OPTION_ALIAS, NULL, 5},
	{"keep", OPTION_KEEP, NULL, 0, "Keep the emulator's files and say where they are", 6},
	{"dry-run", OPTION_DRY_RUN, NULL, 0, "Make everything, print the emulator's command line, start nothing", 6},
	{0},
};

static const struct argp_child children[] = {{&boot_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Boot a guest under second-level page tables that start empty and are built fault by fault."
	       "\vThe guest's console is on this terminal: Ctrl-A x ends the guest, Ctrl-A h helps.\n\n"
	       "Exit status: 0 power-off; 0-99 what the guest wrote to the debug-exit port; 100 a larger value "
	       "there; 101 reboot; 102 triple fault; 103 halted for good; 104 the visor stopped the guest; 105 the "
	       "visor refused it; 120 the emulator ended early; 121 something is missing; 122 wrong usage; 124 "
	       "timeout; 128+N signal N.",
	.children = children,
};

int command_run(int argc, char **argv)
{
	struct run run = {.trace_size = TRACE_SIZE_DEFAULT};

	argp_err_exit_status = RUN_USAGE;
	boot_options_init(&run.boot);
	argp_parse(&argp, argc, argv, 0, NULL, &run);
	run.status = start(&run);
	arguments_free(&run.command);
	boot_options_free(&run.boot);
	free(run.work);
	free(run.trace_path);
	return run.status;
}
