/* SPDX-License-Identifier: BSD-2-Clause */
/* Events that are delivered to a guest, and what becomes of one whose delivery meets an exception. */
#ifndef VISOR_CPU_EVENT_H
#define VISOR_CPU_EVENT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * An event to deliver at the next entry, in the layout that VMX (SDM vol. 3,
 * 25.8.3, table 25-17) and SVM (APM vol. 2, 15.20) share but for bit 11, which is "error
 * code valid" in both: vector 7:0, type 10:8, error code valid 11, valid 31.
 */
#define EVENT_VALID (1u << 31)
#define EVENT_HAS_ERROR (1u << 11)
#define EVENT_TYPE_MASK (7u << 8)
#define EVENT_EXTERNAL (0u << 8)
#define EVENT_NMI (2u << 8)
#define EVENT_EXCEPTION (3u << 8)
#define EVENT_SOFTWARE_INTERRUPT (4u << 8)
#define EVENT_PRIVILEGED_SOFTWARE (5u << 8) /* VMX only: INT1 */
#define EVENT_SOFTWARE_EXCEPTION (6u << 8)  /* VMX only: INT3, INTO */

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
bool event_is_nmi(uint32_t event);

/* A fault puts RF into the flags that its delivery saves (SDM vol. 3, 18.3.1.1). */
bool event_is_fault(uint32_t event);

#endif
