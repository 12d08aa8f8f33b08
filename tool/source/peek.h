/* SPDX-License-Identifier: BSD-2-Clause */
/* What a path leads to, before anybody has read it: a pipe can be read once only. */
#ifndef TOOL_SOURCE_PEEK_H
#define TOOL_SOURCE_PEEK_H

#include "source.h"

/*
 * "-" is standard input. Nothing is taken from a pipe; its first bytes are waited for.
 * SOURCE_NONE: nothing that is known here, or it cannot be read.
 */
enum source_kind source_peek(const char *path);

#endif
