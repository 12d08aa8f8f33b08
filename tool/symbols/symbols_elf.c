/* SPDX-License-Identifier: BSD-2-Clause */
/* The symbol table of an ELF file: vmlinux with symbols, or a small test kernel. */
#include <gelf.h>
#include <string.h>

#include "builder.h"

/* Longer ones are no symbols of a kernel's (KSYM_NAME_LEN is 512). */
enum { NAME_LENGTH_MAX = 512 };

/*
 * Names end within their section. One without a zero at its end would have libelf
 * look for it again with every name.
 */
static bool names_end(Elf *elf, size_t section)
{
	Elf_Scn *scn = elf_getscn(elf, section);
	Elf_Data *data = scn ? elf_getdata(scn, NULL) : NULL;

	return data && data->d_size && ((const char *)data->d_buf)[data->d_size - 1] == '\0';
}

static void take_table(struct symbols_builder *builder, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t count = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;

	if (!names_end(elf, header->sh_link))
		return;
	for (size_t i = 0; i < count; i++) {
		GElf_Sym symbol;
		const char *name;
		bool code;

		if (!gelf_getsym(data, (int)i, &symbol) || symbol.st_shndx == SHN_UNDEF)
			continue;
		/* Assembly often leaves its labels without a type. */
		code = GELF_ST_TYPE(symbol.st_info) == STT_FUNC || GELF_ST_TYPE(symbol.st_info) == STT_NOTYPE;
		name = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (!code || !name || symbol.st_shndx == SHN_ABS)
			continue;
		builder_add(builder, symbol.st_value, GELF_ST_BIND(symbol.st_info) == STB_LOCAL ? 't' : 'T', name,
		            strnlen(name, NAME_LENGTH_MAX));
	}
}

bool symbols_from_elf(struct symbols_builder *builder, const uint8_t *data, size_t size, char **error)
{
	Elf_Scn *section = NULL;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_memory((char *)(uintptr_t)data, size);
	if (!elf || elf_kind(elf) != ELF_K_ELF) {
		*error = formatted("libelf cannot read it: %s", elf_errmsg(-1));
		elf_end(elf);
		return false;
	}
	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr header;

		if (!gelf_getshdr(section, &header) || header.sh_type != SHT_SYMTAB)
			continue;
		/* There is at most one (System V ABI, "Sections"); many could lie over one another. */
		take_table(builder, elf, section, &header);
		break;
	}
	elf_end(elf);
	return true;
}
