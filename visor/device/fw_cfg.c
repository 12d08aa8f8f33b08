/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration items at ports 510h and 511h. Numbers are little endian. */
#include "visor/device/fw_cfg.h"

/* Selector keys of the fw_cfg specification. */
enum key {
	KEY_SIGNATURE = 0x00,
	KEY_ID = 0x01, /* feature bits */
	KEY_RAM_SIZE = 0x03,
	KEY_NOGRAPHIC = 0x04,
	KEY_CPUS = 0x05,
	KEY_MAX_CPUS = 0x0f,
};

#define ID_TRADITIONAL 1u

/* "QEMU", first letter in the lowest byte. */
#define SIGNATURE 0x554d4551u

void fw_cfg_init(struct fw_cfg *f, uint64_t memory_bytes, uint16_t cpus)
{
	*f = (struct fw_cfg){.memory_bytes = memory_bytes, .cpus = cpus};
}

void fw_cfg_select(struct fw_cfg *f, uint16_t key)
{
	f->key = key;
	f->offset = 0;
}

/* Every item is a number here; what is not there, the (empty) file directory too, reads as 0. */
static uint64_t item(const struct fw_cfg *f)
{
	switch (f->key) {
	case KEY_SIGNATURE:
		return SIGNATURE;
	case KEY_ID:
		return ID_TRADITIONAL;
	case KEY_RAM_SIZE:
		return f->memory_bytes;
	case KEY_CPUS:
	case KEY_MAX_CPUS:
		return f->cpus;
	case KEY_NOGRAPHIC:
		return 1;
	default:
		return 0;
	}
}

uint8_t fw_cfg_read(struct fw_cfg *f)
{
	uint32_t offset = f->offset;

	if (offset >= sizeof(uint64_t))
		return 0;
	f->offset++;
	return item(f) >> 8 * offset;
}
