/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest gets against side channels, by what CPUID says: no emulator has a CPU with any of it. */
#include "unit.h"

#include "visor/vm/speculation.h"

static void nothing_by_default(void **unused)
{
	struct speculation s = speculation_of(0, 0);

	(void)unused;
	assert_int_equal(s.spec_ctrl, 0);
	assert_false(s.ibpb || s.flush_l1d || s.capabilities);
	assert_false(speculation_needs_l1d_flush(0, 0) || speculation_needs_clear(0, 0));
}

static void both_vendors_name_the_same_bits(void **unused)
{
	(void)unused;
	assert_int_equal(speculation_of(1u << 26, 0).spec_ctrl, 1);
	assert_int_equal(speculation_of(0, 1u << 14).spec_ctrl, 1);
	assert_int_equal(speculation_of(1u << 27, 0).spec_ctrl, 2);
	assert_int_equal(speculation_of(0, 1u << 15).spec_ctrl, 2);
	assert_int_equal(speculation_of(1u << 31, 0).spec_ctrl, 4);
	assert_int_equal(speculation_of(0, 1u << 24).spec_ctrl, 4);
	assert_true(speculation_of(1u << 26, 0).ibpb && speculation_of(0, 1u << 12).ibpb);
	assert_false(speculation_of(0, 1u << 14).ibpb);
}

static void a_cpu_that_is_not_affected_is_spared(void **unused)
{
	(void)unused;
	assert_true(speculation_needs_l1d_flush(1u << 28, 0));
	assert_false(speculation_needs_l1d_flush(1u << 28, ARCH_RDCL_NO));
	assert_false(speculation_needs_l1d_flush(1u << 28, ARCH_SKIP_L1DFL));
	assert_false(speculation_needs_l1d_flush(0, 0)); /* nothing to do it with */
	assert_true(speculation_needs_clear(1u << 10, ARCH_RDCL_NO));
	assert_false(speculation_needs_clear(1u << 10, ARCH_MDS_NO));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_by_default),
		cmocka_unit_test(both_vendors_name_the_same_bits),
		cmocka_unit_test(a_cpu_that_is_not_affected_is_spared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
