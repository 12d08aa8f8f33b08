/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one virtual CPU may remember of the tables.
 *
 * Two kinds of entries, as both manuals have them (SDM vol. 3, 29.4.2; APM
 * vol. 2, 5.5, 15.16): translations of pages of each size, and paging-structure
 * caches that name the table to go on from. Nothing leaves by itself unless
 * the seeded policy evicts it: until a flush covers an entry, the CPU may use
 * it, however old. Absent and misconfigured entries are never remembered.
 */
#ifndef SIM_TLB_H
#define SIM_TLB_H

#include "walker.h"

#define SIM_TLB_PAGES 96
#define SIM_TLB_TABLES 48

struct sim_tlb_page {
	bool valid;
	uint8_t level; /* size remembered; may be smaller than the leaf it came from */
	uint64_t gfn;  /* aligned to the size */
	uint64_t pfn;  /* frame of gfn */
	uint8_t rights;
	uint8_t memtype;
	bool ignore_pat;
	bool dirty;         /* a write need not set D first */
	uint64_t entry_hpa; /* where it came from, for the report */
};

struct sim_tlb_table {
	bool valid;
	uint8_t level; /* of the table named */
	uint64_t gfn;  /* first gfn the table covers */
	uint64_t table;
	uint8_t rights; /* AND of the entries above */
	uint64_t entry_hpa;
};

struct sim_tlb {
	struct sim_tlb_page page[SIM_TLB_PAGES];
	struct sim_tlb_table table[SIM_TLB_TABLES];
	uint64_t random;
	unsigned evict_percent; /* chance that an insertion throws out some other entry as well */
};

void sim_tlb_init(struct sim_tlb *tlb, uint64_t seed, unsigned evict_percent);

/* Remember a finished walk for gpa: the page and each table on the way. */
void sim_tlb_insert(struct sim_tlb *tlb, uint64_t gpa, const struct sim_walk *walk);

/* An entry that translates gfn; any one when several do. NULL = none. */
struct sim_tlb_page *sim_tlb_page_for(struct sim_tlb *tlb, uint64_t gfn);
/* Where to begin a walk for gfn: any remembered table, or the root. */
void sim_tlb_start_for(struct sim_tlb *tlb, uint64_t gfn, const struct sim_walk_start *root,
                       struct sim_walk_start *out);

/* Forget what translates gfns in [start, start + pages); tables too when asked. */
void sim_tlb_flush(struct sim_tlb *tlb, uint64_t start, uint64_t pages, bool tables);
/* A violation removes what was used for gfn (SDM vol. 3, 29.4.3.1; APM vol. 2, 5.5.2). */
void sim_tlb_forget(struct sim_tlb *tlb, uint64_t gfn);

#endif
