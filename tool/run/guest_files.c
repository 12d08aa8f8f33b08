/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest_files.h"

#include <stdlib.h>
#include <string.h>

#include "../base/text.h"
#include "../symbols/bzimage.h"
#include "../symbols/decompress.h"

/* Multiboot specification 0.6.96, 3.1: the header lies in the first 8192 bytes. */
enum { MULTIBOOT_SEARCH = 8192 };
#define MULTIBOOT_MAGIC 0x1badb002u

/* What Linux wants besides its own image and initrd before it can say what is wrong. */
#define LINUX_MARGIN (16ull << 20)

static bool has_multiboot_header(const struct bytes *file)
{
	size_t limit = file->size < MULTIBOOT_SEARCH ? file->size : MULTIBOOT_SEARCH;

	for (size_t at = 0; at + 12 <= limit; at += 4) {
		uint32_t header[3];

		memcpy(header, file->data + at, sizeof(header));
		if (header[0] == MULTIBOOT_MAGIC && header[0] + header[1] + header[2] == 0)
			return true;
	}
	return false;
}

static char *what_it_may_be(const struct bytes *file)
{
	const char *packed = compression_name(file->data, file->size);

	if (packed)
		return formatted(" (it is %s data; an initrd? unpack it if it is a kernel)", packed);
	if (file->size >= 0x202 && file->data[0x1fe] == 0x55 && file->data[0x1ff] == 0xaa)
		return duplicate(" (it is a boot sector)");
	if (file->size >= 64 && memcmp(file->data + 56, "ARMd", 4) == 0)
		return duplicate(" (it is a kernel for ARM)");
	return duplicate("");
}

static bool linux_check(const struct bytes *file, const char *path, struct guest_image *out, char **error)
{
	struct bzimage image;
	char *why = NULL;

	out->kind = GUEST_LINUX;
	if (!bzimage_parse(file->data, file->size, &image, &why)) {
		*error = formatted("%s is a Linux bzImage, but %s; copy or download it again", path, why);
		free(why);
		return false;
	}
	out->needs = image.load_address + image.init_size;
	return true;
}

bool guest_kernel_check(const char *path, struct guest_image *out, char **error)
{
	struct bytes file;
	bool ok = true;

	*out = (struct guest_image){0};
	if (!bytes_read(path, &file, error))
		return false;
	out->bytes = file.size;
	if (file.size == 0) {
		*error = formatted("%s is empty", path);
		ok = false;
	} else if (is_bzimage(file.data, file.size)) {
		ok = linux_check(&file, path, out, error);
	} else if (has_multiboot_header(&file)) {
		out->kind = GUEST_MULTIBOOT;
	} else if (file.size >= 4 && memcmp(file.data, "\177ELF", 4) == 0) {
		out->kind = GUEST_ELF;
	} else {
		char *hint = what_it_may_be(&file);

		*error = formatted("%s is no Linux bzImage, no multiboot image and no ELF file%s; Debian's kernel is "
		                   "/boot/vmlinuz-*, and scripts/setup kernels fetches one",
		                   path, hint);
		free(hint);
		ok = false;
	}
	bytes_free(&file);
	return ok;
}

/* What Linux unpacks: cpio "newc" without and with checksums, or any of its compressions. */
static bool can_be_unpacked(const struct bytes *file)
{
	if (file->size >= 6 && (memcmp(file->data, "070701", 6) == 0 || memcmp(file->data, "070702", 6) == 0))
		return true;
	if (file->size >= 4 && memcmp(file->data, "\x89LZO", 4) == 0)
		return true;
	return compression_name(file->data, file->size);
}

bool guest_initrd_check(const char *path, uint64_t *bytes, char **error)
{
	struct bytes file;
	bool ok = true;

	if (!bytes_read(path, &file, error))
		return false;
	*bytes = file.size;
	if (file.size == 0) {
		*error = formatted("%s is empty", path);
		ok = false;
	} else if (!can_be_unpacked(&file)) {
		*error = formatted("%s is no initrd that Linux can unpack: it is neither a cpio archive (newc) nor "
		                   "gzip, xz, lzma, bzip2, zstd, lzo or lz4 data; is it damaged, or another kind of file?",
		                   path);
		ok = false;
	}
	bytes_free(&file);
	return ok;
}

bool guest_memory_check(const struct guest_image *kernel, uint64_t initrd_bytes, uint64_t memory,
                        char **error)
{
	uint64_t least = (kernel->needs ? kernel->needs : kernel->bytes) + initrd_bytes +
	                 (kernel->kind == GUEST_LINUX ? LINUX_MARGIN : 0);

	if (memory >= least)
		return true;
	least = (least + (1 << 20) - 1) >> 20;
	*error = formatted("%s of memory are too little for this kernel%s; give --memory %lluM or more",
	                   text_bytes(memory).text, initrd_bytes ? " and initrd" : "", (unsigned long long)least);
	return false;
}
