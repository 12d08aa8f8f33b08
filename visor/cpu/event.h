/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of an event whose delivery meets an exception. Events as in visor/cpu/vcpu.h. */
#ifndef VISOR_CPU_EVENT_H
#define VISOR_CPU_EVENT_H

#include <stdbool.h>
#include <stdint.h>

enum event_outcome {
	EVENT_DELIVER_SECOND,
	EVENT_DOUBLE_FAULT,
	EVENT_SHUTDOWN,
};

/* `first` (0: none) was being delivered when exception `vector` came (SDM vol. 3, table 6-5). */
enum event_outcome event_meets(uint32_t first, unsigned vector);

/*
 * Is `first` lost unless it is delivered later on? Exceptions and software
 * interrupts come again by themselves: their instruction is executed again.
 */
bool event_must_be_kept(uint32_t first);

#endif
