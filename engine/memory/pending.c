/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges under invalidation: between vmmu_invalidate_begin and _end nothing may be mapped there. */
#include "memory/memory.h"
#include "table/locks.h"

void vmmu_answers_age(struct vmmu_memory *m, struct vmmu_closed closed)
{
	vmmu_assert_closed(closed);
	atomic_fetch_add_explicit(&m->sequence, 1, memory_order_release);
}

void vmmu_pending_add(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_pending *pending)
{
	pending->next = m->pending;
	m->pending = pending;
	vmmu_answers_age(m, closed);
}

void vmmu_pending_remove(struct vmmu_memory *m, struct vmmu_closed closed,
                         const struct vmmu_pending *pending)
{
	struct vmmu_pending **at = &m->pending;

	while (*at != pending)
		at = &(*at)->next;
	*at = pending->next;
	vmmu_answers_age(m, closed);
}

struct vmmu_pending *vmmu_pending_take(struct vmmu_memory *m, struct vmmu_closed closed, uint64_t first,
                                       uint64_t end)
{
	for (struct vmmu_pending **at = &m->pending; *at; at = &(*at)->next) {
		struct vmmu_pending *found = *at;

		if (found->first == first && found->end == end) {
			*at = found->next;
			vmmu_answers_age(m, closed);
			return found;
		}
	}
	return NULL;
}
