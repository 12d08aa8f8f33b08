/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Physical memory: a buddy allocator over what the boot loader called
 * available, less the first MiB, the visor's image and its modules.
 *
 * Every frame has one use, and the frames of each use are counted, so that a
 * leak shows as a number that does not come back.
 */
#ifndef VISOR_HOST_FRAME_H
#define VISOR_HOST_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "visor/host/multiboot.h"

/* log2 of the frames in a run */
enum { FRAME_ORDER_4K = 0,
       FRAME_ORDER_2M = 9,
       FRAME_ORDER_1G = 18,
       FRAME_ORDER_COUNT = 19 };

enum frame_use {
	FRAME_RESERVED = 0, /* never handed out: not memory, firmware's, the visor's image, modules */
	FRAME_FREE,
	FRAME_VISOR,  /* control blocks, buffers, page lists */
	FRAME_OBJECT, /* behind object_alloc */
	FRAME_TABLE,  /* EPT, NPT and shadow paging structures */
	FRAME_GUEST,  /* a guest's memory */
	FRAME_STOCK,  /* cleared, to become FRAME_TABLE: frame_stock */
	FRAME_USE_COUNT
};

/*
 * `mapped`: memory from there on is not used. `low_end`: what CPUs are told the
 * address of comes from below; no free run may reach across. False: no range is
 * large enough for the allocator's own tables.
 */
bool frame_init(const struct boot_info *boot, uint64_t mapped, uint64_t low_end);

/* A CPU outside long mode can name no more. */
#define FRAME_LOW_END (1ull << 32)

/*
 * A naturally aligned run of 2^order frames; its address, or 0 when there is
 * none. Contents are what was there before, unless `zero`. Tables and the visor's
 * own come from below low_end while there is any, everything else from above.
 */
uint64_t frame_alloc(unsigned order, enum frame_use use, bool zero);
/* A zero frame for a table: one of the stock, or cleared now; 0 when there is none. */
uint64_t frame_alloc_table(void);
/*
 * Have `frames` frames cleared before tables need them: no more than these, and fewer where memory is
 * short. To clear one takes as long as everything else about a new table. What else runs out of frames
 * gets these.
 */
void frame_stock(uint64_t frames);
/* Clear up to `most` frames of those that the stock lacks by now, while the CPU has nothing else to do. */
void frame_stock_refill(uint64_t most);
/* A zero frame for a table, below low_end for certain; 0 when there is none. */
uint64_t frame_alloc_low(void);
void frame_free(uint64_t address, unsigned order);

/* Frames (4 KiB each) that have this use now. */
uint64_t frame_count(enum frame_use use);
enum frame_use frame_use_of(uint64_t address);

/*
 * Zeroed objects, aligned to 64 bytes or, from 4 KiB on, to 4 KiB. NULL when
 * there is no memory. Free takes the same size.
 */
void *object_alloc(size_t size);
void object_free(void *object, size_t size);
/* Objects not freed yet, and their bytes. */
uint64_t object_count(void);
uint64_t object_bytes(void);

#endif
