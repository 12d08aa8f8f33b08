/* SPDX-License-Identifier: BSD-2-Clause */
/* The Gregorian calendar, counted in years that begin in March, so that leap days come last. */
#include "visor/lib/calendar.h"

#define SECONDS_PER_DAY 86400u
#define DAYS_PER_400_YEARS 146097u
#define DAYS_FROM_MARCH_0_TO_1970 719468u
#define THURSDAY 5 /* 1 January 1970, Sunday = 1 */

/* Days from 1 March of year 0 to the first of a month, months counted from March = 0. */
static uint64_t days_before(uint64_t year, unsigned month)
{
	return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5;
}

struct calendar calendar_from_seconds(uint64_t seconds)
{
	uint64_t day = seconds / SECONDS_PER_DAY + DAYS_FROM_MARCH_0_TO_1970;
	uint32_t rest = seconds % SECONDS_PER_DAY;
	uint64_t year = day * 400 / DAYS_PER_400_YEARS;
	unsigned month = 0;

	while (days_before(year, 0) > day)
		year--;
	while (days_before(year + 1, 0) <= day)
		year++;
	while (month < 11 && days_before(year, month + 1) <= day)
		month++;
	return (struct calendar){
		.year = year + (month >= 10),
		.month = month < 10 ? month + 3 : month - 9,
		.day = day - days_before(year, month) + 1,
		.weekday = (seconds / SECONDS_PER_DAY + THURSDAY - 1) % 7 + 1,
		.hour = rest / 3600,
		.minute = rest / 60 % 60,
		.second = rest % 60,
	};
}

uint64_t calendar_to_seconds(const struct calendar *c)
{
	uint64_t year = c->year + (c->month ? c->month - 1u : 0) / 12;
	unsigned month = c->month ? (c->month - 1u) % 12 : 0; /* January = 0 */
	uint64_t day = days_before(month < 2 ? year - 1 : year, (month + 10) % 12) + c->day - 1;

	if (year < 1970 || day < DAYS_FROM_MARCH_0_TO_1970)
		return 0;
	return (day - DAYS_FROM_MARCH_0_TO_1970) * SECONDS_PER_DAY + c->hour * 3600u +
	       c->minute * 60u + c->second;
}
