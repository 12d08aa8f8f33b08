/* SPDX-License-Identifier: BSD-2-Clause */
/* Local APIC, PIC and PIT. */
#include "guest.h"

/* ---- Local APIC (SDM vol. 3, 11.4) --------------------------------------------------- */

uint32_t apic_read(unsigned reg)
{
	return *(volatile uint32_t *)(uintptr_t)(APIC_BASE + reg);
}

void apic_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(APIC_BASE + reg) = value;
}

void apic_enable(void)
{
	apic_write(APIC_SVR, 0x100 | VECTOR_SPURIOUS);
	apic_write(APIC_LVT_LINT0, 0x700); /* ExtINT: the PIC's line */
	apic_write(APIC_TPR, 0);
}

/* ---- 8259A -------------------------------------------------------------------------------- */

void pic_setup(uint16_t mask)
{
	out8(0x20, 0x11);
	out8(0xa0, 0x11);
	out8(0x21, VECTOR_PIC);
	out8(0xa1, VECTOR_PIC + 8);
	out8(0x21, 4);
	out8(0xa1, 2);
	out8(0x21, 1);
	out8(0xa1, 1);
	out8(0x21, (uint8_t)mask);
	out8(0xa1, (uint8_t)(mask >> 8));
}

void pic_end(unsigned irq)
{
	if (irq >= 8)
		out8(0xa0, 0x20);
	out8(0x20, 0x20);
}

/* ---- 8254 ------------------------------------------------------------------------------------ */

/*
 * The mode goes first: it stops the channel and, in mode 0, lowers its output,
 * so that no edge of an older setting is still waiting when the line is
 * unmasked. The count goes last: an edge before the line is ready would be lost.
 */
void pit_start(enum pit_mode mode, uint16_t count)
{
	out8(0x43, (uint8_t)(0x30 | mode << 1)); /* channel 0, low then high byte */
	pic_setup((uint16_t)~1);
	out8(0x40, (uint8_t)count);
	out8(0x40, (uint8_t)(count >> 8));
}

static uint64_t count_by_pit(uint16_t pit_ticks)
{
	uint64_t start;

	out8(0x61, (in8(0x61) & ~2) | 1); /* gate of channel 2 on, speaker off */
	out8(0x43, 0xb0);                 /* channel 2, low then high byte, mode 0 */
	out8(0x42, (uint8_t)pit_ticks);
	out8(0x42, (uint8_t)(pit_ticks >> 8));
	start = rdtsc();
	while (!(in8(0x61) & 0x20)) /* output of channel 2 */
		;
	return (rdtsc() - start) * PIT_HZ / pit_ticks;
}

/* The least of three: a machine below that lets nobody here run for a while adds, and never takes away. */
uint64_t tsc_hz_by_pit(uint16_t pit_ticks)
{
	uint64_t least = count_by_pit(pit_ticks);

	for (unsigned i = 0; i < 2; i++) {
		uint64_t hz = count_by_pit(pit_ticks);

		least = hz < least ? hz : least;
	}
	return least;
}
