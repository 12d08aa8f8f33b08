/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a CPU makes of its own page tables, written from the manual's sections
 * one after the other and from nothing else: no table, no constant and no
 * header of the engine but <vmmu/types.h>.
 */
#ifndef SIM_GUEST_MODEL_H
#define SIM_GUEST_MODEL_H

#include <vmmu/types.h>

struct sim_guest_cpu {
	bool pg, wp;                          /* CR0 */
	bool pse, pae, la57, smep, smap, pke; /* CR4 */
	bool lma, nxe;                        /* EFER */
	uint64_t cr3;
	uint64_t pdpte[4];
	uint32_t pkru;
	unsigned maxphyaddr;
	bool pse36, page_1g, amd;
};

struct sim_guest_access {
	bool write, fetch; /* neither: a data read */
	bool user;         /* CPL 3 */
	bool implicit;     /* of a descriptor table and the like: a supervisor's whatever the CPL */
	bool ac;           /* EFLAGS.AC */
};

enum sim_guest_end { SIM_GUEST_DONE,
	             SIM_GUEST_PF,
	             SIM_GUEST_GP,
	             SIM_GUEST_BUS };

struct sim_guest_mark { /* a bit that the CPU sets */
	uint64_t gpa;
	unsigned size;
	uint64_t bits;
};

struct sim_guest_result {
	enum sim_guest_end end;
	uint64_t gpa;
	uint32_t code; /* of #PF */
	bool writable, user, exec;
	unsigned key;
	unsigned page_shift;
	unsigned tables;   /* structures read from memory */
	uint64_t table[5]; /* their addresses, top first */
	uint64_t entry[5]; /* what was read */
	unsigned marks;
	struct sim_guest_mark mark[5];
};

/* Reads guest memory. False: there is none. */
typedef bool (*sim_guest_load)(void *ctx, uint64_t gpa, unsigned size, uint64_t *value);

void sim_guest_translate(const struct sim_guest_cpu *cpu, sim_guest_load load, void *ctx,
                         uint64_t linear, const struct sim_guest_access *access,
                         struct sim_guest_result *out);

#endif
