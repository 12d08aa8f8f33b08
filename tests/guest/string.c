/* SPDX-License-Identifier: BSD-2-Clause */
/* What the compiler calls, and the tests use. */
#include "guest.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *result = to;

	__asm__ volatile("rep movsb"
	                 : "+D"(to), "+S"(from), "+c"(n)
	                 :
	                 : "memory");
	return result;
}

void *memset(void *to, int value, size_t n)
{
	void *result = to;

	__asm__ volatile("rep stosb"
	                 : "+D"(to), "+c"(n)
	                 : "a"(value)
	                 : "memory");
	return result;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p < *q ? -1 : 1;
	return 0;
}
