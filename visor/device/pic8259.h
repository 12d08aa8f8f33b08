/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two cascaded 8259A interrupt controllers (Intel 8259A data sheet, order
 * 231468) with the edge/level control registers of the 82371 (PIIX).
 */
#ifndef VISOR_DEVICE_PIC8259_H
#define VISOR_DEVICE_PIC8259_H

#include <stdbool.h>
#include <stdint.h>

struct pic_chip {
	uint8_t lines; /* level of each input now */
	uint8_t irr, isr, imr;
	uint8_t level; /* ELCR: these inputs are level triggered */
	uint8_t vector_base;
	uint8_t lowest;    /* input with the lowest priority now; 7 after initialization */
	uint8_t init_step; /* next ICW expected: 2, 3, 4; 0 = none */
	bool single, needs_icw4;
	bool auto_eoi, rotate_on_auto_eoi;
	bool special_mask, special_fully_nested;
	bool read_isr; /* OCW3 chose the ISR for reads */
	bool poll;     /* next read is a poll */
};

struct pic {
	struct pic_chip master, slave;
};

void pic_init(struct pic *p);
/* `port` as the guest names it: 20h, 21h, A0h, A1h, 4D0h, 4D1h. */
uint8_t pic_read(struct pic *p, uint16_t port);
void pic_write(struct pic *p, uint16_t port, uint8_t value);
/* Level of ISA interrupt line 0..15 (2 is the cascade and has no line). */
void pic_set_line(struct pic *p, unsigned irq, bool level);
/* Level of the INTR output. */
bool pic_output(const struct pic *p);
/* The processor's interrupt acknowledge: the vector. Spurious interrupts give input 7's. */
uint8_t pic_acknowledge(struct pic *p);

#endif
