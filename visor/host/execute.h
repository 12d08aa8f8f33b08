/* SPDX-License-Identifier: BSD-2-Clause */
/* Code that is made while the visor runs: one instruction at a time. */
#ifndef VISOR_HOST_EXECUTE_H
#define VISOR_HOST_EXECUTE_H

#include "visor/cpu/native.h"

/*
 * Put `bytes` (at most NATIVE_CODE_BYTES, ending in a near return) where code may be,
 * and call them with these registers. As native_run: NATIVE_DONE, or the exception's
 * vector. Interrupts are off.
 */
int execute_code(const uint8_t *code, unsigned bytes, struct native_registers *registers);

#endif
