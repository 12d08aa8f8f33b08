/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a CPU remembers of the tables that it walks for linear addresses.
 *
 * Both kinds of memory are paths: the entries that a walk has read, top first. A
 * whole path is a translation (a TLB entry); one that ends before the page is a
 * paging-structure cache's (Intel SDM vol. 3, 4.10.2, 4.10.3). A path is used by
 * walking again with the words that it holds instead of those in memory, so that
 * rights are judged by the registers of that moment, as they are in a CPU.
 *
 * Nothing leaves by itself but for want of room: until an invalidation names it
 * the CPU may use it, however old.
 */
#ifndef SIM_GUEST_CACHE_H
#define SIM_GUEST_CACHE_H

#include <vmmu/types.h>

#define SIM_CACHE_PATHS 192
#define SIM_CACHE_DEPTH 5

struct sim_path {
	bool valid;
	bool whole; /* ends with a page */
	bool global;
	uint8_t shift;   /* log2 of the bytes of linear addresses that it serves */
	uint8_t entries; /* of value[] */
	uint16_t pcid;
	uint64_t first; /* linear address >> shift */
	uint64_t value[SIM_CACHE_DEPTH];
};

struct sim_guest_cache {
	struct sim_path path[SIM_CACHE_PATHS];
	unsigned used; /* paths above were never filled since all were forgotten */
	uint64_t random;
};

/* A whole path for this address, if one is remembered. NULL: none. */
const struct sim_path *sim_cache_page(const struct sim_guest_cache *cache, unsigned pcid,
                                      uint64_t linear);
/* The way to some table for this address, any one of those remembered. NULL: none. */
const struct sim_path *sim_cache_way(struct sim_guest_cache *cache, unsigned pcid, uint64_t linear);
/* Takes the place of what was remembered for the same addresses. */
void sim_cache_insert(struct sim_guest_cache *cache, const struct sim_path *path);

/* ---- what invalidations name: SDM vol. 3, 4.10.4.1 ---- */

void sim_cache_forget_all(struct sim_guest_cache *cache);
/* All but global translations, for every PCID. */
void sim_cache_forget_local(struct sim_guest_cache *cache);
/* A PCID's translations but for global ones, and its ways. */
void sim_cache_forget_pcid(struct sim_guest_cache *cache, unsigned pcid);
/* The same, global ones too. */
void sim_cache_forget_space(struct sim_guest_cache *cache, unsigned pcid);
/* A page's translations: the PCID's, global ones; and all ways of the PCID. */
void sim_cache_forget_page(struct sim_guest_cache *cache, unsigned pcid, uint64_t linear);
/* A page's translations but for global ones, and the ways to it. */
void sim_cache_forget_address(struct sim_guest_cache *cache, unsigned pcid, uint64_t linear);

/* Does a way lead into the table at `table`? */
bool sim_cache_reaches(const struct sim_guest_cache *cache, uint64_t table);

#endif
