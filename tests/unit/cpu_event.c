/* SPDX-License-Identifier: BSD-2-Clause */
/* Events that meet exceptions: SDM vol. 3, tables 6-4 and 6-5, row by row. */
#include "tests/unit/unit.h"

#include "visor/cpu/vcpu.h"
#include "visor/cpu/event.h"

enum { DE = 0,
       DB = 1,
       BP = 3,
       UD = 6,
       DF = 8,
       TS = 10,
       NP = 11,
       SS = 12,
       GP = 13,
       PF = 14,
       MF = 16,
       AC = 17,
       CP = 21 };

static const unsigned benign[] = {DB, BP, UD, MF, AC}, contributory[] = {DE, TS, NP, SS, GP, CP};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static enum event_outcome exceptions(unsigned first, unsigned second)
{
	return event_meets(EVENT_VALID | EVENT_EXCEPTION | first, second);
}

static void benign_events_give_way(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(benign); i++) {
		assert_int_equal(exceptions(benign[i], PF), EVENT_DELIVER_SECOND);
		assert_int_equal(exceptions(benign[i], benign[i]), EVENT_DELIVER_SECOND);
		for (unsigned j = 0; j < COUNT(contributory); j++)
			assert_int_equal(exceptions(benign[i], contributory[j]), EVENT_DELIVER_SECOND);
	}
}

static void contributory_exceptions_add_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(contributory); i++) {
		assert_int_equal(exceptions(contributory[i], PF), EVENT_DELIVER_SECOND);
		assert_int_equal(exceptions(contributory[i], UD), EVENT_DELIVER_SECOND);
		for (unsigned j = 0; j < COUNT(contributory); j++)
			assert_int_equal(exceptions(contributory[i], contributory[j]), EVENT_DOUBLE_FAULT);
	}
}

static void page_faults_add_up(void **state)
{
	(void)state;
	assert_int_equal(exceptions(PF, PF), EVENT_DOUBLE_FAULT);
	assert_int_equal(exceptions(PF, DB), EVENT_DELIVER_SECOND);
	for (unsigned j = 0; j < COUNT(contributory); j++)
		assert_int_equal(exceptions(PF, contributory[j]), EVENT_DOUBLE_FAULT);
}

static void a_double_fault_that_faults_ends_in_shutdown(void **state)
{
	(void)state;
	assert_int_equal(exceptions(DF, PF), EVENT_SHUTDOWN);
	assert_int_equal(exceptions(DF, DB), EVENT_DELIVER_SECOND);
	for (unsigned j = 0; j < COUNT(contributory); j++)
		assert_int_equal(exceptions(DF, contributory[j]), EVENT_SHUTDOWN);
}

/* Vectors of interrupts mean no exception, whatever their number. */
static void interrupts_never_add_up(void **state)
{
	static const uint32_t types[] = {EVENT_EXTERNAL, EVENT_SOFTWARE_INTERRUPT, EVENT_PRIVILEGED_SOFTWARE,
	                                 EVENT_SOFTWARE_EXCEPTION};

	(void)state;
	for (unsigned i = 0; i < COUNT(types); i++) {
		assert_int_equal(event_meets(EVENT_VALID | types[i] | DF, PF), EVENT_DELIVER_SECOND);
		assert_int_equal(event_meets(EVENT_VALID | types[i] | PF, GP), EVENT_DELIVER_SECOND);
	}
	assert_int_equal(event_meets(0, PF), EVENT_DELIVER_SECOND);
	assert_int_equal(event_meets(EVENT_EXCEPTION | DF, PF), EVENT_DELIVER_SECOND); /* not valid: no event */
}

static void only_external_interrupts_are_kept(void **state)
{
	(void)state;
	assert_true(event_must_be_kept(EVENT_VALID | EVENT_EXTERNAL | 0x40));
	assert_false(event_must_be_kept(EVENT_EXTERNAL | 0x40));
	assert_false(event_must_be_kept(0));
	assert_false(event_must_be_kept(EVENT_VALID | EVENT_EXCEPTION | UD));
	assert_false(event_must_be_kept(EVENT_VALID | EVENT_SOFTWARE_INTERRUPT | 0x80));
	assert_false(event_must_be_kept(EVENT_VALID | EVENT_SOFTWARE_EXCEPTION | BP));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(benign_events_give_way),
		cmocka_unit_test(contributory_exceptions_add_up),
		cmocka_unit_test(page_faults_add_up),
		cmocka_unit_test(a_double_fault_that_faults_ends_in_shutdown),
		cmocka_unit_test(interrupts_never_add_up),
		cmocka_unit_test(only_external_interrupts_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
