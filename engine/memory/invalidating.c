/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges under invalidation: between vmmu_invalidate_begin and _end nothing may be mapped there. */
#include "memory/memory.h"
#include "table/locks.h"

void vmmu_answers_age(struct vmmu_memory *m, struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
	atomic_fetch_add_explicit(&m->sequence, 1, memory_order_release);
}

void vmmu_invalidation_add(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_invalidation *invalidation)
{
	invalidation->next = m->invalidating;
	m->invalidating = invalidation;
	vmmu_answers_age(m, closed);
}

void vmmu_invalidation_remove(struct vmmu_memory *m, struct vmmu_closed closed,
                              const struct vmmu_invalidation *invalidation)
{
	struct vmmu_invalidation **at = &m->invalidating;

	while (*at != invalidation)
		at = &(*at)->next;
	*at = invalidation->next;
	vmmu_answers_age(m, closed);
}

struct vmmu_invalidation *vmmu_invalidation_take(struct vmmu_memory *m, struct vmmu_closed closed, uint64_t first,
                                                 uint64_t end)
{
	for (struct vmmu_invalidation **at = &m->invalidating; *at; at = &(*at)->next) {
		struct vmmu_invalidation *found = *at;

		if (found->first == first && found->end == end) {
			*at = found->next;
			vmmu_answers_age(m, closed);
			return found;
		}
	}
	return NULL;
}
