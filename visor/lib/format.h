/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * printf's small sister: %s %c %d %u %x %% with l, ll and z, a width, '0' and
 * '-', and %.*s. No floating point.
 */
#ifndef VISOR_LIB_FORMAT_H
#define VISOR_LIB_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* Where formatted characters go, one at a time. */
typedef void (*format_put)(void *ctx, char c);

void format_to(format_put put, void *ctx, const char *format, va_list args);

/* As C's functions of these names: always terminated, returns the length it would have had. */
int vsnprintf(char *to, size_t size, const char *format, va_list args);
int snprintf(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
