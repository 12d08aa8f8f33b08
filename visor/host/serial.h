/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's two serial ports (16550 UARTs). COM1 is the guest's console and
 * never waited for: output is queued and goes out as the UART takes it.
 * COM2 is the visor's log, written at once, and what it is ordered comes in there.
 */
#ifndef VISOR_HOST_SERIAL_H
#define VISOR_HOST_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void serial_init(void);

/* The log: waits for the UART. */
void serial_log_byte(uint8_t byte);
/* What has come in there; how much. */
size_t serial_log_read(uint8_t *bytes, size_t max);

/* The console. A full queue waits for the UART: no byte is ever lost. */
void serial_console_write(const uint8_t *bytes, size_t n);
size_t serial_console_read(uint8_t *bytes, size_t max);
/* Give the UART what it has room for. */
void serial_console_poll(void);
/* Wait until the queue is empty. */
void serial_console_flush(void);
bool serial_console_busy(void);

#endif
