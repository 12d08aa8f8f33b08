/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ranges under invalidation: between vmmu_invalidate_begin and _end nothing may be mapped there.
 *
 * They stand by their first gfn, each with the largest end of it and of all before it. So
 * a fault finds by one binary search whether any of them meets what it is about to map,
 * however many overlap.
 */
#include "memory/memory.h"
#include "table/locks.h"

void vmmu_answers_age(struct vmmu_memory *m, struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
	atomic_fetch_add_explicit(&m->sequence, 1, memory_order_release);
}

/* How many begin before gfn. */
static uint32_t beginning_before(const struct vmmu_memory *m, uint64_t gfn)
{
	uint32_t low = 0, high = m->invalidating;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (m->ranges[middle].first < gfn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool vmmu_meets_invalidation(const struct vmmu_memory *m, uint64_t first, uint64_t end)
{
	uint32_t before = beginning_before(m, end);

	return before && m->ranges[before - 1].reach > first;
}

static void reach_from(struct vmmu_memory *m, uint32_t i)
{
	uint64_t reach = i ? m->ranges[i - 1].reach : 0;

	for (; i < m->invalidating; i++) {
		if (m->ranges[i].end > reach)
			reach = m->ranges[i].end;
		m->ranges[i].reach = reach;
	}
}

void vmmu_invalidation_add(struct vmmu_memory *m, struct vmmu_closed closed, uint64_t first, uint64_t end)
{
	uint32_t at;

	VMMU_ASSERT(m->invalidating < m->ranges_max);
	if (VMMU_LIKELY(!m->invalidating)) {
		m->ranges[m->invalidating++] = (struct vmmu_invalidation){first, end, end};
		vmmu_answers_age(m, closed);
		return;
	}
	at = beginning_before(m, first);
	for (uint32_t i = m->invalidating++; i > at; i--)
		m->ranges[i] = m->ranges[i - 1];
	m->ranges[at] = (struct vmmu_invalidation){.first = first, .end = end};
	reach_from(m, at);
	vmmu_answers_age(m, closed);
}

bool vmmu_invalidation_take(struct vmmu_memory *m, struct vmmu_closed closed, uint64_t first, uint64_t end)
{
	uint32_t at;

	if (VMMU_LIKELY(m->invalidating == 1 && m->ranges[0].first == first && m->ranges[0].end == end)) {
		m->invalidating = 0;
		vmmu_answers_age(m, closed);
		return true;
	}
	at = beginning_before(m, first);
	while (at < m->invalidating && m->ranges[at].first == first && m->ranges[at].end != end)
		at++;
	if (at == m->invalidating || m->ranges[at].first != first)
		return false;
	m->invalidating--;
	for (uint32_t i = at; i < m->invalidating; i++)
		m->ranges[i] = m->ranges[i + 1];
	reach_from(m, at);
	vmmu_answers_age(m, closed);
	return true;
}
