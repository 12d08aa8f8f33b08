/* SPDX-License-Identifier: BSD-2-Clause */
/* All that firmware leaves in memory; and the BIOS data area, which is too small for a file of its own. */
#include "visor/load/firmware.h"

#include "visor/device/wiring.h"
#include "visor/load/bytes.h"

/* BIOS data area: serial port 1, segment of the extended area, conventional memory. */
#define BDA_COM1 0x400
#define BDA_EBDA_SEGMENT 0x40e
#define BDA_MEMORY_KIB 0x413

void set_checksum(uint8_t *table, size_t bytes, size_t at)
{
	uint8_t sum = 0;

	table[at] = 0;
	for (size_t i = 0; i < bytes; i++)
		sum += table[i];
	table[at] = -sum;
}

static bool write_bios_data_area(struct loader *l)
{
	uint8_t com1[2], ebda[2], memory[2];

	put16(com1, PORT_COM1);
	put16(ebda, GUEST_EBDA >> 4);
	put16(memory, GUEST_EBDA >> 10);
	return put(l, BDA_COM1, com1, 2) && put(l, BDA_EBDA_SEGMENT, ebda, 2) &&
	       put(l, BDA_MEMORY_KIB, memory, 2);
}

bool write_firmware_tables(struct loader *l)
{
	return take_range(l, 0, 0x1000) && write_bios_calls(l) && write_bios_data_area(l) && write_acpi_tables(l) &&
	       write_mp_table(l);
}
