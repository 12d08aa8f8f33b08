/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit statuses of every command but `run`, which has its own (tool/run/status.h). */
#ifndef TOOL_EXIT_STATUS_H
#define TOOL_EXIT_STATUS_H

enum {
	EXIT_OK = 0,
	EXIT_DIFFERENCE = 1, /* `check` or `diff` found one */
	EXIT_TROUBLE = 2,    /* usage, or a file that cannot be used */
};

#endif
