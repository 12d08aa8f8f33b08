/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The description of a kernel's events as trace-cmd writes it at the head of
 * trace.dat (man trace-cmd.dat.v6, trace-cmd.dat.v7) and perf into perf.data: a
 * sequence of formats, each with its size.
 */
#ifndef TOOL_SOURCE_TRACING_DATA_H
#define TOOL_SOURCE_TRACING_DATA_H

#include "formats.h"

/* Bytes that are read one after another and never beyond their end. */
struct cursor {
	const uint8_t *at, *end;
	bool bad; /* something wanted more than there was */
};

struct cursor cursor_over(const uint8_t *data, size_t size); /* data may be NULL: nothing is there */
uint16_t cursor_u16(struct cursor *cursor);
uint32_t cursor_u32(struct cursor *cursor);
uint64_t cursor_u64(struct cursor *cursor);
const uint8_t *cursor_bytes(struct cursor *cursor, uint64_t size);
/* Up to a zero byte, which is taken too. */
const char *cursor_string(struct cursor *cursor);

/* "header_page" and "header_event" with what follows each. */
bool tracing_headers(struct cursor *cursor);
/* Count, then formats of system "ftrace". */
bool tracing_ftrace(struct cursor *cursor, struct formats *formats);
/* Count of systems, then the formats of each. */
bool tracing_systems(struct cursor *cursor, struct formats *formats);

/* What thread bears which name; and to which process it belongs. */
struct thread_names {
	struct {
		uint32_t pid;
		char comm[16];
	} * names;
	size_t count;
};
/* Lines "pid comm". */
void tracing_cmdlines(const uint8_t *text, size_t size, struct thread_names *names);
void thread_names_sort(struct thread_names *names);
/* In a list that is sorted. */
void thread_name_set(struct thread_names *names, uint32_t pid, const char *comm);
/* "" when it is not there. */
const char *thread_name(const struct thread_names *names, uint32_t pid);

#endif
