/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration device that test kernels know from QEMU: a 16-bit selector
 * and a byte-wide data port (QEMU's fw_cfg specification, "Register Locations"
 * and "Items"). Traditional interface only; no DMA.
 */
#ifndef VISOR_DEVICE_FW_CFG_H
#define VISOR_DEVICE_FW_CFG_H

#include <stdint.h>

struct fw_cfg {
	uint64_t memory_bytes;
	uint16_t cpus;
	uint16_t key;
	uint32_t offset; /* next byte of the item */
};

void fw_cfg_init(struct fw_cfg *f, uint64_t memory_bytes, uint16_t cpus);
void fw_cfg_select(struct fw_cfg *f, uint16_t key);
/* Next byte of the selected item; 0 after its end and for keys that are not there. */
uint8_t fw_cfg_read(struct fw_cfg *f);

#endif
