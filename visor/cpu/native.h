/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Execute one instruction of a guest's on this CPU, with the guest's general
 * registers and status flags loaded; its vector and x87 registers are in the CPU all
 * the time. Who calls has made sure that the instruction touches nothing but these
 * and the memory that it was given (visor/emulate/native.c).
 */
#ifndef VISOR_CPU_NATIVE_H
#define VISOR_CPU_NATIVE_H

#include <stdint.h>

struct native_registers {
	uint64_t gpr[16]; /* as enum x86_gpr numbers them; RSP is neither loaded nor stored */
	uint64_t rflags;  /* status flags alone */
};

#define NATIVE_DONE (-1)
#define NATIVE_CODE_BYTES 64u

/*
 * Call `code`, which ends in a near return, with these registers. NATIVE_DONE; or,
 * when an exception has led to native_recover with its vector in RAX, that vector:
 * then the registers are as they were.
 */
int native_run(struct native_registers *registers, const void *code);
extern const uint8_t native_recover[];

/* Room for such code in the image, executable; the exceptions of what is in it are recovered from. */
extern uint8_t native_code[NATIVE_CODE_BYTES];

#endif
