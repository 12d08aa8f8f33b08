/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loads by which drivers read device registers: told by their decoded form, and their
 * address. The others are carried out by emulate.h.
 */
#ifndef VISOR_EMULATE_PLAIN_LOAD_H
#define VISOR_EMULATE_PLAIN_LOAD_H

#include "visor/emulate/decoded.h"

/* is_one is false where the instruction is none. */
struct plain_load plain_load_of(const struct decoded *d);

/* The linear address that it reads, from the general registers and the address of the next instruction. */
static inline uint64_t plain_load_address(const struct plain_load *l, const uint64_t *gpr, uint64_t next_rip)
{
	uint64_t address = (uint64_t)l->displacement;

	if (l->base == PLAIN_LOAD_RIP)
		address += next_rip;
	else if (l->base != PLAIN_LOAD_NONE)
		address += gpr[l->base];
	if (l->index != PLAIN_LOAD_NONE)
		address += gpr[l->index] * l->scale;
	return address;
}

#endif
