/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk of the guest's own page tables, in software: what the CPU would
 * translate a guest-virtual address to.
 */
#ifndef VISOR_EMULATE_GUEST_WALK_H
#define VISOR_EMULATE_GUEST_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/cpu_state.h"

/* One access. Also the bits of a page-fault error code (SDM vol. 3, 5.7). */
enum {
	GUEST_WALK_PRESENT = 1u << 0,
	GUEST_WALK_WRITE = 1u << 1,
	GUEST_WALK_USER = 1u << 2,
	GUEST_WALK_RESERVED = 1u << 3,
	GUEST_WALK_FETCH = 1u << 4,
	GUEST_WALK_PROTECTION_KEY = 1u << 5,
};

struct guest_memory {
	/* Guest RAM or device memory, size 1, 2, 4 or 8, never across a page. False: nothing there. */
	bool (*read)(void *ctx, uint64_t gpa, unsigned size, uint64_t *value);
	bool (*write)(void *ctx, uint64_t gpa, unsigned size, uint64_t value);
	void *ctx;
};

enum guest_walk_result {
	GUEST_WALK_OK = 0,
	GUEST_WALK_FAULT,      /* the guest gets #PF with error_code */
	GUEST_WALK_NO_MEMORY,  /* a table lies where there is no guest memory: gpa says where */
};

struct guest_walk {
	uint64_t gpa;
	uint64_t page_bytes;   /* of the mapping: 4096 up to 1 GiB; all of it with paging off */
	uint32_t error_code;
};

/*
 * Translate gva for `access` (GUEST_WALK_WRITE and/or GUEST_WALK_FETCH, or 0
 * for a data read) at the CPU's current privilege level. Handles paging off,
 * 32-bit, PAE, 4-level and 5-level paging. Changes nothing.
 */
enum guest_walk_result guest_walk(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                  uint64_t gva, unsigned access, struct guest_walk *out);

/*
 * The same for an access that is about to be made: sets the accessed and dirty
 * bits in the guest's tables as the CPU would (SDM vol. 3, 5.8).
 */
enum guest_walk_result guest_access(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                    uint64_t gva, unsigned access, struct guest_walk *out);

/*
 * Fetch up to `max` instruction bytes at CS:RIP. Returns how many could be
 * read; fewer than asked when the next page is not there or not executable.
 */
unsigned guest_fetch(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                     uint8_t *bytes, unsigned max);

#endif
