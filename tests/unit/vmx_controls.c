/* SPDX-License-Identifier: BSD-2-Clause */
/* Which VMX controls a CPU lets be set: one that it refuses is seen, whichever it is. */
#include "unit.h"

#include "visor/vmx/controls.h"

#define CAPABILITY(always, may) ((uint64_t)(may) << 32 | (always))

static void controls_come_as_near_as_they_can(void **unused)
{
	(void)unused;
	assert_int_equal(vmx_controls_of(CAPABILITY(0x16, 0xffff), 0x100), 0x116);
	assert_int_equal(vmx_controls_of(CAPABILITY(0x16, 0x00ff), 0x100), 0x16);
}

static void each_missing_bit_is_seen(void **unused)
{
	const uint32_t required = 0xb5186dfa, switched = 0x00400004;

	(void)unused;
	assert_true(vmx_controls_fit(CAPABILITY(0x16 & ~switched, ~0u), required, switched));
	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t one = 1u << bit;

		assert_int_equal(vmx_controls_fit(CAPABILITY(0, ~one), required, switched), !((required | switched) & one));
		assert_int_equal(vmx_controls_fit(CAPABILITY(one, ~0u), required, switched), !(switched & one));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(controls_come_as_near_as_they_can),
		cmocka_unit_test(each_missing_bit_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
