/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/lib/string.h"

#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *start = to;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep movsq"
	                 : "+D"(to), "+S"(from), "+c"(words)
	                 :
	                 : "memory");
	__asm__ volatile("rep movsb"
	                 : "+D"(to), "+S"(from), "+c"(rest)
	                 :
	                 : "memory");
	return start;
}

void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if ((uintptr_t)t - (uintptr_t)f >= n)
		return memcpy(to, from, n);
	while (n--) {
		t[n] = f[n];
		__asm__ volatile(""
		                 :
		                 :
		                 : "memory"); /* keep the compiler from calling memmove */
	}
	return to;
}

void *memset(void *to, int value, size_t n)
{
	void *start = to;
	uint64_t pattern = (uint8_t)value * 0x0101010101010101ull;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep stosq"
	                 : "+D"(to), "+c"(words)
	                 : "a"(pattern)
	                 : "memory");
	__asm__ volatile("rep stosb"
	                 : "+D"(to), "+c"(rest)
	                 : "a"(pattern)
	                 : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		n++;
		__asm__ volatile(""
		                 :
		                 :
		                 : "memory"); /* keep the compiler from calling strlen */
	}
	return n;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i] != b[i])
			return (uint8_t)a[i] < (uint8_t)b[i] ? -1 : 1;
		if (!a[i])
			break;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

char *strstr(const char *in, const char *what)
{
	size_t n = strlen(what);

	for (; strncmp(in, what, n) != 0; in++) {
		if (!*in)
			return NULL;
	}
	return (char *)(uintptr_t)in;
}
