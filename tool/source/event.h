/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events of Linux that tell of KVM's tables, and their fields. Fields are taken
 * by name, wherever they stand: in the event's format (tracefs), as "name=value"
 * (trace-cmd report -R), or behind a label in the text that the event prints.
 */
#ifndef TOOL_SOURCE_EVENT_H
#define TOOL_SOURCE_EVENT_H

#include "../base/base.h"

enum event_id {
	EVENT_OTHER,
	EVENT_SPTE_CHANGED,
	EVENT_SET_SPTE,
	EVENT_GET_PAGE,
	EVENT_ZAP_PAGE,
	EVENT_ZAP_ALL,
	EVENT_SPLIT,
	EVENT_FAST_FAULT,
	EVENT_PAGE_FAULT,
	EVENT_EXIT,
	EVENT_ENTRY,
	EVENT_USER_EXIT,
	EVENT_UNMAP,
	EVENT_AGE,
	EVENT_MMIO,
	EVENT_FAST_MMIO,
	EVENT_STACK, /* kernel_stack: of the event before it on the same CPU, which the reader gives it to */
	EVENT_NOTE,  /* a line that vmmu record wrote; in `note` */
	EVENT_LOST,  /* FIELD_COUNT_LOST events of this CPU are missing here */
	EVENT_ID_COUNT
};

enum field_id {
	FIELD_GFN,
	FIELD_LEVEL,
	FIELD_AS_ID,
	FIELD_OLD,
	FIELD_NEW,
	FIELD_SPTE,
	FIELD_SPTEP,
	FIELD_ROLE,
	FIELD_VCPU,
	FIELD_RIP,
	FIELD_ADDRESS,
	FIELD_ERROR,
	FIELD_FIXED,
	FIELD_ERRNO,
	FIELD_START,
	FIELD_END,
	FIELD_REASON,
	FIELD_ISA,
	FIELD_CREATED,
	FIELD_TYPE,
	FIELD_LENGTH,
	FIELD_VALUE,
	FIELD_COUNT_LOST,
	FIELD_ORIGIN, /* enum fact_origin: what the stack of any event tells */
	FIELD_COUNT
};

/* kvm_mmu_page_role, the bits that concern a reader (arch/x86/include/asm/kvm_host.h names them). */
enum {
	ROLE_LEVEL = 0xf,
	ROLE_DIRECT = 1 << 7,
	ROLE_INVALID = 1 << 11,
	ROLE_AD_DISABLED = 1 << 16,
	ROLE_GUEST_MODE = 1 << 17,
	ROLE_SMM_SHIFT = 24,
};

/* Exit reasons that something depends on: SDM vol. 3, appendix C; APM vol. 2, appendix C. */
enum { EXIT_REASON_OTHER = 0xffff,
       VMX_EPT_VIOLATION = 48,
       VMX_EPT_MISCONFIG = 49,
       VMX_HLT = 12,
       SVM_NPF = 0x400,
       SVM_HLT = 0x78 };
enum { ISA_VMX = 1,
       ISA_SVM = 2 };

struct source_event {
	uint64_t time; /* ns */
	uint32_t pid;
	int32_t tgid; /* -1: not known */
	uint32_t cpu;
	enum event_id id;
	uint32_t have; /* which fields there are, one bit each */
	uint64_t field[FIELD_COUNT];
	char comm[16];
	const char *name; /* of the event; valid until the next one */
	const char *note; /* EVENT_NOTE: text behind "vmmu: "; valid until the next one */
};

struct event_field {
	const char *name;  /* in the format, and in "name=value" */
	const char *label; /* what stands before it in the event's text; NULL: as `name` */
	uint8_t id;
	uint8_t base;     /* of the number in the text */
	uint8_t raw_base; /* of the number in "name=value" */
	bool must;        /* without it the event says nothing */
};

enum { EVENT_FIELDS_MAX = 9 };

struct event_kind {
	const char *name;
	struct event_field fields[EVENT_FIELDS_MAX + 1];
};

/* By id; [EVENT_OTHER], [EVENT_STACK], [EVENT_NOTE] and [EVENT_LOST] have no fields. */
extern const struct event_kind event_kinds[EVENT_ID_COUNT];

/* EVENT_OTHER when it is none of them. `name` need not end with a zero. */
enum event_id event_named(const char *name, size_t length);

static inline bool event_has(const struct source_event *event, enum field_id field)
{
	return event->have & 1u << field;
}

static inline void event_set(struct source_event *event, enum field_id field, uint64_t value)
{
	event->field[field] = value;
	event->have |= 1u << field;
}

/* Are all fields there without which the event says nothing? */
bool event_is_whole(const struct source_event *event);

/*
 * fast_page_fault says its result as a number that differs between kernels: make
 * FIELD_FIXED 1 or 0 of it. fixed_code: what the event's own print format compares
 * it with; below 0 when that is not known.
 */
void event_take_result(struct source_event *event, int fixed_code);

/* Fill in the fields from what the event printed: `text` up to `end`. */
void event_read_text(struct source_event *event, const char *text, const char *end);

#endif
