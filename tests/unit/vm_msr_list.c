/* SPDX-License-Identifier: BSD-2-Clause */
/* The registers that every CPU of a vendor has: what they answer, and what of a write stays. */
#include "unit.h"

#include "visor/vm/msr_list.h"

static struct msr_list_state state;

static uint64_t read_of(bool intel, uint32_t msr)
{
	uint64_t value = 0xdead;

	assert_int_equal(msr_list_read(&state, intel, msr, &value), MSR_LIST_DONE);
	return value;
}

static void each_vendor_has_its_own(void **unused)
{
	uint64_t value;

	(void)unused;
	assert_int_equal(read_of(true, 0x17), 0);
	assert_int_equal(msr_list_read(&state, false, 0x17, &value), MSR_LIST_ABSENT);
	assert_int_equal(read_of(false, 0xc0010055), 0);
	assert_int_equal(msr_list_read(&state, true, 0xc0010055, &value), MSR_LIST_ABSENT);
	assert_int_equal(msr_list_read(&state, false, 0xc0010117, &value), MSR_LIST_ABSENT);
	assert_int_equal(msr_list_write(&state, false, 0xc0010117, 1), MSR_LIST_ABSENT);
}

static void kept_registers_do_not_share(void **unused)
{
	(void)unused;
	for (unsigned vendor = 0; vendor < 2; vendor++) {
		uint32_t kept[128];
		unsigned count = 0;

		state = (struct msr_list_state){0};
		for (uint64_t msr = 0; msr < 0x2000; msr++) {
			uint32_t number = (uint32_t)(msr < 0x1000 ? msr : 0xc0010000 + msr - 0x1000);
			uint64_t before = 0, after = 0;

			if (msr_list_read(&state, vendor, number, &before) != MSR_LIST_DONE ||
			    msr_list_write(&state, vendor, number, before ^ (1u << 20 | number % 997)) != MSR_LIST_DONE)
				continue;
			assert_int_equal(msr_list_read(&state, vendor, number, &after), MSR_LIST_DONE);
			if (after != before)
				kept[count++] = number;
		}
		assert_true(count > 0 && count <= MSR_LIST_KEPT);
		/* Each still holds its own. */
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(read_of(vendor, kept[i]) & 1u << 20, 1u << 20);
	}
}

static void read_only_bits_stay(void **unused)
{
	(void)unused;
	state = (struct msr_list_state){0};
	assert_int_equal(read_of(true, 0x1a0), 0x1801);
	assert_int_equal(msr_list_write(&state, true, 0x1a0, 0), MSR_LIST_DONE);
	assert_int_equal(read_of(true, 0x1a0), 0x1800);
	assert_int_equal(msr_list_write(&state, true, 0x1a0, ~0ull), MSR_LIST_DONE);
	assert_int_equal(read_of(true, 0x1a0), ~0ull);
}

static void direction_is_kept(void **unused)
{
	uint64_t value;

	(void)unused;
	assert_int_equal(msr_list_write(&state, true, 0x17, 1), MSR_LIST_REFUSED);
	assert_int_equal(msr_list_read(&state, true, 0x79, &value), MSR_LIST_REFUSED);
	assert_int_equal(msr_list_write(&state, true, 0x79, 1), MSR_LIST_DONE);
	assert_int_equal(msr_list_read(&state, false, 0xc0010020, &value), MSR_LIST_REFUSED);
}

/* A guest that writes a performance counter and reads it back knows whether it counts: none of these does. */
static void counters_that_do_not_count_keep_nothing(void **unused)
{
	(void)unused;
	state = (struct msr_list_state){0};
	for (uint32_t msr = 0xc0010000; msr <= 0xc0010007; msr++) {
		assert_int_equal(msr_list_write(&state, false, msr, 0xffff), MSR_LIST_DONE);
		assert_int_equal(read_of(false, msr), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_vendor_has_its_own),
		cmocka_unit_test(kept_registers_do_not_share),
		cmocka_unit_test(read_only_bits_stay),
		cmocka_unit_test(direction_is_kept),
		cmocka_unit_test(counters_that_do_not_count_keep_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
