/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a Linux bzImage (Documentation/x86/boot: "The Linux/x86 Boot Protocol"). */
#ifndef TOOL_BZIMAGE_H
#define TOOL_BZIMAGE_H

#include "../base/base.h"

struct bzimage {
	uint16_t protocol;     /* 0x020f = 2.15 */
	uint64_t load_address; /* pref_address */
	uint64_t init_size;    /* bytes of memory it needs there until it runs */
	size_t payload;        /* offset of the compressed vmlinux in the file; 0 = unknown */
	size_t payload_size;
};

bool is_bzimage(const uint8_t *data, size_t size);
/* False when it is cut short; *error says so. */
bool bzimage_parse(const uint8_t *data, size_t size, struct bzimage *out, char **error);
/* The vmlinux inside. */
bool bzimage_unpack(const uint8_t *data, size_t size, struct bytes *out, char **error);

#endif
