/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keyboard controller with nothing plugged in: enough for guests that reset
 * the machine or switch the A20 gate through it, and for those that look for a
 * keyboard or a mouse: what is sent to one ends with a time-out (IBM PC/AT
 * Technical Reference, "Keyboard Controller"; IBM PS/2 Hardware Interface
 * Technical Reference, "Keyboard and Auxiliary Device Controller").
 */
#ifndef VISOR_DEVICE_I8042_H
#define VISOR_DEVICE_I8042_H

#include <stdbool.h>
#include <stdint.h>

struct i8042 {
	uint8_t command_byte, output_port;
	uint8_t pending_command; /* takes its argument from port 60h; 0 = none */
	uint8_t output;          /* what port 60h gives */
	bool output_full;
	bool timed_out; /* it stands for a device that has not answered ... */
	bool from_aux;  /* ... the auxiliary one */
	bool reset;     /* the guest has pulsed the reset line */
};

void i8042_init(struct i8042 *k);
uint8_t i8042_read_data(struct i8042 *k);
uint8_t i8042_read_status(const struct i8042 *k);
void i8042_write_data(struct i8042 *k, uint8_t value);
void i8042_write_command(struct i8042 *k, uint8_t value);
/* Level of the interrupt line: of the keyboard's, or with `aux` of the auxiliary device's. */
bool i8042_interrupt(const struct i8042 *k, bool aux);

#endif
