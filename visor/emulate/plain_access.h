/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loads by which drivers read device registers, and the stores by which hypervisors and kernels
 * write an entry of a table: told by their decoded form, and their address. The others are carried
 * out by emulate.h.
 */
#ifndef VISOR_EMULATE_PLAIN_ACCESS_H
#define VISOR_EMULATE_PLAIN_ACCESS_H

#include "visor/emulate/decoded.h"

/* Its kind is PLAIN_NONE where the instruction is none. */
struct plain_access plain_access_of(const struct decoded *d);

/* The linear address of its memory operand, from the general registers and the address of the next instruction. */
static inline uint64_t plain_address(const struct plain_access *p, const uint64_t *gpr, uint64_t next_rip)
{
	uint64_t address = (uint64_t)p->displacement;

	if (p->base == PLAIN_RIP)
		address += next_rip;
	else if (p->base != PLAIN_NO_REGISTER)
		address += gpr[p->base];
	if (p->index != PLAIN_NO_REGISTER)
		address += gpr[p->index] * p->scale;
	return address;
}

/*
 * Carry out one that stores, of 64 bits, at `entry`, which is aligned: in one step, as the CPU would. The
 * register operand, RAX and the flags change as the instruction says. True: it has stored something.
 */
bool plain_store(const struct plain_access *p, volatile uint64_t *entry, uint64_t *gpr, uint64_t *rflags);

#endif
