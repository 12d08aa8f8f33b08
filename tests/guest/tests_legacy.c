/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests of the 32-bit guest. Paging is off but where a test turns it on. */
#include "guest.h"

const struct test all_tests[] = {
	{"touch", test_touch},
	{"slots", test_slots},
	{"slots-random", test_slots_random},
	{"platform", test_platform},
	{"claims", test_claims},
	{"stress-switch", test_stress_switch},
	{"stress-alias", test_stress_alias},
	{"stress-stores", test_stress_stores},
	{"stress-reuse", test_stress_reuse},
	{"stress-large", test_stress_large},
	{"stress-garbage", test_stress_garbage},
	{"stress-control", test_stress_control},
	{"stress-off", test_stress_off},
	{"stress-modes", test_stress_modes},
	{"nested-svm-legacy", test_nested_svm_legacy},
	{"ahead", test_ahead},
	{"real-mode", test_real_mode},
	{"task-switch", test_task_switch},
	{"umip", test_umip},
	{"refused", test_refused},
	{"end-by-bios-call", end_by_bios_call},
	{NULL, NULL},
};
