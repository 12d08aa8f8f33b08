/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting by key: what comes most often. */
#ifndef TOOL_QUESTION_GROUP_H
#define TOOL_QUESTION_GROUP_H

#include "ask.h"

struct group {
	uint64_t key;
	uint64_t count, first, last; /* facts */
	uint64_t extra[4];           /* whatever the question counts beside */
};

struct groups {
	struct map places;
	struct group *list;
	size_t count, room;
};

void groups_init(struct groups *groups);
void groups_free(struct groups *groups);
/* One more of this key; valid until the next call. */
struct group *groups_add(struct groups *groups, uint64_t key, uint64_t fact);
/* NULL when it is not there. */
struct group *groups_find(const struct groups *groups, uint64_t key);
/* The most frequent first. After this groups_find must not be used. */
void groups_sort(struct groups *groups);

/* Numbers of which percentiles are wanted. */
struct samples {
	uint64_t *values;
	size_t count, room;
};
void samples_add(struct samples *samples, uint64_t value);
/* Sorts; 0 when there is none. */
uint64_t samples_percentile(struct samples *samples, double percent);
void samples_free(struct samples *samples);

#endif
