/* SPDX-License-Identifier: BSD-2-Clause */
/* COM1, the debug-exit port, and a small printf. */
#include "guest.h"

#define COM1 0x3f8

void console_setup(void)
{
	out8(COM1 + 3, 3); /* line control: 8 data bits; Bochs' UART begins with 5 */
}

static void put(char c)
{
	while (!(in8(COM1 + 5) & 0x20)) /* transmitter holding register empty */
		;
	out8(COM1, (uint8_t)c);
}

/* Divide; returns the rest. By hand, as the 32-bit guest has no library that could. */
static uint32_t divide(uint64_t *value, uint32_t by)
{
	uint32_t high = (uint32_t)(*value >> 32), low = (uint32_t)*value, rest = high % by;

	__asm__("divl %2"
	        : "+a"(low), "+d"(rest)
	        : "r"(by)
	        : "cc");
	*value = (uint64_t)(high / by) << 32 | low;
	return rest;
}

static void put_number(uint64_t value, unsigned base, unsigned width)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[divide(&value, base)];
	while (value || n < width);
	while (n)
		put(digits[--n]);
}

static void put_signed(int64_t value)
{
	if (value < 0)
		put('-');
	put_number(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, 0);
}

void print_list(const char *format, va_list args)
{
	for (; *format; format++) {
		unsigned width = 0;
		bool wide = false;

		if (*format != '%') {
			put(*format);
			continue;
		}
		for (format++; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (unsigned)(*format - '0');
		for (; *format == 'l'; format++)
			wide = true;
		switch (*format) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		case 'c':
			put((char)va_arg(args, int));
			break;
		case 'd':
			put_signed(wide ? va_arg(args, int64_t) : va_arg(args, int));
			break;
		case 'u':
		case 'x':
			put_number(wide ? va_arg(args, uint64_t) : va_arg(args, uint32_t),
			           *format == 'x' ? 16 : 10, width);
			break;
		default:
			put(*format);
		}
	}
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_list(format, args);
	va_end(args);
}

#define BOCHS_SHUTDOWN 0x8900 /* ends Bochs when this word is written to it */

_Noreturn void guest_exit(uint32_t code)
{
	out8(0xf4, (uint8_t)code);
	while (!(in8(COM1 + 5) & 0x40)) /* all is sent */
		;
	for (const char *c = "Shutdown"; *c; c++)
		out8(BOCHS_SHUTDOWN, (uint8_t)*c);
	print("FAIL exit: the machine has neither isa-debug-exit at F4h nor Bochs' shutdown port\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}
