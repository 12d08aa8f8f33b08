/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where guest frames come from: what stands behind vmmu_host.backing.
 *
 * A backing is a list of extents, each a run of page offsets on a run of
 * frames. A contiguous backing has its extent from the start, a demand backing
 * gets one at each first touch, a copy-on-write backing trades a page's frame
 * for another at the first write. Frames are numbers, handed out once and
 * never again, so that a stale one can never look right.
 */
#ifndef SIM_BACKING_H
#define SIM_BACKING_H

#include <vmmu/host.h>
#include <vmmu/vmmu.h>

struct sim_backing_config {
	uint8_t order;   /* largest run reported, 0 to 18 */
	uint8_t rights;  /* 0 = RWX */
	uint8_t memtype; /* enum vmmu_memtype, when memtype_set; else WB */
	bool memtype_set;
	bool ignore_pat;
	bool demand;        /* frames at first touch, 2^order at a time */
	bool copy_on_write; /* read-only until written, then another frame */
	bool busy_then;     /* a call that had a copy made gets no answer to its next question */
	uint64_t skew;      /* contiguous: pages by which frames are out of step with gfns */
	uint64_t pages;     /* contiguous: length; 0 = 3 GiB */
};

struct sim_extent {
	int64_t offset; /* pages from the slot's base; may begin before it */
	uint64_t pages;
	uint64_t pfn;
	bool shared; /* copy on write still to come */
};

/* A frame that the engine may still map although the host has given out another. */
struct sim_transition {
	int64_t offset;
	uint64_t pfn;
	uint8_t rights;
};

struct sim_backing {
	struct sim_backing_config config;
	struct sim_extent *extent; /* sorted by offset, disjoint */
	unsigned extents;
	unsigned room;
	struct sim_transition *transition;
	unsigned transitions;
	/* scripts */
	unsigned retries;      /* answer RETRY this many times */
	bool busy;             /* config.busy_then, until the call is over */
	int64_t denied_offset; /* answer DENIED in this range for these accesses */
	uint64_t denied_pages;
	uint8_t denied_access;
};

/* Gives out a run of frames that no one has had before, the first aligned to 2^order. */
typedef uint64_t (*sim_frames_fn)(void *ctx, unsigned order, uint64_t pages);

bool sim_backing_init(struct sim_backing *backing, const struct sim_backing_config *config,
                      uint64_t slot_gfn, sim_frames_fn frames, void *ctx);
void sim_backing_fini(struct sim_backing *backing);

const struct sim_extent *sim_backing_find(const struct sim_backing *backing, int64_t offset);

/* The frame is taken away (swap, migration): the next touch brings another. */
void sim_backing_take(struct sim_backing *backing, int64_t offset, uint64_t pages);

struct sim_memory;
/* host.backing for page `offset` of the slot, which is gfn. */
enum vmmu_backing_result sim_backing_ask(struct sim_backing *backing, struct sim_memory *memory,
                                         uint64_t gfn, int64_t offset, unsigned access,
                                         sim_frames_fn frames, void *ctx,
                                         struct vmmu_backing *out);

#endif
