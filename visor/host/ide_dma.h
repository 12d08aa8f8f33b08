/* SPDX-License-Identifier: BSD-2-Clause */
/* The bus master of a PCI IDE controller: it moves an ATA disk's data while the CPU runs on. */
#ifndef VISOR_HOST_IDE_DMA_H
#define VISOR_HOST_IDE_DMA_H

#include <stdbool.h>
#include <stdint.h>

/* Memory of a transfer, in its order. An even address below 4 GiB, an even number of bytes. */
struct ide_dma_piece {
	const void *from;
	uint32_t bytes;
};

/* I/O port of the legacy channel's (0 or 1) bus master, which is switched on; 0: there is none. */
uint16_t ide_dma_open(unsigned channel);

/* Make ready to read `pieces` from memory. False: they cannot be described. One transfer at a time. */
bool ide_dma_prepare(uint16_t master, const struct ide_dma_piece *pieces, unsigned count);
/* The drive has its command. */
void ide_dma_start(uint16_t master);
bool ide_dma_busy(uint16_t master);
/* It is not busy any more, or has to end. False: an error of the transfer. */
bool ide_dma_stop(uint16_t master);

#endif
