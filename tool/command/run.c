/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu run: boot a guest, show its console, end with its status. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/text.h"
#include "../machine/machine.h"
#include "../run/guest_files.h"
#include "../run/status.h"
#include "../run/trace_disk.h"
#include "../run/visor_path.h"
#include "../run/work_folder.h"
#include "command.h"
#include "run.h"

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
	OPTION_CPU,
	OPTION_REPORT,
	OPTION_KEEP,
	OPTION_LOG,
	OPTION_DRY_RUN,
	OPTION_COLOUR,
};

static int cannot_start(char *error)
{
	complain("%s", error);
	free(error);
	return RUN_CANNOT_START;
}

/* Everything that can be known before a machine is made. */
static bool examine(struct run *run, char **error)
{
	struct machine_plan *plan = &run->plan;
	bool huge = strcmp(run->boot.page_size, "1g") == 0;
	uint64_t images;
	char *why = NULL;

	if (!boot_options_check(&run->boot, &images, error) || !boot_options_spare(&run->boot, run->trace, error) ||
	    !boot_options_spare(&run->boot, run->log, error))
		return false;
	plan->kind = run->machine;
	plan->mmu = run->boot.mmu;
	if (!machine_choose(&plan->kind, &plan->mmu, &why, error))
		return false;
	if (run->machine == MACHINE_AUTO)
		note("machine: %s", why);
	free(why);
	if (!machine_memory(plan->kind, run->boot.memory, images, huge, &plan->memory, error))
		return false;
	if (plan->count_instructions && plan->kind != MACHINE_QEMU) {
		*error = formatted("--icount is QEMU's own; %s counts %s", run_machine_title(plan->kind),
		                   plan->kind == MACHINE_BOCHS ? "instructions always" : "none");
		return false;
	}
	if (plan->cpu && plan->kind == MACHINE_BOCHS && strpbrk(plan->cpu, ", \t\n")) {
		*error = formatted("--cpu=%s: Bochs takes the name of a model alone (bochs -help cpu lists them)", plan->cpu);
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
	ok = trace_disk_make(&run->disk, run->trace, run->trace_size, machine, error);
	free(machine);
	run->trace_path = absolute_path(run->trace);
	run->plan.trace = run->trace_path;
	return ok;
}

static bool finish_trace(struct run *run)
{
	char *error = NULL;
	bool ok;

	if (!run->trace)
		return true;
	ok = trace_disk_finish(&run->disk, &run->trace_records, &run->trace_dropped, &error);
	if (error)
		complain("%s", error);
	free(error);
	return ok;
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

static bool close_log(struct run *run)
{
	struct session *session = &run->session;
	FILE *file = session->log_copy;

	if (!file)
		return true;
	session->log_copy = NULL;
	if (fclose(file) == 0 && !session->log_failed)
		return true;
	complain("%s is not whole: %s", run->log, strerror(errno ? errno : EIO));
	return false;
}

static void print_command(const struct run *run)
{
	for (size_t i = 0; i < run->command.count; i++)
		printf("%s%s", i ? " " : "", run->command.argv[i]);
	putchar('\n');
}

/* What was asked for besides the guest's run, and has not come out whole: worth a status where that says nothing. */
static void check_files(struct run *run)
{
	bool ok = finish_trace(run);

	ok = close_log(run) && ok;
	ok = run_write_facts(run) && ok;
	if (!ok && !run->status)
		run->status = RUN_CANNOT_START;
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
	/* Now already, for whoever follows the trace. */
	if (ok && !run_write_facts(run))
		return RUN_CANNOT_START;
	if (!ok || !session_run(session, &run->command, run->work, &error)) {
		progress_end(&session->progress);
		return cannot_start(error);
	}
	run_judge(run);
	run->over = true;
	check_files(run);
	run_report(run);
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
	note_enable(!run->quiet);
	if (!examine(run, &error))
		return cannot_start(error);
	session->machine_title = run_machine_title(run->plan.kind);
	session->paced = run->plan.kind == MACHINE_BOCHS;
	if (!session_open(session, &error) || !open_log(run, &error))
		return cannot_start(error);
	run->work = work_folder_make(run->keep, &error);
	if (!run->work)
		return cannot_start(error);
	status = run_in_folder(run);
	if (run->keep)
		note("the emulator's files are kept in %s", run->work);
	else
		work_folder_remove(run->work);
	close_log(run);
	trace_disk_release(&run->disk);
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
	case OPTION_CPU:
		run->plan.cpu = arg;
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
         "that works here and has the MMU)",
         2},
	{"trace", OPTION_TRACE, "FILE", 0, "Write every table entry's every change to FILE, and FILE.json beside it", 3},
	{"trace-size", OPTION_TRACE_SIZE, "N", 0, "Room for the trace (default 1G; only what is written takes space)", 3},
	{"report", OPTION_REPORT, "FILE", 0, "Write what the summary shows to FILE, as JSON", 3},
	{"log", OPTION_LOG, "FILE", 0, "Write the visor's log lines to FILE", 3},
	{"timeout", OPTION_TIMEOUT, "S", 0, "End the guest after S seconds of real time; the summary comes all the same", 4},
	{"icount", OPTION_ICOUNT, NULL, 0, "QEMU: virtual time counts instructions, so that runs repeat exactly", 4},
	{"cpu", OPTION_CPU, "NAME", 0, "The emulator's name for a processor: QEMU's -cpu, Bochs' model", 4},
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
	       "\vThe guest's console is on this terminal: Ctrl-A x ends the guest, Ctrl-A h helps. A second "
	       "signal, or Ctrl-A x again, does not wait for the summary.\n\n"
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
	out_of_memory_status(RUN_CANNOT_START);
	boot_options_init(&run.boot);
	argp_parse(&argp, argc, argv, 0, NULL, &run);
	run.status = start(&run);
	arguments_free(&run.command);
	boot_options_free(&run.boot);
	free(run.work);
	free(run.trace_path);
	return run.status;
}
