/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Put a guest's kernel, initrd, modules, command line and firmware tables into
 * its memory and say how its first instruction finds the CPU.
 *
 * Takes Linux bzImages (Linux/x86 boot protocol 2.06 and later), multiboot1
 * images and plain ELF32/ELF64. Images come from outside and may hold
 * anything: every offset and length is checked, and each refusal says why.
 * Freestanding, allocates nothing.
 */
#ifndef VISOR_LOAD_LOAD_H
#define VISOR_LOAD_LOAD_H

#include "visor/load/request.h"

/* True: the guest can start. False: result->reason says why not. */
bool load_guest(const struct load_request *request, struct load_result *result);

/* "linux", "multiboot", "elf32", "elf64", "unknown". */
const char *load_kind_name(enum load_kind kind);

#endif
