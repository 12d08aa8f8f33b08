/* SPDX-License-Identifier: BSD-2-Clause */
/* What schedule.c runs: each scenario under each mode that it is meant for. */
#ifndef TESTS_CASES_H
#define TESTS_CASES_H

#include "explore.h"

enum schedule_kind { SCHEDULE_DIRECT = 1,
	             SCHEDULE_SHADOW = 2,
	             SCHEDULE_NESTED = 4 };

struct schedule_case {
	const char *scenario;
	const char *mode;
	enum schedule_kind kind;
	struct explore_job job;
};

/* The nth case, good until the next call. False: there are fewer. */
bool direct_case(unsigned n, struct schedule_case *out);
bool shadow_case(unsigned n, struct schedule_case *out);
bool nested_case(unsigned n, struct schedule_case *out);

#endif
