/* SPDX-License-Identifier: BSD-2-Clause */
/* A page that shows a trace: one file that needs no other, and no network. */
#ifndef TOOL_REPORT_H
#define TOOL_REPORT_H

#include "../base/meter.h"
#include "../question/ask.h"

struct report_options {
	uint64_t first, last; /* guest-physical: entries of these addresses alone */
	uint64_t room;        /* entry writes that the page may hold; 0 = REPORT_ROOM */
};

/* A page of less than 20 MB. */
enum { REPORT_ROOM = 900000,
       REPORT_VMS = 24 };

/* What became of the trace in the page. */
struct report_result {
	uint64_t writes, kept;
	unsigned vms_left_out;
	unsigned steps, lowest_level; /* of the VM for which they are coarsest; 0 and 1: each write is there */
};

/* False: errno says why it could not be written. */
bool report_write(const struct ask *ask, const struct report_options *options, FILE *to, struct meter *meter,
                  struct report_result *result);

#endif
