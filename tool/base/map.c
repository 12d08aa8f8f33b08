/* SPDX-License-Identifier: BSD-2-Clause */
#include "map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { ROOM_FIRST = 64 };

uint64_t map_random_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ull;
	return seed;
}

uint64_t map_hash(uint64_t key, uint64_t seed)
{
	key ^= seed;
	key = (key ^ key >> 33) * 0xff51afd7ed558ccdull;
	key = (key ^ key >> 33) * 0xc4ceb9fe1a85ec53ull;
	return key ^ key >> 33;
}

void map_init(struct map *map, uint64_t seed)
{
	*map = (struct map){.seed = seed};
}

void map_free(struct map *map)
{
	free(map->entries);
	*map = (struct map){0};
}

static struct map_entry *find(const struct map *map, uint64_t key)
{
	uint64_t at = map_hash(key, map->seed) & (map->room - 1);

	while (map->entries[at].key != key && map->entries[at].key != MAP_NONE)
		at = (at + 1) & (map->room - 1);
	return &map->entries[at];
}

uint64_t map_get(const struct map *map, uint64_t key)
{
	return map->room ? find(map, key)->value : MAP_NONE;
}

static void grow(struct map *map)
{
	struct map old = *map;

	map->room = old.room ? 2 * old.room : ROOM_FIRST;
	map->entries = allocate(map->room * sizeof(*map->entries));
	memset(map->entries, 0xff, map->room * sizeof(*map->entries));
	for (uint64_t i = 0; i < old.room; i++)
		if (old.entries[i].key != MAP_NONE)
			*find(map, old.entries[i].key) = old.entries[i];
	free(old.entries);
}

uint64_t *map_at(struct map *map, uint64_t key)
{
	struct map_entry *entry;

	if (4 * (map->count + 1) > 3 * map->room)
		grow(map);
	entry = find(map, key);
	if (entry->key == MAP_NONE) {
		entry->key = key;
		map->count++;
	}
	return &entry->value;
}
