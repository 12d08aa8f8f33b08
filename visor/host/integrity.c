/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/integrity.h"

#include <stdint.h>

#include "visor/cpu/native.h"
#include "visor/host/interrupts.h"
#include "visor/host/paging.h"
#include "visor/lib/crc32c.h"

extern const uint8_t visor_image_start[], visor_text_end[], visor_rodata_end[];

/* All of them begin and end on 8 bytes. */
static uint32_t checksum(uint32_t so_far, const void *from, const void *end)
{
	const uint64_t *words = from;

	return crc32c(so_far, words, (size_t)((const uint64_t *)end - words));
}

/* But for the place where instructions of a guest's are run (host/execute.h). */
static uint32_t code(void)
{
	return checksum(checksum(0, visor_image_start, native_code), native_code + NATIVE_CODE_BYTES, visor_text_end);
}

static uint32_t read_only_data(void)
{
	return checksum(0, visor_text_end, visor_rodata_end);
}

static uint32_t descriptor_tables(void)
{
	struct host_tables t = host_tables();
	uint32_t sum = checksum(0, (const void *)(uintptr_t)t.idt_base, (const void *)(uintptr_t)(t.idt_base + t.idt_bytes));

	sum = checksum(sum, (const void *)(uintptr_t)t.gdt_base, (const void *)(uintptr_t)(t.gdt_base + t.gdt_bytes));
	return checksum(sum, (const void *)(uintptr_t)t.tss_base, (const void *)(uintptr_t)(t.tss_base + t.tss_bytes));
}

static struct part {
	const char *name;
	uint32_t (*now)(void);
	uint32_t noted;
} parts[] = {
	{"code", code, 0},
	{"read-only data", read_only_data, 0},
	{"page tables", paging_checksum, 0},
	{"descriptor tables", descriptor_tables, 0},
};
enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

void integrity_note(void)
{
	for (unsigned i = 0; i < PARTS; i++)
		parts[i].noted = parts[i].now();
}

const char *integrity_broken(void)
{
	for (unsigned i = 0; i < PARTS; i++) {
		if (parts[i].now() != parts[i].noted)
			return parts[i].name;
	}
	return 0;
}
