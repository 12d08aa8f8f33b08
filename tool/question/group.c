/* SPDX-License-Identifier: BSD-2-Clause */
#include "group.h"

#include <stdlib.h>

void groups_init(struct groups *groups)
{
	*groups = (struct groups){.count = 0};
	map_init(&groups->places, map_random_seed());
}

void groups_free(struct groups *groups)
{
	map_free(&groups->places);
	free(groups->list);
}

struct group *groups_find(const struct groups *groups, uint64_t key)
{
	uint64_t place = map_get(&groups->places, key);

	return place == MAP_NONE ? NULL : &groups->list[place];
}

struct group *groups_add(struct groups *groups, uint64_t key, uint64_t fact)
{
	uint64_t *place = map_at(&groups->places, key);
	struct group *group;

	if (*place == MAP_NONE) {
		if (groups->count == groups->room) {
			groups->room = groups->room ? 2 * groups->room : 64;
			groups->list = reallocate(groups->list, groups->room * sizeof(*groups->list));
		}
		*place = groups->count;
		groups->list[groups->count++] = (struct group){.key = key, .first = fact};
	}
	group = &groups->list[*place];
	group->count++;
	group->last = fact;
	return group;
}

static int by_count(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

void groups_sort(struct groups *groups)
{
	if (groups->count)
		qsort(groups->list, groups->count, sizeof(*groups->list), by_count);
}

void samples_add(struct samples *samples, uint64_t value)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? 2 * samples->room : 256;
		samples->values = reallocate(samples->values, samples->room * sizeof(*samples->values));
	}
	samples->values[samples->count++] = value;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t samples_percentile(struct samples *samples, double percent)
{
	size_t at;

	if (!samples->count)
		return 0;
	qsort(samples->values, samples->count, sizeof(*samples->values), by_value);
	at = (size_t)(percent / 100 * (double)(samples->count - 1) + 0.5);
	return samples->values[at];
}

void samples_free(struct samples *samples)
{
	free(samples->values);
	*samples = (struct samples){0};
}
