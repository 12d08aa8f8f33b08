/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests of the 64-bit guest. */
#include "guest.h"

const struct test all_tests[] = {
	{"touch", test_touch},
	{"memory", test_memory},
	{"exec", test_exec},
	{"mmio", test_mmio},
	{"platform", test_platform},
	{"time", test_time},
	{"delivery", test_delivery},
	{"delivery-paging", test_delivery_paging},
	{"paging", test_paging},
	{"hostile", test_hostile},
	{"slots", test_slots},
	{"slots-random", test_slots_random},
	{"stress-switch", test_stress_switch},
	{"stress-alias", test_stress_alias},
	{"stress-stores", test_stress_stores},
	{"stress-reuse", test_stress_reuse},
	{"bench", test_bench},
	{"end-by-halt", end_by_halt},
	{"end-by-reset", end_by_reset},
	{"end-by-triple-fault", end_by_triple_fault},
	{"end-by-faults-upon-faults", end_by_faults_upon_faults},
	{"end-by-fetching-nothing", end_by_fetching_nothing},
	{"end-by-invalid-state", end_by_invalid_state},
	{NULL, NULL},
};
