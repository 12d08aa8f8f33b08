/* SPDX-License-Identifier: BSD-2-Clause */
/* Collecting symbols, whatever they are read from. */
#ifndef TOOL_SYMBOLS_BUILDER_H
#define TOOL_SYMBOLS_BUILDER_H

#include "symbols.h"

struct symbols_builder {
	struct {
		uint64_t address;
		size_t name;
		bool global;
	} * list;
	size_t count, room;
	char *names;
	size_t names_size, names_room;
};

/* `type` is a letter as nm prints it; only code is kept. */
void builder_add(struct symbols_builder *builder, uint64_t address, char type, const char *name,
                 size_t name_length);
/* Sort, drop aliases, hand over. */
void builder_finish(struct symbols_builder *builder, struct symbols *out, const char *source);
void builder_free(struct symbols_builder *builder);

/* One reader each; false with *error when the data is not theirs or unusable. */
bool symbols_from_text(struct symbols_builder *builder, const uint8_t *data, size_t size, char **error);
bool symbols_from_elf(struct symbols_builder *builder, const uint8_t *data, size_t size, char **error);
bool symbols_from_kallsyms(struct symbols_builder *builder, const uint8_t *data, size_t size,
                           char **error);

#endif
