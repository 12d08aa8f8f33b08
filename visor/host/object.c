/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects below a page come from lists of one power of two each, carved from
 * whole frames; larger ones are runs of frames of their own.
 */
#include "visor/host/frame.h"
#include "visor/lib/string.h"

#define PAGE_BYTES 4096u
#define SMALLEST_SHIFT 6
#define CLASS_COUNT 6 /* 64 .. 2048 */

struct free_object {
	struct free_object *next;
};

static struct free_object *classes[CLASS_COUNT];
static uint64_t count, bytes;

static unsigned object_class_of(size_t size)
{
	unsigned c = 0;

	while ((size_t)1 << (SMALLEST_SHIFT + c) < size)
		c++;
	return c;
}

static unsigned order_of(size_t size)
{
	unsigned order = 0;

	while ((size_t)PAGE_BYTES << order < size)
		order++;
	return order;
}

static bool refill(unsigned c)
{
	uint64_t page = frame_alloc(FRAME_ORDER_4K, FRAME_OBJECT, false);

	if (!page)
		return false;
	for (unsigned at = 0; at < PAGE_BYTES; at += 1u << (SMALLEST_SHIFT + c)) {
		struct free_object *o = (void *)(uintptr_t)(page + at);

		o->next = classes[c];
		classes[c] = o;
	}
	return true;
}

static void *alloc_small(size_t size)
{
	unsigned c = object_class_of(size);
	struct free_object *o;

	if (!classes[c] && !refill(c))
		return NULL;
	o = classes[c];
	classes[c] = o->next;
	return memset(o, 0, (size_t)1 << (SMALLEST_SHIFT + c));
}

void *object_alloc(size_t size)
{
	void *object;

	if (size <= PAGE_BYTES / 2)
		object = alloc_small(size);
	else if (size > (size_t)PAGE_BYTES << (FRAME_ORDER_COUNT - 1))
		object = NULL;
	else
		object = (void *)(uintptr_t)frame_alloc(order_of(size), FRAME_OBJECT, true);
	if (object) {
		count++;
		bytes += size;
	}
	return object;
}

void object_free(void *object, size_t size)
{
	struct free_object *o = object;

	count--;
	bytes -= size;
	if (size > PAGE_BYTES / 2) {
		frame_free((uintptr_t)object, order_of(size));
		return;
	}
	o->next = classes[object_class_of(size)];
	classes[object_class_of(size)] = o;
}

uint64_t object_count(void)
{
	return count;
}

uint64_t object_bytes(void)
{
	return bytes;
}
