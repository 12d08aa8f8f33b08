/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the boot loader said, whether it spoke multiboot1 (QEMU's -kernel) or
 * multiboot2 (GRUB).
 */
#ifndef VISOR_HOST_MULTIBOOT_H
#define VISOR_HOST_MULTIBOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_MAX_RANGES 64
#define BOOT_MAX_MODULES 20
#define BOOT_TEXT_BYTES 16384 /* all command lines together */

struct boot_range {
	uint64_t base, end;
};

struct boot_module {
	uint64_t base, end;
	const char *text;
};

struct boot_info {
	const char *loader;
	const char *command_line;
	struct boot_range memory[BOOT_MAX_RANGES];
	unsigned memory_count;
	struct boot_module modules[BOOT_MAX_MODULES];
	unsigned module_count;
	char text[BOOT_TEXT_BYTES];
	unsigned text_used;
};

/*
 * `magic` and `information` as the loader left them in EAX and EBX. False:
 * *reason says what is wrong. Everything but the modules' contents is copied: the
 * loader's own tables may lie in memory that the frame allocator hands out.
 */
bool multiboot_read(uint32_t magic, uint32_t information, struct boot_info *out, const char **reason);

#endif
