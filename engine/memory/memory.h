/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest-physical memory: slots, page-size caps, dirty bitmaps, and the
 * numbers by which a fault learns that what it was told has become stale.
 *
 * Who reads slots proves that they stand still (struct vmmu_reading), who writes them
 * that the gate is closed. A slot that was found is good for as long as that proof.
 */
#ifndef VMMU_MEMORY_H
#define VMMU_MEMORY_H

#include <stdatomic.h>
#include <stddef.h>

#include <vmmu/vmmu.h>

#include "table/tables.h"

enum { VMMU_MAX_SLOTS_DEFAULT = 32764 };

/* The orders in which slots stand: by first gfn, and by id. */
enum vmmu_slot_order { VMMU_BY_PLACE,
	               VMMU_BY_ID,
	               VMMU_SLOT_ORDERS };

struct vmmu_slot {
	struct vmmu_slot_info info;
	struct vmmu_slot *below[VMMU_SLOT_ORDERS], *above[VMMU_SLOT_ORDERS]; /* its subtrees: slot_tree.c */
	uint64_t first, end;                                                 /* gfns */
	uint8_t *caps;                                                       /* largest level for each 2 MiB block; NULL: no cap anywhere */
	_Atomic uint64_t *dirty;                                             /* one bit a page, and its summaries: dirty.c; NULL: not logging */
};

/* A range, in gfns, whose frames the host is changing, or whose slot is on the move. */
struct vmmu_invalidation {
	uint64_t first, end;
	uint64_t reach; /* the largest end of it and of those that stand before it */
};

/*
 * So many ranges stand in the VM itself; an array on its own takes over when more are
 * open. Two places are always kept free, for a slot that moves.
 */
enum { VMMU_OWN_RANGES = 8,
       VMMU_RANGES_OF_MOVE = 2 };

struct vmmu_memory {
	struct vmmu_slot *slots[VMMU_SLOT_ORDERS]; /* roots */
	uint32_t max_slots;
	uint64_t limit; /* first gfn past what a guest can name */

	/* Steps at each slot change. Its low bits are in every MMIO entry. */
	_Atomic uint64_t generation;
	/* Steps whenever an answer of host.backing may have become stale. */
	_Atomic uint64_t sequence;

	uint32_t invalidating; /* ranges: each vmmu_invalidate_begin without its end, and a move's places */
	uint32_t ranges_max;
	struct vmmu_invalidation *ranges; /* by first gfn: invalidating.c */
	struct vmmu_invalidation own_ranges[VMMU_OWN_RANGES];
};

/*
 * A grant of the host's that a direct map has made a leaf of, and its bits, so that they
 * need not be checked and put together again for each page. What is remembered follows
 * from the grant, the slot's flags, the access and the map's layout alone: it never
 * becomes stale.
 */
struct vmmu_grant {
	uint64_t said; /* vmmu_grant_said; 0: nothing is remembered */
	uint64_t leaf; /* vmmu_leaf_bits */
};

/*
 * A run of frames that the host has named to a vCPU, with all rights: as long as memory.sequence
 * stands its pages need not be asked for one by one. It is of one slot, which has no flags; no
 * range was under invalidation.
 */
struct vmmu_known {
	uint64_t moment;       /* vmmu_moment; 0: none is known */
	uint64_t first, pages; /* gfns */
	uint64_t leaf;         /* of 4 KiB, less the gfn's address */
	uint64_t apart;        /* pfn - gfn */
	uint32_t slot;         /* its id */
};

/* Of a run whose frames are in step with its gfns: more than any machine has. */
enum { VMMU_KNOWN_ORDER_MAX = 40 };

/* So many runs are known to a vCPU at once. */
enum { VMMU_KNOWN_RUNS = 4 };

/*
 * The state of memory, and whether somebody watched: `sequence` steps whenever that changes. What was
 * learned while somebody did counts only then.
 */
static inline uint64_t vmmu_moment(uint64_t sequence, bool watched)
{
	return watched ? sequence | 1ull << 63 : sequence;
}

/* Whether or not somebody watched. */
static inline bool vmmu_same_moment(uint64_t moment, uint64_t sequence)
{
	return !((moment ^ sequence) << 1);
}

/* A vCPU's last hit: a copy, so that it can be used with no lock at all. */
struct vmmu_slot_hit {
	uint64_t generation;    /* 0: nothing cached */
	uint64_t quiet;         /* vmmu_moment at which it was used and nothing was unusual (direct_quick.h) */
	struct vmmu_slot *slot; /* valid inside the gate while generation stands */
	struct vmmu_slot_info info;
	uint64_t first, end;
	struct vmmu_grant *grants; /* those of the slot's flags, by VMMU_RWX of the access */
};

/* The gpas of a slot, as long as memory.generation stands. */
struct vmmu_slot_range {
	uint64_t generation; /* 0: nowhere */
	uint64_t first, bytes;
};

/* ---- slots.c ---- */

/* Is the slot refused for its own sake, whatever other slots there are? VMMU_OK: no. */
enum vmmu_status vmmu_slot_check(const struct vmmu_memory *m, const struct vmmu_slot_info *info);
/* The slot that covers gfn, or NULL. O(log n). */
struct vmmu_slot *vmmu_slot_at(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t gfn);
/* The same, or the next one behind gfn: from 0, and then from each one's end, all of them. */
struct vmmu_slot *vmmu_slot_from(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t gfn);
/* O(log n). */
struct vmmu_slot *vmmu_slot_by_id(const struct vmmu_memory *m, struct vmmu_reading reading, uint32_t id);
/* Does [first, end) meet a slot other than `except`? */
bool vmmu_slot_overlaps(const struct vmmu_memory *m, struct vmmu_reading reading, uint64_t first, uint64_t end,
                        const struct vmmu_slot *except);
/* Where the slot starts and ends follows from info. */
void vmmu_slot_place(struct vmmu_slot *slot, vmmu_gpa base);
/* Each steps generation and sequence. O(log n), and nothing is allocated. */
void vmmu_slot_insert(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_slot *slot);
void vmmu_slot_remove(struct vmmu_memory *m, struct vmmu_closed closed, struct vmmu_slot *slot);
/* Something about a slot changed that faults and MMIO entries must notice. */
void vmmu_slots_changed(struct vmmu_memory *m, struct vmmu_closed closed);

/* ---- slot_tree.c ---- */

/* The first slot of the order's whose last gfn, or id, is not below `least`; NULL: none. */
struct vmmu_slot *vmmu_slot_tree_find(struct vmmu_slot *root, enum vmmu_slot_order order, uint64_t least);
/* The slot stands in no tree of this order. Its place and id do not change until it is taken out. */
void vmmu_slot_tree_add(struct vmmu_slot **root, enum vmmu_slot_order order, struct vmmu_slot *slot);
void vmmu_slot_tree_take(struct vmmu_slot **root, enum vmmu_slot_order order, struct vmmu_slot *slot);

/* ---- caps.c ---- */

/* Largest level that the caps allow for the 1 GiB or 2 MiB block that holds gfn. */
unsigned vmmu_cap_of(const struct vmmu_slot *slot, struct vmmu_reading reading, uint64_t gfn, unsigned level);
size_t vmmu_caps_bytes(const struct vmmu_slot *slot);
/* Cap every 2 MiB block that meets [first, end). The caps are allocated. */
void vmmu_cap_set(struct vmmu_slot *slot, struct vmmu_closed closed, uint64_t first, uint64_t end, unsigned level);

/* ---- the dirty log: dirty.c ---- */

/* As many summaries as 2^40 pages can have. */
enum { VMMU_DIRTY_LEVELS = 6 };

static inline size_t vmmu_dirty_words(const struct vmmu_slot *slot)
{
	return (slot->end - slot->first + 63) / 64;
}

/* Of the log with its summaries. */
size_t vmmu_dirty_bytes(const struct vmmu_slot *slot);
/* A word of pages was empty, and is about to have its first one marked. */
void vmmu_dirty_first(struct vmmu_slot *slot, uint64_t word);
/* The first word that has a page, from `from` on; as many as there are: none. */
size_t vmmu_dirty_find(const struct vmmu_slot *slot, struct vmmu_closed closed, size_t from);
/* The pages of a word: it is empty then. */
uint64_t vmmu_dirty_take(struct vmmu_slot *slot, struct vmmu_closed closed, size_t word);
/* For the audit: is there a word that vmmu_dirty_find would pass by? *gfn: of its first page. */
bool vmmu_dirty_lost(const struct vmmu_slot *slot, struct vmmu_closed closed, uint64_t *gfn);

/*
 * The operation says on whose behalf: what is made of a write may depend on it. Its actor is
 * inside the gate, or manages.
 */
static inline void vmmu_dirty_mark(const struct vmmu_op *op, struct vmmu_slot *slot, uint64_t gfn)
{
	uint64_t page = gfn - slot->first;

	(void)op;
	if (!slot->dirty)
		return;
	if (VMMU_UNLIKELY(!atomic_load_explicit(&slot->dirty[page / 64], memory_order_relaxed)))
		vmmu_dirty_first(slot, page / 64);
	atomic_fetch_or_explicit(&slot->dirty[page / 64], 1ull << page % 64, memory_order_relaxed);
}

/* ---- staleness: invalidating.c ---- */

/* Does one of the ranges under invalidation meet [first, end)? O(log n). */
bool vmmu_meets_invalidation(const struct vmmu_memory *m, uint64_t first, uint64_t end);

/* Is the host about to take a frame behind [first, end)? Most often nothing is invalidating at all. */
static inline bool vmmu_is_invalidating(const struct vmmu_memory *m, uint64_t first, uint64_t end)
{
	return VMMU_UNLIKELY(m->invalidating) && vmmu_meets_invalidation(m, first, end);
}
/*
 * Leaves have been removed: an answer of host.backing from before may name a frame
 * that is older than theirs, and nothing tells so any more. The gate has been closed
 * since they were removed.
 */
void vmmu_answers_age(struct vmmu_memory *m, struct vmmu_closed closed);
/* A range more, for which there is room. Steps sequence. */
void vmmu_invalidation_add(struct vmmu_memory *m, struct vmmu_closed closed, uint64_t first, uint64_t end);
/* Take out one that was begun for exactly this range, and step sequence. False: there is none. */
bool vmmu_invalidation_take(struct vmmu_memory *m, struct vmmu_closed closed, uint64_t first, uint64_t end);

#endif
