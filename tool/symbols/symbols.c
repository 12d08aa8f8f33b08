/* SPDX-License-Identifier: BSD-2-Clause */
#include "symbols.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "builder.h"
#include "bzimage.h"

/* Fewer than this is a stub, like the System.map that Debian installs. */
enum { SYMBOLS_MIN = 8 };

/* No kernel with all its symbols is larger. */
#define KERNEL_MAX (2ull << 30)

/* No function is larger. */
#define FUNCTION_MAX 0x100000u

/* Names go to terminals, and into JSON. */
static bool is_plain(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return true;
}

void builder_add(struct symbols_builder *builder, uint64_t address, char type, const char *name,
                 size_t name_length)
{
	const char *shown = name;
	char *escaped = NULL;

	if (!strchr("tTwWiu", type) || name_length == 0)
		return;
	if (!is_plain(name, name_length)) {
		shown = escaped = printable_n(name, name_length);
		name_length = strlen(escaped);
	}
	if (builder->count == builder->room) {
		builder->room = builder->room ? builder->room * 2 : 4096;
		builder->list = reallocate(builder->list, builder->room * sizeof(*builder->list));
	}
	while (builder->names_size + name_length + 1 > builder->names_room) {
		builder->names_room = builder->names_room ? builder->names_room * 2 : 1 << 16;
		builder->names = reallocate(builder->names, builder->names_room);
	}
	builder->list[builder->count].address = address;
	builder->list[builder->count].name = builder->names_size;
	builder->list[builder->count].global = isupper((unsigned char)type);
	builder->count++;
	memcpy(builder->names + builder->names_size, shown, name_length);
	builder->names[builder->names_size + name_length] = '\0';
	builder->names_size += name_length + 1;
	free(escaped);
}

void builder_free(struct symbols_builder *builder)
{
	free(builder->list);
	free(builder->names);
	*builder = (struct symbols_builder){0};
}

/* By address; of several names for one, the global one, then the one read first. */
static int by_address(const void *a, const void *b)
{
	const struct {
		uint64_t address;
		size_t name;
		bool global;
	} *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	if (x->global != y->global)
		return x->global ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static bool is_marker(const char *name)
{
	return strcmp(name, "_text") == 0 || strcmp(name, "_stext") == 0;
}

void builder_finish(struct symbols_builder *builder, struct symbols *out, const char *source)
{
	*out = (struct symbols){.source = source};
	if (builder->count)
		qsort(builder->list, builder->count, sizeof(*builder->list), by_address);
	out->list = allocate(builder->count * sizeof(*out->list));
	out->names = builder->names;
	builder->names = NULL;
	for (size_t i = 0; i < builder->count; i++) {
		const char *name = out->names + builder->list[i].name;
		uint64_t address = builder->list[i].address;
		struct symbol *last = out->count ? &out->list[out->count - 1] : NULL;

		if (strcmp(name, "_text") == 0)
			out->text = address;
		if (strcmp(name, "_etext") == 0) {
			out->text_end = address;
			continue;
		}
		if (last && last->address == address) {
			if (is_marker(last->name))
				last->name = name;
			continue;
		}
		out->list[out->count++] = (struct symbol){address, name};
	}
	builder_free(builder);
}

static bool is_elf(const uint8_t *data, size_t size)
{
	return size >= 4 && memcmp(data, "\177ELF", 4) == 0;
}

static bool from_elf(struct symbols_builder *builder, const uint8_t *data, size_t size,
                     const char **source, char **error)
{
	char *no_kallsyms = NULL;

	*source = "ELF symbol table";
	if (!symbols_from_elf(builder, data, size, error))
		return false;
	if (builder->count >= SYMBOLS_MIN)
		return true;
	/* A stripped vmlinux still has the table it prints its own backtraces from. */
	*source = "kallsyms table";
	if (symbols_from_kallsyms(builder, data, size, &no_kallsyms))
		return true;
	if (builder->count) {
		free(no_kallsyms);
		*source = "ELF symbol table";
		return true;
	}
	*error = formatted("the ELF file has no symbols, and %s", no_kallsyms);
	free(no_kallsyms);
	return false;
}

static bool from_bzimage(struct symbols_builder *builder, const uint8_t *data, size_t size,
                         const char **source, char **error)
{
	struct bytes vmlinux;
	bool ok;

	if (!bzimage_unpack(data, size, &vmlinux, error))
		return false;
	ok = from_elf(builder, vmlinux.data, vmlinux.size, source, error);
	bytes_free(&vmlinux);
	return ok;
}

bool symbols_parse(struct symbols *symbols, const uint8_t *data, size_t size, char **error)
{
	struct symbols_builder builder = {0};
	const char *source = "symbol list";
	bool ok;

	if (is_bzimage(data, size))
		ok = from_bzimage(&builder, data, size, &source, error);
	else if (is_elf(data, size))
		ok = from_elf(&builder, data, size, &source, error);
	else
		ok = symbols_from_text(&builder, data, size, error);
	if (!ok) {
		builder_free(&builder);
		return false;
	}
	builder_finish(&builder, symbols, source);
	return true;
}

static bool parse_file(struct symbols *symbols, const char *path, struct bytes *file, char **error)
{
	char *why = NULL;
	bool ok = symbols_parse(symbols, file->data, file->size, &why);

	if (!ok) {
		*error = formatted("no symbols in %s: %s", path, why);
		free(why);
	}
	bytes_free(file);
	return ok;
}

bool symbols_load(struct symbols *symbols, const char *path, char **error)
{
	struct bytes file;

	return bytes_read(path, &file, error) && parse_file(symbols, path, &file, error);
}

bool symbols_load_named(struct symbols *symbols, const char *path, char **error)
{
	struct bytes file;

	return bytes_read_regular(path, KERNEL_MAX, &file, error) && parse_file(symbols, path, &file, error);
}

void symbols_free(struct symbols *symbols)
{
	free(symbols->list);
	free(symbols->names);
	*symbols = (struct symbols){0};
}

static const struct symbol *at_or_below(const struct symbols *symbols, uint64_t address)
{
	size_t low = 0, high = symbols->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->list[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &symbols->list[low - 1] : NULL;
}

const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset)
{
	const struct symbol *symbol = at_or_below(symbols, address);

	if (!symbol)
		return NULL;
	*offset = address - symbol->address;
	/* Past the last function there is other memory, not a huge function; at _etext stand only labels. */
	if (*offset > FUNCTION_MAX || (symbols->text_end && symbol->address <= symbols->text_end &&
	                               address >= symbols->text_end))
		return NULL;
	return symbol->name;
}

char *symbols_describe(const struct symbols *symbols, uint64_t address)
{
	uint64_t offset;
	const char *name = symbols_find(symbols, address, &offset);

	return name ? formatted("%s+0x%" PRIx64, name, offset) : duplicate("");
}
