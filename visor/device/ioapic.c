/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O APIC. Section numbers are those of the 82093AA data sheet.
 *
 * The polarity bit is kept but has no effect: there are no wires, a device
 * says whether it wants an interrupt.
 */
#include "visor/device/ioapic.h"

#include "visor/device/lapic.h"

#define SELECT 0x00
#define WINDOW 0x10

enum { REG_ID = 0,
       REG_VERSION = 1,
       REG_ARBITRATION = 2,
       REG_TABLE = 0x10 };

#define VERSION (0x11u | (IOAPIC_PINS - 1) << 16)

#define ENTRY_WRITABLE 0xff0000000001afffull /* not delivery status and remote IRR */

void ioapic_init(struct ioapic *a, uint8_t id, ioapic_send send, void *ctx)
{
	*a = (struct ioapic){.id = id, .send = send, .ctx = ctx};
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		a->entry[pin] = IOAPIC_MASKED;
}

/* SMI, INIT and ExtINT have no vector to end: only these two can be level triggered (3.2.4). */
static bool is_level(uint64_t entry)
{
	return (entry & IOAPIC_LEVEL) && IOAPIC_DELIVERY(entry) <= LAPIC_LOWEST_PRIORITY;
}

static bool may_send(uint64_t entry)
{
	return !(entry & IOAPIC_MASKED) && IOAPIC_DELIVERY(entry) != LAPIC_EXTINT;
}

/* A level-triggered pin sends for as long as its line is up, once for each EOI. */
static void send_level(struct ioapic *a, unsigned pin)
{
	uint64_t *entry = &a->entry[pin];

	if (may_send(*entry) && is_level(*entry) && a->lines & 1u << pin && !(*entry & IOAPIC_REMOTE_IRR) &&
	    a->send(a->ctx, *entry))
		*entry |= IOAPIC_REMOTE_IRR;
}

/*
 * An edge is sent at once or not at all. On a masked pin it is lost (3.4.2 note on the mask bit): a driver
 * that unmasks later looks at its device first. On a level-triggered pin there are none, so that nothing
 * stays behind when the pin is made one for edges.
 */
void ioapic_set_line(struct ioapic *a, unsigned pin, bool asserted)
{
	uint32_t bit = 1u << pin;
	bool rose = asserted && !(a->lines & bit);

	a->lines = asserted ? a->lines | bit : a->lines & ~bit;
	if (is_level(a->entry[pin]))
		send_level(a, pin);
	else if (rose && may_send(a->entry[pin]))
		a->send(a->ctx, a->entry[pin]);
}

/* 3.2.4, remote IRR: a line that is still up interrupts again. */
void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *entry = &a->entry[pin];

		if (IOAPIC_VECTOR(*entry) != vector || !(*entry & IOAPIC_REMOTE_IRR))
			continue;
		*entry &= ~IOAPIC_REMOTE_IRR;
		send_level(a, pin);
	}
}

bool ioapic_passes_extint(const struct ioapic *a, unsigned pin)
{
	return !(a->entry[pin] & IOAPIC_MASKED) && IOAPIC_DELIVERY(a->entry[pin]) == LAPIC_EXTINT;
}

static uint32_t read_window(const struct ioapic *a)
{
	unsigned pin = (a->select - REG_TABLE) / 2;

	if (a->select == REG_ID || a->select == REG_ARBITRATION)
		return (uint32_t)a->id << 24;
	if (a->select == REG_VERSION)
		return VERSION;
	if (a->select < REG_TABLE || pin >= IOAPIC_PINS)
		return 0;
	return a->select & 1 ? a->entry[pin] >> 32 : a->entry[pin];
}

static void write_entry(struct ioapic *a, unsigned pin, bool high, uint32_t value)
{
	uint64_t *entry = &a->entry[pin];
	uint64_t mask = high ? 0xffffffff00000000ull : 0xffffffffull;
	uint64_t wanted = high ? (uint64_t)value << 32 : value;

	mask &= ENTRY_WRITABLE;
	*entry = (*entry & ~mask) | (wanted & mask);
	if (!is_level(*entry))
		*entry &= ~IOAPIC_REMOTE_IRR; /* edge triggered: the bit has no meaning */
	send_level(a, pin);
}

static void write_window(struct ioapic *a, uint32_t value)
{
	unsigned pin = (a->select - REG_TABLE) / 2;

	if (a->select == REG_ID)
		a->id = value >> 24 & 0xf;
	else if (a->select >= REG_TABLE && pin < IOAPIC_PINS)
		write_entry(a, pin, a->select & 1, value);
}

uint32_t ioapic_read(const struct ioapic *a, uint32_t offset)
{
	if (offset == SELECT)
		return a->select;
	return offset == WINDOW ? read_window(a) : 0;
}

void ioapic_write(struct ioapic *a, uint32_t offset, uint32_t value)
{
	if (offset == SELECT)
		a->select = value;
	else if (offset == WINDOW)
		write_window(a, value);
}
