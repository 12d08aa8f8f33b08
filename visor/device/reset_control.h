/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two more ways to reset a PC: the reset control register at CF9h (82371
 * (PIIX) data sheet, "RC - Reset Control Register") and bit 0 of system
 * control port A, 92h. Port CF9h is the ACPI reset register too.
 */
#ifndef VISOR_DEVICE_RESET_CONTROL_H
#define VISOR_DEVICE_RESET_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

struct reset_control {
	uint8_t control; /* CF9h */
	bool reset;      /* the guest has reset the machine */
};

uint8_t reset_control_read(const struct reset_control *r, uint16_t port);
void reset_control_write(struct reset_control *r, uint16_t port, uint8_t value);

#endif
