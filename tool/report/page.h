/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a page that were made when the command was built (page/), and how they are put together. */
#ifndef TOOL_REPORT_PAGE_H
#define TOOL_REPORT_PAGE_H

#include <jansson.h>
#include <stdio.h>

#include "../base/base.h"

/* Each returns false when it could not write; errno says why. */

/* All that stands before the data. */
bool page_begin(FILE *to, const char *title);
/* A script element with JSON in it, from which no text gets out. */
bool page_json(FILE *to, const char *id, const json_t *json);
/* The beginning and the end of one for anything that has no "<" in it. */
bool page_data_begin(FILE *to, const char *id);
bool page_data_end(FILE *to);
bool page_end(FILE *to);

#endif
