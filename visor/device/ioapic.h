/* SPDX-License-Identifier: BSD-2-Clause */
/* I/O APIC (Intel 82093AA data sheet, order 290566). */
#ifndef VISOR_DEVICE_IOAPIC_H
#define VISOR_DEVICE_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#define IOAPIC_PINS 24
#define IOAPIC_BYTES 0x1000

struct ioapic;

/* One interrupt message. True: a local APIC has accepted it. */
typedef bool (*ioapic_send)(void *ctx, uint64_t entry);

struct ioapic {
	ioapic_send send;
	void *ctx;
	uint8_t id;
	uint8_t select;
	uint32_t lines;              /* level of each pin now */
	uint64_t entry[IOAPIC_PINS]; /* redirection table; bit layout in 3.2.4 */
};

/* Fields of a redirection entry. */
#define IOAPIC_VECTOR(e) ((uint8_t)(e))
#define IOAPIC_DELIVERY(e) ((e) >> 8 & 7)
#define IOAPIC_LOGICAL (1ull << 11)
#define IOAPIC_LOW_ACTIVE (1ull << 13)
#define IOAPIC_REMOTE_IRR (1ull << 14)
#define IOAPIC_LEVEL (1ull << 15)
#define IOAPIC_MASKED (1ull << 16)
#define IOAPIC_DESTINATION(e) ((uint8_t)((e) >> 56))

void ioapic_init(struct ioapic *a, uint8_t id, ioapic_send send, void *ctx);
uint32_t ioapic_read(const struct ioapic *a, uint32_t offset);
void ioapic_write(struct ioapic *a, uint32_t offset, uint32_t value);
/* `asserted`: the device wants an interrupt, whatever polarity the pin has. */
void ioapic_set_line(struct ioapic *a, unsigned pin, bool asserted);
/* A local APIC has ended a level-triggered interrupt. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);
/* Is the pin set to pass the 8259's interrupts on, to the CPU's ExtINT? */
bool ioapic_passes_extint(const struct ioapic *a, unsigned pin);

#endif
