/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports CF9h and 92h. A20, bit 1 of the latter, is always on. */
#include "visor/device/reset_control.h"

#include "visor/device/wiring.h"

#define CONTROL_RESET_CPU 0x04 /* a rising edge resets; bit 1 says how hard */
#define CONTROL_WRITABLE 0x0e
#define SYSTEM_A_FAST_RESET 0x01
#define SYSTEM_A_A20 0x02

uint8_t reset_control_read(const struct reset_control *r, uint16_t port)
{
	return port == PORT_RESET ? r->control : SYSTEM_A_A20;
}

void reset_control_write(struct reset_control *r, uint16_t port, uint8_t value)
{
	if (port == PORT_SYSTEM_A) {
		r->reset |= value & SYSTEM_A_FAST_RESET;
		return;
	}
	if (value & ~r->control & CONTROL_RESET_CPU)
		r->reset = true;
	r->control = value & CONTROL_WRITABLE;
}
