/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the words of guest memory were, and what each guest CPU was told to
 * forget and when: enough to say whether a translation is one that a CPU could
 * still be using. Time is a count of these events.
 */
#ifndef SIM_GUEST_HISTORY_H
#define SIM_GUEST_HISTORY_H

#include <vmmu/types.h>

#define SIM_HISTORY_OPEN (~0ull) /* a store that is not complete: the old word may still count */

struct sim_change {
	uint64_t time;  /* the new word is there */
	uint64_t until; /* the old one must not be used any more */
	uint64_t old;
	uint32_t previous; /* change of the same page, plus one */
	uint16_t word;     /* of 8 bytes, in its page */
};

/* What an instruction of the guest invalidates (SDM vol. 3, 4.10.4.1). */
enum sim_forgets {
	SIM_FORGETS_ALL, /* every PCID */
	SIM_FORGETS_PCID,
	SIM_FORGETS_PAGE,    /* one page's translations; all of the PCID's paging-structure caches */
	SIM_FORGETS_ADDRESS, /* one page's translations, and what leads to it */
};

struct sim_invalidation {
	uint64_t time;
	uint64_t linear;
	uint16_t pcid;
	uint8_t forgets;
};

struct sim_invalidations {
	struct sim_invalidation *event;
	unsigned events, room;
};

struct sim_history {
	uint64_t clock;
	struct sim_change *change;
	uint32_t changes, room;
	uint32_t open; /* changes that are */
	uint32_t oldest_open;
	uint64_t longest; /* from a store until it was complete */
	uint32_t *last;   /* change of each page, plus one */
	uint64_t pages;
};

struct sim_word {
	uint64_t value;
	uint64_t begin; /* when it was stored */
};

void sim_history_init(struct sim_history *history, uint64_t pages);
void sim_history_fini(struct sim_history *history);

/* The word has been `old` until now. Returns a name for sim_history_complete. */
uint32_t sim_history_stored(struct sim_history *history, uint64_t page, unsigned word, uint64_t old,
                            bool complete);
void sim_history_complete(struct sim_history *history, uint32_t change);
/* Forget all changes, unless one is open: true. For the caller to see that nobody needs them. */
bool sim_history_clear(struct sim_history *history);

/*
 * The values of a word that is `present` now and that were there at some moment in
 * [from, to], newest first. Returns how many.
 */
unsigned sim_history_values(const struct sim_history *history, uint64_t page, unsigned word,
                            uint64_t present, uint64_t from, uint64_t to, struct sim_word *out,
                            unsigned most);

void sim_invalidated(struct sim_invalidations *log, uint64_t time, enum sim_forgets forgets,
                     unsigned pcid, uint64_t linear);

#endif
