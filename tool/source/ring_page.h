/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One page of the kernel's trace ring buffer, as it stands in trace.dat and in
 * per_cpu/cpuN/trace_pipe_raw. events/header_page and events/header_event in
 * tracefs describe it.
 */
#ifndef TOOL_SOURCE_RING_PAGE_H
#define TOOL_SOURCE_RING_PAGE_H

#include "../base/base.h"

struct ring_page {
	const uint8_t *at, *end;
	uint64_t time;
	uint64_t missed; /* events lost before this page; UINT64_MAX: some, not known how many */
	bool damaged;    /* an entry reaches beyond the page */
};

/* False: it is no such page. `size` is that of the whole page. */
bool ring_page_open(struct ring_page *page, const uint8_t *data, size_t size);
/* The next event's record and time. False at the end. */
bool ring_page_next(struct ring_page *page, const uint8_t **record, size_t *size, uint64_t *time);

#endif
