/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest for tests of shadow paging, with 4 levels of tables in frames 16 and
 * following, and data in frames from 64 on.
 */
#ifndef TESTS_SHADOW_MACHINE_H
#define TESTS_SHADOW_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest_machine.h"

enum {
	ROOT = 16,
	PDPT,
	DIRECTORY,
	TABLE,
	OTHER_TABLE,
	OTHER_DIRECTORY,
	ROOT2 = 24,
	PDPT2,
	DIRECTORY2,
	TABLE2,
	DATA = 64,
};

/* Bits of a guest's entry. */
#define P 1u
#define W 2u
#define U 4u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define FULL (P | W | U | A)
#define KERNEL (P | W | A | D)
#define K 4096ull
#define M2 0x200000ull

__attribute__((unused)) static const struct sim_guest_access
	read_ = {.write = false},
	write_ = {.write = true}, user_read = {.user = true},
	user_write = {.write = true, .user = true};

#define end(gm) assert_true(sim_gm_end(gm))

static inline void set(struct sim_gm *gm, unsigned table, unsigned index, uint64_t entry)
{
	sim_gm_host_write(gm, 0, table * K + index * 8, 8, entry);
}

/* A machine with memory; paging is off. */
static inline struct sim_gm *bare_machine(unsigned vcpus, unsigned order, uint32_t limit)
{
	struct sim_gm_config config = {
		.seed = 3,
		.vcpus = vcpus,
		.order = order,
		.ram_pages = 4096,
		.max_shadow_tables = limit,
		.la57 = true,
	};
	struct sim_gm *gm = sim_gm_new(&config);

	sim_gm_slot_create(gm, 0, 0, 4096, 0, 0);
	return gm;
}

/* Paging on in long mode, with ROOT. */
static inline void start_paging(struct sim_gm *gm)
{
	struct vmmu_paging p = gm->vcpu[0].paging;

	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr4 = 0x30;
	p.efer = 1u << 8 | 1u << 10 | 1u << 11;
	p.cr3 = ROOT * K;
	for (unsigned i = 0; i < gm->vcpus; i++)
		sim_gm_set_paging(gm, i, &p);
}

/* Its directory's entry 0 names TABLE, which is empty. */
static inline struct sim_gm *machine_of(unsigned vcpus, unsigned order, uint32_t limit)
{
	struct sim_gm *gm = bare_machine(vcpus, order, limit);

	set(gm, ROOT, 0, PDPT * K | FULL);
	set(gm, PDPT, 0, DIRECTORY * K | FULL);
	set(gm, DIRECTORY, 0, TABLE * K | FULL);
	start_paging(gm);
	return gm;
}

static inline uint64_t exits_of_vcpu(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                                     const struct sim_guest_access *access, uint64_t value)
{
	uint64_t before = gm->exits;

	sim_gm_access(gm, vcpu, gva, access, 8, value);
	assert_false(gm->failed);
	return gm->exits - before;
}

static inline uint64_t exits_of(struct sim_gm *gm, uint64_t gva, const struct sim_guest_access *access,
                                uint64_t value)
{
	return exits_of_vcpu(gm, 0, gva, access, value);
}

#endif
