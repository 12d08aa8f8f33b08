/* SPDX-License-Identifier: BSD-2-Clause */
/* The questions, each in a file of its own. All take a command's arguments and return its exit status. */
#ifndef TOOL_QUESTION_H
#define TOOL_QUESTION_H

#include <stdbool.h>

/* When a question takes the place of the command for vmmu traces. */
enum question_when {
	QUESTION_FOR_KVM,         /* one of the arguments names a recording of KVM's events */
	QUESTION_FOR_OPTION,      /* also a vmmu trace, with an option that every question has (--since, --last ...) */
	QUESTION_FOR_OPTION_JSON, /* --json is one of these */
};
bool question_is_asked(int argc, char **argv, enum question_when when);

int question_walk(int argc, char **argv);
int question_list(int argc, char **argv);
int question_tree(int argc, char **argv);
int question_check(int argc, char **argv);
int question_info(int argc, char **argv);
int question_faults(int argc, char **argv);
int question_zaps(int argc, char **argv);
int question_pages(int argc, char **argv);
int question_mmio(int argc, char **argv);
int question_dirty(int argc, char **argv);
int question_diff(int argc, char **argv);

#endif
