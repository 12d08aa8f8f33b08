/* SPDX-License-Identifier: BSD-2-Clause */
/* Binary events, read by the formats that tracefs describes them with (libtraceevent). */
#ifndef TOOL_SOURCE_FORMATS_H
#define TOOL_SOURCE_FORMATS_H

#include "source.h"

struct formats;

struct formats *formats_new(void);
void formats_free(struct formats *formats);

/* One format file: `text` is `size` bytes, `system` the folder it stood in. False: it cannot be used. */
bool formats_add(struct formats *formats, const char *text, size_t size, const char *system);
/* Names of the kernel's functions, for stacks: text as /proc/kallsyms has it. */
void formats_symbols(struct formats *formats, const uint8_t *text, size_t size);
/*
 * Is the record a stack of that thread? Then give it to the event before it, as
 * FIELD_ORIGIN, and say true.
 */
bool formats_take_stack(struct formats *formats, const void *record, size_t size, struct source_event *event);
/* The same of addresses alone. */
void formats_take_callers(struct formats *formats, const uint8_t *callers, size_t count, struct source_event *event);
/* How many there are of the events that concern us. */
size_t formats_known(const struct formats *formats);

/*
 * Fill in id, name, pid and fields of an event from its record. False: no format
 * describes it, or it is too short for its fields.
 */
bool formats_decode(struct formats *formats, const void *record, size_t size, struct source_event *event,
                    struct source_info *info);

#endif
