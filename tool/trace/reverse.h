/* SPDX-License-Identifier: BSD-2-Clause */
/* The reverse map, worked out from the tables: which entries map one guest page. */
#ifndef TOOL_REVERSE_H
#define TOOL_REVERSE_H

#include "replay.h"

/* Call `fn` for each leaf of the VM that maps gfn; `table` holds it at `index`. In the order of the tables' addresses. */
typedef void (*reverse_fn)(void *arg, const struct replay_table *table, unsigned index);
void reverse_map(const struct replay_vm *vm, uint64_t gfn, reverse_fn fn, void *arg);

#endif
