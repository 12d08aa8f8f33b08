/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real-time clock and CMOS memory. The time is that of the host when the
 * machine started plus guest time, plus what the guest has set it off by.
 */
#include "visor/device/rtc146818.h"

#include "visor/device/clock.h"
#include "visor/lib/calendar.h"

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = 0x32, /* the ACPI tables name this byte */
};

#define A_UPDATE_IN_PROGRESS 0x80
#define A_DEFAULT 0x26 /* 32768 Hz oscillator, 1024 Hz periodic rate */
#define B_SET 0x80
#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define B_INTERRUPTS 0x70 /* same bit positions as the flags in register C */
#define C_INTERRUPT 0x80
#define C_PERIODIC 0x40
#define C_ALARM 0x20
#define C_UPDATE_ENDED 0x10
#define D_VALID 0x80

#define HOUR_PM 0x80
#define ALARM_ANY 0xc0 /* an alarm byte with both top bits set matches always */

/* An update takes 1984 us, and register A announces it 244 us before (data sheet, table 6). */
#define UPDATE_NS ((1984u + 244u) * 1000u)
#define OSCILLATOR_HZ 32768u
#define SECONDS_PER_DAY 86400u

/* PC/AT conventions for memory sizes (RBIL, CMOS.LST). */
#define CMOS_BASE_KIB 0x15
#define CMOS_EXTENDED_KIB 0x17
#define CMOS_EXTENDED_KIB_COPY 0x30
#define CMOS_ABOVE_16M 0x34 /* in 64 KiB */
#define CMOS_ABOVE_4G 0x5b  /* in 64 KiB, three bytes */

static void store16(struct rtc *r, unsigned at, uint64_t value)
{
	uint16_t v = value > 0xffff ? 0xffff : value;

	r->cmos[at] = v & 0xff;
	r->cmos[at + 1] = v >> 8;
}

static void store_memory_sizes(struct rtc *r, uint64_t below_4g, uint64_t above_4g)
{
	uint64_t extended_kib = below_4g > (1u << 20) ? (below_4g - (1u << 20)) >> 10 : 0;

	store16(r, CMOS_BASE_KIB, 640);
	store16(r, CMOS_EXTENDED_KIB, extended_kib);
	store16(r, CMOS_EXTENDED_KIB_COPY, extended_kib);
	store16(r, CMOS_ABOVE_16M, below_4g > (16u << 20) ? (below_4g - (16u << 20)) >> 16 : 0);
	store16(r, CMOS_ABOVE_4G, above_4g >> 16 & 0xffff);
	r->cmos[CMOS_ABOVE_4G + 2] = above_4g >> 32;
}

void rtc_init(struct rtc *r, uint64_t below_4g, uint64_t above_4g, uint64_t wall, uint64_t now)
{
	*r = (struct rtc){.epoch = wall - now / NS_PER_SECOND, .seen_second = now / NS_PER_SECOND};
	r->cmos[REG_A] = A_DEFAULT;
	r->cmos[REG_B] = B_24_HOURS;
	r->cmos[REG_D] = D_VALID;
	r->next_event = CLOCK_NEVER;
	store_memory_sizes(r, below_4g, above_4g);
}

static uint8_t rtc_encode(const struct rtc *r, uint8_t value)
{
	return r->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static uint8_t decode(const struct rtc *r, uint8_t value)
{
	return r->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *r, uint8_t hour)
{
	if (r->cmos[REG_B] & B_24_HOURS)
		return rtc_encode(r, hour);
	return rtc_encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static uint8_t decode_hour(const struct rtc *r, uint8_t value)
{
	if (r->cmos[REG_B] & B_24_HOURS)
		return decode(r, value);
	return decode(r, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static bool being_set(const struct rtc *r)
{
	return r->cmos[REG_B] & B_SET;
}

/* Put the time of day into its bytes. While the guest sets it they stand still. */
static void show_time(struct rtc *r, uint64_t now)
{
	struct calendar c;

	if (being_set(r))
		return;
	c = calendar_from_seconds(r->epoch + now / NS_PER_SECOND);
	r->cmos[SECONDS] = rtc_encode(r, c.second);
	r->cmos[MINUTES] = rtc_encode(r, c.minute);
	r->cmos[HOURS] = encode_hour(r, c.hour);
	r->cmos[WEEKDAY] = rtc_encode(r, c.weekday);
	r->cmos[DAY] = rtc_encode(r, c.day);
	r->cmos[MONTH] = rtc_encode(r, c.month);
	r->cmos[YEAR] = rtc_encode(r, c.year % 100);
	r->cmos[CENTURY] = rtc_encode(r, c.year / 100);
}

/* The bytes are the time from now on. The weekday is not a setting: it follows from the date. */
static void take_time(struct rtc *r, uint64_t now)
{
	struct calendar c = {
		.year = decode(r, r->cmos[CENTURY]) * 100u + decode(r, r->cmos[YEAR]),
		.month = decode(r, r->cmos[MONTH]),
		.day = decode(r, r->cmos[DAY]),
		.hour = decode_hour(r, r->cmos[HOURS]),
		.minute = decode(r, r->cmos[MINUTES]),
		.second = decode(r, r->cmos[SECONDS]),
	};

	r->epoch = calendar_to_seconds(&c) - now / NS_PER_SECOND;
}

static bool is_time(unsigned index)
{
	return index == SECONDS || index == MINUTES || index == HOURS || index == CENTURY ||
	       (index >= WEEKDAY && index <= YEAR);
}

static bool updating(const struct rtc *r, uint64_t now)
{
	return !being_set(r) && now % NS_PER_SECOND >= NS_PER_SECOND - UPDATE_NS;
}

/* Table 5: rates 1 and 2 repeat rates 8 and 9 at this oscillator. 0 = off. */
static uint32_t periodic_hz(const struct rtc *r)
{
	unsigned rate = r->cmos[REG_A] & 15;

	if (!rate)
		return 0;
	return OSCILLATOR_HZ >> ((rate < 3 ? rate + 7 : rate) - 1);
}

/* What an alarm byte asks for: one value, any, or one that the time of day never has. */
enum { ALARM_NEVER = -1,
       ALARM_ALWAYS = -2 };

static int alarm_hour(const struct rtc *r)
{
	uint8_t alarm = r->cmos[HOURS_ALARM], hour = decode_hour(r, alarm);

	if ((alarm & ALARM_ANY) == ALARM_ANY)
		return ALARM_ALWAYS;
	return hour < 24 && encode_hour(r, hour) == alarm ? hour : ALARM_NEVER;
}

/* Of minutes and seconds. */
static int alarm_sixtieth(const struct rtc *r, uint8_t alarm)
{
	uint8_t value = decode(r, alarm);

	if ((alarm & ALARM_ANY) == ALARM_ANY)
		return ALARM_ALWAYS;
	return value < 60 && rtc_encode(r, value) == alarm ? value : ALARM_NEVER;
}

/*
 * First second of guest time after `second` at which the alarm bytes equal the
 * time of day; at most a day away. CLOCK_NEVER when they hold no time of day.
 * Each step makes the highest field that is wrong right, and those below it 0. A
 * step may carry into a higher field once; seven steps are the most.
 */
static uint64_t next_alarm(const struct rtc *r, uint64_t second)
{
	int hour = alarm_hour(r), minute = alarm_sixtieth(r, r->cmos[MINUTES_ALARM]);
	int sec = alarm_sixtieth(r, r->cmos[SECONDS_ALARM]);
	uint64_t s = second + 1;

	if (hour == ALARM_NEVER || minute == ALARM_NEVER || sec == ALARM_NEVER)
		return CLOCK_NEVER;
	for (;;) {
		unsigned day = (r->epoch + s) % SECONDS_PER_DAY;
		unsigned h = day / 3600, m = day / 60 % 60, now = day % 60;

		if (hour >= 0 && h != (unsigned)hour)
			s += ((unsigned)hour + 24 - h) % 24 * 3600 - m * 60 - now;
		else if (minute >= 0 && m != (unsigned)minute)
			s += ((unsigned)minute + 60 - m) % 60 * 60 - now;
		else if (sec >= 0 && now != (unsigned)sec)
			s += ((unsigned)sec + 60 - now) % 60;
		else
			return s;
	}
}

static void advance_seconds(struct rtc *r, uint64_t second)
{
	uint64_t before = r->seen_second;

	r->seen_second = second;
	if (being_set(r))
		return;
	r->flags |= C_UPDATE_ENDED;
	if (next_alarm(r, before) <= second)
		r->flags |= C_ALARM;
}

/* When will an interrupt that is enabled and not yet raised be due? */
static uint64_t rtc_plan(const struct rtc *r)
{
	uint8_t wanted = r->cmos[REG_B] & B_INTERRUPTS;
	uint64_t event = CLOCK_NEVER, alarm;
	uint32_t hz = periodic_hz(r);

	if (rtc_interrupt(r))
		return CLOCK_NEVER; /* the line is up and stays up until register C is read */
	if ((wanted & C_PERIODIC) && hz)
		event = clock_ns(r->seen_tick + 1, hz);
	if ((wanted & C_UPDATE_ENDED) && !being_set(r))
		event = clock_earlier(event, (r->seen_second + 1) * NS_PER_SECOND);
	if ((wanted & C_ALARM) && !being_set(r)) {
		alarm = next_alarm(r, r->seen_second);
		if (alarm != CLOCK_NEVER)
			event = clock_earlier(event, alarm * NS_PER_SECOND);
	}
	return event;
}

void rtc_advance(struct rtc *r, uint64_t now)
{
	uint32_t hz = periodic_hz(r);
	uint64_t tick = hz ? clock_ticks(now, hz) : 0;
	bool second_passed = now / NS_PER_SECOND > r->seen_second;
	bool tick_passed = tick > r->seen_tick;

	if (second_passed)
		advance_seconds(r, now / NS_PER_SECOND);
	if (tick_passed) {
		r->flags |= C_PERIODIC;
		r->seen_tick = tick;
	}
	if (second_passed || tick_passed)
		r->next_event = rtc_plan(r);
}

bool rtc_interrupt(const struct rtc *r)
{
	return r->flags & r->cmos[REG_B] & B_INTERRUPTS;
}

uint64_t rtc_next_event(const struct rtc *r)
{
	return r->next_event;
}

static uint8_t read_flags(struct rtc *r)
{
	uint8_t value = r->flags | (rtc_interrupt(r) ? C_INTERRUPT : 0);

	r->flags = 0;
	r->next_event = rtc_plan(r);
	return value;
}

uint8_t rtc_read(struct rtc *r, unsigned reg, uint64_t now)
{
	if (!reg)
		return 0xff; /* the index is write only */
	rtc_advance(r, now);
	if (is_time(r->index))
		show_time(r, now);
	if (r->index == REG_A)
		return r->cmos[REG_A] | (updating(r, now) ? A_UPDATE_IN_PROGRESS : 0);
	if (r->index == REG_C)
		return read_flags(r);
	return r->cmos[r->index];
}

/* Setting SET freezes the bytes as they stand; clearing it makes them the time. */
static void write_b(struct rtc *r, uint8_t value, uint64_t now)
{
	bool was_set = being_set(r);

	show_time(r, now);
	r->cmos[REG_B] = value;
	if (was_set && !being_set(r))
		take_time(r, now);
}

static void write_time(struct rtc *r, uint8_t value, uint64_t now)
{
	show_time(r, now);
	r->cmos[r->index] = value;
	if (!being_set(r))
		take_time(r, now);
}

/* A new rate starts its ticks now. */
static void write_a(struct rtc *r, uint8_t value, uint64_t now)
{
	uint32_t hz;

	r->cmos[REG_A] = value & ~A_UPDATE_IN_PROGRESS;
	hz = periodic_hz(r);
	r->seen_tick = hz ? clock_ticks(now, hz) : 0;
}

void rtc_write(struct rtc *r, unsigned reg, uint8_t value, uint64_t now)
{
	if (!reg) {
		r->index = value & (RTC_CMOS_SIZE - 1); /* bit 7 of the port masks NMI */
		return;
	}
	rtc_advance(r, now);
	if (is_time(r->index))
		write_time(r, value, now);
	else if (r->index == REG_A)
		write_a(r, value, now);
	else if (r->index == REG_B)
		write_b(r, value, now);
	else if (r->index != REG_C && r->index != REG_D)
		r->cmos[r->index] = value;
	r->next_event = rtc_plan(r);
}
