/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers as people write them, in both directions, and colours. */
#ifndef TOOL_TEXT_H
#define TOOL_TEXT_H

#include "base.h"

/* Room for any of the short texts below. */
struct short_text {
	char text[48];
};

struct short_text text_count(uint64_t n);       /* 23,405 */
struct short_text text_bytes(uint64_t bytes);   /* 4 KiB, 1.5 MiB */
struct short_text text_seconds(double seconds); /* 1.234567 s */

/* "256M", "1G", "4096", "0x1000"; false when it is not a size or too large. */
bool parse_size(const char *text, uint64_t *bytes);
/* Decimal or 0x hexadecimal, nothing after it. */
bool parse_number(const char *text, uint64_t *value);
/* Hexadecimal, with 0x or without, as the field's tools print addresses; never decimal. */
bool parse_address(const char *text, uint64_t *value);
/* "X" or "X-Y" with X <= Y, addresses. */
bool parse_address_range(const char *text, uint64_t *first, uint64_t *last);
/* The same of numbers. */
bool parse_range(const char *text, uint64_t *first, uint64_t *last);
/* 1..5 or 4k, 2m, 1g, 512g, 256t. */
bool parse_level(const char *text, unsigned *level);
/* A name as vmmu_cause_name prints it. */
bool parse_cause(const char *text, unsigned *cause);

/* What one entry at this level covers: "4 KiB" ... "256 TiB". */
const char *text_level_span(unsigned level);

/* Escape sequences, or empty strings where colour is off. */
struct palette {
	const char *bold, *dim, *red, *green, *yellow, *blue, *magenta, *cyan, *off;
};

enum colour_mode { COLOUR_AUTO,
	           COLOUR_ALWAYS,
	           COLOUR_NEVER };
bool parse_colour_mode(const char *text, enum colour_mode *mode);
/* AUTO: on when `stream` is a terminal, TERM is not dumb and NO_COLOR is not set. */
const struct palette *palette_for(FILE *stream, enum colour_mode mode);

#endif
