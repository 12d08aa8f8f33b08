/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What bytes mean as an instruction. Working that out costs many times what most
 * instructions do, and the same few come again and again: those that drive a
 * device, write page tables, or turn in a loop. So what was decoded is kept, and
 * found by the bytes themselves: these are read anew each time, so that code
 * which changes is seen to change.
 */
#ifndef VISOR_EMULATE_DECODE_H
#define VISOR_EMULATE_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/cpu/state.h"
#include "visor/emulate/result.h"

struct decoded;

/*
 * Decode the instruction that `bytes` (`count` of them) begin with, in the mode
 * of `cpu`: EMULATE_DONE, _TRUNCATED or _INVALID. *out is valid until the next
 * call. Not locked: there is one vCPU.
 */
enum emulate_result decode(const struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count,
                           const struct decoded **out);

/*
 * The same for 64-bit code of which the next sixteen bytes are at hand, all in one page. The
 * instruction; NULL: none begins there.
 */
const struct decoded *decode_64bit_code(const uint8_t *bytes);

/*
 * Length in bytes of the instruction, for exits that do not report it.
 * 0: not an instruction, or not all of it is there.
 */
unsigned instruction_length(const struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count);

/* Decode `count` bytes as 64-bit code, without keeping it. False: they are no instruction. */
bool decode_64bit(const uint8_t *bytes, unsigned count, struct decoded *out);

/* How many were not found in the cache, ever. */
uint64_t decode_misses(void);

#endif
