/* SPDX-License-Identifier: BSD-2-Clause */
/* Pieces of command lines. */
#ifndef VISOR_LIB_WORDS_H
#define VISOR_LIB_WORDS_H

#include <stdbool.h>
#include <stdint.h>

/* What follows `prefix` in `s`; NULL when s does not begin with it. */
const char *after_prefix(const char *s, const char *prefix);

/*
 * A decimal or 0x number with an optional K, M or G behind it. `end` is where
 * it must stop; false on anything else and on overflow.
 */
bool parse_size(const char *s, const char *end, uint64_t *out);

#endif
