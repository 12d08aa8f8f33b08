/* SPDX-License-Identifier: BSD-2-Clause */
/* Pieces of a file that can be read at any place, never beyond its end. */
#ifndef TOOL_SOURCE_FILE_H
#define TOOL_SOURCE_FILE_H

#include "../base/base.h"

struct file {
	int fd;
	uint64_t size;
};

/* Takes over the descriptor. */
bool file_of(struct file *file, int fd);
void file_close(struct file *file);
/* Exactly `size` bytes; false when they are not all there. */
bool file_read(const struct file *file, uint64_t offset, void *data, size_t size);
/* The same into memory of its own (the caller frees); NULL when they are not all there. */
uint8_t *file_piece(const struct file *file, uint64_t offset, uint64_t size);

#endif
