/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/device/vga_crtc.h"

/* Indices beyond the last register read as ones, as any port does where nothing is. */
uint8_t vga_crtc_read(const struct vga_crtc *v, bool data)
{
	if (!data)
		return v->index;
	return v->index < VGA_CRTC_REGISTERS ? v->reg[v->index] : 0xff;
}

void vga_crtc_write(struct vga_crtc *v, bool data, uint8_t value)
{
	if (!data)
		v->index = value;
	else if (v->index < VGA_CRTC_REGISTERS)
		v->reg[v->index] = value;
}
