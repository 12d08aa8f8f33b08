/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking at what the user wants to boot before a machine is started for it. */
#ifndef TOOL_GUEST_FILES_H
#define TOOL_GUEST_FILES_H

#include "../base/base.h"

enum guest_kind { GUEST_LINUX,
	          GUEST_MULTIBOOT,
	          GUEST_ELF };

struct guest_image {
	enum guest_kind kind;
	uint64_t bytes; /* size of the file */
	uint64_t needs; /* Linux: memory up to which it unpacks itself; else 0 */
};

/* False: *error says what is wrong with it and what to do. */
bool guest_kernel_check(const char *path, struct guest_image *out, char **error);
/* An initrd must be something Linux can unpack. *bytes: its size. */
bool guest_initrd_check(const char *path, uint64_t *bytes, char **error);
/* Does the guest fit into its memory? */
bool guest_memory_check(const struct guest_image *kernel, uint64_t initrd_bytes, uint64_t memory,
                        char **error);

#endif
