/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What firmware leaves in memory for an operating system, and where: all of it is
 * in the top 64 KiB below 1 MiB, but for interrupt vectors and BIOS data. Private
 * to visor/load.
 */
#ifndef VISOR_LOAD_FIRMWARE_H
#define VISOR_LOAD_FIRMWARE_H

#include "visor/load/loader.h"

#define FIRMWARE_ACPI 0xf0000u /* the RSDP is found here */
#define FIRMWARE_ACPI_END 0xf8000u
#define FIRMWARE_MP 0xf8000u           /* the MP floating pointer, then its table */
#define FIRMWARE_BIOS_CALLS 0xfe000u   /* a few bytes of code for each vector */
#define FIRMWARE_RESET_VECTOR 0xffff0u /* where an x86 CPU begins, and where guests jump to reboot */

/* All bytes of a table add up to 0; byte `at` is there for that. */
void set_checksum(uint8_t *table, size_t bytes, size_t at);

/* Each refuses with its reason. */
bool write_acpi_tables(struct loader *l);
bool write_mp_table(struct loader *l);
bool write_bios_calls(struct loader *l);

#endif
