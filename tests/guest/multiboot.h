/* SPDX-License-Identifier: BSD-2-Clause */
/* What a multiboot1 loader hands over (Multiboot Specification 0.6.96, section 3.3). */
#ifndef GUEST_MULTIBOOT_H
#define GUEST_MULTIBOOT_H

#include <stdint.h>

#define MULTIBOOT_LOADED 0x2badb002u

enum {
	MULTIBOOT_COMMAND_LINE = 1 << 2,
	MULTIBOOT_MODULES = 1 << 3,
	MULTIBOOT_MAP = 1 << 6,
	MULTIBOOT_RAM = 1, /* type of a map entry */
};

struct multiboot_info {
	uint32_t flags;
	uint32_t memory_low_kib, memory_high_kib;
	uint32_t boot_device;
	uint32_t command_line;
	uint32_t module_count, modules;
	uint32_t symbols[4];
	uint32_t map_bytes, map;
};

extern const struct multiboot_info *boot_info; /* what the loader gave this guest */

struct multiboot_module {
	uint32_t start, end, command_line, reserved;
};

struct multiboot_map_entry {
	uint32_t size; /* of what follows */
	uint64_t base, bytes;
	uint32_t type;
} __attribute__((packed));

#endif
