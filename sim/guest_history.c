/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest_history.h"

#include <stdlib.h>

static void *grown(void *array, size_t count, size_t size)
{
	void *bigger = realloc(array, count * size);

	if (!bigger)
		abort();
	return bigger;
}

void sim_history_init(struct sim_history *h, uint64_t pages)
{
	*h = (struct sim_history){.clock = 1, .pages = pages};
	h->last = calloc(pages, sizeof(*h->last));
	if (!h->last)
		abort();
}

void sim_history_fini(struct sim_history *h)
{
	free(h->change);
	free(h->last);
}

uint32_t sim_history_stored(struct sim_history *h, uint64_t page, unsigned word, uint64_t old,
                            bool complete)
{
	uint32_t n = h->changes++;

	if (h->changes > h->room) {
		h->room = h->room ? 2 * h->room : 1024;
		h->change = grown(h->change, h->room, sizeof(*h->change));
	}
	h->clock++;
	h->change[n] = (struct sim_change){
		.time = h->clock,
		.until = complete ? h->clock : SIM_HISTORY_OPEN,
		.old = old,
		.previous = h->last[page],
		.word = (uint16_t)word,
	};
	h->last[page] = n + 1;
	if (!complete && !h->open++)
		h->oldest_open = n;
	return n;
}

void sim_history_complete(struct sim_history *h, uint32_t change)
{
	struct sim_change *c = &h->change[change];

	c->until = ++h->clock;
	if (c->until - c->time > h->longest)
		h->longest = c->until - c->time;
	h->open--;
	while (h->open && h->change[h->oldest_open].until != SIM_HISTORY_OPEN)
		h->oldest_open++;
}

bool sim_history_clear(struct sim_history *h)
{
	if (h->open)
		return false;
	for (uint64_t page = 0; page < h->pages; page++)
		h->last[page] = 0;
	h->changes = 0;
	return true;
}

/* Does neither this change nor one before it matter for what was there at `from`? */
static bool is_past(const struct sim_history *h, uint32_t n, uint64_t from)
{
	return h->change[n].time + h->longest <= from && !(h->open && n >= h->oldest_open);
}

unsigned sim_history_values(const struct sim_history *h, uint64_t page, unsigned word,
                            uint64_t present, uint64_t from, uint64_t to, struct sim_word *out,
                            unsigned most)
{
	struct sim_word now = {.value = present};
	uint64_t until = SIM_HISTORY_OPEN;
	unsigned count = 0;

	for (uint32_t at = h->last[page]; count < most; at = h->change[at - 1].previous) {
		bool end = !at || is_past(h, at - 1, from);

		if (!end && h->change[at - 1].word != word)
			continue;
		now.begin = end ? 0 : h->change[at - 1].time;
		if (until > from && now.begin <= to)
			out[count++] = now;
		if (end)
			break;
		now.value = h->change[at - 1].old;
		until = h->change[at - 1].until;
	}
	return count;
}

void sim_invalidated(struct sim_invalidations *log, uint64_t time, enum sim_forgets forgets,
                     unsigned pcid, uint64_t linear)
{
	if (log->events == log->room) {
		log->room = log->room ? 2 * log->room : 256;
		log->event = grown(log->event, log->room, sizeof(*log->event));
	}
	log->event[log->events++] = (struct sim_invalidation){
		.time = time, .linear = linear, .pcid = (uint16_t)pcid, .forgets = (uint8_t)forgets};
}
