/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/serial.h"

#include "visor/cpu/x86.h"

#define COM1 0x3f8
#define COM2 0x2f8

/* Register offsets (PC16550D data sheet, table II). */
enum { DATA = 0,
       INTERRUPT_ENABLE = 1,
       FIFO_CONTROL = 2,
       LINE_CONTROL = 3,
       MODEM_CONTROL = 4,
       LINE_STATUS = 5,
       SCRATCH = 7 };
enum { STATUS_DATA_READY = 1,
       STATUS_TRANSMITTER_EMPTY = 0x20 };

#define FIFO_BYTES 16
#define QUEUE_BYTES 65536u /* power of two */

static bool log_present, console_present;
static uint8_t queue[QUEUE_BYTES];
static uint32_t queue_head, queue_tail; /* free running */

static bool uart_init(uint16_t base)
{
	outb(base + SCRATCH, 0x5a);
	if (inb(base + SCRATCH) != 0x5a)
		return false;
	outb(base + INTERRUPT_ENABLE, 0);
	outb(base + LINE_CONTROL, 0x80); /* divisor latch */
	outb(base + DATA, 1);            /* 115200 baud */
	outb(base + INTERRUPT_ENABLE, 0);
	outb(base + LINE_CONTROL, 0x03); /* 8N1 */
	outb(base + FIFO_CONTROL, 0x07); /* on, both cleared */
	outb(base + MODEM_CONTROL, 0x03);
	return true;
}

void serial_init(void)
{
	console_present = uart_init(COM1);
	log_present = uart_init(COM2);
}

void serial_log_byte(uint8_t byte)
{
	if (!log_present)
		return;
	while (!(inb(COM2 + LINE_STATUS) & STATUS_TRANSMITTER_EMPTY))
		cpu_pause();
	outb(COM2 + DATA, byte);
}

bool serial_console_busy(void)
{
	return queue_head != queue_tail;
}

void serial_console_poll(void)
{
	if (!serial_console_busy() || !(inb(COM1 + LINE_STATUS) & STATUS_TRANSMITTER_EMPTY))
		return;
	for (unsigned i = 0; i < FIFO_BYTES && serial_console_busy(); i++)
		outb(COM1 + DATA, queue[queue_tail++ % QUEUE_BYTES]);
}

void serial_console_flush(void)
{
	while (serial_console_busy()) {
		serial_console_poll();
		cpu_pause();
	}
}

void serial_console_write(const uint8_t *bytes, size_t n)
{
	if (!console_present)
		return;
	for (size_t i = 0; i < n; i++) {
		while (queue_head - queue_tail == QUEUE_BYTES)
			serial_console_poll();
		queue[queue_head++ % QUEUE_BYTES] = bytes[i];
	}
	serial_console_poll();
}

static size_t uart_read(uint16_t base, uint8_t *bytes, size_t max)
{
	size_t n = 0;

	while (n < max && inb(base + LINE_STATUS) & STATUS_DATA_READY)
		bytes[n++] = inb(base + DATA);
	return n;
}

size_t serial_console_read(uint8_t *bytes, size_t max)
{
	return console_present ? uart_read(COM1, bytes, max) : 0;
}

size_t serial_log_read(uint8_t *bytes, size_t max)
{
	return log_present ? uart_read(COM2, bytes, max) : 0;
}
