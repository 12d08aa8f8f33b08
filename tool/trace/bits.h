/* SPDX-License-Identifier: BSD-2-Clause */
/* An entry taken apart, bit by bit, with the manuals' names. */
#ifndef TOOL_BITS_H
#define TOOL_BITS_H

#include <vmmu/vmmu.h>

/* Print a line for each field of `entry`: place, value, name, and who reads it. `indent` blanks stand before each. */
void bits_print(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry, unsigned indent);

#endif
