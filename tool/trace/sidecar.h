/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FILE.json beside a trace FILE: which kernel ran with which command line on
 * which machine, and how it ended. `vmmu run` writes it, so that nobody has to
 * say it again to `vmmu trace` and `vmmu walk`.
 */
#ifndef TOOL_SIDECAR_H
#define TOOL_SIDECAR_H

#include <jansson.h>

#include "../base/base.h"

/* Name of the sidecar. Caller frees. */
char *sidecar_path(const char *trace_path);
/* False: *error says why. */
bool json_write_file(const char *path, const json_t *json, char **error);
/* NULL when there is none, or none that can be read. Caller json_decref()s. */
json_t *sidecar_read(const char *trace_path);
/* Does it say that the run has ended, in whatever way? */
bool sidecar_run_is_over(const char *trace_path);

#endif
