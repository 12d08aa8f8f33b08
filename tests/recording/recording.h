/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A recording: what a guest's faults asked of the engine, and what it answered.
 *
 * Made from a trace by record.c, played by replay.c. All numbers are varints
 * (seven bits a byte, lowest first, the top bit says that more follow), signed
 * ones zigzag-coded, unless a width is given:
 *
 *   8 bytes   "VMMUREC" and the version, 1
 *   mode, levels, maxphyaddr, features     as in the trace's record `vm`
 *   mmio                                   1 when MMIO entries were stored
 *   length, bytes                          name of the machine
 *   kinds, then for each                   faults come in few kinds:
 *     access, result, level                as in struct vmmu_fault
 *     8 bytes                              the entry at the end; of a leaf without its address
 *   events, then for each
 *     0, cause, id, gfn, pages, flags      a slot changed
 *     kind + 1, gfn                        a fault; gfn relative to the fault before
 *       pfn                                ... whose kind has a leaf; relative likewise
 *   counts, then for each
 *     cause, level, n                      entries written
 *   5 times n                              tables made at level 1 to 5 (the root's does not count)
 */
#ifndef TESTS_RECORDING_H
#define TESTS_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmmu/vmmu.h>

#define RECORDING_MAGIC "VMMUREC\1"
#define RECORDING_KINDS 255

struct recording_kind {
	uint32_t access;
	uint32_t result;
	uint32_t level;
	uint64_t entry;
};

struct recording_event {
	bool slot;
	/* a fault */
	uint8_t kind;
	uint64_t gfn, pfn;
	/* a slot */
	uint32_t cause, id, flags;
	uint64_t pages;
};

struct recording {
	uint32_t mode, levels, maxphyaddr, features;
	bool mmio;
	char machine[32];
	struct recording_kind kind[RECORDING_KINDS];
	unsigned kinds;
	struct recording_event *event;
	size_t events;
	uint64_t entries[VMMU_CAUSE_COUNT][VMMU_LEVEL_MAX + 1];
	uint64_t tables[VMMU_LEVEL_MAX + 1];
};

/* Does a fault of this kind end at a leaf, so that its frame is recorded? */
static inline bool recording_has_leaf(const struct recording_kind *k)
{
	return (k->result == VMMU_FAULT_FIXED || k->result == VMMU_FAULT_SPURIOUS) && k->level;
}

struct vmmu_cpu recording_cpu(const struct recording *r);
/* The bits of an entry that hold its address on this CPU. */
uint64_t recording_address(const struct recording *r);

/* False: *error says why. */
bool recording_write(const struct recording *r, const char *path, const char **error);
bool recording_read(struct recording *r, const char *path, const char **error);
void recording_free(struct recording *r);

#endif
