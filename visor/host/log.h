/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's log on COM2: lines for people, and `@vmmu {json}` lines for programs. */
#ifndef VISOR_HOST_LOG_H
#define VISOR_HOST_LOG_H

#include <stdint.h>

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * One event line: json_begin, any members, json_end. Members come in the order
 * of the calls; json_open and json_close make objects inside.
 */
void json_begin(const char *event);
void json_string(const char *key, const char *value);
void json_number(const char *key, uint64_t value);
void json_open(const char *key);
void json_close(void);
void json_end(void);

#endif
