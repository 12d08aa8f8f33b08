/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options that walk, trace and dump share with every question. With one of them the
 * question answers (question_is_asked); here they are named for --help, and for a FILE
 * that cannot be read, which then is what the user is told.
 */
#ifndef TOOL_SHARED_OPTIONS_H
#define TOOL_SHARED_OPTIONS_H

#include <argp.h>

/* --since, --until, --vcpu, --last, --host-clock, --no-index */
extern const struct argp shared_argp;
/* ... and --json; input: a bool that it sets, or NULL */
extern const struct argp shared_json_argp;

#endif
