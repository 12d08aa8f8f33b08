/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Multiboot Specification version 0.6.96, 3.3 "Boot information format";
 * Multiboot2 Specification version 2.0, 3.6 "Boot information".
 */
#include "visor/host/multiboot.h"

#include "visor/lib/string.h"

#define MULTIBOOT1_LOADER_MAGIC 0x2badb002u
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289u

#define MEMORY_AVAILABLE 1u

struct multiboot1_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
	uint32_t module_count, modules;
	uint32_t symbols[4];
	uint32_t map_bytes, map;
};

enum { INFO_COMMAND_LINE = 1u << 2,
       INFO_MODULES = 1u << 3,
       INFO_MEMORY_MAP = 1u << 6 };

struct multiboot1_module {
	uint32_t start, end, text, reserved;
};

struct multiboot1_range {
	uint32_t size; /* of what follows */
	uint64_t base, bytes;
	uint32_t type;
} __attribute__((packed));

struct multiboot2_tag {
	uint32_t type, size;
};

enum { TAG_END = 0,
       TAG_COMMAND_LINE = 1,
       TAG_MODULE = 3,
       TAG_MEMORY_MAP = 6 };

struct multiboot2_module {
	struct multiboot2_tag tag;
	uint32_t start, end;
	char text[];
};

struct multiboot2_range {
	uint64_t base, bytes;
	uint32_t type, reserved;
};

struct multiboot2_map {
	struct multiboot2_tag tag;
	uint32_t entry_size, entry_version;
	uint8_t entries[];
};

static void add_memory(struct boot_info *out, uint64_t base, uint64_t bytes, uint32_t type)
{
	if (type != MEMORY_AVAILABLE || !bytes || base + bytes < base)
		return;
	if (out->memory_count == BOOT_MAX_RANGES)
		return; /* memory that is not listed is merely not used */
	out->memory[out->memory_count++] = (struct boot_range){base, base + bytes};
}

/* A copy of `text` that lasts; NULL when it does not fit. */
static const char *keep(struct boot_info *out, const char *text, const char **reason)
{
	size_t n = strlen(text) + 1;
	char *copy = out->text + out->text_used;

	if (n > BOOT_TEXT_BYTES - out->text_used) {
		*reason = "the command lines of the visor and its modules are longer than 16 KiB together";
		return NULL;
	}
	memcpy(copy, text, n);
	out->text_used += n;
	return copy;
}

static bool add_module(struct boot_info *out, uint64_t start, uint64_t end, const char *text,
                       const char **reason)
{
	if (out->module_count == BOOT_MAX_MODULES) {
		*reason = "the boot loader passed more than 20 modules";
		return false;
	}
	if (end < start) {
		*reason = "the boot loader passed a module that ends before it starts";
		return false;
	}
	text = keep(out, text, reason);
	if (!text)
		return false;
	out->modules[out->module_count++] = (struct boot_module){start, end, text};
	return true;
}

static const void *at(uint32_t address)
{
	return (const void *)(uintptr_t)address;
}

static bool read_multiboot1(uint32_t address, struct boot_info *out, const char **reason)
{
	const struct multiboot1_info *info = at(address);
	const struct multiboot1_module *module = at(info->modules);

	out->loader = "multiboot1";
	if (info->flags & INFO_COMMAND_LINE &&
	    !(out->command_line = keep(out, at(info->command_line), reason)))
		return false;
	if (!(info->flags & INFO_MEMORY_MAP)) {
		*reason = "the boot loader passed no memory map";
		return false;
	}
	for (uint32_t offset = 0; offset + sizeof(struct multiboot1_range) <= info->map_bytes;) {
		const struct multiboot1_range *r = at(info->map + offset);

		add_memory(out, r->base, r->bytes, r->type);
		offset += r->size + sizeof(r->size);
	}
	for (uint32_t i = 0; info->flags & INFO_MODULES && i < info->module_count; i++) {
		if (!add_module(out, module[i].start, module[i].end,
		                module[i].text ? at(module[i].text) : "", reason))
			return false;
	}
	return true;
}

static void read_map2(const struct multiboot2_map *map, struct boot_info *out)
{
	const uint8_t *end = (const uint8_t *)map + map->tag.size;

	if (map->entry_size < sizeof(struct multiboot2_range))
		return;
	for (const uint8_t *e = map->entries; e + map->entry_size <= end; e += map->entry_size) {
		const struct multiboot2_range *r = (const void *)e;

		add_memory(out, r->base, r->bytes, r->type);
	}
}

static bool read_multiboot2(uint32_t address, struct boot_info *out, const char **reason)
{
	uint32_t total = *(const uint32_t *)at(address);
	uint32_t offset = 8;

	out->loader = "multiboot2";
	while (offset + sizeof(struct multiboot2_tag) <= total) {
		const struct multiboot2_tag *tag = at(address + offset);
		const struct multiboot2_module *module = (const void *)tag;

		if (tag->type == TAG_END || tag->size < sizeof(*tag))
			break;
		if (tag->type == TAG_COMMAND_LINE &&
		    !(out->command_line = keep(out, (const char *)(tag + 1), reason)))
			return false;
		if (tag->type == TAG_MEMORY_MAP)
			read_map2((const void *)tag, out);
		if (tag->type == TAG_MODULE && !add_module(out, module->start, module->end, module->text, reason))
			return false;
		offset += (tag->size + 7) & ~7u;
	}
	if (!out->memory_count) {
		*reason = "the boot loader passed no memory map";
		return false;
	}
	return true;
}

bool multiboot_read(uint32_t magic, uint32_t information, struct boot_info *out, const char **reason)
{
	memset(out, 0, sizeof(*out));
	out->command_line = "";
	if (magic == MULTIBOOT1_LOADER_MAGIC)
		return read_multiboot1(information, out, reason);
	if (magic == MULTIBOOT2_LOADER_MAGIC)
		return read_multiboot2(information, out, reason);
	*reason = "started by something that speaks neither multiboot1 nor multiboot2";
	return false;
}
