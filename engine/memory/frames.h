/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which entries map a guest frame: the reverse map of shadow paging.
 *
 * Every entry of a shadow table has a link of its own, beside the table. It
 * hangs in exactly one list: that of the guest frame that the entry maps, or
 * that of the table that it references. So nothing is allocated to map a page,
 * and an entry is found and unhung without a search. Heads for the frames are
 * kept by blocks of 2 MiB, made when the first frame of a block is mapped.
 *
 * All of it is under the shadow lock, or the closed gate (table/locks.h).
 */
#ifndef VMMU_FRAMES_H
#define VMMU_FRAMES_H

#include <stdatomic.h>

#include <vmmu/host.h>

#include "format/format.h"

struct vmmu_link {
	struct vmmu_link *next;
	struct vmmu_link **at; /* what points here; NULL: it hangs nowhere */
	uint64_t place;        /* gfn mapped << 9 | index in its table */
};

static inline unsigned vmmu_link_index(const struct vmmu_link *link)
{
	return link->place % VMMU_ENTRIES;
}

static inline uint64_t vmmu_link_gfn(const struct vmmu_link *link)
{
	return link->place / VMMU_ENTRIES;
}

static inline void vmmu_link_hang(struct vmmu_link *link, struct vmmu_link **head)
{
	link->next = *head;
	link->at = head;
	if (link->next)
		link->next->at = &link->next;
	*head = link;
}

static inline void vmmu_link_unhang(struct vmmu_link *link)
{
	*link->at = link->next;
	if (link->next)
		link->next->at = link->at;
	link->at = NULL;
}

/*
 * Frames of a block that the host has named as one run. They need not be asked
 * for again until memory.sequence moves on.
 */
struct vmmu_run {
	struct vmmu_backing backing; /* pfn: what `first` would have; order 0: none known */
	uint64_t sequence;
	uint64_t first, end; /* gfns, of one slot */
};

struct vmmu_block {
	struct vmmu_block *next;              /* in its bucket */
	uint64_t number;                      /* gfn / 512 */
	struct vmmu_link *huge;               /* 2 MiB leaves */
	struct vmmu_link *page[VMMU_ENTRIES]; /* 4 KiB leaves */
	struct vmmu_run run;
	/*
	 * frames.clock when the host last gave a frame that may be written and had not
	 * been known: from before, another frame may have been its answer.
	 */
	uint64_t changed;
	bool unpaged; /* the map of guests without paging has, or had, leaves here */
};

enum { VMMU_BLOCK_BUCKETS = 1024 };

struct vmmu_frames {
	struct vmmu_block *bucket[VMMU_BLOCK_BUCKETS];
	_Atomic uint64_t clock; /* read by those who are about to ask the host */
};

/* What the host has said of the block until now counts no more, if it has not arrived yet. */
static inline void vmmu_block_changed(struct vmmu_frames *frames, struct vmmu_block *block)
{
	block->changed = atomic_load_explicit(&frames->clock, memory_order_relaxed) + 1;
	atomic_store_explicit(&frames->clock, block->changed, memory_order_release);
}

/* The block that holds gfn, or NULL. */
struct vmmu_block *vmmu_block_of(const struct vmmu_frames *frames, uint64_t gfn);
void vmmu_block_insert(struct vmmu_frames *frames, struct vmmu_block *block, uint64_t gfn);
/*
 * Take out the one that *at points to, in its bucket. Only with the gate closed, and
 * with a step of memory.sequence: `changed` goes with it.
 */
struct vmmu_block *vmmu_block_remove(struct vmmu_block **at);
/* No leaf hangs in it. */
bool vmmu_block_is_empty(const struct vmmu_block *block);

#endif
