/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu: the command. Picks the subcommand; each lives in tool/command/. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmmu/version.h>

#include "base/base.h"
#include "command/command.h"
#include "doctor/doctor.h"
#include "question/question.h"
#include "top/top.h"

const char *argp_program_version = "vmmu " VMMU_VERSION;

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"run", command_run, "boot a guest under EPT or NPT tables that are built fault by fault"},
	{"trace", command_trace, "every entry write of a run, decoded, under the fault that caused it"},
	{"walk", command_walk, "the entries that translate an address: when, why and by whom written"},
	{"dump", command_dump, "the whole tree of tables at one moment"},
	{"tree", command_dump, "the same"},
	{"check", command_check, "replay a trace from empty tables and compare with its final dump"},
	{"info", question_info, "what a trace is: machine, VMs, vCPUs, length, events, what is missing"},
	{"faults", question_faults, "which addresses fault, by whom, what became of it, which come again"},
	{"zaps", question_zaps, "what was dropped from the tables, each storm in a line"},
	{"pages", question_pages, "page sizes over time and by address, splits, slots that allow no large pages"},
	{"mmio", question_mmio, "which device addresses the guest uses most"},
	{"dirty", question_dirty, "rounds of dirty logging: protected, repaired, stalls"},
	{"doctor", question_doctor, "known illnesses, each with its evidence and what to do"},
	{"top", question_top, "what happens to the tables, while it happens"},
	{"diff", question_diff, "how the tables differ between two moments or two traces"},
	{"report", command_report, "a page for the browser: the map over time, the tables at any moment, each entry's history"},
	{"plot", command_plot, "the curves as a picture (SVG, PNG): pages by size, tables, faults, writes, exits over time"},
	{"export", command_export, "the trace for other programs: CTF, Perfetto, CSV"},
	{"record", command_record, "record what KVM does to the tables of running VMs"},
	{"iso", command_iso, "a bootable image of visor, kernel and initrd, for a real machine"},
};

static void usage(FILE *to)
{
	fprintf(to, "Usage: vmmu COMMAND [OPTION...]\n\n"
	            "Runs guests under second-level page tables (EPT, NPT) that start empty, and shows\n"
	            "every entry as it is written. Asks recordings of KVM the same questions.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-7s %s\n", commands[i].name, commands[i].help);
	fprintf(to, "\n`vmmu help COMMAND` says more, and so does the man page vmmu-COMMAND(1).\n");
}

/* Output that could not be written is no success. After trouble the user has been told of something already. */
static int flushed(int status)
{
	if (status == EXIT_TROUBLE || (fflush(stdout) == 0 && !ferror(stdout)))
		return status;
	complain("standard output: %s", strerror(errno));
	return status ? status : EXIT_TROUBLE;
}

/*
 * Started with a standard descriptor closed, the next file opened would pass for it. What
 * is written to a closed standard output is an error, as it would be without this.
 */
static void open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR);
}

/*
 * -h is --help, where it can be no option's value: argp itself knows -? alone. What
 * stands behind "--" is another program's.
 */
static void take_short_help(int argc, char **argv)
{
	static char help[] = "--help";

	for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "-h") == 0 && argv[i - 1][0] != '-')
			argv[i] = help;
}

int main(int argc, char **argv)
{
	static char help[] = "--help";
	const char *name = argc > 1 ? argv[1] : "";

	open_standard_descriptors();
	end_when_a_file_shrinks();
	/* A file beyond the limit of its size (ulimit -f) is an error like a full disk, and no end without a word. */
	signal(SIGXFSZ, SIG_IGN);
	argp_err_exit_status = EXIT_TROUBLE;
	/* `vmmu help walk` is `vmmu walk --help`. */
	if (strcmp(name, "help") == 0 && argc > 2) {
		argv[1] = argv[2];
		argv[2] = help;
		argc = 3;
		name = argv[1];
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		usage(stdout);
		return flushed(EXIT_OK);
	}
	take_short_help(argc, argv);
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts(argp_program_version);
		return flushed(EXIT_OK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0) {
			char *full_name = formatted("vmmu %s", name);

			argv[1] = full_name;
			return flushed(commands[i].run(argc - 1, argv + 1));
		}
	}
	if (*name)
		complain("there is no command \"%s\"", name);
	usage(stderr);
	return EXIT_TROUBLE;
}
