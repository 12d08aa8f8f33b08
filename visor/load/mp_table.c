/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MP configuration table, for systems that do not read ACPI (Intel
 * MultiProcessor Specification 1.4; sections and tables below). It says the same
 * as the MADT.
 */
#include "visor/device/wiring.h"
#include "visor/lib/string.h"
#include "visor/load/bytes.h"
#include "visor/load/firmware.h"

#define POINTER_BYTES 16u
#define HEADER_BYTES 44u
#define MAX_CPUS 16u
#define MAX_BYTES (HEADER_BYTES + MAX_CPUS * 20 + 8 + 8 + (ISA_IRQS + 1) * 8 + 2 * 8)

enum { ENTRY_CPU,
       ENTRY_BUS,
       ENTRY_IOAPIC,
       ENTRY_IO_INTERRUPT,
       ENTRY_LOCAL_INTERRUPT }; /* table 4-3 */

#define CPU_ENABLED 1u
#define CPU_BOOT 2u
#define CPU_SIGNATURE 0x600u /* family 6 */
#define CPU_FEATURES 0x201u  /* FPU, APIC: CPUID.1:EDX */
#define APIC_VERSION 0x14u   /* of the local APIC, as its register says */
#define IOAPIC_VERSION 0x11u

#define BUS_ISA 0u

enum { INTERRUPT_INT = 0,
       INTERRUPT_NMI = 1,
       INTERRUPT_EXTINT = 3 }; /* table 4-10 */
#define AS_THE_BUS 0x0u        /* polarity and trigger mode */
#define ACTIVE_HIGH_LEVEL 0xdu
#define ALL_APICS 0xffu

struct table {
	uint8_t bytes[MAX_BYTES];
	unsigned length, entries;
};

static uint8_t *entry(struct table *t, uint8_t type, unsigned bytes)
{
	uint8_t *at = t->bytes + t->length;

	at[0] = type;
	t->length += bytes;
	t->entries++;
	return at;
}

/* 4.3.1. */
static void add_cpus(struct table *t, unsigned cpus)
{
	for (unsigned id = 0; id < cpus; id++) {
		uint8_t *at = entry(t, ENTRY_CPU, 20);

		at[1] = (uint8_t)id;
		at[2] = APIC_VERSION;
		at[3] = CPU_ENABLED | (id ? 0 : CPU_BOOT);
		put32(at + 4, CPU_SIGNATURE);
		put32(at + 8, CPU_FEATURES);
	}
}

/* 4.3.2 and 4.3.3. */
static void add_bus_and_ioapic(struct table *t)
{
	uint8_t *at = entry(t, ENTRY_BUS, 8);

	at[1] = BUS_ISA;
	memcpy(at + 2, "ISA   ", 6);
	at = entry(t, ENTRY_IOAPIC, 8);
	at[1] = IOAPIC_ID;
	at[2] = IOAPIC_VERSION;
	at[3] = 1; /* usable */
	put32(at + 4, IOAPIC_BASE);
}

/* 4.3.4 and 4.3.5: the same layout. */
static void add_interrupt(struct table *t, uint8_t type, uint8_t kind, uint16_t flags, uint8_t irq, uint8_t apic,
                          uint8_t pin)
{
	uint8_t *at = entry(t, type, 8);

	at[1] = kind;
	put16(at + 2, flags);
	at[4] = BUS_ISA;
	at[5] = irq;
	at[6] = apic;
	at[7] = pin;
}

static void add_interrupts(struct table *t)
{
	add_interrupt(t, ENTRY_IO_INTERRUPT, INTERRUPT_EXTINT, AS_THE_BUS, 0, IOAPIC_ID, IOAPIC_PIN_PIC);
	for (uint8_t irq = 0; irq < ISA_IRQS; irq++) {
		if (irq != IRQ_CASCADE)
			add_interrupt(t, ENTRY_IO_INTERRUPT, INTERRUPT_INT,
			              irq == IRQ_SCI ? ACTIVE_HIGH_LEVEL : AS_THE_BUS, irq, IOAPIC_ID,
			              irq == IRQ_PIT ? IOAPIC_PIN_PIT : irq);
	}
	add_interrupt(t, ENTRY_LOCAL_INTERRUPT, INTERRUPT_EXTINT, AS_THE_BUS, 0, 0, 0);
	add_interrupt(t, ENTRY_LOCAL_INTERRUPT, INTERRUPT_NMI, AS_THE_BUS, 0, ALL_APICS, 1);
}

/* 4.2. */
static void finish_header(struct table *t)
{
	uint8_t *h = t->bytes;

	memcpy(h, "PCMP", 4);
	put16(h + 4, (uint16_t)t->length);
	h[6] = 4; /* specification 1.4 */
	memcpy(h + 8, "VMMU    ", 8);
	memcpy(h + 16, "VISOR       ", 12);
	put16(h + 34, (uint16_t)t->entries);
	put32(h + 36, LAPIC_DEFAULT_BASE);
	set_checksum(h, t->length, 7);
}

/* 4.1: the first feature byte is 0, which says that there is a table. */
static bool write_pointer(struct loader *l)
{
	uint8_t pointer[POINTER_BYTES] = {0};

	memcpy(pointer, "_MP_", 4);
	put32(pointer + 4, FIRMWARE_MP + POINTER_BYTES);
	pointer[8] = POINTER_BYTES / 16;
	pointer[9] = 4;
	set_checksum(pointer, sizeof(pointer), 10);
	return put(l, FIRMWARE_MP, pointer, sizeof(pointer));
}

bool write_mp_table(struct loader *l)
{
	struct table t = {.length = HEADER_BYTES};

	if (l->request->cpus < 1 || l->request->cpus > MAX_CPUS)
		return refuse(l, "%u CPUs asked for; 1 to %u are possible", l->request->cpus, MAX_CPUS);
	add_cpus(&t, l->request->cpus);
	add_bus_and_ioapic(&t);
	add_interrupts(&t);
	finish_header(&t);
	return put(l, FIRMWARE_MP + POINTER_BYTES, t.bytes, t.length) && write_pointer(l);
}
