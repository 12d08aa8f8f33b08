/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock's rate from measurements that are disturbed at any place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "visor/host/calibrate.h"

enum { TRUE_TICKS = 1000000,
       TIMER_TICKS = 62500 };

/*
 * A stretch of TRUE_TICKS, the delays in ticks before and behind its beginning, and before
 * and behind its end.
 */
static struct calibrate_window window(uint64_t before, uint64_t behind, uint64_t polled, uint64_t late)
{
	uint64_t begins = before, ends = before + TRUE_TICKS;
	uint64_t begun = begins + behind, running = ends - polled, over = ends + late;

	/* The other clock is over before anybody has looked at it. */
	if (running < begun || polled > TRUE_TICKS)
		running = begun;
	if (over < begun)
		over = begun;
	return (struct calibrate_window){
		.least = running - begun,
		.most = over,
		.timer = over / 16,
		.timer_least = over - before,
		.timer_most = over + before,
	};
}

static void undisturbed(void **state)
{
	struct calibration c = {.windows = 0};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct calibrate_window w = window(50, 50, 100, 100);

		calibrate_add(&c, &w);
	}
	assert_true(calibrate_is_exact(&c));
	assert_in_range(calibrate_ticks(&c), TRUE_TICKS - 200, TRUE_TICKS + 200);
	assert_in_range(calibrate_timer_rate(&c), ((uint64_t)1 << 32) / 16 * 999 / 1000, ((uint64_t)1 << 32) / 16 * 1001 / 1000);
}

/* Once the TSC was read only when the window was over: the guest's time ran 136 times too fast. */
static void taken_off_the_cpu_at_the_beginning(void **state)
{
	struct calibration c = {.windows = 0};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct calibrate_window w = i == 2 ? window(10, 992650, 100, 100) : window(50, 50, 100, 100);

		calibrate_add(&c, &w);
	}
	assert_true(calibrate_is_exact(&c));
	assert_in_range(calibrate_ticks(&c), TRUE_TICKS - 200, TRUE_TICKS + 200);
}

/* No window is free of disturbance, but each place of it is in some. */
static void each_is_disturbed_somewhere(void **state)
{
	struct calibration c = {.windows = 0};

	(void)state;
	srand(1);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t delay[4] = {20, 20, 50, 50};
		struct calibrate_window w;

		delay[rand() % 4] += (uint64_t)rand() % (5 * TRUE_TICKS);
		w = window(delay[0], delay[1], delay[2], delay[3]);
		calibrate_add(&c, &w);
		assert_true(c.least <= TRUE_TICKS && c.most >= TRUE_TICKS);
	}
	assert_true(calibrate_is_exact(&c));
	assert_in_range(calibrate_ticks(&c), TRUE_TICKS - 1000, TRUE_TICKS + 1000);
}

/* Nothing can be said after one bad window, and it says so. */
static void one_bad_window_is_not_exact(void **state)
{
	struct calibration c = {.windows = 0};
	struct calibrate_window w = window(10, 992650, 100, 100);

	(void)state;
	assert_false(calibrate_is_exact(&c));
	calibrate_add(&c, &w);
	assert_false(calibrate_is_exact(&c));
	w = (struct calibrate_window){.least = 0};
	c = (struct calibration){.windows = 0};
	calibrate_add(&c, &w);
	assert_true(calibrate_ticks(&c) > 0);
	(void)calibrate_timer_rate(&c);
}

/* A TSC that changes its rate contradicts itself: the tightest bounds win. */
static void contradiction(void **state)
{
	struct calibration c = {.windows = 0};
	struct calibrate_window wide = {.least = 100, .most = 300, .timer_most = 1}, tight = {.least = 500, .most = 510, .timer_most = 1};

	(void)state;
	calibrate_add(&c, &wide);
	calibrate_add(&c, &tight);
	assert_in_range(calibrate_ticks(&c), 500, 510);
	calibrate_add(&c, &wide);
	assert_in_range(calibrate_ticks(&c), 500, 510);
}

/* The examples are SDM vol. 3, 19.7.3's, Skylake's, which leaves its crystal out, and a hypervisor's. */
static void stated_by_cpuid(void **state)
{
	struct calibrate_cpuid nothing = {.crystal = {0}};
	struct calibrate_cpuid crystal = {.crystal = {.eax = 2, .ebx = 184, .ecx = 25000000}, .frequency = {.eax = 2200}};
	struct calibrate_cpuid no_crystal = {.crystal = {.eax = 2, .ebx = 184}, .frequency = {.eax = 0xabcd08fc}};
	struct calibrate_cpuid no_ratio = {.crystal = {.ecx = 25000000}, .frequency = {.eax = 2200}};
	struct calibrate_cpuid guest = crystal;

	(void)state;
	guest.hypervisor.eax = 2100000;
	assert_int_equal(calibrate_stated_hz(&nothing), 0);
	assert_int_equal(calibrate_stated_hz(&crystal), 2300000000ull);
	assert_int_equal(calibrate_stated_hz(&no_crystal), 2300000000ull);
	assert_int_equal(calibrate_stated_hz(&no_ratio), 2200000000ull);
	assert_int_equal(calibrate_stated_hz(&guest), 2100000000ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undisturbed),
		cmocka_unit_test(taken_off_the_cpu_at_the_beginning),
		cmocka_unit_test(each_is_disturbed_somewhere),
		cmocka_unit_test(one_bad_window_is_not_exact),
		cmocka_unit_test(contradiction),
		cmocka_unit_test(stated_by_cpuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
