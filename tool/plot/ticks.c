/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the marks of an axis stand, and what stands at them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

enum { TICKS_MAX = 64 };

/* 1, 2 or 5 times a power of ten. */
static double round_step(double least)
{
	double power = pow(10, floor(log10(least)));

	for (int i = 0; i < 3; i++) {
		static const double steps[] = {1, 2, 5};

		if (steps[i] * power >= least * (1 - 1e-9))
			return steps[i] * power;
	}
	return 10 * power;
}

struct ticks ticks_make(double from, double to, unsigned wanted, bool powers_of_two)
{
	double least = (to - from) / (wanted ? wanted : 1);
	struct ticks ticks = {.first = from};

	if (!(least > 0) || !isfinite(least))
		return ticks;
	ticks.step = powers_of_two ? exp2(ceil(log2(least))) : round_step(least);
	if (powers_of_two && ticks.step < 1)
		ticks.step = 1;
	ticks.first = ceil(from / ticks.step - 1e-9) * ticks.step;
	while (ticks.count < TICKS_MAX && ticks.first + ticks.step * ticks.count <= to + ticks.step * 1e-9)
		ticks.count++;
	return ticks;
}

char *tick_rate(double value)
{
	static const char *const units[] = {"", " k", " M", " G", " T", " P"};
	size_t i = 0;

	for (; value >= 1000 && i + 1 < ARRAY_SIZE(units); i++)
		value /= 1000;
	return formatted("%.4g%s", value, units[i]);
}

char *tick_bytes(double value)
{
	return duplicate(text_bytes((uint64_t)value).text);
}

char *tick_time(double seconds, double step, double length)
{
	double unit = length >= 0.5 ? 1 : length >= 5e-4 ? 1e3
	                                                 : 1e6;
	int digits = step > 0 ? (int)ceil(-log10(step * unit) - 1e-9) : 0;

	return formatted("%.*f %s", digits > 0 ? digits : 0, seconds * unit, unit == 1 ? "s" : unit == 1e3 ? "ms"
	                                                                                                   : "\xc2\xb5s");
}
