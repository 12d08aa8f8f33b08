/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry formats as data, and a format applied to one CPU.
 *
 * A struct vmmu_format says where a manual puts each meaning; it is constant.
 * A struct vmmu_layout is the format narrowed to what one CPU supports
 * (MAXPHYADDR, page sizes, A/D, execute-only ...) with every mask worked out
 * once, so that making or reading an entry is a few logical operations.
 */
#ifndef VMMU_FORMAT_H
#define VMMU_FORMAT_H

#include <vmmu/vmmu.h>

#include "format/compiler.h"

#define VMMU_BIT(n) (1ull << (n))
/* Bits high..low, both included. */
#define VMMU_BITS(high, low) ((~0ull >> (63 - (high))) & (~0ull << (low)))

enum { VMMU_ENTRIES = 512,
       VMMU_INDEX_BITS = 9 };

struct vmmu_format {
	const char *name;
	const char *source; /* where the manual draws it */
	uint8_t levels_max;
	bool write_needs_read; /* W without R is a misconfiguration (EPT) */
	bool has_memtype;      /* a leaf carries the type itself in bits 5:3 (EPT) */
	bool bare_tables;      /* a reference to a table need not have rights (PAE's top level) */

	uint64_t present;                               /* present when any of these is set */
	uint64_t read, write, exec;                     /* bits that grant; 0 = granted by presence */
	uint64_t no_exec;                               /* bit that withholds X; 0 = none */
	uint64_t user;                                  /* bit that grants use at CPL 3; 0 = granted by presence */
	uint64_t key;                                   /* the guest's protection key; 0 = none */
	uint64_t always;                                /* set in every present entry (NPT: the user bit) */
	uint64_t huge;                                  /* leaf marker above level 1 */
	uint64_t accessed;                              /* every present entry */
	uint64_t dirty;                                 /* leaves */
	uint64_t table_reserved;                        /* must be 0 in an entry that references a table, any level */
	uint64_t upper_reserved;                        /* the same from level 3 up */
	uint64_t soft_host_writable, soft_map_writable; /* ignored by hardware */

	/* The CPU's root register: the root table's address, and ... */
	uint64_t pointer;       /* these bits, */
	uint64_t pointer_ad;    /* these where the CPU keeps accessed and dirty bits, */
	uint8_t pointer_levels; /* and the levels less one from this bit on (0: nowhere) */

	/* An entry the CPU refuses in a way of its own, kept for MMIO. */
	uint64_t mmio_mark;    /* these bits set ... */
	uint64_t mmio_clear;   /* ... and these clear make an MMIO entry */
	bool mmio_by_reserved; /* the mark includes bit 51, reserved only if MAXPHYADDR < 52 */
};

extern const struct vmmu_format vmmu_format_ept;
extern const struct vmmu_format vmmu_format_long_mode;
extern const struct vmmu_format vmmu_format_shadow;

/* Beside VMMU_RWX in a leaf's rights: not at CPL 3. Only where the format has a user bit. */
enum { VMMU_SUPERVISOR = 1u << 3,
       VMMU_RIGHTS_COUNT = 16 };

/*
 * The slot generation inside an MMIO entry: 20 bits, in places no format uses
 * for its mark: 9 low ones at 11:3 and 11 high ones at 62:52.
 */
enum { VMMU_MMIO_GEN_BITS = 20,
       VMMU_MMIO_GEN_LOW_BITS = 9 };
#define VMMU_MMIO_GEN_MASK ((1u << VMMU_MMIO_GEN_BITS) - 1)

struct vmmu_layout {
	const struct vmmu_format *format;
	struct vmmu_cpu cpu;
	uint8_t levels;
	uint8_t leaf_level_max; /* largest leaf the CPU can */
	bool mmio_supported;
	uint64_t present, huge; /* the format's, beside what they are used with */
	uint64_t address;       /* bits MAXPHYADDR-1:12 */
	uint64_t no_frame;      /* bits that no frame number has */
	uint64_t pointer;       /* what the root register holds beside the address */
	/*
	 * VMMU_RWX and VMMU_SUPERVISOR -> bits. Accessed and dirty are set from the
	 * start, dirty only with W: the CPU then never stores to an entry by
	 * itself and every change of it is ours to trace.
	 */
	uint64_t rights[VMMU_RIGHTS_COUNT];
	uint8_t grants[VMMU_RWX + 1]; /* the same -> what the CPU makes of those bits */
	uint64_t memtype[8];          /* enum vmmu_memtype -> bits */
	uint64_t ignore_pat;
	uint64_t accessed, dirty;               /* 0 when the CPU has no such bits */
	uint64_t table;                         /* bits of every entry that references a table */
	uint64_t table_mask, table_mark;        /* entry & mask == mark says table */
	uint64_t table_2m_mask;                 /* the same at 2 MiB, and the CPU follows it */
	uint64_t leaf[VMMU_LEVEL_MAX + 1];      /* bits of every leaf at a level, without rights */
	uint8_t leaf_shift[VMMU_LEVEL_MAX + 1]; /* log2 of the bytes it maps */
	uint64_t soft_writable;                 /* both software bits of a leaf that may become writable */
	uint64_t reserved_table[VMMU_LEVEL_MAX + 1];
	uint64_t reserved_leaf[VMMU_LEVEL_MAX + 1];
	/*
	 * entry & mask == mark says: a leaf of 4 KiB as the engine writes it, write-back, that
	 * lacks W and may have it again. The log's most frequent question, in one comparison.
	 */
	uint64_t protected_mask, protected_mark;
	/* The same whatever its W and its software bits: the CPU takes it as it stands. */
	uint64_t plain_mask, plain_mark;
	uint64_t exec_mask; /* the bit that grants X or withholds it */
	uint64_t mmio;      /* an MMIO entry of generation 0 */
	uint64_t mmio_mask; /* entry & mask == mark says MMIO */
	uint64_t mmio_mark;
};

/*
 * Narrow `format` to `cpu` with `levels` levels. VMMU_ERR_INVALID when the
 * numbers contradict each other, VMMU_ERR_UNSUPPORTED when the CPU lacks it.
 */
enum vmmu_status vmmu_layout_init(struct vmmu_layout *layout, const struct vmmu_format *format,
                                  const struct vmmu_cpu *cpu, unsigned levels);

/* What the CPU's root register is to hold. */
static inline uint64_t vmmu_root_register(const struct vmmu_layout *l, vmmu_hpa root)
{
	return root.v | l->pointer;
}

/* The same for a root of another number of levels, or whose tables have no use for accessed and dirty bits. */
static inline uint64_t vmmu_root_register_of(const struct vmmu_layout *l, vmmu_hpa root, unsigned levels, bool ad)
{
	const struct vmmu_format *f = l->format;
	uint64_t pointer = ad ? l->pointer : l->pointer & ~f->pointer_ad;

	if (f->pointer_levels)
		pointer = (pointer & ~(7ull << f->pointer_levels)) | (uint64_t)(levels - 1) << f->pointer_levels;
	return root.v | pointer;
}

static inline bool vmmu_is_mmio(const struct vmmu_layout *l, uint64_t entry)
{
	return (entry & l->mmio_mask) == l->mmio_mark;
}

/* Present for the CPU: it references a table or a page, and is no MMIO entry. */
static inline bool vmmu_is_present(const struct vmmu_layout *l, uint64_t entry)
{
	return (entry & l->present) && !vmmu_is_mmio(l, entry);
}

static inline bool vmmu_is_leaf(const struct vmmu_layout *l, unsigned level, uint64_t entry)
{
	return (level == VMMU_LEVEL_4K || (entry & l->huge)) && vmmu_is_present(l, entry);
}

/* A reference to a table as the engine writes it; with fewer rights it is damage. */
static inline bool vmmu_is_table(const struct vmmu_layout *l, unsigned level, uint64_t entry)
{
	return level != VMMU_LEVEL_4K && (entry & l->table_mask) == l->table_mark;
}

static inline vmmu_hpa vmmu_entry_address(const struct vmmu_layout *l, uint64_t entry)
{
	return vmmu_hpa_of(entry & l->address);
}

/* VMMU_RWX that the CPU takes from a present entry. */
static inline unsigned vmmu_entry_rights(const struct vmmu_layout *l, uint64_t entry)
{
	const struct vmmu_format *f = l->format;
	unsigned rights = 0;

	if (!f->read || (entry & f->read))
		rights |= VMMU_R;
	if (entry & f->write)
		rights |= VMMU_W;
	if (f->no_exec ? !(entry & f->no_exec) : !!(entry & f->exec))
		rights |= VMMU_X;
	return rights;
}

/* What a leaf is to say, besides which frame it maps. */
struct vmmu_leaf {
	uint8_t rights; /* VMMU_RWX to grant now, VMMU_SUPERVISOR */
	uint8_t memtype;
	bool ignore_pat;
	bool writable; /* slot and host allow W, and a fault may set it without asking again */
};

/* The bits of a leaf that depend neither on its frame nor on its level. */
static inline uint64_t vmmu_leaf_bits(const struct vmmu_layout *l, struct vmmu_leaf leaf)
{
	return l->rights[leaf.rights] | l->memtype[leaf.memtype] |
	       (leaf.ignore_pat ? l->ignore_pat : 0) | (leaf.writable ? l->soft_writable : 0);
}

/* A leaf with those bits at `level`, for the frame or run of frames that holds pfn. */
static inline uint64_t vmmu_make_leaf(const struct vmmu_layout *l, unsigned level, vmmu_pfn pfn,
                                      uint64_t bits)
{
	return vmmu_pfn_hpa(pfn).v >> l->leaf_shift[level] << l->leaf_shift[level] | l->leaf[level] |
	       bits;
}

static inline uint64_t vmmu_make_table(const struct vmmu_layout *l, vmmu_hpa table)
{
	return table.v | l->table;
}

static inline uint64_t vmmu_make_mmio(const struct vmmu_layout *l, uint64_t generation)
{
	uint64_t gen = generation & VMMU_MMIO_GEN_MASK;
	uint64_t low = gen & ((1u << VMMU_MMIO_GEN_LOW_BITS) - 1);

	return l->mmio | low << 3 | (gen >> VMMU_MMIO_GEN_LOW_BITS) << 52;
}

static inline uint32_t vmmu_mmio_generation(uint64_t entry)
{
	return (uint32_t)((entry >> 3 & ((1u << VMMU_MMIO_GEN_LOW_BITS) - 1)) |
	                  (entry >> 52 & 0x7ff) << VMMU_MMIO_GEN_LOW_BITS);
}

/* What the entry says, in the API's words. */
void vmmu_layout_decode(const struct vmmu_layout *l, unsigned level, uint64_t entry,
                        struct vmmu_entry_info *out);

/* Would the CPU refuse this entry although it is present and no MMIO entry? */
bool vmmu_is_bad(const struct vmmu_layout *l, unsigned level, uint64_t entry);

/* The leaf that covers part `i` (0..511) of a huge leaf, one level further down. */
uint64_t vmmu_split_entry(const struct vmmu_layout *l, unsigned level, uint64_t huge, unsigned i);

/* The same leaf with W (and D) granted, or taken away. */
uint64_t vmmu_grant_write(const struct vmmu_layout *l, uint64_t leaf);
uint64_t vmmu_revoke_write(const struct vmmu_layout *l, uint64_t leaf);

#endif
