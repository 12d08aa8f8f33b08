/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A map from 64-bit keys to 64-bit values. It is seeded, so that no input makes it
 * slow: each operation takes the same time, and memory is a few words for each key.
 */
#ifndef TOOL_MAP_H
#define TOOL_MAP_H

#include "base.h"

struct map {
	struct map_entry {
		uint64_t key, value;
	} * entries;
	uint64_t room;        /* a power of two; 0 = nothing there yet */
	uint64_t count, seed; /* seed 0: one is drawn when the first key comes */
	bool has_none;        /* the key that marks free entries has a place of its own */
	uint64_t of_none;
};

#define MAP_NONE UINT64_MAX /* no value */

/* All zero will do as well. */
void map_init(struct map *map, uint64_t seed);
void map_free(struct map *map);
/* MAP_NONE when it is not there. */
uint64_t map_get(const struct map *map, uint64_t key);
/* A hint that `key` is looked for soon. */
void map_prefetch(const struct map *map, uint64_t key);
/* Where the value of a key stands, MAP_NONE at first; valid until the next call. */
uint64_t *map_at(struct map *map, uint64_t key);
/* No matter if it is not there. */
void map_remove(struct map *map, uint64_t key);
/* Where the search for a key begins, for whoever keeps such a map in a file. */
uint64_t map_hash(uint64_t key, uint64_t seed);
uint64_t map_random_seed(void);

#endif
