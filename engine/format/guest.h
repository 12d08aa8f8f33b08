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

/* Which format it is, where a number must do: in the role of a shadow table. */
enum vmmu_guest_format_number {
	VMMU_GUEST_NO_PAGING = 0,
	VMMU_GUEST_32BIT = 1,
	VMMU_GUEST_PAE = 2,
	VMMU_GUEST_4LEVEL = 3,
	VMMU_GUEST_5LEVEL = 4,
	/* What a guest hypervisor writes for its guest. EPT: with what its CPU and the EPTP add. */
	VMMU_GUEST_NPT_32BIT = 5,
	VMMU_GUEST_NPT_PAE = 6,
	VMMU_GUEST_NPT_4LEVEL = 7,
	VMMU_GUEST_NPT_5LEVEL = 8,
	VMMU_GUEST_EPT = 16,
	VMMU_GUEST_EPT_AD = 1,
	VMMU_GUEST_EPT_EXEC_ONLY = 2,
	VMMU_GUEST_EPT_5LEVEL = 4,
};

/* Bits of a guest's physical address. Of a CPU that cannot be, the nearest that can. */
static inline unsigned vmmu_guest_width(const struct vmmu_guest_cpu *cpu)
{
	return cpu->maxphyaddr < 32 ? 32 : cpu->maxphyaddr > 52 ? 52
	                                                        : cpu->maxphyaddr;
}

struct vmmu_guest_format {
	enum vmmu_guest_format_number number;
	const char *name;
	const char *source;
	uint8_t levels;
	uint8_t entry_bytes;
	uint8_t index_bits;    /* of a table; the top one may have fewer, as many as address_bits leave */
	uint8_t address_bits;  /* of a linear address */
	bool canonical;        /* bits above must repeat the highest one; else they are cut off */
	bool top_in_registers; /* PAE: the top table is registers, loaded with CR3 */
	bool top_checked;      /* their reserved bits are looked at by each walk, not when they are loaded */
	bool beyond_refused;   /* an address with bits above has no translation */
	bool has_memtype;      /* `key` is no key: memory type and ignore-PAT, which join ours */
	bool huge_needs_pse;   /* the marker counts only with CR4.PSE */

	/* What the bits of an entry mean. */
	uint64_t present;                 /* present when any of these is set */
	uint64_t read, write, user, exec; /* bits that grant; 0 = granted by presence: VMMU_GUEST_GRANT */
	uint8_t grants[8];                /* the same: bits 2:0 of an entry -> VMMU_PAGE_* */
	uint64_t no_exec;                 /* bit that withholds X, with EFER.NXE; 0 = none */
	uint64_t accessed, dirty;         /* 0 = kept nowhere */
	uint64_t huge;                    /* leaf marker above level 1 */
	uint64_t huge_pat;                /* selects a PAT entry in a huge leaf, where its address would have a 0 */
	uint64_t global;
	uint64_t key; /* protection key, with CR4.PKE; 0 = none */

	uint64_t root;           /* address bits of CR3 */
	uint64_t address;        /* address bits of an entry, before MAXPHYADDR narrows them */
	uint64_t huge_high;      /* bits of a huge leaf that are address bits further up (PSE-36), ... */
	uint8_t huge_high_shift; /* ... so many places to the left */
	uint64_t reserved;       /* must be 0 in every entry of whatever CPU */
	uint64_t table_reserved; /* the same in one that names a table */
	uint8_t huge_level_max;  /* highest level at which the marker is known */
};

/* The format of that number; NULL for VMMU_GUEST_NO_PAGING and for any other. */
const struct vmmu_guest_format *vmmu_guest_format_of(enum vmmu_guest_format_number number);

/* What a read of an entry has brought: a 4-byte one has no high bits, whatever the host left there. */
static inline uint64_t vmmu_guest_word(const struct vmmu_guest_format *f, uint64_t value)
{
	return f->entry_bytes == sizeof(uint32_t) ? (uint32_t)value : value;
}

/* Whom a walk asks before it reads an entry, or stores to it: is it memory that may be used? */
struct vmmu_guest_guard {
	enum vmmu_guest_read (*judge)(void *arg, vmmu_gpa entry);
	void *arg;
	struct {
		uint64_t first, bytes;
	} sure[2]; /* gpas that it need not be asked about */
};

/* guest_mode.c: the mode of these registers and this format; leaves up to `leaf_level_max`. */
void vmmu_guest_mode_of(struct vmmu_guest_mode *mode, const struct vmmu_paging *registers,
                        const struct vmmu_guest_format *format, unsigned leaf_level_max);

/* guest_walk.c: vmmu_guest_walk under a guard; NULL: there is none. */
enum vmmu_guest_result vmmu_guest_walk_guarded(const struct vmmu_host *host, void *ctx,
                                               const struct vmmu_guest_mode *mode, vmmu_gva gva,
                                               unsigned access,
                                               const struct vmmu_guest_guard *guard,
                                               struct vmmu_guest_walk *out);

/* Beside VMMU_PAGE_*, in what one entry grants: no CPU accepts these rights together (EPT). */
enum { VMMU_PAGE_BAD = 16 };

/* What a present entry grants whose bits 2:0 are `e`. */
#define VMMU_GUEST_GRANTS(e, r, w, u, x) \
	((!(r) || ((e) & (r)) ? VMMU_PAGE_READ : 0) | (!(w) || ((e) & (w)) ? VMMU_PAGE_WRITE : 0) | \
	 (!(u) || ((e) & (u)) ? VMMU_PAGE_USER : 0) | (!(x) || ((e) & (x)) ? VMMU_PAGE_EXEC : 0))

/*
 * The fields of a format that say what grants R, W, use at CPL 3, and X: each a mask
 * within bits 2:0, or 0 for what presence grants. A walk looks them up in one step.
 */
#define VMMU_GUEST_GRANT(r, w, u, x) \
	.read = (r), .write = (w), .user = (u), .exec = (x), \
	.grants = {VMMU_GUEST_GRANTS(0, r, w, u, x), VMMU_GUEST_GRANTS(1, r, w, u, x), \
	           VMMU_GUEST_GRANTS(2, r, w, u, x), VMMU_GUEST_GRANTS(3, r, w, u, x), \
	           VMMU_GUEST_GRANTS(4, r, w, u, x), VMMU_GUEST_GRANTS(5, r, w, u, x), \
	           VMMU_GUEST_GRANTS(6, r, w, u, x), VMMU_GUEST_GRANTS(7, r, w, u, x)}

/* VMMU_PAGE_* that one entry grants. */
static inline uint8_t vmmu_guest_rights(const struct vmmu_guest_mode *mode, uint64_t entry)
{
	const struct vmmu_guest_format *f = mode->format;
	uint8_t rights = f->grants[entry & 7];

	return mode->no_exec && (entry & f->no_exec) ? rights & ~VMMU_PAGE_EXEC : rights;
}

/* Has a present entry reserved bits set, or a combination that no CPU accepts? */
static inline bool vmmu_guest_is_bad(const struct vmmu_guest_mode *mode, unsigned level, bool leaf, uint64_t entry,
                                     unsigned rights)
{
	if ((entry & (leaf ? mode->reserved_leaf : mode->reserved_table)[level]) | (rights & VMMU_PAGE_BAD))
		return true;
	return leaf && (mode->bad_memtypes >> (entry >> 3 & 7) & 1);
}

/* The #PF error code of an access that is refused; `why`: VMMU_PF_PRESENT, _RESERVED, _KEY. */
static inline uint32_t vmmu_guest_error_code(const struct vmmu_guest_mode *mode, bool write, bool user, bool fetch,
                                             uint32_t why)
{
	return why | (write ? VMMU_PF_WRITE : 0) | (user ? VMMU_PF_USER : 0) |
	       (fetch && mode->fetch_reported ? VMMU_PF_FETCH : 0);
}

/* The index of an access in vmmu_guest_mode.refused. */
static inline unsigned vmmu_guest_kind(bool write, bool user, bool fetch, bool excused)
{
	return (unsigned)write | (unsigned)user << 1 | (unsigned)fetch << 2 | (unsigned)!excused << 3;
}

/* Would the CPU go through this entry without setting any bit in it, but for dirty? */
static inline bool vmmu_guest_is_accessed(const struct vmmu_guest_format *f, uint64_t entry)
{
	return (entry & f->present) && (entry & f->accessed) == f->accessed;
}

/* guest_formats.c: `bits` of a leaf of ours, with the memory type that the host's and the guest's give together. */
uint64_t vmmu_guest_join_memtype(const struct vmmu_layout *l, const struct vmmu_backing *host, uint64_t gpte,
                                 uint64_t bits);

/* The protection key in a leaf. */
static inline unsigned vmmu_guest_key(const struct vmmu_guest_format *f, uint64_t leaf)
{
	return f->key ? (unsigned)((leaf & f->key) / (f->key & -f->key)) : 0;
}

/* Bits of linear address below the index of a table at `level`. */
static inline unsigned vmmu_guest_shift(const struct vmmu_guest_format *f, unsigned level)
{
	return VMMU_PAGE_SHIFT + f->index_bits * (level - 1);
}

/*
 * How a guest's table becomes tables of ours, which have 512 entries and cover 9
 * bits of address a level, whatever the guest's have:
 *
 *   levels  tables of ours that cover the guest's addresses
 *   spread  log2 of our entries that stand for one of the guest's at `level`
 *   parts   log2 of our tables that stand for one of the guest's at `level`
 */
static inline unsigned vmmu_guest_our_levels(const struct vmmu_guest_format *f)
{
	return (f->address_bits - VMMU_PAGE_SHIFT + VMMU_INDEX_BITS - 1u) / VMMU_INDEX_BITS;
}

static inline unsigned vmmu_guest_spread(const struct vmmu_guest_format *f, unsigned level)
{
	return (f->index_bits - VMMU_INDEX_BITS) * (level - 1);
}

static inline unsigned vmmu_guest_parts(const struct vmmu_guest_format *f, unsigned level)
{
	return f->index_bits + vmmu_guest_spread(f, level) - VMMU_INDEX_BITS;
}

#endif
