/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Phases of a guest's run, as the guest marks them at TEST_PHASE_PORT: what was
 * counted in each. Kept until the VM's end, so that telling of one costs the
 * next nothing.
 */
#ifndef VISOR_VM_PHASES_H
#define VISOR_VM_PHASES_H

#include <stdint.h>

struct vm;

/*
 * What has been counted since the last mark, or since the start, is phase
 * `number`; 0: of none. The VM fails when there are more than are kept.
 */
void phases_mark(struct vm *vm, uint8_t number);

/* One event for each phase, in order (docs/visor.md). */
void phases_write(struct vm *vm);

void phases_free(struct vm *vm);

#endif
