/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing to somebody who may not read: standard output behind a buffer, so that
 * no write of ours waits. Whoever fills it looks for room first.
 */
#ifndef TOOL_OUTLET_H
#define TOOL_OUTLET_H

#include "../base/base.h"

enum { OUTLET_BYTES = 256 * 1024 };

struct outlet {
	int fd;
	bool ours; /* opened by us, non-blocking */
	bool socket;
	size_t most; /* bytes that one write may have without waiting, after poll() said so */
	char *bytes;
	size_t size;
	int error;     /* errno of a write; what follows is dropped */
	uint64_t lost; /* bytes that found no room */
};

/* `fd` stays open and as it is: others share it. */
void outlet_open(struct outlet *outlet, int fd);
void outlet_close(struct outlet *outlet);
size_t outlet_room(const struct outlet *outlet);
/* As much as there is room for; the rest is counted as lost. */
void outlet_put(struct outlet *outlet, const char *bytes, size_t size);
/* What can be written now, after poll() has said that something can. */
void outlet_write(struct outlet *outlet);

#endif
