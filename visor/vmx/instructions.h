/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX instructions as C functions (SDM vol. 3, chapter 31). */
#ifndef VISOR_VMX_INSTRUCTIONS_H
#define VISOR_VMX_INSTRUCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/vmx/vmcs.h"

static inline uint64_t vmread(enum vmcs_field field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0"
	                 : "=rm"(value)
	                 : "r"((uint64_t)field)
	                 : "cc");
	return value;
}

/* A field that this CPU lacks is an error of the visor's: the control that wants it was checked. */
static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
	__asm__ volatile("vmwrite %1, %0"
	                 :
	                 : "r"((uint64_t)field), "rm"(value)
	                 : "cc", "memory");
}

static inline bool vmxon(uint64_t region)
{
	uint8_t failed;

	__asm__ volatile("vmxon %1; setbe %0"
	                 : "=qm"(failed)
	                 : "m"(region)
	                 : "cc", "memory");
	return !failed;
}

static inline bool vmclear(uint64_t vmcs)
{
	uint8_t failed;

	__asm__ volatile("vmclear %1; setbe %0"
	                 : "=qm"(failed)
	                 : "m"(vmcs)
	                 : "cc", "memory");
	return !failed;
}

static inline bool vmptrld(uint64_t vmcs)
{
	uint8_t failed;

	__asm__ volatile("vmptrld %1; setbe %0"
	                 : "=qm"(failed)
	                 : "m"(vmcs)
	                 : "cc", "memory");
	return !failed;
}

#endif
