/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The four functions that gcc and clang emit calls to in freestanding code,
 * and the string functions that the visor needs besides.
 */
#ifndef VISOR_LIB_STRING_H
#define VISOR_LIB_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strstr(const char *in, const char *what);

#endif
