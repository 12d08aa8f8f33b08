/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the loader share. Private to visor/load. */
#ifndef VISOR_LOAD_LOADER_H
#define VISOR_LOAD_LOADER_H

#include "visor/load/memory_map.h"
#include "visor/load/request.h"

/* Ranges of guest memory that are taken: segments, modules, tables. */
#define LOADER_MAX_RANGES 96

struct loader {
	const struct load_request *request;
	struct load_result *result;
	uint64_t rsdp; /* gpa of the ACPI root pointer */
	unsigned taken_count;
	struct {
		uint64_t base, end;
	} taken[LOADER_MAX_RANGES];
};

void note_reason(struct loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Note the reason; false, so that callers can `return refuse(...)`. */
#define refuse(l, ...) (note_reason(l, __VA_ARGS__), false)

/* Is [base, base + bytes) RAM, all of it, below 4 GiB? Does not wrap around. */
bool in_guest_ram(const struct loader *l, uint64_t base, uint64_t bytes);

/* Keep find_room() out of the range. */
bool take_range(struct loader *l, uint64_t base, uint64_t bytes);
/*
 * Lowest place at `align` (a power of two) and at or above `from` for `bytes`
 * of RAM that is not taken, and take it. False: there is none; no reason noted.
 */
bool find_room(struct loader *l, uint64_t from, uint64_t bytes, uint64_t align, uint64_t *base);

/* Copy into guest memory; refuses when the host has no frame for it. */
bool put(struct loader *l, uint64_t gpa, const void *bytes, size_t n);

/* Megabytes for a message, rounded up. */
unsigned long mib(uint64_t bytes);

/* The kinds of image. Each refuses with its reason. */
bool is_linux(const struct load_blob *kernel);
bool load_linux(struct loader *l);

struct multiboot_header {
	uint32_t offset; /* in the file */
	uint32_t flags;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
bool find_multiboot_header(const struct load_blob *kernel, struct multiboot_header *out);
bool load_multiboot(struct loader *l, const struct multiboot_header *header);
/* The information structure for the kernel; its gpa. */
bool write_multiboot_info(struct loader *l, uint32_t *gpa);

bool is_elf(const struct load_blob *kernel);
/* Load all segments; `entry` is the gpa of the entry point. */
bool load_elf_segments(struct loader *l, uint64_t *entry);
/* An ELF file without a multiboot header. */
bool load_elf(struct loader *l);

/* All that firmware leaves in memory: interrupt vectors, BIOS data, ACPI tables, MP table. */
bool write_firmware_tables(struct loader *l);

/*
 * CPU state at entry: flat 32-bit protected mode without paging, or long mode.
 * CS is `code`, the other segment registers have the selector behind it.
 */
#define LINUX_CODE_SELECTOR 0x10 /* boot protocol: __BOOT_CS, with __BOOT_DS behind it */
#define PLAIN_CODE_SELECTOR 0x08 /* what kernels expect that load a GDT of their own and never jump */
bool enter_protected_mode(struct loader *l, uint64_t entry, uint16_t code);
bool enter_long_mode(struct loader *l, uint64_t entry, uint16_t code);

#endif
