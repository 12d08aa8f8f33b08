/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a report's page reads: numbers in columns, packed into one text. The page
 * unpacks it and has each column as an array, without looking at a single number.
 */
#ifndef TOOL_REPORT_COLUMNS_H
#define TOOL_REPORT_COLUMNS_H

#include <jansson.h>
#include <stdio.h>

#include "../base/base.h"

struct column {
	const char *name; /* a constant */
	unsigned width;   /* bytes of a number: 1, 2 or 4 */
	uint8_t *data;
	size_t count, room;
};

/* All zero at first. Pointers to columns are valid until the next one is made. */
struct columns {
	struct column *list;
	size_t count;
};

/* Returns its place. */
size_t columns_new(struct columns *columns, const char *name, unsigned width);
void columns_add(struct columns *columns, size_t place, uint64_t value);
void columns_free(struct columns *columns);

/* {"name": [width, offset, count], ...}: where each stands in the bytes. */
json_t *columns_index(const struct columns *columns);
/* The bytes, compressed by gzip, in base64. False: errno says why. */
bool columns_write(const struct columns *columns, FILE *to);

#endif
