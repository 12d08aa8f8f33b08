/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests of the 32-bit guest. */
#include "guest.h"

const struct test all_tests[] = {
	{"stress-switch", test_stress_switch},
	{"stress-alias", test_stress_alias},
	{"stress-stores", test_stress_stores},
	{"stress-reuse", test_stress_reuse},
	{NULL, NULL},
};
