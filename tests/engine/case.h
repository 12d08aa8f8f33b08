/* SPDX-License-Identifier: BSD-2-Clause */
/* What every engine test starts from. docs/testing.md: "Adding a scenario". */
#ifndef TESTS_ENGINE_CASE_H
#define TESTS_ENGINE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim.h"
#include "units.h"

/* A machine whose making must succeed. */
static inline struct sim *sim_start(const struct sim_config *config)
{
	enum vmmu_status status;
	struct sim *sim = sim_new(config, &status);

	assert_string_equal(vmmu_status_name(status), vmmu_status_name(VMMU_OK));
	return sim;
}

/* Whether the judge found anything is part of every test. */
#define assert_sound(sim) assert_true(sim_end(sim))

/* Two backings most tests want. */
static inline uint64_t contiguous(struct sim *sim, uint64_t base, unsigned order)
{
	return sim_backing_new(sim, base, &(struct sim_backing_config){.order = (uint8_t)order});
}

static inline uint64_t on_demand(struct sim *sim, uint64_t base, unsigned order)
{
	return sim_backing_new(sim, base, &(struct sim_backing_config){.order = (uint8_t)order, .demand = true});
}

/* A number from the environment: seeds and budgets of the longer runs. */
static inline uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* The format under test is cmocka's initial state: each test runs once for EPT and once for NPT. */
static inline enum vmmu_mode mode_of(void **state)
{
	return *(const enum vmmu_mode *)*state;
}

static inline struct sim *sim_default(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	return sim_start(&config);
}

extern enum vmmu_mode case_ept, case_npt;

#define EPT(test) \
	{ \
#test " [ept]", test, NULL, NULL, &case_ept \
	}
#define NPT(test) \
	{ \
#test " [npt]", test, NULL, NULL, &case_npt \
	}
#define BOTH(test) EPT(test), NPT(test)

/* Who watches: the short ways of a fault are not the same code for each. */
enum way { HOOKED_AND_TRACED,
	   TRACED,
	   TRACED_BY_TSC,
	   UNWATCHED };

static inline void go_by(struct sim_config *config, enum way way)
{
	config->unhooked = way != HOOKED_AND_TRACED;
	config->untraced = way == UNWATCHED;
	config->tsc = way == TRACED_BY_TSC;
}

#define EACH_WAY(name) \
	static void name##_hooked(void **state) { name(state, HOOKED_AND_TRACED); } \
	static void name##_traced(void **state) { name(state, TRACED); } \
	static void name##_traced_by_tsc(void **state) { name(state, TRACED_BY_TSC); } \
	static void name##_unwatched(void **state) { name(state, UNWATCHED); }
#define BOTH_EACH_WAY(name) BOTH(name##_hooked), BOTH(name##_traced), BOTH(name##_traced_by_tsc), BOTH(name##_unwatched)

#define MODES enum vmmu_mode case_ept = VMMU_MODE_EPT, case_npt = VMMU_MODE_NPT

#endif
