/* SPDX-License-Identifier: BSD-2-Clause */
/* The questions, each in a file of its own. All take a command's arguments and return its exit status. */
#ifndef TOOL_QUESTION_H
#define TOOL_QUESTION_H

#include <stdbool.h>

/* Does one of the arguments name a recording of KVM's events (or standard input, or a pipe)? */
bool question_is_for_recording(int argc, char **argv);

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
