/* SPDX-License-Identifier: BSD-2-Clause */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <vmmu/trace.h>
#include <vmmu/types.h>

struct short_text text_count(uint64_t n)
{
	struct short_text out;
	char digits[24];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *to = out.text;

	for (size_t i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return out;
}

struct short_text text_bytes(uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct short_text out;
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	if (value == (double)(uint64_t)value)
		snprintf(out.text, sizeof(out.text), "%llu %s", (unsigned long long)value, units[unit]);
	else
		snprintf(out.text, sizeof(out.text), "%.1f %s", value, units[unit]);
	return out;
}

struct short_text text_seconds(double seconds)
{
	struct short_text out;

	snprintf(out.text, sizeof(out.text), "%.6f s", seconds);
	return out;
}

bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoull(text, &end, strncasecmp(text, "0x", 2) == 0 ? 16 : 10);
	return errno == 0 && *end == '\0';
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	size_t length = strlen(text);
	const char *unit = NULL;
	char digits[32];
	unsigned shift = 0;

	if (length == 0 || length >= sizeof(digits))
		return false;
	memcpy(digits, text, length + 1);
	if (strncasecmp(text, "0x", 2) != 0)
		unit = strchr(units, toupper((unsigned char)digits[length - 1]));
	if (unit) {
		digits[length - 1] = '\0';
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (!parse_number(digits, bytes) || *bytes > UINT64_MAX >> shift)
		return false;
	*bytes <<= shift;
	return true;
}

bool parse_address(const char *text, uint64_t *value)
{
	const char *digits = strncasecmp(text, "0x", 2) == 0 ? text + 2 : text;
	char *end;

	if (!isxdigit((unsigned char)*digits))
		return false;
	errno = 0;
	*value = strtoull(digits, &end, 16);
	return errno == 0 && *end == '\0';
}

static bool range_of(const char *text, bool (*parse)(const char *, uint64_t *), uint64_t *first, uint64_t *last)
{
	const char *dash = strchr(text, '-');
	char *head;
	bool ok;

	if (!dash) {
		ok = parse(text, first);
		*last = *first;
		return ok;
	}
	head = strndup(text, (size_t)(dash - text));
	ok = head && parse(head, first) && parse(dash + 1, last) && *first <= *last;
	free(head);
	return ok;
}

bool parse_range(const char *text, uint64_t *first, uint64_t *last)
{
	return range_of(text, parse_number, first, last);
}

bool parse_address_range(const char *text, uint64_t *first, uint64_t *last)
{
	return range_of(text, parse_address, first, last);
}

static const char *const level_names[] = {NULL, "4k", "2m", "1g", "512g", "256t"};
static const char *const level_spans[] = {"nothing", "4 KiB", "2 MiB", "1 GiB", "512 GiB", "256 TiB"};

bool parse_level(const char *text, unsigned *level)
{
	for (unsigned i = 1; i <= VMMU_LEVEL_MAX; i++) {
		char digit[2] = {(char)('0' + i), '\0'};

		if (strcasecmp(text, level_names[i]) == 0 || strcmp(text, digit) == 0) {
			*level = i;
			return true;
		}
	}
	return false;
}

bool parse_cause(const char *text, unsigned *cause)
{
	for (unsigned i = 0; i < VMMU_CAUSE_COUNT; i++) {
		if (strcasecmp(text, vmmu_cause_name(i)) == 0) {
			*cause = i;
			return true;
		}
	}
	return false;
}

const char *text_level_span(unsigned level)
{
	return level < ARRAY_SIZE(level_spans) ? level_spans[level] : level_spans[0];
}

bool parse_colour_mode(const char *text, enum colour_mode *mode)
{
	static const char *const names[] = {"auto", "always", "never"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*mode = (enum colour_mode)i;
			return true;
		}
	}
	return false;
}

const struct palette *palette_for(FILE *stream, enum colour_mode mode)
{
	static const struct palette coloured = {
		.bold = "\033[1m",
		.dim = "\033[2m",
		.red = "\033[31m",
		.green = "\033[32m",
		.yellow = "\033[33m",
		.blue = "\033[34m",
		.magenta = "\033[35m",
		.cyan = "\033[36m",
		.off = "\033[0m",
	};
	static const struct palette plain = {"", "", "", "", "", "", "", "", ""};
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	if (mode == COLOUR_ALWAYS)
		return &coloured;
	if (mode == COLOUR_NEVER || !isatty(fileno(stream)) || (no_color && *no_color) || !term ||
	    strcmp(term, "dumb") == 0)
		return &plain;
	return &coloured;
}
