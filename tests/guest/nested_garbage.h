/* SPDX-License-Identifier: BSD-2-Clause */
/* What a hostile hypervisor gives its CPU: the same values and tables by SVM and by VMX. */
#ifndef NESTED_GARBAGE_H
#define NESTED_GARBAGE_H

#include "guest.h"

/* Of an entry of L1's tables. */
struct garbage_format {
	uint64_t kept;   /* bits that stay random in an entry which is to be walked through, ... */
	uint64_t rights; /* ... those that it then has, ... */
	uint64_t maybe;  /* ... and those that every second one has, too */
	uint64_t leaf;   /* the bit that says it is one */
};

extern uint64_t *garbage; /* a table: its entries lead to the victims, or to itself */
extern uint64_t victims;  /* the only memory that garbage leads to: 2 MiB */

/* Take memory for both, and fill it. */
void garbage_set_up(const struct garbage_format *format);

/* Any value: small, a single bit, among the victims, of a device, of nothing. */
uint64_t garbage_value(void);

/* Entries with any bits, and some words of the victims. */
void garbage_fill(void);

#endif
