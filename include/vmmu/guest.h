/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own page tables, walked in software: what the guest's CPU would
 * translate a linear address to, with which rights, or which #PF it would raise.
 *
 *   vmmu_guest_mode_init    once, whenever a register in struct vmmu_paging changes
 *   vmmu_guest_walk         one access
 *   vmmu_guest_load_pdptes  PAE: with every load of CR3
 *
 * Guest memory is read through host.guest_read; accessed and dirty bits are set
 * through host.guest_cmpxchg. Nothing here needs a VM: an emulator can use it
 * where hardware does the nested translation.
 */
#ifndef VMMU_GUEST_H
#define VMMU_GUEST_H

#include <vmmu/vmmu.h>

#ifdef __cplusplus
extern "C" {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* a struct and a function of one name, as stat is */
#endif

/* What the virtual CPU's CPUID promises its guest. */
struct vmmu_guest_cpu {
	uint8_t maxphyaddr; /* CPUID 80000008H:EAX[7:0]; 32 to 52. The walk takes less for 32, more for 52 */
	bool pse36;         /* CPUID 1:EDX[17] */
	bool page_1g;       /* CPUID 80000001H:EDX[26] */
	bool bit8_reserved; /* AMD: bit 8 must be 0 in a PML4E and a PML5E (APM vol. 2, 5.3.3) */
};

/* The registers that decide how linear addresses are translated. */
struct vmmu_paging {
	uint64_t cr0, cr3, cr4, efer;
	uint64_t pdpte[4]; /* PAE only: as vmmu_guest_load_pdptes read them */
	uint32_t pkru;
	struct vmmu_guest_cpu cpu;
};

struct vmmu_guest_format;

/*
 * All that a walk needs, worked out once from the registers. Read it, never
 * write it.
 */
struct vmmu_guest_mode {
	struct vmmu_paging registers;
	const struct vmmu_guest_format *format; /* NULL: paging is off */
	uint8_t levels;                         /* 0: paging is off */
	uint8_t huge_level_max;                 /* highest level at which a leaf may stand */
	bool no_exec;                           /* bit 63 withholds X */
	bool keys;                              /* protection keys count */
	bool fetch_reported;                    /* #PF error codes have the I/D bit */
	bool all_user;                          /* NPT, EPT: every access is a user's */
	uint8_t bad_memtypes;                   /* EPT: bit n, memory type n is none */
	uint64_t address;                       /* of an entry: a table or a small page */
	uint64_t reserved_table[VMMU_LEVEL_MAX + 1];
	uint64_t reserved_leaf[VMMU_LEVEL_MAX + 1];
	/*
	 * Permissions, one lookup an access: bit `page` of refused[access], where
	 * access is made of write 1, user 2, fetch 4, and 8 unless EFLAGS.AC
	 * excuses it from SMAP; page of VMMU_PAGE_* along the whole path.
	 */
	uint16_t refused[16];
	/* Protection keys: bit `key` of key_refused[write | user << 1], for data on user pages. */
	uint16_t key_refused[4];
};

/*
 * Work out `mode` for these registers. [any] Where only cr3 or pdpte have
 * changed since, it suffices to replace mode->registers.
 */
void vmmu_guest_mode_init(struct vmmu_guest_mode *mode, const struct vmmu_paging *registers);

/* #PF error code (SDM vol. 3, 4.7). */
enum {
	VMMU_PF_PRESENT = 1u << 0,
	VMMU_PF_WRITE = 1u << 1,
	VMMU_PF_USER = 1u << 2,
	VMMU_PF_RESERVED = 1u << 3,
	VMMU_PF_FETCH = 1u << 4,
	VMMU_PF_KEY = 1u << 5,
};

enum vmmu_guest_result {
	VMMU_GUEST_OK = 0,
	VMMU_GUEST_FAULT,        /* #PF with error_code, CR2 = gva */
	VMMU_GUEST_NONCANONICAL, /* #GP(0), or #SS(0) for a stack access */
	VMMU_GUEST_NO_MEMORY,    /* a table lies where there is no guest memory: step[] says where;
	                           * error_code is that of an entry that is not present */
	VMMU_GUEST_BUSY,         /* the host says so; or an entry changed meanwhile; or it is an entry's own table that
	                           * is walked (self-map), which is settled by the next try */
};

/* Rights of a page along its whole path. In formats without a right of its own to read, all have READ. */
enum {
	VMMU_PAGE_WRITE = 1,
	VMMU_PAGE_USER = 2,
	VMMU_PAGE_EXEC = 4,
	VMMU_PAGE_READ = 8,
	VMMU_PAGE_ALL = 15,
};

struct vmmu_guest_step {
	uint8_t level;
	uint8_t rights; /* VMMU_PAGE_* that the entry itself grants */
	bool stored;    /* the walk has set bits in it: its page is dirty now */
	vmmu_gpa where; /* the entry; PAE's top level: index into the registers */
	uint64_t entry; /* with the accessed and dirty bits that the walk has set */
};

struct vmmu_guest_walk {
	vmmu_gpa gpa;        /* after OK */
	uint32_t error_code; /* after FAULT, NO_MEMORY */
	uint8_t level;       /* of the leaf; 0 with paging off */
	uint8_t page_shift;  /* log2 of its bytes: 12, 21, 22, 30; 64 with paging off */
	uint8_t rights;      /* VMMU_PAGE_* along the path */
	uint8_t key;
	bool global, dirty; /* as the leaf says when the walk is done */
	bool dirtied;       /* the walk itself has set the leaf's dirty bit */
	uint8_t steps;      /* from the top table down */
	struct vmmu_guest_step step[VMMU_LEVEL_MAX];
};

/* Read only: no accessed or dirty bit is set. For host.guest_cmpxchg == NULL and for looking. */
#define VMMU_ACCESS_PEEK (1u << 31)

/*
 * Translate gva for `access`: one of VMMU_R, W, X (none counts as VMMU_R), with VMMU_ACCESS_USER for an
 * access at CPL 3 that is not implicitly a supervisor's, VMMU_ACCESS_IMPLICIT
 * for one that is (descriptor tables, TSS; SMAP then ignores EFLAGS.AC), and
 * VMMU_ACCESS_AC while EFLAGS.AC is set. Accessed and dirty bits are set when
 * the access is allowed, and only then. [any] Calls host.guest_read and _cmpxchg.
 */
enum vmmu_guest_result vmmu_guest_walk(const struct vmmu_host *host, void *ctx,
                                       const struct vmmu_guest_mode *mode, vmmu_gva gva,
                                       unsigned access, struct vmmu_guest_walk *out);

/*
 * PAE: read the four PDPTEs that `cr3` names into pdpte[]. [any] Calls host.guest_read.
 * VMMU_GUEST_OK: they are loaded. Otherwise pdpte[] is as before: VMMU_GUEST_FAULT, one
 * of them is present and has a reserved bit set: the CR3 load ends in #GP(0) and the
 * registers keep their values (SDM vol. 3, 4.4.1); VMMU_GUEST_NO_MEMORY, there is none,
 * with the same end; VMMU_GUEST_BUSY, they cannot be read just now: execute the load again.
 */
enum vmmu_guest_result vmmu_guest_load_pdptes(const struct vmmu_host *host, void *ctx,
                                              const struct vmmu_guest_cpu *cpu, uint64_t cr3,
                                              uint64_t pdpte[4]);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
