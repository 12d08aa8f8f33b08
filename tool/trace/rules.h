/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each record of a trace must say, as far as other records or the format
 * decide it: which fault it belongs to, which gfn an entry covers, which root a
 * table is of, that what is reserved is 0. The replay alone does not ask for that:
 * it would believe a wrong gfn, and `walk` would then answer wrongly.
 */
#ifndef TOOL_RULES_H
#define TOOL_RULES_H

#include "replay.h"

struct rules {
	struct map streams; /* vm and vcpu -> place in `stream` */
	struct rules_stream *stream;
	size_t stream_count, stream_room;
	struct map roots;   /* vm and root: one that a table or the VM's beginning has named */
	struct map flushes; /* vm and flush -> RULES_OWED, RULES_DONE */
	struct map vcpus;   /* vm -> its only vCPU, or RULES_SEVERAL */
	replay_problem_fn problem;
	void *arg;
};

void rules_init(struct rules *rules, replay_problem_fn problem, void *arg);
void rules_free(struct rules *rules);
/* Record `number` of a sorted trace, before `replay` takes it. */
void rules_check(struct rules *rules, const struct replay *replay, const struct trace_file *trace, uint64_t number);

#endif
