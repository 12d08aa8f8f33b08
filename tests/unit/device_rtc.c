/* SPDX-License-Identifier: BSD-2-Clause */
/* MC146818 and the calendar behind it: BCD and binary, setting the time, UIP, the three interrupts. */
#include <time.h>

#include "tests/unit/unit.h"
#include "visor/lib/calendar.h"
#include "visor/device/clock.h"
#include "visor/device/rtc146818.h"

#define S NS_PER_SECOND
/* 2024-02-29 23:59:50 UTC, a Thursday */
#define LEAP_EVENING 1709251190ull

static uint8_t get(struct rtc *r, uint8_t index, uint64_t now)
{
	rtc_write(r, 0, index, now);
	return rtc_read(r, 1, now);
}

static void set(struct rtc *r, uint8_t index, uint8_t value, uint64_t now)
{
	rtc_write(r, 0, index, now);
	rtc_write(r, 1, value, now);
}

static struct rtc fresh(void)
{
	struct rtc r;

	rtc_init(&r, 3ull << 30, 2ull << 30, LEAP_EVENING, 0);
	return r;
}

/* Against the C library's calendar, over 300 years. */
static void calendar(void **state)
{
	(void)state;
	for (uint64_t t = 0; t < 300ull * 366 * 86400; t += 86400 * 13 + 4321) {
		time_t seconds = (time_t)t;
		struct calendar c = calendar_from_seconds(t);
		struct tm tm;

		gmtime_r(&seconds, &tm);
		assert_int_equal(c.year, tm.tm_year + 1900);
		assert_int_equal(c.month, tm.tm_mon + 1);
		assert_int_equal(c.day, tm.tm_mday);
		assert_int_equal(c.weekday, tm.tm_wday + 1);
		assert_int_equal(c.hour * 3600 + c.minute * 60 + c.second, t % 86400);
		assert_int_equal(calendar_to_seconds(&c), t);
	}
}

static void bcd_time(void **state)
{
	struct rtc r = fresh();

	(void)state;
	assert_int_equal(get(&r, 0, 0), 0x50);
	assert_int_equal(get(&r, 2, 0), 0x59);
	assert_int_equal(get(&r, 4, 0), 0x23);
	assert_int_equal(get(&r, 6, 0), 5);
	assert_int_equal(get(&r, 7, 0), 0x29);
	assert_int_equal(get(&r, 8, 0), 2);
	assert_int_equal(get(&r, 9, 0), 0x24);
	assert_int_equal(get(&r, 0x32, 0), 0x20);
	assert_int_equal(get(&r, 0x0d, 0), 0x80);
	assert_int_equal(get(&r, 7, 10 * S), 0x01);
	assert_int_equal(get(&r, 8, 10 * S), 3);
}

static void binary_and_12_hours(void **state)
{
	struct rtc r = fresh();

	(void)state;
	set(&r, 0x0b, 0x06, 0);
	assert_int_equal(get(&r, 0, 0), 50);
	assert_int_equal(get(&r, 4, 0), 23);
	set(&r, 0x0b, 0x00, 0);
	assert_int_equal(get(&r, 4, 0), 0x91);      /* 11 pm */
	assert_int_equal(get(&r, 4, 10 * S), 0x12); /* 12 am */
	set(&r, 0x0b, 0x04, 0);
	assert_int_equal(get(&r, 4, 10 * S), 12);
}

/* Set the time as Linux does: SET on, write, SET off. Time runs from there. */
static void setting(void **state)
{
	struct rtc r = fresh();

	(void)state;
	set(&r, 0x0b, 0x82, 5 * S);
	assert_int_equal(get(&r, 0, 9 * S), 0x55); /* stands still */
	set(&r, 0, 0x30, 9 * S);
	set(&r, 2, 0x15, 9 * S);
	set(&r, 4, 0x08, 9 * S);
	set(&r, 7, 0x31, 9 * S);
	set(&r, 8, 0x12, 9 * S);
	set(&r, 9, 0x99, 9 * S);
	set(&r, 0x32, 0x19, 9 * S);
	set(&r, 0x0b, 0x02, 10 * S);
	assert_int_equal(get(&r, 0, 10 * S), 0x30);
	assert_int_equal(get(&r, 0, 15 * S), 0x35);
	assert_int_equal(get(&r, 9, 86400 * S), 0x00);
	assert_int_equal(get(&r, 0x32, 86400 * S), 0x20);
	set(&r, 2, 0x20, 15 * S); /* without SET it works as well */
	assert_int_equal(get(&r, 2, 15 * S), 0x20);
	assert_int_equal(get(&r, 0, 15 * S), 0x35);
}

static void update_in_progress(void **state)
{
	struct rtc r = fresh();

	(void)state;
	assert_int_equal(get(&r, 0x0a, 0), 0x26);
	assert_int_equal(get(&r, 0x0a, S - 2228000 - 1), 0x26);
	assert_int_equal(get(&r, 0x0a, S - 2228000), 0xa6);
	assert_int_equal(get(&r, 0x0a, S), 0x26);
	set(&r, 0x0b, 0x82, S);
	assert_int_equal(get(&r, 0x0a, 2 * S - 1), 0x26); /* no updates while SET */
}

static void update_interrupt(void **state)
{
	struct rtc r = fresh();

	(void)state;
	assert_true(rtc_next_event(&r) == CLOCK_NEVER);
	set(&r, 0x0b, 0x12, S / 2);
	assert_true(rtc_next_event(&r) == S);
	rtc_advance(&r, S);
	assert_true(rtc_interrupt(&r));
	assert_true(rtc_next_event(&r) == CLOCK_NEVER);
	assert_int_equal(get(&r, 0x0c, S) & 0x90, 0x90);
	assert_false(rtc_interrupt(&r));
	assert_int_equal(get(&r, 0x0c, S), 0);
	assert_true(rtc_next_event(&r) == 2 * S);
}

static void periodic_interrupt(void **state)
{
	struct rtc r = fresh();
	unsigned count = 0;

	(void)state;
	set(&r, 0x0a, 0x2a, 0); /* 64 Hz */
	set(&r, 0x0b, 0x42, 0);
	while (rtc_next_event(&r) <= 10 * S) {
		uint64_t now = rtc_next_event(&r);

		rtc_advance(&r, now - 1);
		assert_false(rtc_interrupt(&r));
		rtc_advance(&r, now);
		assert_true(rtc_interrupt(&r));
		assert_int_equal(get(&r, 0x0c, now) & 0xc0, 0xc0);
		count++;
	}
	assert_int_equal(count, 640);
	set(&r, 0x0a, 0x20, 10 * S);
	assert_true(rtc_next_event(&r) == CLOCK_NEVER);
}

static void alarm(void **state)
{
	struct rtc r = fresh();

	(void)state;
	set(&r, 1, 0x05, 0);
	set(&r, 3, 0x00, 0);
	set(&r, 5, 0x00, 0); /* 00:00:05, 15 s from now */
	set(&r, 0x0b, 0x22, 0);
	assert_true(rtc_next_event(&r) == 15 * S);
	rtc_advance(&r, 14 * S);
	assert_false(rtc_interrupt(&r));
	rtc_advance(&r, 15 * S);
	assert_int_equal(get(&r, 0x0c, 15 * S) & 0xa0, 0xa0);
	assert_true(rtc_next_event(&r) == (15 + 86400) * S);
	set(&r, 3, 0xc0, 15 * S); /* any minute, any hour */
	set(&r, 5, 0xff, 15 * S);
	assert_true(rtc_next_event(&r) == 75 * S);
	set(&r, 1, 0x61, 15 * S); /* no such second */
	assert_true(rtc_next_event(&r) == CLOCK_NEVER);
	set(&r, 1, 0x05, 15 * S);
	rtc_advance(&r, 400 * S); /* late: it has not been lost */
	assert_true(rtc_interrupt(&r));
}

/* The fastest rate is slower than what other timers are held to. */
static void periodic_rate_is_above_the_floor(void **state)
{
	struct rtc r = fresh();

	(void)state;
	for (uint8_t rate = 1; rate < 16; rate++) {
		uint64_t first;

		set(&r, 0x0a, 0x20 | rate, 0);
		set(&r, 0x0b, 0x42, 0);
		first = rtc_next_event(&r);
		rtc_advance(&r, first);
		get(&r, 0x0c, first);
		assert_true(rtc_next_event(&r) - first >= CLOCK_PERIOD_FLOOR_NS);
		r = fresh();
	}
}

static bool byte_matches(uint8_t alarm, uint8_t time)
{
	return (alarm & 0xc0) == 0xc0 || alarm == time;
}

/* What the data sheet says, second by second: the alarm is where all three bytes match. */
static uint64_t alarm_by_walking(struct rtc *r, uint64_t second)
{
	for (uint64_t s = second + 1; s <= second + 86400; s++)
		if (byte_matches(r->cmos[5], get(r, 4, s * S)) && byte_matches(r->cmos[3], get(r, 2, s * S)) &&
		    byte_matches(r->cmos[1], get(r, 0, s * S)))
			return s * S;
	return CLOCK_NEVER;
}

/* In BCD and binary, 24 hours and 12, with bytes of every kind. */
static void alarm_is_the_next_match(void **state)
{
	static const uint8_t bytes[] = {0x00, 0x05, 0x09, 0x0b, 0x12, 0x17, 0x23, 0x3b, 0x59, 0x81, 0x92, 0xc0, 0xff};
	const unsigned n = sizeof(bytes);

	(void)state;
	for (uint8_t mode = 0; mode < 8; mode += 2) {
		for (unsigned i = 0; i < n * n * n; i += 101 + i % 61) {
			struct rtc r = fresh(), walked;
			uint64_t second = i * 977ull % 86400;

			set(&r, 5, bytes[i / n / n], 0);
			set(&r, 3, bytes[i / n % n], 0);
			set(&r, 1, bytes[i % n], 0);
			set(&r, 0x0b, mode | 0x20, second * S);
			get(&r, 0x0c, second * S);
			walked = r;
			assert_true(rtc_next_event(&r) == alarm_by_walking(&walked, second));
		}
	}
}

static uint64_t cycles(void)
{
	return __builtin_ia32_rdtsc();
}

/*
 * An alarm that never comes is found out as quickly as one that comes at once: no access may take long,
 * as the guest's CPU stands still meanwhile. The best of some tries, so that a busy machine does not count.
 */
static void alarm_costs_the_same_wherever_it_is(void **state)
{
	uint64_t best[2] = {UINT64_MAX, UINT64_MAX};

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		struct rtc r = fresh();
		uint64_t start;

		set(&r, 5, 0xff, 0);
		set(&r, 3, 0xff, 0);
		set(&r, 1, i % 2 ? 0x7f : 0xff, 0); /* second 127, or any */
		start = cycles();
		set(&r, 0x0b, 0x26, 0);
		if (cycles() - start < best[i % 2])
			best[i % 2] = cycles() - start;
	}
	assert_true(best[1] < 20 * best[0] + 2000);
}

static void memory_sizes(void **state)
{
	struct rtc r = fresh();

	(void)state;
	assert_int_equal(get(&r, 0x15, 0) | get(&r, 0x16, 0) << 8, 640);
	assert_int_equal(get(&r, 0x17, 0) | get(&r, 0x18, 0) << 8, 0xffff);
	assert_int_equal(get(&r, 0x34, 0) | get(&r, 0x35, 0) << 8, (0xc0000000u - 0x1000000u) >> 16);
	assert_int_equal(get(&r, 0x5b, 0) | get(&r, 0x5c, 0) << 8 | get(&r, 0x5d, 0) << 16, (2ull << 30) >> 16);
	set(&r, 0x60, 0x77, 0);
	assert_int_equal(get(&r, 0xe0, 0), 0x77); /* bit 7 of the index is the NMI mask */
	assert_int_equal(rtc_read(&r, 0, 0), 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calendar),
		cmocka_unit_test(bcd_time),
		cmocka_unit_test(binary_and_12_hours),
		cmocka_unit_test(setting),
		cmocka_unit_test(update_in_progress),
		cmocka_unit_test(update_interrupt),
		cmocka_unit_test(periodic_interrupt),
		cmocka_unit_test(alarm),
		cmocka_unit_test(periodic_rate_is_above_the_floor),
		cmocka_unit_test(alarm_is_the_next_match),
		cmocka_unit_test(alarm_costs_the_same_wherever_it_is),
		cmocka_unit_test(memory_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
