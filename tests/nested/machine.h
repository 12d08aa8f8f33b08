/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest hypervisor for tests of nested maps: its tables in frames 16 and following, and what
 * they lead to in frames from 64 on.
 */
#ifndef TESTS_NESTED_MACHINE_H
#define TESTS_NESTED_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "nested_machine.h"

#define K 4096ull
#define EPT_RWX 7u
#define NPT_RWX 0x67u
#define LARGE 0x80u

enum { ROOT = 16,
       LEVEL_3,
       LEVEL_2,
       LEVEL_1,
       OTHER_ROOT,
       OTHER_3,
       L2_ROOT = 32,
       L2_3,
       L2_2,
       L2_1,
       DATA = 64,
       BLOCK = 512 };

static inline uint64_t full(const struct sim_nm *nm)
{
	return nm->config.mode == VMMU_MODE_EPT ? EPT_RWX : NPT_RWX;
}

static inline uint64_t leaf(const struct sim_nm *nm, uint64_t gfn, uint64_t rights)
{
	return gfn * K | rights | (nm->config.mode == VMMU_MODE_EPT ? VMMU_MEMTYPE_WB << 3 : 0);
}

static inline void set(struct sim_nm *nm, unsigned table, unsigned index, uint64_t entry)
{
	sim_nm_host_write(nm, table * K + index * 8, 8, entry);
}

static inline struct vmmu_nested root_at(const struct sim_nm *nm, unsigned table, bool ad)
{
	struct vmmu_nested n = {.cpu = sim_nm_cpu_of(&nm->config), .cr4 = 0x20, .efer = 1u << 10 | 1u << 11};

	n.root = table * K;
	if (nm->config.mode == VMMU_MODE_EPT)
		n.root |= VMMU_MEMTYPE_WB | 3u << 3 | (ad ? 1u << 6 : 0);
	return n;
}

static inline void enter(struct sim_nm *nm, unsigned table, bool ad)
{
	struct vmmu_nested n = root_at(nm, table, ad);

	assert_int_equal(sim_nm_enter(nm, &n), VMMU_OK);
}

/* L1's tables lead to LEVEL_1, which is empty. */
static inline struct sim_nm *machine(enum vmmu_mode mode, unsigned order)
{
	struct sim_nm_config config = {
		.seed = 3, .mode = mode, .order = order, .ram_pages = 2048, .memtype = VMMU_MEMTYPE_WB};
	struct sim_nm *nm = sim_nm_new(&config);

	sim_nm_slot_create(nm, 0, 0, 1024, 0);
	set(nm, ROOT, 0, LEVEL_3 * K | full(nm));
	set(nm, LEVEL_3, 0, LEVEL_2 * K | full(nm));
	set(nm, LEVEL_2, 0, LEVEL_1 * K | full(nm));
	return nm;
}

#define end(nm) assert_true(sim_nm_end(nm))

#endif
