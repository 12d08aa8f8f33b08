/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ELF32 and ELF64 executables: segments go to their physical addresses
 * (System V ABI, "Program Header").
 */
#include <elf.h>

#include "visor/lib/string.h"
#include "visor/load/loader.h"

#define MAX_PROGRAM_HEADERS 64u

/* What both classes have, in the wider class's types. */
struct elf_image {
	const uint8_t *bytes;
	size_t size;
	bool is64;
	uint64_t entry, ph_offset;
	unsigned ph_count, ph_size;
};

bool is_elf(const struct load_blob *kernel)
{
	return kernel->size >= SELFMAG && !memcmp(kernel->bytes, ELFMAG, SELFMAG);
}

static bool check_identity(struct loader *l, const struct elf_image *e)
{
	if (e->size < EI_NIDENT)
		return refuse(l, "ELF file is cut short after %zu bytes", e->size);
	if (e->bytes[EI_DATA] != ELFDATA2LSB)
		return refuse(l, "ELF file is not little endian");
	if (e->bytes[EI_CLASS] != ELFCLASS32 && e->bytes[EI_CLASS] != ELFCLASS64)
		return refuse(l, "ELF file has unknown class %u", e->bytes[EI_CLASS]);
	return true;
}

static bool check_type(struct loader *l, unsigned type, unsigned machine)
{
	if (machine != EM_386 && machine != EM_X86_64)
		return refuse(l, "ELF file is for machine %u, not for x86", machine);
	if (type != ET_EXEC)
		return refuse(l, "ELF file of type %u is not an executable with fixed addresses", type);
	return true;
}

static bool read_header32(struct loader *l, struct elf_image *e)
{
	Elf32_Ehdr h;

	if (e->size < sizeof(h))
		return refuse(l, "ELF file is cut short inside its header, after %zu bytes", e->size);
	memcpy(&h, e->bytes, sizeof(h));
	e->entry = h.e_entry;
	e->ph_offset = h.e_phoff;
	e->ph_count = h.e_phnum;
	e->ph_size = h.e_phentsize;
	return check_type(l, h.e_type, h.e_machine);
}

static bool read_header64(struct loader *l, struct elf_image *e)
{
	Elf64_Ehdr h;

	if (e->size < sizeof(h))
		return refuse(l, "ELF file is cut short inside its header, after %zu bytes", e->size);
	memcpy(&h, e->bytes, sizeof(h));
	e->entry = h.e_entry;
	e->ph_offset = h.e_phoff;
	e->ph_count = h.e_phnum;
	e->ph_size = h.e_phentsize;
	return check_type(l, h.e_type, h.e_machine);
}

static bool check_program_headers(struct loader *l, const struct elf_image *e)
{
	size_t least = e->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (!e->ph_count || e->ph_count > MAX_PROGRAM_HEADERS)
		return refuse(l, "ELF file has %u program headers; 1 to %u are possible", e->ph_count,
		              MAX_PROGRAM_HEADERS);
	if (e->ph_size < least)
		return refuse(l, "ELF program headers of %u bytes are too small", e->ph_size);
	if (e->ph_offset > e->size || (uint64_t)e->ph_count * e->ph_size > e->size - e->ph_offset)
		return refuse(l, "ELF file is cut short: program headers at %llu, file has %zu bytes",
		              (unsigned long long)e->ph_offset, e->size);
	return true;
}

static bool read_elf(struct loader *l, struct elf_image *e)
{
	const struct load_blob *kernel = &l->request->kernel;

	*e = (struct elf_image){.bytes = kernel->bytes, .size = kernel->size};
	if (!check_identity(l, e))
		return false;
	e->is64 = e->bytes[EI_CLASS] == ELFCLASS64;
	return (e->is64 ? read_header64(l, e) : read_header32(l, e)) && check_program_headers(l, e);
}

static Elf64_Phdr program_header(const struct elf_image *e, unsigned i)
{
	const uint8_t *at = e->bytes + e->ph_offset + (size_t)i * e->ph_size;
	Elf64_Phdr h64;
	Elf32_Phdr h32;

	if (e->is64) {
		memcpy(&h64, at, sizeof(h64));
		return h64;
	}
	memcpy(&h32, at, sizeof(h32));
	return (Elf64_Phdr){
		.p_type = h32.p_type,
		.p_offset = h32.p_offset,
		.p_vaddr = h32.p_vaddr,
		.p_paddr = h32.p_paddr,
		.p_filesz = h32.p_filesz,
		.p_memsz = h32.p_memsz,
	};
}

static bool check_segment(struct loader *l, const struct elf_image *e, const Elf64_Phdr *h)
{
	if (h->p_filesz > h->p_memsz)
		return refuse(l, "ELF segment at 0x%llx has more bytes in the file than in memory",
		              (unsigned long long)h->p_paddr);
	if (h->p_offset > e->size || h->p_filesz > e->size - h->p_offset)
		return refuse(l, "ELF file is cut short: segment at 0x%llx ends beyond the file's %zu bytes",
		              (unsigned long long)h->p_paddr, e->size);
	if (!in_guest_ram(l, h->p_paddr, h->p_memsz))
		return refuse(l, "ELF segment of %lu MiB at 0x%llx does not fit in %lu MiB of guest memory",
		              mib(h->p_memsz), (unsigned long long)h->p_paddr, mib(l->request->memory_bytes));
	return true;
}

/*
 * The entry point is an address in the image's own terms; paging is off (or
 * one to one), so what counts is where that byte was loaded.
 */
static bool note_entry(const struct elf_image *e, const Elf64_Phdr *h, uint64_t *entry)
{
	if (e->entry - h->p_vaddr < h->p_memsz) {
		*entry = e->entry - h->p_vaddr + h->p_paddr;
		return true;
	}
	if (e->entry - h->p_paddr < h->p_memsz) {
		*entry = e->entry;
		return true;
	}
	return false;
}

static bool elf_load_segment(struct loader *l, const struct elf_image *e, const Elf64_Phdr *h)
{
	return check_segment(l, e, h) && take_range(l, h->p_paddr, h->p_memsz) &&
	       put(l, h->p_paddr, e->bytes + h->p_offset, h->p_filesz);
}

bool load_elf_segments(struct loader *l, uint64_t *entry)
{
	struct elf_image e;
	bool entry_found = false;

	if (!read_elf(l, &e))
		return false;
	for (unsigned i = 0; i < e.ph_count; i++) {
		Elf64_Phdr h = program_header(&e, i);

		if (h.p_type != PT_LOAD || !h.p_memsz)
			continue;
		if (!elf_load_segment(l, &e, &h))
			return false;
		entry_found = entry_found || note_entry(&e, &h, entry);
	}
	if (!entry_found)
		return refuse(l, "ELF entry point 0x%llx lies in no segment", (unsigned long long)e.entry);
	return true;
}

/*
 * Without a multiboot header there is no agreement on how to start. A 32-bit
 * image starts as a multiboot kernel does, a 64-bit one in long mode; both get
 * the multiboot information structure in RBX, and by the C calling convention
 * in RDI, but no magic number in EAX.
 */
bool load_elf(struct loader *l)
{
	bool is64 = l->request->kernel.size > EI_CLASS && l->request->kernel.bytes[EI_CLASS] == ELFCLASS64;
	uint64_t entry;
	uint32_t info;

	l->result->kind = is64 ? LOAD_ELF64 : LOAD_ELF32;
	if (!load_elf_segments(l, &entry) || !write_multiboot_info(l, &info))
		return false;
	l->result->cpu.gpr[X86_RBX] = info;
	l->result->cpu.gpr[X86_RDI] = info;
	return is64 ? enter_long_mode(l, entry, PLAIN_CODE_SELECTOR) : enter_protected_mode(l, entry, PLAIN_CODE_SELECTOR);
}
