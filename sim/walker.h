/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU's own walk of second-level paging structures, written from the
 * manuals and from nothing else. It shares no code, no header but
 * <vmmu/types.h> and no constant with the engine it judges.
 *
 *   walker.c         the walk: which entry comes next, rights along the path, A/D
 *   walker_ept.c     what one EPT entry means (SDM vol. 3, 29.3)
 *   walker_npt.c     what one nested-paging entry means (APM vol. 2, 5.3, 15.25)
 *   walker_legacy.c  the same for a hypervisor outside long mode (APM vol. 2, 5.2)
 */
#ifndef SIM_WALKER_H
#define SIM_WALKER_H

#include <vmmu/types.h>

/* The CPU's features that change the meaning of an entry. */
struct sim_cpu {
	uint8_t maxphyaddr;
	bool page_2m;
	bool page_1g;
	bool exec_only; /* EPT */
	bool nx;        /* NPT: EFER.NXE of the host */
	bool la57;      /* NPT: CR4.LA57 of the host */
	bool pse;       /* 32-bit NPT: CR4.PSE of the host */
};

/* How the walk reaches memory. */
struct sim_bus {
	void *ctx;
	bool (*load)(void *ctx, uint64_t hpa, uint64_t *value);
	bool (*set_bits)(void *ctx, uint64_t hpa, uint64_t expected, uint64_t bits);
};

enum sim_entry_kind { SIM_ENTRY_ABSENT,
	              SIM_ENTRY_BAD,
	              SIM_ENTRY_TABLE,
	              SIM_ENTRY_LEAF };

struct sim_entry {
	enum sim_entry_kind kind;
	uint8_t rights;   /* VMMU_R/W/X this entry grants */
	uint64_t address; /* hpa of the next table or of the page */
	uint8_t memtype;
	bool ignore_pat;
};

struct sim_format {
	const char *name;
	/* Meaning of one entry of a table at `level`. */
	void (*entry)(const struct sim_cpu *cpu, unsigned level, uint64_t raw, struct sim_entry *out);
	/* Top table, its level and the A/D bits to set out of EPTP or nCR3. False: VM entry would fail. */
	bool (*root)(const struct sim_cpu *cpu, uint64_t pointer, uint64_t *table, unsigned *levels,
	             bool *ad);
	uint64_t accessed;
	uint64_t dirty;
	unsigned index_bits, entry_bytes; /* 0: 9 and 8 */
	bool pdptes;                      /* the top table is four registers, without accessed bits */
};

extern const struct sim_format sim_format_ept;
extern const struct sim_format sim_format_npt;
extern const struct sim_format sim_format_npt_pae;
extern const struct sim_format sim_format_npt_32bit;

enum sim_walk_end {
	SIM_WALK_MAPPED,
	SIM_WALK_ABSENT, /* a non-present entry */
	SIM_WALK_RIGHTS, /* present, but the rights along the path do not allow the access */
	SIM_WALK_BAD,    /* EPT misconfiguration, or reserved bit */
	SIM_WALK_BUS,    /* the path leads to memory that is no paging structure */
};

struct sim_walk_step {
	uint8_t level;
	uint8_t rights; /* AND over the path up to and with this entry */
	uint64_t entry_hpa;
	uint64_t entry;
};

struct sim_walk {
	enum sim_walk_end end;
	uint8_t rights; /* AND over the path so far */
	uint8_t level;  /* of the entry that ended the walk */
	uint64_t pfn;   /* MAPPED: frame of the asked-for page itself */
	uint8_t memtype;
	bool ignore_pat;
	bool dirty;         /* the leaf's D bit is set, or there is none to set */
	unsigned ad_writes; /* A/D bits the CPU had to set */
	unsigned steps;
	struct sim_walk_step step[VMMU_LEVEL_MAX];
};

struct sim_walker {
	const struct sim_format *format;
	struct sim_cpu cpu;
	struct sim_bus bus;
	bool ad;               /* as the root pointer says */
	const uint64_t *pdpte; /* a format with PDPTEs: the four registers */
};

/* Where a walk begins: at the root, or at a table that a paging-structure cache names. */
struct sim_walk_start {
	uint64_t table;
	unsigned level;
	uint8_t rights;
	bool cached; /* no root: it covers the address */
};

/*
 * Translate gpa for `access` (VMMU_R/W/X; 0 = look without asking for a right).
 * With `touch`, A and D bits are set as the CPU does when the access succeeds.
 */
void sim_walk(const struct sim_walker *walker, const struct sim_walk_start *start, uint64_t gpa,
              unsigned access, bool touch, struct sim_walk *out);

#endif
