/* SPDX-License-Identifier: BSD-2-Clause */
/* How one write of an entry is told: when, why, by whom, from what to what. */
#ifndef TOOL_QUESTION_HISTORY_H
#define TOOL_QUESTION_HISTORY_H

#include "ask.h"

/* "fault: write at 0x1000 by vCPU 0, memset+0x7", "unmap of hva 0x..-0x.. by tvmm". The caller frees. */
char *history_reason(const struct ask *ask, uint64_t number);
/* One write, as JSON. */
json_t *history_json(const struct ask *ask, uint64_t number);
/* "seen", "inferred", with what speaks against it. The caller frees. */
char *history_known(const struct fact *fact);

/*
 * The facts of the entry that covers an address at a level, as lines. `label`
 * goes before them. Long histories are told by their first and last ones.
 */
void history_print(const struct ask *ask, unsigned vm, unsigned level, uint64_t address);
json_t *history_list(const struct ask *ask, unsigned vm, unsigned level, uint64_t address);

#endif
