/* SPDX-License-Identifier: BSD-2-Clause */
/* Between seconds since 1970 and a date of the Gregorian calendar, UTC. */
#ifndef VISOR_LIB_CALENDAR_H
#define VISOR_LIB_CALENDAR_H

#include <stdint.h>

struct calendar {
	uint32_t year;   /* 1970 and later */
	uint8_t month;   /* 1..12 */
	uint8_t day;     /* 1..31 */
	uint8_t weekday; /* 1 = Sunday .. 7 */
	uint8_t hour, minute, second;
};

struct calendar calendar_from_seconds(uint64_t seconds);
/* Fields out of range carry over into the next larger one. */
uint64_t calendar_to_seconds(const struct calendar *c);

#endif
