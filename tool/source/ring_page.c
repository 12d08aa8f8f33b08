/* SPDX-License-Identifier: BSD-2-Clause */
#include "ring_page.h"

#include <string.h>

enum {
	HEADER_BYTES = 16, /* time stamp, commit */
	TYPE_BITS = 5,
	DELTA_BITS = 27,
	TYPE_PADDING = 29,
	TYPE_EXTEND = 30,
	TYPE_STAMP = 31,
};
#define COMMIT_MISSED (1u << 31)
#define COMMIT_STORED (1u << 30)
/* An absolute stamp has 59 bits; those above stay what they were. */
#define STAMP_TOP (0xf8ull << 56)

static uint64_t word64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t word32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

bool ring_page_open(struct ring_page *page, const uint8_t *data, size_t size)
{
	uint64_t commit;
	size_t used;

	*page = (struct ring_page){0};
	if (size < HEADER_BYTES)
		return false;
	page->time = word64(data);
	commit = word64(data + 8);
	used = commit & 0xfffff;
	if (used > size - HEADER_BYTES)
		return false;
	page->at = data + HEADER_BYTES;
	page->end = page->at + used;
	if (commit & COMMIT_MISSED) {
		page->missed = UINT64_MAX;
		if (commit & COMMIT_STORED && used + 8 <= size - HEADER_BYTES)
			page->missed = word64(page->end);
	}
	return true;
}

bool ring_page_next(struct ring_page *page, const uint8_t **record, size_t *size, uint64_t *time)
{
	while (page->end - page->at >= 4) {
		uint32_t head = word32(page->at), type = head & ((1u << TYPE_BITS) - 1);
		uint64_t delta = head >> TYPE_BITS;
		size_t left = (size_t)(page->end - page->at), length;

		if (type >= TYPE_PADDING || type == 0) {
			uint32_t more;

			if (type == TYPE_PADDING && delta == 0)
				return false;
			if (left < 8)
				break;
			more = word32(page->at + 4);
			if (type == TYPE_EXTEND) {
				page->time += delta | (uint64_t)more << DELTA_BITS;
				page->at += 8;
				continue;
			}
			if (type == TYPE_STAMP) {
				page->time = (page->time & STAMP_TOP) | delta | (uint64_t)more << DELTA_BITS;
				page->at += 8;
				continue;
			}
			length = (size_t)more + 4;
			if (more < 4 || length > left)
				break;
			page->time += delta;
			page->at += (length + 3) & ~3ull;
			if (type == TYPE_PADDING)
				continue;
			*record = page->at - ((length + 3) & ~3ull) + 8;
			*size = length - 8;
			*time = page->time;
			return true;
		}
		length = 4 * (size_t)type;
		if (length + 4 > left)
			break;
		page->time += delta;
		*record = page->at + 4;
		*size = length;
		*time = page->time;
		page->at += length + 4;
		return true;
	}
	page->damaged = page->at < page->end;
	return false;
}
