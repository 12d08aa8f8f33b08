/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI tables (ACPI specification 6.4, chapter 5.2; sections below).
 *
 * Tables are filled in as bytes at the offsets that the specification gives.
 */
#include "dsdt_aml.h" /* dsdt_aml_code[], compiled from dsdt.asl by iasl */
#include "visor/device/wiring.h"
#include "visor/lib/string.h"
#include "visor/load/bytes.h"
#include "visor/load/firmware.h"

#define HEADER_BYTES 36
#define TABLE_ALIGN 16u

struct tables {
	struct loader *loader;
	uint32_t next;      /* where the next table goes */
	uint32_t listed[4]; /* tables that RSDT and XSDT name */
	unsigned listed_count;
};

/* 5.2.6 System Description Table Header. */
static void set_header(uint8_t *table, const char *signature, uint32_t bytes, uint8_t revision)
{
	memcpy(table, signature, 4);
	put32(table + 4, bytes);
	table[8] = revision;
	memcpy(table + 10, "VMMU  ", 6);
	memcpy(table + 16, "VISOR   ", 8);
	put32(table + 24, 1);
	memcpy(table + 28, "VMMU", 4);
	put32(table + 32, 1);
}

static bool place(struct tables *t, const void *table, size_t bytes, uint32_t *gpa)
{
	if (bytes > FIRMWARE_ACPI_END - t->next)
		return refuse(t->loader, "ACPI tables do not fit below 1 MiB");
	*gpa = t->next;
	t->next += (bytes + TABLE_ALIGN - 1) & ~(TABLE_ALIGN - 1);
	return put(t->loader, *gpa, table, bytes);
}

static bool list(struct tables *t, uint8_t *table, size_t bytes)
{
	set_checksum(table, bytes, 9);
	return place(t, table, bytes, &t->listed[t->listed_count++]);
}

/* 5.2.3.2 Generic Address Structure: a register in I/O space. */
static void set_io_register(uint8_t *gas, uint16_t port, uint8_t bytes)
{
	gas[0] = 1; /* system I/O space */
	gas[1] = bytes * 8;
	gas[3] = bytes == 4 ? 3 : bytes; /* access size: byte, word, dword */
	put64(gas + 4, port);
}

/* 5.2.9 Fixed ACPI Description Table, revision 5. */
#define FADT_BYTES 268
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_POWER_BUTTON_CONTROL_METHOD (1u << 4) /* that is: no fixed power button */
#define FADT_SLEEP_BUTTON_CONTROL_METHOD (1u << 5)
#define FADT_TIMER_32_BIT (1u << 8)
#define FADT_RESET_REGISTER (1u << 10)
#define BOOT_ARCH_LEGACY_DEVICES 0x0001
#define BOOT_ARCH_NO_VGA 0x0004

/*
 * No SMI command port: the machine is in ACPI mode from the start. The boot
 * flags do not set "8042": there is no keyboard behind it.
 */
static bool add_fadt(struct tables *t, uint32_t dsdt, uint32_t facs)
{
	uint8_t fadt[FADT_BYTES] = {0};

	set_header(fadt, "FACP", sizeof(fadt), 5);
	put32(fadt + 36, facs);
	put32(fadt + 40, dsdt);
	put16(fadt + 46, IRQ_SCI);
	put32(fadt + 56, PORT_PM1A_EVENT);
	put32(fadt + 64, PORT_PM1A_CONTROL);
	put32(fadt + 76, PORT_PM_TIMER);
	fadt[88] = 4;             /* PM1_EVT_LEN */
	fadt[89] = 2;             /* PM1_CNT_LEN */
	fadt[91] = 4;             /* PM_TMR_LEN */
	put16(fadt + 96, 0xffff); /* P_LVL2_LAT: no C2 */
	put16(fadt + 98, 0xffff); /* P_LVL3_LAT: no C3 */
	fadt[108] = 0x32;         /* CENTURY in the CMOS */
	put16(fadt + 109, BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA);
	put32(fadt + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_POWER_BUTTON_CONTROL_METHOD |
	                          FADT_SLEEP_BUTTON_CONTROL_METHOD | FADT_TIMER_32_BIT | FADT_RESET_REGISTER);
	set_io_register(fadt + 116, PORT_RESET, 1);
	fadt[128] = RESET_VALUE;
	put64(fadt + 140, dsdt);
	set_io_register(fadt + 148, PORT_PM1A_EVENT, 4);
	set_io_register(fadt + 172, PORT_PM1A_CONTROL, 2);
	set_io_register(fadt + 208, PORT_PM_TIMER, 4);
	return list(t, fadt, sizeof(fadt));
}

/* 5.2.12 Multiple APIC Description Table. */
#define MADT_PCAT_COMPAT 1u /* there is an 8259 pair too */
#define MADT_MAX_CPUS 16
#define MADT_MAX_BYTES (HEADER_BYTES + 8 + MADT_MAX_CPUS * 8 + 12 + 2 * 10 + 6)
#define INTI_ACTIVE_HIGH_LEVEL 0x000d

static uint8_t *add_override(uint8_t *at, uint8_t irq, uint32_t pin, uint16_t flags)
{
	at[0] = 2; /* 5.2.12.5 */
	at[1] = 10;
	at[3] = irq;
	put32(at + 4, pin);
	put16(at + 8, flags);
	return at + 10;
}

static uint8_t *add_controllers(uint8_t *at, unsigned cpus)
{
	for (unsigned id = 0; id < cpus; id++, at += 8) {
		at[0] = 0; /* 5.2.12.2 Processor Local APIC */
		at[1] = 8;
		at[2] = at[3] = id;
		put32(at + 4, 1); /* enabled */
	}
	at[0] = 1; /* 5.2.12.3 I/O APIC */
	at[1] = 12;
	at[2] = IOAPIC_ID;
	put32(at + 4, IOAPIC_BASE);
	return at + 12;
}

static bool add_madt(struct tables *t)
{
	uint8_t madt[MADT_MAX_BYTES] = {0}, *at;
	unsigned cpus = t->loader->request->cpus;

	if (cpus < 1 || cpus > MADT_MAX_CPUS)
		return refuse(t->loader, "%u CPUs asked for; 1 to %u are possible", cpus, MADT_MAX_CPUS);
	put32(madt + HEADER_BYTES, LAPIC_DEFAULT_BASE);
	put32(madt + HEADER_BYTES + 4, MADT_PCAT_COMPAT);
	at = add_controllers(madt + HEADER_BYTES + 8, cpus);
	at = add_override(at, IRQ_PIT, IOAPIC_PIN_PIT, 0);
	at = add_override(at, IRQ_SCI, IRQ_SCI, INTI_ACTIVE_HIGH_LEVEL);
	at[0] = 4; /* 5.2.12.7 Local APIC NMI: LINT1 of all CPUs */
	at[1] = 6;
	at[2] = 0xff;
	at[5] = 1;
	at += 6;
	set_header(madt, "APIC", at - madt, 3);
	return list(t, madt, at - madt);
}

/* 5.2.10 Firmware ACPI Control Structure: no checksum. */
static bool place_facs(struct tables *t, uint32_t *gpa)
{
	uint8_t facs[64] = {0};

	memcpy(facs, "FACS", 4);
	put32(facs + 4, sizeof(facs));
	facs[32] = 2;
	t->next = (t->next + 63) & ~63u;
	return place(t, facs, sizeof(facs), gpa);
}

/* 5.2.7 and 5.2.8: the same list, with 4-byte or 8-byte addresses. */
static bool place_root(struct tables *t, const char *signature, unsigned address_bytes, uint32_t *gpa)
{
	uint8_t root[HEADER_BYTES + 8 * 4] = {0};
	size_t bytes = HEADER_BYTES + address_bytes * t->listed_count;

	set_header(root, signature, bytes, 1);
	for (unsigned i = 0; i < t->listed_count; i++)
		put32(root + HEADER_BYTES + address_bytes * i, t->listed[i]);
	set_checksum(root, bytes, 9);
	return place(t, root, bytes, gpa);
}

/* 5.2.5.3 Root System Description Pointer. */
static bool place_rsdp(struct tables *t, uint32_t at, uint32_t rsdt, uint32_t xsdt)
{
	uint8_t rsdp[36] = {0};

	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "VMMU  ", 6);
	rsdp[15] = 2;
	put32(rsdp + 16, rsdt);
	put32(rsdp + 20, sizeof(rsdp));
	put64(rsdp + 24, xsdt);
	set_checksum(rsdp, 20, 8);
	set_checksum(rsdp, sizeof(rsdp), 32);
	t->loader->rsdp = at;
	return put(t->loader, at, rsdp, sizeof(rsdp));
}

bool write_acpi_tables(struct loader *l)
{
	struct tables t = {.loader = l, .next = FIRMWARE_ACPI + 64}; /* the RSDP comes first */
	uint32_t facs, dsdt, rsdt, xsdt;

	return place_facs(&t, &facs) && place(&t, dsdt_aml_code, sizeof(dsdt_aml_code), &dsdt) &&
	       add_fadt(&t, dsdt, facs) && add_madt(&t) && place_root(&t, "RSDT", 4, &rsdt) &&
	       place_root(&t, "XSDT", 8, &xsdt) && place_rsdp(&t, FIRMWARE_ACPI, rsdt, xsdt);
}
