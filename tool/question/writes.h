/* SPDX-License-Identifier: BSD-2-Clause */
/* What one write of an entry did, as several questions ask it. */
#ifndef TOOL_QUESTION_WRITES_H
#define TOOL_QUESTION_WRITES_H

#include "../model/model.h"

/* Something was there, and is not any more. */
bool write_is_zap(const struct fact *fact);
/* A page lost its right to be written, or got it back. */
bool write_is_protection(const struct fact *fact);
bool write_is_repair(const struct fact *fact);
/* A large page became a table. */
bool write_is_split(const struct fact *fact);
/* The last address that the entry covers. */
uint64_t write_end(const struct fact *fact);

/*
 * The write that made one page again of what write `split` took apart, before fact
 * `until`; MODEL_NONE: none did.
 */
uint64_t split_joined(const struct model *model, uint64_t split, uint64_t until);

/*
 * A page was mapped: the write that had dropped it before, with its frame; NULL: there
 * was none. *same: it is the same frame again.
 */
const struct fact *write_maps_again(const struct model *model, uint64_t number, bool *same);

/* A slot's largest page: a large page needs guest and host address alike below its size. 0: not known. */
unsigned slot_largest_level(const struct fact *slot);

#endif
