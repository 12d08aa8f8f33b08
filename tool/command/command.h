/* SPDX-License-Identifier: BSD-2-Clause */
/* The subcommands. Each parses its own arguments and returns the exit status. */
#ifndef TOOL_COMMAND_H
#define TOOL_COMMAND_H

#include "../base/exit_status.h"

/* argv[0] is "vmmu run" etc., for messages. */
int command_run(int argc, char **argv);
int command_iso(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_walk(int argc, char **argv);
int command_dump(int argc, char **argv);
int command_record(int argc, char **argv);
int command_check(int argc, char **argv);
int command_report(int argc, char **argv);
int command_plot(int argc, char **argv);
int command_export(int argc, char **argv);

#endif
