/* SPDX-License-Identifier: BSD-2-Clause */
/* The subcommands. Each parses its own arguments and returns the exit status. */
#ifndef TOOL_COMMAND_H
#define TOOL_COMMAND_H

/* Exit statuses of every command but `run`, which has its own (run/status.h). */
enum {
	EXIT_OK = 0,
	EXIT_DIFFERENCE = 1,   /* `check` found one */
	EXIT_TROUBLE = 2,      /* usage, or a file that cannot be used */
};

/* argv[0] is "vmmu run" etc., for messages. */
int command_run(int argc, char **argv);
int command_iso(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_walk(int argc, char **argv);
int command_dump(int argc, char **argv);
int command_record(int argc, char **argv);
int command_check(int argc, char **argv);

#endif
