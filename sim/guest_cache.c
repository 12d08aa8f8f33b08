/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest_cache.h"

#include "random.h"

#include <string.h>

#define ADDRESS 0xffffffffff000ull /* bits 51:12 */

static bool serves(const struct sim_path *p, uint64_t linear)
{
	return p->first == linear >> p->shift;
}

const struct sim_path *sim_cache_page(const struct sim_guest_cache *cache, unsigned pcid,
                                      uint64_t linear)
{
	for (unsigned i = 0; i < cache->used; i++) {
		const struct sim_path *p = &cache->path[i];

		if (p->valid && p->whole && (p->global || p->pcid == pcid) && serves(p, linear))
			return p;
	}
	return NULL;
}

const struct sim_path *sim_cache_way(struct sim_guest_cache *cache, unsigned pcid, uint64_t linear)
{
	const struct sim_path *found = NULL;
	unsigned ways = 0;

	for (unsigned i = 0; i < cache->used; i++) {
		const struct sim_path *p = &cache->path[i];

		if (p->valid && !p->whole && p->pcid == pcid && serves(p, linear) &&
		    sim_random_below(&cache->random, ++ways) == 0)
			found = p;
	}
	return found;
}

static bool same_place(const struct sim_path *a, const struct sim_path *b)
{
	return a->whole == b->whole && a->pcid == b->pcid && a->shift == b->shift && a->first == b->first;
}

static struct sim_path *place_for(struct sim_guest_cache *cache, const struct sim_path *path)
{
	struct sim_path *empty = NULL;

	for (unsigned i = 0; i < cache->used; i++) {
		if (!cache->path[i].valid)
			empty = &cache->path[i];
		else if (same_place(&cache->path[i], path))
			return &cache->path[i];
	}
	if (empty)
		return empty;
	if (cache->used < SIM_CACHE_PATHS)
		return &cache->path[cache->used++];
	return &cache->path[sim_random_below(&cache->random, SIM_CACHE_PATHS)];
}

void sim_cache_insert(struct sim_guest_cache *cache, const struct sim_path *path)
{
	struct sim_path *place = place_for(cache, path);

	*place = *path;
	place->valid = true;
}

void sim_cache_forget_all(struct sim_guest_cache *cache)
{
	cache->used = 0;
}

typedef bool (*names)(const struct sim_path *p, unsigned pcid, uint64_t linear);

static void forget(struct sim_guest_cache *cache, names is_named, unsigned pcid, uint64_t linear)
{
	for (unsigned i = 0; i < cache->used; i++)
		if (is_named(&cache->path[i], pcid, linear))
			cache->path[i].valid = false;
}

static bool is_local(const struct sim_path *p, unsigned pcid, uint64_t linear)
{
	(void)pcid;
	(void)linear;
	return !p->global;
}

static bool is_of_pcid(const struct sim_path *p, unsigned pcid, uint64_t linear)
{
	(void)linear;
	return p->pcid == pcid && !p->global;
}

static bool is_of_space(const struct sim_path *p, unsigned pcid, uint64_t linear)
{
	(void)linear;
	return p->pcid == pcid || p->global;
}

static bool is_for_page(const struct sim_path *p, unsigned pcid, uint64_t linear)
{
	if (!p->whole)
		return p->pcid == pcid;
	return serves(p, linear) && (p->global || p->pcid == pcid);
}

static bool is_for_address(const struct sim_path *p, unsigned pcid, uint64_t linear)
{
	return serves(p, linear) && p->pcid == pcid && !p->global;
}

void sim_cache_forget_local(struct sim_guest_cache *cache)
{
	forget(cache, is_local, 0, 0);
}

void sim_cache_forget_pcid(struct sim_guest_cache *cache, unsigned pcid)
{
	forget(cache, is_of_pcid, pcid, 0);
}

void sim_cache_forget_space(struct sim_guest_cache *cache, unsigned pcid)
{
	forget(cache, is_of_space, pcid, 0);
}

void sim_cache_forget_page(struct sim_guest_cache *cache, unsigned pcid, uint64_t linear)
{
	forget(cache, is_for_page, pcid, linear);
}

void sim_cache_forget_address(struct sim_guest_cache *cache, unsigned pcid, uint64_t linear)
{
	forget(cache, is_for_address, pcid, linear);
}

bool sim_cache_reaches(const struct sim_guest_cache *cache, uint64_t table)
{
	for (unsigned i = 0; i < cache->used; i++) {
		const struct sim_path *p = &cache->path[i];

		if (p->valid && !p->whole && (p->value[p->entries - 1] & ADDRESS) == table)
			return true;
	}
	return false;
}
