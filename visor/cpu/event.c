/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/cpu/event.h"

#include "visor/cpu/x86.h"

/* SDM vol. 3, table 6-4 "Interrupt and Exception Classes". */
enum class { BENIGN,
	     CONTRIBUTORY,
	     PAGE_FAULT,
	     DOUBLE_FAULT };

static enum class event_class_of(unsigned vector) {
	switch (vector){
		case X86_DE :
			case X86_TS ... X86_GP :
				case X86_CP :
					return CONTRIBUTORY;
		case X86_PF :
			return PAGE_FAULT;
		case X86_DF :
			return DOUBLE_FAULT;
		default :
			return BENIGN;
	}
}

enum event_outcome event_meets(uint32_t first, unsigned vector)
{
	bool exception = (first & (EVENT_VALID | EVENT_TYPE_MASK)) == (EVENT_VALID | EVENT_EXCEPTION);
	enum class second = event_class_of(vector);

	if (!exception || second == BENIGN)
		return EVENT_DELIVER_SECOND;
	switch (event_class_of(first & 0xff)) {
	case DOUBLE_FAULT:
		return EVENT_SHUTDOWN;
	case PAGE_FAULT:
		return EVENT_DOUBLE_FAULT;
	case CONTRIBUTORY:
		return second == PAGE_FAULT ? EVENT_DELIVER_SECOND : EVENT_DOUBLE_FAULT;
	default:
		return EVENT_DELIVER_SECOND;
	}
}

bool event_must_be_kept(uint32_t first)
{
	return (first & (EVENT_VALID | EVENT_TYPE_MASK)) == (EVENT_VALID | EVENT_EXTERNAL);
}

bool event_is_nmi(uint32_t event)
{
	return (event & (EVENT_VALID | EVENT_TYPE_MASK)) == (EVENT_VALID | EVENT_NMI);
}

bool event_is_fault(uint32_t event)
{
	unsigned vector = event & 0xff;

	return (event & (EVENT_VALID | EVENT_TYPE_MASK)) == (EVENT_VALID | EVENT_EXCEPTION) && vector != X86_DB &&
	       vector != X86_BP && vector != X86_OF && vector != X86_DF && vector != X86_MC;
}
