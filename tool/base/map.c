/* SPDX-License-Identifier: BSD-2-Clause */
/* Open addressing with linear probing. */
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

static uint64_t home(const struct map *map, uint64_t key)
{
	return map_hash(key, map->seed) & (map->room - 1);
}

static struct map_entry *find(const struct map *map, uint64_t key)
{
	uint64_t at = home(map, key);

	while (map->entries[at].key != key && map->entries[at].key != MAP_NONE)
		at = (at + 1) & (map->room - 1);
	return &map->entries[at];
}

uint64_t map_get(const struct map *map, uint64_t key)
{
	if (key == MAP_NONE)
		return map->has_none ? map->of_none : MAP_NONE;
	return map->room ? find(map, key)->value : MAP_NONE;
}

void map_prefetch(const struct map *map, uint64_t key)
{
	if (map->room)
		__builtin_prefetch(&map->entries[home(map, key)]);
}

static void grow(struct map *map)
{
	struct map old = *map;

	if (!map->seed)
		map->seed = map_random_seed();
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

	if (key == MAP_NONE) {
		if (!map->has_none) {
			map->of_none = MAP_NONE;
			map->count++;
		}
		map->has_none = true;
		return &map->of_none;
	}
	if (4 * (map->count + 1) > 3 * map->room)
		grow(map);
	entry = find(map, key);
	if (entry->key == MAP_NONE) {
		entry->key = key;
		map->count++;
	}
	return &entry->value;
}

void map_remove(struct map *map, uint64_t key)
{
	uint64_t mask = map->room - 1, at, next;

	if (key == MAP_NONE) {
		map->count -= map->has_none;
		map->has_none = false;
		return;
	}
	if (!map->room || find(map, key)->key != key)
		return;
	map->count--;
	at = (uint64_t)(find(map, key) - map->entries);
	/* Those behind it that its place kept from theirs move up (Knuth, vol. 3, 6.4, algorithm R). */
	for (next = (at + 1) & mask; map->entries[next].key != MAP_NONE; next = (next + 1) & mask) {
		if (((next - home(map, map->entries[next].key)) & mask) >= ((next - at) & mask)) {
			map->entries[at] = map->entries[next];
			at = next;
		}
	}
	map->entries[at] = (struct map_entry){MAP_NONE, MAP_NONE};
}
