/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Carry out one instruction that touched memory the CPU could not reach:
 * device memory, or a read-only slot.
 */
#ifndef VISOR_EMULATE_EMULATE_H
#define VISOR_EMULATE_EMULATE_H

#include <stdint.h>

#include "visor/cpu/state.h"
#include "visor/emulate/result.h"
#include "visor/emulate/translate.h"

/*
 * Decode `bytes` (what is at CS:RIP, `count` of them) and carry it out on
 * `cpu`. Each access is translated by the guest's own tables and then goes to
 * memory->read or ->write, which tell RAM from devices. `gpa` is where the
 * CPU saw the access fail: with a single memory operand inside one page it is
 * used as it is and no walk is made; UINT64_MAX = not known.
 *
 * One device access per element; an operand that crosses a page is split.
 * LOCK is honoured in that nothing else runs meanwhile (one vCPU).
 */
enum emulate_result emulate_instruction(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                        const uint8_t *bytes, unsigned count, uint64_t gpa,
                                        struct emulate_info *info);

/*
 * The linear address that INVLPG names, which accesses nothing there; `cpu` has all
 * registers. False: it is no INVLPG, or not all of it is there.
 */
bool instruction_address(struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count, uint64_t *gva);

/* "done", "again", "page-fault" ... */
const char *emulate_result_name(enum emulate_result result);

#endif
