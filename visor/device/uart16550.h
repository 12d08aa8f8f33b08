/* SPDX-License-Identifier: BSD-2-Clause */
/* 16550A serial port (National Semiconductor PC16550D data sheet, 1995). */
#ifndef VISOR_DEVICE_UART16550_H
#define VISOR_DEVICE_UART16550_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_FIFO_SIZE 16

struct uart {
	void (*transmit)(void *ctx, uint8_t byte);
	void *ctx;
	uint8_t fifo[UART_FIFO_SIZE];
	uint8_t first, used; /* ring of received bytes */
	uint8_t ier, fcr, lcr, mcr, scratch;
	uint8_t divisor[2];  /* low, high */
	uint8_t modem_delta; /* MSR bits 3:0 */
	bool overrun;
	bool transmitter_empty; /* the interrupt of that name is due */
};

void uart_init(struct uart *u, void (*transmit)(void *ctx, uint8_t byte), void *ctx);
/* `reg` 0..7 from the port's base. */
uint8_t uart_read(struct uart *u, unsigned reg);
void uart_write(struct uart *u, unsigned reg, uint8_t value);
/* Bytes for the receiver, as many as fit: returns how many. */
size_t uart_receive(struct uart *u, const uint8_t *bytes, size_t n);
/* Level of the interrupt line. */
bool uart_interrupt(const struct uart *u);

#endif
