/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu export: a trace for other programs (docs/export.md). The parts:
 *
 *   row.c        what is told of each fact, for all formats
 *   csv.c        a row for each fact, or for each step of the curves
 *   perfetto.c   Chrome's trace events in JSON, which Perfetto reads
 *   ctf.c        the Common Trace Format 1.8, written by libbabeltrace2
 */
#ifndef TOOL_EXPORT_H
#define TOOL_EXPORT_H

#include "../base/meter.h"
#include "../question/ask.h"

enum { EXPORT_STEPS = 480 }; /* of curves, unless the user says */

/* Each is false when writing failed: errno says why, for ctf *error (the caller frees). */
bool export_csv(const struct ask *ask, FILE *to, struct meter *meter);
/* The curves of each VM, in `steps` steps. */
bool export_csv_series(const struct ask *ask, unsigned steps, FILE *to, struct meter *meter);
bool export_perfetto(const struct ask *ask, FILE *to, struct meter *meter);
/* `folder` must not be there. It makes no file in it but export_ctf_files. */
bool export_ctf(const struct ask *ask, const char *folder, struct meter *meter, char **error);
extern const char *const export_ctf_files[];

#endif
