/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CRT controller's registers of a VGA (IBM VGA technical reference, "CRT
 * Controller Registers"): index and data, which keep what is written. There is no
 * display behind them, but a system that asks where the cursor stands finds it
 * where it has put it, instead of at 65535, beyond its screen.
 */
#ifndef VISOR_DEVICE_VGA_CRTC_H
#define VISOR_DEVICE_VGA_CRTC_H

#include <stdbool.h>
#include <stdint.h>

#define VGA_CRTC_REGISTERS 32u

struct vga_crtc {
	uint8_t index;
	uint8_t reg[VGA_CRTC_REGISTERS];
};

/* `data` false: the index register. */
uint8_t vga_crtc_read(const struct vga_crtc *v, bool data);
void vga_crtc_write(struct vga_crtc *v, bool data, uint8_t value);

#endif
