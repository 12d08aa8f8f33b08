/* SPDX-License-Identifier: BSD-2-Clause */
/* The compressions that Linux kernel images come in. */
#ifndef TOOL_DECOMPRESS_H
#define TOOL_DECOMPRESS_H

#include "../base/base.h"

/* "gzip", "xz", "lzma", "bzip2", "zstd", "lz4" or NULL, by the first bytes. */
const char *compression_name(const uint8_t *data, size_t size);

/*
 * Unpack one compressed stream; bytes after its end are ignored (a bzImage
 * appends the unpacked size). On failure false, and *error says why.
 */
bool decompress(const uint8_t *data, size_t size, struct bytes *out, char **error);

#endif
