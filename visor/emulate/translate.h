/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's memory as its CPU sees it: linear addresses by way of its own page
 * tables, which the engine's walker reads (<vmmu/guest.h>).
 */
#ifndef VISOR_EMULATE_TRANSLATE_H
#define VISOR_EMULATE_TRANSLATE_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/guest.h>

#include "visor/cpu/native.h"
#include "visor/cpu/state.h"

/*
 * Pages that have been translated, as a CPU's TLB keeps them: right for as long as
 * no instruction could invalidate one. All zeros: none.
 */
#define GUEST_RECENT_PAGES 8u /* a power of two; half of them for pages that have been written */
#define GUEST_RECENT_KNOWN 1u
struct guest_recent {
	struct guest_recent_page {
		uint64_t page; /* linear, with GUEST_RECENT_KNOWN */
		uint64_t gpa;  /* of its first byte */
	} of[GUEST_RECENT_PAGES];
};

struct guest_memory {
	/* Guest RAM or device memory, size 1, 2, 4 or 8, never across a page. False: nothing there. */
	bool (*read)(void *ctx, uint64_t gpa, unsigned size, uint64_t *value);
	bool (*write)(void *ctx, uint64_t gpa, unsigned size, uint64_t value);
	/*
	 * Put `code` (`bytes` of it, at most NATIVE_CODE_BYTES, ending in a near return) where it can be executed,
	 * *where, and do so with these registers and the guest's vector and x87 registers: NATIVE_DONE, or the
	 * vector of the exception that it has raised. NULL: not to be had.
	 */
	int (*execute)(void *ctx, const uint8_t *code, unsigned bytes, struct native_registers *registers, uint64_t *where);
	/*
	 * The bytes of the page of RAM at gpa, to be read or, with `write`, to be written; NULL: a device, a
	 * read-only slot, or nothing. `written` is told of what has been written there.
	 */
	void *(*page)(void *ctx, uint64_t gpa, bool write);
	void (*written)(void *ctx, uint64_t gpa, uint64_t bytes);
	/*
	 * Translate as vmmu_guest_walk does, for a guest whose physical addresses are not those that `read` and the others
	 * take: a guest's own guest. NULL: they are the same.
	 */
	enum vmmu_guest_result (*walk)(void *ctx, const struct vmmu_guest_mode *mode, vmmu_gva gva, unsigned access,
	                               struct vmmu_guest_walk *out);
	void *ctx;

	/*
	 * For instructions that the CPU has not come to: nothing but RAM may be touched, and nothing done
	 * that depends on the CPU's make or on its control registers.
	 */
	bool ram_only;
	unsigned rounds;             /* of a REP string at a time; 0: 1024 */
	struct guest_recent *recent; /* with ram_only; NULL: each access is translated anew */

	/* For the guest's page tables: its guest_read and guest_cmpxchg, called with `ctx`. */
	const struct vmmu_host *host;
	/* A walk has set an accessed or dirty bit at gpa. May be NULL. */
	void (*stored)(void *ctx, uint64_t gpa);
	struct vmmu_guest_cpu cpu;
	struct vmmu_guest_mode *mode; /* what follows from the registers seen last; zero at first */
};

/*
 * Translate gva for VMMU_R, W or X at the CPU's current privilege level. Accessed
 * and dirty bits are set as the CPU would set them. Results as vmmu_guest_walk's.
 */
enum vmmu_guest_result guest_translate(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                       uint64_t gva, unsigned access, struct vmmu_guest_walk *out);

/* The linear address of the byte `offset` bytes after CS:RIP. */
uint64_t guest_code_address(const struct x86_cpu_state *cpu, unsigned offset);

/*
 * Fetch up to `max` instruction bytes at CS:RIP. Returns how many could be
 * read; fewer than asked when the next page is not there or not executable.
 */
unsigned guest_fetch(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                     uint8_t *bytes, unsigned max);

#endif
