/* SPDX-License-Identifier: BSD-2-Clause */
/* The instruction that has just exited, for CPUs that do not tell its length. */
#ifndef VISOR_VM_CODE_H
#define VISOR_VM_CODE_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/*
 * Where the byte at `gva` of 64-bit code lies, for one that the CPU has just fetched: its
 * walk from CR3 has found all rights and has set all accessed bits, so that only the
 * addresses remain to be read. Good until the guest runs again. NULL: something is not as it
 * would have to be for that, or its page is no RAM.
 */
const uint8_t *code_just_fetched(struct vm *vm, uint64_t cr3, bool five_levels, uint64_t gva);

#endif
