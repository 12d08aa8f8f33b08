/* SPDX-License-Identifier: BSD-2-Clause */
/* Names for guest addresses. */
#ifndef TOOL_SYMBOLS_H
#define TOOL_SYMBOLS_H

#include "../base/base.h"

struct symbol {
	uint64_t address;
	const char *name; /* points into symbols.names */
};

struct symbols {
	struct symbol *list; /* sorted by address, one per address */
	size_t count;
	char *names;
	uint64_t text; /* Linux' _text .. _etext; 0 when not known */
	uint64_t text_end;
	const char *source; /* "System.map", "ELF symbol table", "kallsyms table" ... */
};

/*
 * From whatever `path` is: System.map or /proc/kallsyms text, an ELF file with
 * symbols, a vmlinux or bzImage with a kallsyms table. False: *error says what
 * to do (caller frees).
 */
bool symbols_load(struct symbols *symbols, const char *path, char **error);
/* The same for a path that a side file names: only a regular file will do. */
bool symbols_load_named(struct symbols *symbols, const char *path, char **error);
/* The same for a file's bytes. */
bool symbols_parse(struct symbols *symbols, const uint8_t *data, size_t size, char **error);
void symbols_free(struct symbols *symbols);

/* The function that holds `address`, or NULL; *offset is how far into it. */
const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset);

/* "memset_erms+0x7", or "" when not known. Caller frees. */
char *symbols_describe(const struct symbols *symbols, uint64_t address);

#endif
