/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/lib/words.h"

#include "visor/lib/string.h"

const char *after_prefix(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

static int suffix_shift(char c)
{
	switch (c) {
	case 'K':
	case 'k': return 10;
	case 'M':
	case 'm': return 20;
	case 'G':
	case 'g': return 30;
	default: return -1;
	}
}

bool parse_size(const char *s, const char *end, uint64_t *out)
{
	uint64_t value = 0;
	int base = 10;
	const char *first;

	if (end - s > 2 && s[0] == '0' && (s[1] | 0x20) == 'x') {
		base = 16;
		s += 2;
	}
	for (first = s; s < end && digit_value(*s) < base; s++) {
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_value(*s), &value))
			return false;
	}
	if (s == first)
		return false;
	if (s < end) {
		int shift = suffix_shift(*s);

		if (shift < 0 || s + 1 != end || value >> (64 - shift))
			return false;
		value <<= shift;
	}
	*out = value;
	return true;
}
