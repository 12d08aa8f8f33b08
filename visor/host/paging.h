/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The visor's own page tables. Linear is physical, as in boot/entry.S, whose tables
 * serve until these are there; but only what the visor uses is mapped, nothing is
 * both writable and executable, and there is nothing below 1 MiB, page 0 included,
 * nor under a stack (docs/security.md).
 *
 *   .text                      read, execute
 *   .rodata                    read
 *   .data, .bss, stacks        read, write
 *   all other RAM              read, write: frames of the visor's, tables, and the
 *                              window through which it reaches guests' RAM
 *   the local APIC's page      read, write, uncached
 */
#ifndef VISOR_HOST_PAGING_H
#define VISOR_HOST_PAGING_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/host/multiboot.h"

/*
 * Make them from the boot loader's memory map and use them from now on; turn on SMEP,
 * SMAP, UMIP and machine checks where the CPU has them (SDM vol. 3, 2.5, 4.6). After
 * frame_init. False: no memory. The tables are never freed.
 */
bool paging_init(const struct boot_info *boot);

/* CRC-32C of all of them, but for the accessed and dirty bits, which the CPU sets (4.8). */
uint32_t paging_checksum(void);

#endif
