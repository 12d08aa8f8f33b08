/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real-time clock and CMOS memory (Motorola MC146818A data sheet) as the PC/AT
 * uses them: ports 70h and 71h, interrupt 8, memory sizes in the CMOS bytes.
 */
#ifndef VISOR_DEVICE_RTC146818_H
#define VISOR_DEVICE_RTC146818_H

#include <stdbool.h>
#include <stdint.h>

#define RTC_CMOS_SIZE 128

struct rtc {
	uint8_t cmos[RTC_CMOS_SIZE]; /* alarm, control and general bytes; time only while it is set */
	uint8_t index;
	uint8_t flags;        /* register C bits 6:4 */
	uint64_t epoch;       /* seconds since 1970 at guest time 0, modulo 2^64 */
	uint64_t seen_second; /* whole seconds of guest time handled so far */
	uint64_t seen_tick;   /* periodic ticks handled so far */
	uint64_t next_event;  /* see rtc_next_event */
};

/*
 * `wall` is the time of day in seconds since 1970, `now` guest time in ns,
 * the other two the guest's RAM below and above 4 GiB, in bytes.
 */
void rtc_init(struct rtc *r, uint64_t below_4g, uint64_t above_4g, uint64_t wall, uint64_t now);
/* `reg` 0: port 70h, 1: port 71h. */
uint8_t rtc_read(struct rtc *r, unsigned reg, uint64_t now);
void rtc_write(struct rtc *r, unsigned reg, uint8_t value, uint64_t now);
/* Raise the flags of what has become due. */
void rtc_advance(struct rtc *r, uint64_t now);
/* Level of the interrupt line. */
bool rtc_interrupt(const struct rtc *r);
/* When an enabled interrupt will be due, guest time in ns; CLOCK_NEVER. */
uint64_t rtc_next_event(const struct rtc *r);

#endif
