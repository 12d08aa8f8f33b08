/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 kernels (Multiboot Specification 0.6.96; sections below). */
#include "visor/lib/string.h"
#include "visor/load/bytes.h"
#include "visor/load/loader.h"

/* 3.1.1, 3.1.2: the header lies in the first 8 KiB, on 4 bytes. */
#define HEADER_SEARCH 8192u
#define HEADER_BYTES 12u
#define HEADER_BYTES_WITH_ADDRESSES 32u
#define HEADER_MAGIC 0x1badb002u
#define FLAG_ADDRESSES (1u << 16)
/* Of the flags that a loader must understand: align modules, memory, video mode (none here). */
#define FLAGS_KNOWN 0x7u
#define FLAGS_REQUIRED 0xffffu

#define BOOT_MAGIC 0x2badb002u /* 3.2: in EAX */

/* 3.3 Boot information format. */
#define INFO_BYTES 116
#define INFO_MEMORY (1u << 0)
#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MEMORY_MAP (1u << 6)
#define INFO_LOADER_NAME (1u << 9)
#define MAP_ENTRY_BYTES 24
#define MODULE_ENTRY_BYTES 16
#define MODULE_ALIGN 4096u
#define LOADER_NAME "vmmu"

#define LOW_AREA 0x1000u
#define MAX_MODULES (LOAD_MAX_MODULES + 1) /* the initrd counts as one */

bool find_multiboot_header(const struct load_blob *kernel, struct multiboot_header *out)
{
	size_t end = kernel->size < HEADER_SEARCH ? kernel->size : HEADER_SEARCH;

	for (size_t at = 0; at + HEADER_BYTES <= end; at += 4) {
		const uint8_t *h = kernel->bytes + at;

		if (get32(h) != HEADER_MAGIC || get32(h) + get32(h + 4) + get32(h + 8) != 0)
			continue;
		*out = (struct multiboot_header){.offset = at, .flags = get32(h + 4)};
		if (!(out->flags & FLAG_ADDRESSES))
			return true;
		if (at + HEADER_BYTES_WITH_ADDRESSES > end)
			continue; /* no room for the fields that it says it has */
		out->header_addr = get32(h + 12);
		out->load_addr = get32(h + 16);
		out->load_end_addr = get32(h + 20);
		out->bss_end_addr = get32(h + 24);
		out->entry_addr = get32(h + 28);
		return true;
	}
	return false;
}

/* 3.1.3: the part of the file that the address fields name, as [offset, offset + bytes). */
static bool address_fields_range(struct loader *l, const struct multiboot_header *h, uint64_t *offset,
                                 uint64_t *bytes)
{
	uint64_t size = l->request->kernel.size;
	uint32_t before = h->header_addr - h->load_addr;

	if (h->header_addr < h->load_addr || before > h->offset)
		return refuse(l, "multiboot header at 0x%x does not fit a load address of 0x%x", h->header_addr,
		              h->load_addr);
	*offset = h->offset - before;
	*bytes = size - *offset;
	if (!h->load_end_addr)
		return true;
	if (h->load_end_addr <= h->load_addr)
		return refuse(l, "multiboot load addresses end at 0x%x, before they begin at 0x%x",
		              h->load_end_addr, h->load_addr);
	if (h->load_end_addr - h->load_addr > *bytes)
		return refuse(l, "multiboot kernel is cut short: its header promises %u bytes, %llu are there",
		              h->load_end_addr - h->load_addr, (unsigned long long)*bytes);
	*bytes = h->load_end_addr - h->load_addr;
	return true;
}

static bool load_by_address_fields(struct loader *l, const struct multiboot_header *h, uint64_t *entry)
{
	uint64_t offset, bytes, in_memory;

	if (!address_fields_range(l, h, &offset, &bytes))
		return false;
	in_memory = bytes;
	if (h->bss_end_addr > h->load_addr + bytes)
		in_memory = h->bss_end_addr - h->load_addr;
	else if (h->bss_end_addr && h->bss_end_addr < h->load_addr + bytes)
		return refuse(l, "multiboot bss ends at 0x%x, before the data at 0x%llx", h->bss_end_addr,
		              (unsigned long long)(h->load_addr + bytes));
	if (!in_guest_ram(l, h->load_addr, in_memory))
		return refuse(l, "multiboot kernel of %lu MiB at 0x%x does not fit in %lu MiB of guest memory",
		              mib(in_memory), h->load_addr, mib(l->request->memory_bytes));
	if (h->entry_addr - h->load_addr >= in_memory || h->entry_addr < h->load_addr)
		return refuse(l, "multiboot entry point 0x%x lies outside the kernel", h->entry_addr);
	*entry = h->entry_addr;
	return take_range(l, h->load_addr, in_memory) &&
	       put(l, h->load_addr, l->request->kernel.bytes + offset, bytes);
}

/* ---- The information structure --------------------------------------------- */

static bool room_for(struct loader *l, const char *what, uint64_t from, uint64_t bytes, uint64_t align,
                     uint32_t *gpa)
{
	uint64_t at;

	if (!find_room(l, from, bytes, align, &at))
		return refuse(l, "%s of %lu MiB does not fit in %lu MiB of guest memory", what, mib(bytes),
		              mib(l->request->memory_bytes));
	*gpa = at;
	return true;
}

static bool multiboot_put_string(struct loader *l, const char *what, const char *text, uint32_t *gpa)
{
	size_t bytes;

	if (!text)
		text = "";
	bytes = strlen(text) + 1;
	return room_for(l, what, LOW_AREA, bytes, 1, gpa) && put(l, *gpa, text, bytes);
}

/*
 * "The normal C-style command line" (3.3) begins with the program's name, and boot loaders have always put the
 * image's there: kernels take the first word away (Xen) or leave it alone.
 */
static bool multiboot_put_command_line(struct loader *l, uint32_t *gpa)
{
	const char *name = l->request->kernel.name, *words = l->request->command_line;
	size_t name_bytes, words_bytes;

	if (!name || !*name)
		name = "kernel";
	if (!words || !*words)
		return multiboot_put_string(l, "command line", name, gpa);
	name_bytes = strlen(name);
	words_bytes = strlen(words) + 1;
	return room_for(l, "command line", LOW_AREA, name_bytes + 1 + words_bytes, 1, gpa) &&
	       put(l, *gpa, name, name_bytes) && put(l, *gpa + name_bytes, " ", 1) &&
	       put(l, *gpa + name_bytes + 1, words, words_bytes);
}

/* Modules go on pages above 1 MiB, whether the kernel asks for that or not. */
static bool put_module(struct loader *l, const char *what, const struct load_blob *module, const char *string,
                       uint8_t *entry)
{
	uint32_t start, name;

	if (!room_for(l, what, GUEST_FIRMWARE_END, module->size ? module->size : 1, MODULE_ALIGN, &start) ||
	    !put(l, start, module->bytes, module->size) ||
	    !multiboot_put_string(l, "module's command line", string, &name))
		return false;
	put32(entry, start);
	put32(entry + 4, start + module->size);
	put32(entry + 8, name);
	return true;
}

static bool put_modules(struct loader *l, uint8_t *info)
{
	const struct load_request *r = l->request;
	uint8_t list[MAX_MODULES * MODULE_ENTRY_BYTES] = {0};
	unsigned n = 0;
	uint32_t at;

	if (r->module_count > LOAD_MAX_MODULES)
		return refuse(l, "%u modules given; %u are possible", r->module_count, LOAD_MAX_MODULES);
	if (r->initrd.size && !put_module(l, "initrd", &r->initrd, r->initrd.name && *r->initrd.name ? r->initrd.name : "initrd",
	                                  list + MODULE_ENTRY_BYTES * n++))
		return false;
	for (unsigned i = 0; i < r->module_count; i++)
		if (!put_module(l, "module", &r->modules[i], r->modules[i].command_line, list + MODULE_ENTRY_BYTES * n++))
			return false;
	if (!room_for(l, "module list", LOW_AREA, sizeof(list), 16, &at))
		return false;
	put32(info + 20, n);
	put32(info + 24, at);
	return put(l, at, list, n * MODULE_ENTRY_BYTES);
}

/* The size field of an entry does not count itself. */
static bool multiboot_put_memory_map(struct loader *l, uint8_t *info)
{
	struct guest_memory_range range[GUEST_MEMORY_RANGES];
	unsigned n = guest_memory_map(l->request->memory_bytes, range);
	uint8_t map[GUEST_MEMORY_RANGES * MAP_ENTRY_BYTES];
	uint32_t at;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *entry = map + i * MAP_ENTRY_BYTES;

		put32(entry, MAP_ENTRY_BYTES - 4);
		put64(entry + 4, range[i].base);
		put64(entry + 12, range[i].bytes);
		put32(entry + 20, range[i].type);
	}
	if (!room_for(l, "memory map", LOW_AREA, sizeof(map), 16, &at))
		return false;
	put32(info + 44, n * MAP_ENTRY_BYTES);
	put32(info + 48, at);
	return put(l, at, map, n * MAP_ENTRY_BYTES);
}

static bool put_strings(struct loader *l, uint8_t *info)
{
	uint32_t command_line, name;

	if (!multiboot_put_command_line(l, &command_line) ||
	    !multiboot_put_string(l, "loader name", LOADER_NAME, &name))
		return false;
	put32(info + 16, command_line);
	put32(info + 64, name);
	return true;
}

bool write_multiboot_info(struct loader *l, uint32_t *gpa)
{
	uint8_t info[INFO_BYTES] = {0};
	uint64_t low_end = guest_memory_low_end(l->request->memory_bytes);

	put32(info, INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME);
	put32(info + 4, GUEST_EBDA >> 10);
	put32(info + 8, (low_end - GUEST_FIRMWARE_END) >> 10);
	return room_for(l, "multiboot information", LOW_AREA, sizeof(info), 16, gpa) &&
	       put_strings(l, info) && put_modules(l, info) && multiboot_put_memory_map(l, info) &&
	       put(l, *gpa, info, sizeof(info));
}

static bool check_features(struct loader *l, const struct multiboot_header *h)
{
	uint32_t unknown = h->flags & FLAGS_REQUIRED & ~FLAGS_KNOWN;

	if (unknown)
		return refuse(l, "multiboot kernel requires unknown features 0x%x", unknown);
	return true;
}

/* 3.2 Machine state. */
bool load_multiboot(struct loader *l, const struct multiboot_header *header)
{
	uint64_t entry;
	uint32_t info;
	bool loaded;

	l->result->kind = LOAD_MULTIBOOT;
	if (!check_features(l, header))
		return false;
	if (header->flags & FLAG_ADDRESSES)
		loaded = load_by_address_fields(l, header, &entry);
	else if (is_elf(&l->request->kernel))
		loaded = load_elf_segments(l, &entry);
	else
		loaded = refuse(l, "multiboot kernel is not an ELF file and gives no load addresses");
	if (!loaded || !write_multiboot_info(l, &info))
		return false;
	l->result->cpu.gpr[X86_RAX] = BOOT_MAGIC;
	l->result->cpu.gpr[X86_RBX] = info;
	return enter_protected_mode(l, entry, PLAIN_CODE_SELECTOR);
}
