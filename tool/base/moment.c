/* SPDX-License-Identifier: BSD-2-Clause */
#include "moment.h"

#include <ctype.h>
#include <string.h>

#include "base.h"

enum { DIGITS_MAX = 19 };

static uint64_t power_of_ten(unsigned n)
{
	uint64_t value = 1;

	while (n-- > 0)
		value *= 10;
	return value;
}

bool parse_moment(const char *text, struct moment *moment)
{
	static const struct {
		const char *unit;
		unsigned digits; /* of a nanosecond, behind its point */
	} units[] = {
		{"", 9}, {"s", 9}, {"ms", 6}, {"us", 3}, {"ns", 0}};
	uint64_t whole = 0, fraction = 0;
	unsigned digits = 0, given = 0, unit = 0;
	bool any = false;

	*moment = (struct moment){0};
	for (; isdigit((unsigned char)*text); text++, any = true)
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*text - '0'), &whole))
			return false;
	if (*text == '.')
		for (text++; isdigit((unsigned char)*text); text++, any = true, given++) {
			if (digits < DIGITS_MAX) {
				fraction = 10 * fraction + (uint64_t)(*text - '0');
				digits++;
			} else {
				moment->inexact |= *text != '0';
			}
		}
	while (*text == ' ')
		text++;
	while (unit < ARRAY_SIZE(units) && strcmp(text, units[unit].unit) != 0)
		unit++;
	if (!any || unit == ARRAY_SIZE(units) ||
	    __builtin_mul_overflow(whole, power_of_ten(units[unit].digits), &moment->ns))
		return false;
	if (digits > units[unit].digits) {
		uint64_t below = power_of_ten(digits - units[unit].digits);

		moment->inexact |= fraction % below != 0;
		fraction /= below;
	} else {
		fraction *= power_of_ten(units[unit].digits - digits);
	}
	moment->in_whole = units[unit].digits >= 3 && given <= units[unit].digits - 3;
	return !__builtin_add_overflow(moment->ns, fraction, &moment->ns);
}
