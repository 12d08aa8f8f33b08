/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The formats in which guests write their own page tables, as data.
 *
 * A struct vmmu_guest_format says what the manual draws; it is constant. What
 * one set of control registers and one virtual CPU make of it is worked out in
 * struct vmmu_guest_mode (<vmmu/guest.h>), as a layout is for the engine's own
 * tables.
 */
#ifndef VMMU_GUEST_FORMAT_H
#define VMMU_GUEST_FORMAT_H

#include <vmmu/guest.h>

#include "format/format.h"

/* These mean the same in every guest format (SDM vol. 3, 4.3 to 4.5). */
#define VMMU_GPTE_PRESENT  VMMU_BIT(0)
#define VMMU_GPTE_WRITE    VMMU_BIT(1)
#define VMMU_GPTE_USER     VMMU_BIT(2)
#define VMMU_GPTE_ACCESSED VMMU_BIT(5)
#define VMMU_GPTE_DIRTY    VMMU_BIT(6)
#define VMMU_GPTE_HUGE     VMMU_BIT(7)
#define VMMU_GPTE_GLOBAL   VMMU_BIT(8)
#define VMMU_GPTE_NO_EXEC  VMMU_BIT(63)
enum { VMMU_GPTE_KEY_SHIFT = 59, VMMU_GPTE_KEY_MASK = 15 };

struct vmmu_guest_format {
	const char *name;
	const char *source;
	uint8_t levels;
	uint8_t entry_bytes;
	uint8_t index_bits;       /* of a whole table; the top one may have less */
	uint8_t address_bits;     /* of a linear address */
	bool canonical;           /* bits above must repeat the highest one; else they are cut off */
	bool top_in_registers;    /* PAE: the top table is four registers, loaded with CR3 */
	bool huge_needs_pse;      /* the marker counts only with CR4.PSE */
	bool has_no_exec;         /* bit 63, with EFER.NXE */
	bool has_keys;            /* bits 62:59, with CR4.PKE */
	uint64_t root;            /* address bits of CR3 */
	uint64_t address;         /* address bits of an entry, before MAXPHYADDR narrows them */
	uint64_t reserved;        /* must be 0 in every entry of whatever CPU */
	uint8_t huge_level_max;   /* highest level at which the marker is known */
};

/* The format with so many levels: 2 is 32-bit paging, 3 PAE. NULL for any other number. */
const struct vmmu_guest_format *vmmu_guest_format_of(unsigned levels);

/* VMMU_PAGE_* that one entry grants. */
static inline uint8_t vmmu_guest_rights(const struct vmmu_guest_mode *mode, uint64_t entry)
{
	return (uint8_t)((entry & VMMU_GPTE_WRITE ? VMMU_PAGE_WRITE : 0) |
	                 (entry & VMMU_GPTE_USER ? VMMU_PAGE_USER : 0) |
	                 (mode->no_exec && (entry & VMMU_GPTE_NO_EXEC) ? 0 : VMMU_PAGE_EXEC));
}

/* Bits of linear address below the index of a table at `level`. */
static inline unsigned vmmu_guest_shift(const struct vmmu_guest_format *f, unsigned level)
{
	return VMMU_PAGE_SHIFT + f->index_bits * (level - 1);
}

#endif
