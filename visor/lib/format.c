/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/lib/format.h"

#include <stdbool.h>
#include <stdint.h>

#include "visor/lib/string.h"

struct directive {
	bool left, zero;
	int width, precision; /* precision -1: none */
	int longs;            /* 0 int, 1 and more: 64 bits */
};

static void pad(format_put put, void *ctx, int n, char c)
{
	while (n-- > 0)
		put(ctx, c);
}

static void put_field(format_put put, void *ctx, const struct directive *d, const char *s, int n)
{
	if (!d->left)
		pad(put, ctx, d->width - n, d->zero ? '0' : ' ');
	for (int i = 0; i < n; i++)
		put(ctx, s[i]);
	if (d->left)
		pad(put, ctx, d->width - n, ' ');
}

static void put_number(format_put put, void *ctx, struct directive *d, uint64_t value, unsigned base,
                       bool negative)
{
	char digits[24];
	int at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative) {
		if (d->zero) {
			put(ctx, '-');
			d->width--;
		} else {
			digits[--at] = '-';
		}
	}
	put_field(put, ctx, d, digits + at, (int)sizeof(digits) - at);
}

static const char *parse_directive(const char *f, struct directive *d, va_list *args)
{
	*d = (struct directive){.precision = -1};
	for (; *f == '-' || *f == '0'; f++) {
		if (*f == '-')
			d->left = true;
		else
			d->zero = true;
	}
	if (*f == '*') {
		d->width = va_arg(*args, int);
		f++;
	}
	for (; *f >= '0' && *f <= '9'; f++)
		d->width = d->width * 10 + (*f - '0');
	if (*f == '.' && f[1] == '*') {
		d->precision = va_arg(*args, int);
		f += 2;
	}
	for (; *f == 'l' || *f == 'z'; f++)
		d->longs++;
	return f;
}

static void format_put_string(format_put put, void *ctx, const struct directive *d, const char *s)
{
	int n = 0;

	while ((d->precision < 0 || n < d->precision) && s[n])
		n++;
	put_field(put, ctx, d, s, n);
}

static void put_directive(format_put put, void *ctx, char kind, struct directive *d, va_list *args)
{
	int64_t number;
	char c;

	switch (kind) {
	case 's':
		format_put_string(put, ctx, d, va_arg(*args, const char *));
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		put_field(put, ctx, d, &c, 1);
		break;
	case 'd':
		number = d->longs ? va_arg(*args, long long) : va_arg(*args, int);
		put_number(put, ctx, d, number < 0 ? -(uint64_t)number : (uint64_t)number, 10, number < 0);
		break;
	case 'u':
	case 'x':
		put_number(put, ctx, d,
		           d->longs ? va_arg(*args, unsigned long long) : va_arg(*args, unsigned),
		           kind == 'x' ? 16 : 10, false);
		break;
	default:
		put(ctx, kind);
	}
}

void format_to(format_put put, void *ctx, const char *format, va_list args)
{
	struct directive d;
	va_list rest;

	va_copy(rest, args);
	for (; *format; format++) {
		if (*format != '%') {
			put(ctx, *format);
			continue;
		}
		format = parse_directive(format + 1, &d, &rest);
		if (!*format)
			break;
		put_directive(put, ctx, *format, &d, &rest);
	}
	va_end(rest);
}

struct buffer {
	char *to;
	size_t size, length;
};

static void put_in_buffer(void *ctx, char c)
{
	struct buffer *b = ctx;

	if (b->length + 1 < b->size)
		b->to[b->length] = c;
	b->length++;
}

int vsnprintf(char *to, size_t size, const char *format, va_list args)
{
	struct buffer b = {.to = to, .size = size};

	format_to(put_in_buffer, &b, format, args);
	if (size)
		to[b.length < size ? b.length : size - 1] = 0;
	return (int)b.length;
}

int snprintf(char *to, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(to, size, format, args);
	va_end(args);
	return n;
}
