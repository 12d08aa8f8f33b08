/* SPDX-License-Identifier: BSD-2-Clause */
#include "bzimage.h"

#include <string.h>

#include "decompress.h"

/* Offsets of the setup header's fields ("The Real-Mode Kernel Header"). */
enum {
	SETUP_SECTS = 0x1f1,
	SYSSIZE = 0x1f4,
	BOOT_FLAG = 0x1fe,
	HEADER = 0x202,
	VERSION = 0x206,
	PAYLOAD_OFFSET = 0x248,
	PAYLOAD_LENGTH = 0x24c,
	PREF_ADDRESS = 0x258,
	INIT_SIZE = 0x260,
	HEADER_END = 0x268,

	SYSSIZE_UNIT = 16, /* rounded up: the last unit need not be whole in the file */

	VERSION_PAYLOAD = 0x0208,
	VERSION_INIT_SIZE = 0x020a,
};

static uint64_t field(const uint8_t *data, size_t offset, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, data + offset, bytes);
	return value;
}

bool is_bzimage(const uint8_t *data, size_t size)
{
	return size >= HEADER_END && field(data, BOOT_FLAG, 2) == 0xaa55 &&
	       memcmp(data + HEADER, "HdrS", 4) == 0;
}

bool bzimage_parse(const uint8_t *data, size_t size, struct bzimage *out, char **error)
{
	uint64_t sectors = field(data, SETUP_SECTS, 1);
	uint64_t setup = ((sectors ? sectors : 4) + 1) * 512;
	uint64_t needed = setup + field(data, SYSSIZE, 4) * SYSSIZE_UNIT;

	*out = (struct bzimage){.protocol = (uint16_t)field(data, VERSION, 2)};
	if (size + SYSSIZE_UNIT <= needed) {
		*error = formatted("the image is cut short: its header asks for %llu bytes, there are %zu",
		                   (unsigned long long)needed, size);
		return false;
	}
	if (out->protocol >= VERSION_INIT_SIZE) {
		out->load_address = field(data, PREF_ADDRESS, 8);
		out->init_size = field(data, INIT_SIZE, 4);
	}
	if (out->protocol >= VERSION_PAYLOAD) {
		out->payload = setup + field(data, PAYLOAD_OFFSET, 4);
		out->payload_size = field(data, PAYLOAD_LENGTH, 4);
	}
	if (out->payload > size || out->payload_size > size - out->payload) {
		*error = duplicate("its header places the compressed kernel outside the file");
		return false;
	}
	return true;
}

bool bzimage_unpack(const uint8_t *data, size_t size, struct bytes *out, char **error)
{
	struct bzimage image;

	if (!bzimage_parse(data, size, &image, error))
		return false;
	if (image.payload_size == 0) {
		*error = formatted("boot protocol %u.%02u does not say where the compressed kernel is",
		                   image.protocol >> 8, image.protocol & 0xff);
		return false;
	}
	return decompress(data + image.payload, image.payload_size, out, error);
}
