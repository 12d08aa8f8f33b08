/* SPDX-License-Identifier: BSD-2-Clause */
/* The ways in which a hypervisor's fault handler writes an entry of its tables. */
#ifndef NESTED_STORES_H
#define NESTED_STORES_H

#include "guest.h"

unsigned entry_stores(void);
/* Write it in that way, and check what else the instruction leaves: registers, flags. */
void entry_store(unsigned way, volatile uint64_t *entry, uint64_t value);

#endif
