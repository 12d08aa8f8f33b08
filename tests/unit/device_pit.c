/* SPDX-License-Identifier: BSD-2-Clause */
/* 8254: counts at 1193182 Hz, outputs of each mode, latches, and port 61h. */
#include "tests/unit/unit.h"
#include "visor/device/clock.h"
#include "visor/device/pit8254.h"

static struct pit fresh(void)
{
	struct pit p;

	pit_init(&p);
	return p;
}

/* First nanosecond of a tick of the PIT's clock. */
static uint64_t at(uint64_t tick)
{
	return clock_ns(tick, PIT_HZ);
}

static void program(struct pit *p, unsigned channel, uint8_t mode, uint16_t count, uint64_t now)
{
	pit_write(p, 3, channel << 6 | 0x30 | mode << 1, now);
	pit_write(p, channel, count & 0xff, now);
	pit_write(p, channel, count >> 8, now);
}

static uint16_t read_latched(struct pit *p, unsigned channel, uint64_t now)
{
	uint16_t low;

	pit_write(p, 3, channel << 6, now);
	low = pit_read(p, channel, now);
	return low | pit_read(p, channel, now) << 8;
}

static void clock_conversion(void **state)
{
	(void)state;
	assert_int_equal(clock_ticks(NS_PER_SECOND, PIT_HZ), PIT_HZ);
	assert_int_equal(clock_ticks(3600 * NS_PER_SECOND, PIT_HZ), 3600 * PIT_HZ);
	for (uint64_t tick = 0; tick < 3 * PIT_HZ; tick += 997) {
		uint64_t ns = clock_ns(tick, PIT_HZ);

		assert_int_equal(clock_ticks(ns, PIT_HZ), tick);
		if (tick)
			assert_int_equal(clock_ticks(ns - 1, PIT_HZ), tick - 1);
	}
	assert_true(clock_ns(UINT64_MAX, 1) == CLOCK_NEVER);
}

/* Mode 2: one rise every `count` ticks, for ever, without drift. */
static void periodic(void **state)
{
	struct pit p = fresh();
	uint64_t now = 0, first;

	(void)state;
	program(&p, 0, 2, 11932, now);
	first = pit_next_event(&p);
	assert_int_equal(first, at(1 + 11932));
	for (unsigned i = 0; i < 1000; i++) {
		now = pit_next_event(&p);
		assert_int_equal(now, at(1 + 11932ull * (i + 1)));
		assert_false(pit_advance(&p, now - 1));
		assert_true(pit_advance(&p, now));
	}
	assert_true(pit_advance(&p, now + 5 * (first + 1000))); /* several at once count as one */
	assert_false(pit_advance(&p, now + 5 * (first + 1000)));
}

/* A count of 1 or 2 asks for a million edges a second: they are reported as often as the floor lets them. */
static void periodic_floor(void **state)
{
	(void)state;
	for (uint8_t mode = 2; mode <= 3; mode++) {
		struct pit p = fresh();
		unsigned rises = 0;

		program(&p, 0, mode, mode == 2 ? 1 : 2, 0);
		for (uint64_t now = 0; now < 10 * CLOCK_PERIOD_FLOOR_NS; now += 100) {
			if (now < pit_next_event(&p) || !pit_advance(&p, now))
				continue;
			rises++;
			assert_true(pit_next_event(&p) >= now + CLOCK_PERIOD_FLOOR_NS);
			assert_false(pit_advance(&p, now + CLOCK_PERIOD_FLOOR_NS - 1));
		}
		assert_in_range(rises, 9, 10);
	}
}

static void rate_generator_output(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 0, 2, 10, at(0));
	assert_true(pit_output(&p, 0, at(1)));
	assert_int_equal(read_latched(&p, 0, at(1)), 10);
	assert_int_equal(read_latched(&p, 0, at(9)), 2);
	assert_false(pit_output(&p, 0, at(10))); /* low for the last tick of the period */
	assert_int_equal(read_latched(&p, 0, at(10)), 1);
	assert_true(pit_output(&p, 0, at(11)));
	assert_int_equal(read_latched(&p, 0, at(11)), 10);
}

/* Mode 3: high for the first half; an odd count's extra tick goes to the high half. */
static void square_wave(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 0, 3, 10, at(0));
	for (unsigned tick = 0; tick < 30; tick++)
		assert_int_equal(pit_output(&p, 0, at(tick + 1)), tick % 10 < 5);
	assert_int_equal(read_latched(&p, 0, at(3)), 6); /* counts down by two */
	assert_int_equal(read_latched(&p, 0, at(8)), 6); /* twice a period */
	program(&p, 0, 3, 5, at(100));
	for (unsigned tick = 0; tick < 20; tick++)
		assert_int_equal(pit_output(&p, 0, at(101 + tick)), tick % 5 < 3);
	assert_int_equal(pit_next_event(&p) > at(100), 1);
}

/* Mode 0: low until the count is over, then high for good, while the counter runs on. */
static void one_shot(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 0, 0, 1000, at(50));
	pit_advance(&p, at(50));
	assert_false(pit_output(&p, 0, at(51)));
	assert_int_equal(pit_next_event(&p), at(1051));
	assert_int_equal(read_latched(&p, 0, at(551)), 500);
	assert_true(pit_advance(&p, at(1051)));
	assert_true(pit_output(&p, 0, at(1051)));
	assert_true(pit_next_event(&p) == CLOCK_NEVER);
	assert_int_equal(read_latched(&p, 0, at(1053)), 0xfffe);
	pit_write(&p, 3, 0x30, at(2000)); /* a new mode: low, and nothing counts before the count */
	assert_false(pit_output(&p, 0, at(3000)));
	assert_true(pit_next_event(&p) == CLOCK_NEVER);
}

/* Mode 4: a strobe one tick wide. */
static void strobe(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 0, 4, 100, at(0));
	assert_true(pit_output(&p, 0, at(100)));
	assert_false(pit_output(&p, 0, at(101)));
	assert_true(pit_output(&p, 0, at(102)));
	assert_int_equal(pit_next_event(&p), at(102));
	assert_true(pit_advance(&p, at(102)));
	assert_true(pit_next_event(&p) == CLOCK_NEVER);
}

/* A count of 0 is 65536; BCD counts in decimal. */
static void zero_and_bcd(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 0, 2, 0, at(0));
	assert_int_equal(pit_next_event(&p), at(1 + 65536));
	assert_int_equal(read_latched(&p, 0, at(1)), 0);
	assert_int_equal(read_latched(&p, 0, at(2)), 0xffff);
	pit_write(&p, 3, 0x35, at(100)); /* mode 2, BCD */
	pit_write(&p, 0, 0x34, at(100));
	pit_write(&p, 0, 0x12, at(100));
	assert_int_equal(read_latched(&p, 0, at(101)), 0x1234);
	assert_int_equal(read_latched(&p, 0, at(111)), 0x1224);
	assert_int_equal(pit_next_event(&p), at(101 + 1234));
}

/* A count written during a period takes over at its end. */
static void new_count(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 0, 2, 10000, at(0));
	pit_advance(&p, at(30));
	pit_write(&p, 0, 5000 & 0xff, at(30));
	pit_write(&p, 0, 5000 >> 8, at(30));
	pit_write(&p, 3, 0xe2, at(31));                  /* read back the status of channel 0 */
	assert_int_equal(pit_read(&p, 0, at(31)), 0xf4); /* output high, null count, access 3, mode 2 */
	assert_int_equal(pit_next_event(&p), at(10001));
	assert_true(pit_advance(&p, at(10001)));
	assert_int_equal(pit_next_event(&p), at(15001));
}

static void latches(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 2, 2, 1000, at(0));
	pit_write_port_b(&p, 1, at(0));
	pit_write(&p, 3, 0x80, at(101));
	pit_write(&p, 3, 0x80, at(301)); /* the first latch holds */
	assert_int_equal(pit_read(&p, 2, at(500)), 900 & 0xff);
	assert_int_equal(pit_read(&p, 2, at(501)), 900 >> 8);
	assert_int_equal(pit_read(&p, 2, at(501)), 500 & 0xff); /* not latched any more */
	assert_int_equal(pit_read(&p, 2, at(501)), 500 >> 8);
	pit_write(&p, 3, 0xc8, at(601)); /* count and status of channel 2: status comes first */
	assert_int_equal(pit_read(&p, 2, at(700)), 0xb4);
	assert_int_equal(pit_read(&p, 2, at(700)), 400 & 0xff);
	assert_int_equal(pit_read(&p, 3, at(700)), 0xff);
}

static void single_byte_access(void **state)
{
	struct pit p = fresh();

	(void)state;
	pit_write(&p, 3, 0x14, at(0)); /* low byte only, mode 2 */
	pit_write(&p, 0, 200, at(0));
	assert_int_equal(pit_next_event(&p), at(201));
	assert_int_equal(pit_read(&p, 0, at(51)), 150);
	pit_write(&p, 3, 0x24, at(100)); /* high byte only */
	pit_write(&p, 0, 2, at(100));
	assert_int_equal(pit_next_event(&p), at(101 + 512));
	assert_int_equal(pit_read(&p, 0, at(102)), 511 >> 8);
}

/* How Linux and others calibrate: channel 2, mode 0, gate by port 61h, output in its bit 5. */
static void gate_of_channel_2(void **state)
{
	struct pit p = fresh();

	(void)state;
	pit_write_port_b(&p, 0, at(0));
	program(&p, 2, 0, 1000, at(0));
	assert_int_equal(pit_read_port_b(&p, at(5000)) & 0x21, 0); /* stands still */
	assert_int_equal(read_latched(&p, 2, at(5000)), 1000);
	pit_write_port_b(&p, 1, at(6000));
	assert_int_equal(pit_read_port_b(&p, at(6999)) & 0x21, 0x01);
	assert_int_equal(pit_read_port_b(&p, at(7000)) & 0x21, 0x21);

	program(&p, 2, 0, 1000, at(10000));
	pit_write_port_b(&p, 0, at(10301)); /* hold on */
	assert_int_equal(read_latched(&p, 2, at(10500)), 700);
	pit_write_port_b(&p, 3, at(20000));
	assert_int_equal(read_latched(&p, 2, at(20100)), 600);
	assert_int_equal(pit_read_port_b(&p, at(20000)) & 0x02, 0x02);
	assert_int_not_equal(pit_read_port_b(&p, 0) & 0x10, pit_read_port_b(&p, 15100) & 0x10);
}

/* Mode 1: the gate starts the pulse, and starts it again. A new count waits for the next start. */
static void triggered_pulse(void **state)
{
	struct pit p = fresh();

	(void)state;
	program(&p, 2, 1, 100, at(0));
	assert_true(pit_output(&p, 2, at(50)));
	pit_write_port_b(&p, 1, at(1000));
	assert_false(pit_output(&p, 2, at(1001)));
	assert_false(pit_output(&p, 2, at(1100)));
	assert_true(pit_output(&p, 2, at(1101)));
	pit_write(&p, 2, 20, at(1102));
	pit_write(&p, 2, 0, at(1102));
	assert_true(pit_output(&p, 2, at(1200)));
	pit_write_port_b(&p, 0, at(1300));
	pit_write_port_b(&p, 1, at(1400));
	assert_false(pit_output(&p, 2, at(1420)));
	assert_true(pit_output(&p, 2, at(1421)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_conversion),
		cmocka_unit_test(periodic),
		cmocka_unit_test(periodic_floor),
		cmocka_unit_test(rate_generator_output),
		cmocka_unit_test(square_wave),
		cmocka_unit_test(one_shot),
		cmocka_unit_test(strobe),
		cmocka_unit_test(zero_and_bcd),
		cmocka_unit_test(new_count),
		cmocka_unit_test(latches),
		cmocka_unit_test(single_byte_access),
		cmocka_unit_test(gate_of_channel_2),
		cmocka_unit_test(triggered_pulse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
