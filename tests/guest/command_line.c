/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of the form name=value that the loader hands over. */
#include "guest.h"
#include "multiboot.h"

static const char *find_option(const char *name)
{
	const char *p = (const char *)(uintptr_t)boot_info->command_line;

	if (!(boot_info->flags & MULTIBOOT_COMMAND_LINE))
		return NULL;
	while (*p) {
		const char *n = name;

		while (*p == ' ')
			p++;
		for (; *n && *p == *n; n++)
			p++;
		if (!*n && *p == '=')
			return p + 1;
		while (*p && *p != ' ')
			p++;
	}
	return NULL;
}

const char *option(const char *name)
{
	static char text[256];
	const char *p = find_option(name);
	unsigned n = 0;

	if (!p)
		return NULL;
	while (p[n] && p[n] != ' ' && n < sizeof(text) - 1) {
		text[n] = p[n];
		n++;
	}
	text[n] = 0;
	return text;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *p = find_option(name);
	uint64_t value = 0;

	if (!p)
		return otherwise;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	return value;
}
