/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Programming Interface for Bus Master IDE Controller", revision 1.0 (Intel, 1994): its
 * registers, and physical region descriptors. The controller is found by its class in PCI
 * configuration space, by configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2).
 */
#include "visor/host/ide_dma.h"

#include "visor/cpu/x86.h"

/* ---- PCI ----------------------------------------------------------------------------- */

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
enum { PCI_COMMAND = 0x04,
       PCI_CLASS = 0x08,
       PCI_BAR4 = 0x20 };
enum { PCI_DEVICES = 32,
       PCI_FUNCTIONS = 8 };
#define PCI_NONE 0xffffffffu
#define COMMAND_IO 0x1u
#define COMMAND_MASTER 0x4u
#define CLASS_IDE 0x0101u
#define IDE_MASTER 0x80u                          /* of the programming interface: it is one */
#define IDE_NATIVE(channel) (1u << 2 * (channel)) /* the channel is not at its legacy ports */

static uint32_t pci_address(unsigned device, unsigned function, unsigned offset)
{
	return 1u << 31 | device << 11 | function << 8 | offset;
}

static uint32_t pci_read(unsigned device, unsigned function, unsigned offset)
{
	outl(CONFIG_ADDRESS, pci_address(device, function, offset));
	return inl(CONFIG_DATA);
}

static void pci_write(unsigned device, unsigned function, unsigned offset, uint32_t value)
{
	outl(CONFIG_ADDRESS, pci_address(device, function, offset));
	outl(CONFIG_DATA, value);
}

static uint16_t open_function(unsigned device, unsigned function, unsigned channel)
{
	uint32_t class = pci_read(device, function, PCI_CLASS), bar, command;

	if (class == PCI_NONE || class >> 16 != CLASS_IDE || !(class >> 8 & IDE_MASTER) ||
	    (class >> 8 & IDE_NATIVE(channel)))
		return 0;
	bar = pci_read(device, function, PCI_BAR4);
	if (!(bar & 1) || bar < 0x10 || bar > 0xffff)
		return 0;
	/* The upper half is the status, whose bits a 1 would clear. */
	command = (pci_read(device, function, PCI_COMMAND) & 0xffff) | COMMAND_IO | COMMAND_MASTER;
	pci_write(device, function, PCI_COMMAND, command);
	return (uint16_t)((bar & 0xfff0) + 8 * channel);
}

uint16_t ide_dma_open(unsigned channel)
{
	for (unsigned device = 0; device < PCI_DEVICES; device++)
		for (unsigned function = 0; function < PCI_FUNCTIONS; function++) {
			uint16_t master = open_function(device, function, channel);

			if (master)
				return master;
		}
	return 0;
}

/* ---- the bus master ------------------------------------------------------------------- */

enum { MASTER_COMMAND = 0,
       MASTER_STATUS = 2,
       MASTER_TABLE = 4 };
#define MASTER_START 0x01 /* bit 3 stays 0: it reads memory */
#define MASTER_ACTIVE 0x01
#define MASTER_ERROR 0x02
#define MASTER_INTERRUPT 0x04
#define REGION_BYTES 0x10000u /* no region crosses a multiple of this, and 0 stands for all of it */
#define LAST_REGION 0x80000000u

/* Physical region descriptors: address, bytes. They may not cross 64 KiB either. */
struct region {
	uint32_t address, bytes;
};
static struct region regions[16] __attribute__((aligned(128)));
_Static_assert(sizeof(regions) == 128, "a table that crosses nothing");

bool ide_dma_prepare(uint16_t master, const struct ide_dma_piece *pieces, unsigned count)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t at = (uintptr_t)pieces[i].from, end = at + pieces[i].bytes;

		if (end > 1ull << 32 || (at | end) & 1)
			return false;
		while (at < end) {
			uint64_t stop = (at & ~(uint64_t)(REGION_BYTES - 1)) + REGION_BYTES;

			stop = stop < end ? stop : end;
			if (n == sizeof(regions) / sizeof(regions[0]))
				return false;
			regions[n].address = (uint32_t)at;
			regions[n++].bytes = (uint32_t)(stop - at) & (REGION_BYTES - 1);
			at = stop;
		}
	}
	if (!n || (uintptr_t)regions >> 32)
		return false;
	regions[n - 1].bytes |= LAST_REGION;
	outb(master + MASTER_COMMAND, 0);
	outb(master + MASTER_STATUS, MASTER_ERROR | MASTER_INTERRUPT); /* a 1 clears them */
	outl(master + MASTER_TABLE, (uint32_t)(uintptr_t)regions);
	return true;
}

void ide_dma_start(uint16_t master)
{
	outb(master + MASTER_COMMAND, MASTER_START);
}

bool ide_dma_busy(uint16_t master)
{
	return (inb(master + MASTER_STATUS) & (MASTER_ACTIVE | MASTER_ERROR)) == MASTER_ACTIVE;
}

bool ide_dma_stop(uint16_t master)
{
	uint8_t status = inb(master + MASTER_STATUS);

	outb(master + MASTER_COMMAND, 0);
	return !(status & (MASTER_ACTIVE | MASTER_ERROR));
}
