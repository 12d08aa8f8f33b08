/* SPDX-License-Identifier: BSD-2-Clause */
#include "event.h"

#include <ctype.h>
#include <string.h>

#include "exit_reason.h"

#define HEX(id_, name_, label_) \
	{ \
		.id = id_, .name = name_, .label = label_, .base = 16, .raw_base = 16 \
	}
#define DEC(id_, name_, label_) \
	{ \
		.id = id_, .name = name_, .label = label_, .base = 10, .raw_base = 10 \
	}
#define MUST_HEX(id_, name_, label_) \
	{ \
		.id = id_, .name = name_, .label = label_, .base = 16, .raw_base = 16, .must = true \
	}
#define MUST_DEC(id_, name_, label_) \
	{ \
		.id = id_, .name = name_, .label = label_, .base = 10, .raw_base = 10, .must = true \
	}

/*
 * trace-cmd prints a field raw as the event's own print format does, if it could
 * read that format: hexadecimal then without 0x. It cannot read the format of
 * kvm_mmu_get_page and kvm_mmu_prepare_zap_page, and prints theirs in decimal.
 */
const struct event_kind event_kinds[EVENT_ID_COUNT] = {
	[EVENT_OTHER] = {"other", {{0}}},
	[EVENT_SPTE_CHANGED] = {"kvm_tdp_mmu_spte_changed", {DEC(FIELD_AS_ID, "as_id", "as id"), MUST_HEX(FIELD_GFN, "gfn", NULL), MUST_DEC(FIELD_LEVEL, "level", NULL), MUST_HEX(FIELD_OLD, "old_spte", NULL), MUST_HEX(FIELD_NEW, "new_spte", NULL)}},
	[EVENT_SET_SPTE] = {"kvm_mmu_set_spte", {MUST_HEX(FIELD_GFN, "gfn", NULL), MUST_HEX(FIELD_SPTE, "spte", NULL), MUST_DEC(FIELD_LEVEL, "level", NULL), MUST_HEX(FIELD_SPTEP, "sptep", "at")}},
	[EVENT_GET_PAGE] = {"kvm_mmu_get_page", {MUST_DEC(FIELD_GFN, "gfn", NULL), MUST_DEC(FIELD_ROLE, "role", NULL), DEC(FIELD_CREATED, "created", NULL)}},
	[EVENT_ZAP_PAGE] = {"kvm_mmu_prepare_zap_page", {MUST_DEC(FIELD_GFN, "gfn", NULL), MUST_DEC(FIELD_ROLE, "role", NULL)}},
	[EVENT_ZAP_ALL] = {"kvm_mmu_zap_all_fast", {{0}}},
	[EVENT_SPLIT] = {"kvm_mmu_split_huge_page", {MUST_HEX(FIELD_GFN, "gfn", NULL), HEX(FIELD_SPTE, "spte", NULL), MUST_DEC(FIELD_LEVEL, "level", NULL), DEC(FIELD_ERRNO, "errno", NULL)}},
	[EVENT_FAST_FAULT] = {"fast_page_fault", {DEC(FIELD_VCPU, "vcpu_id", "vcpu"), MUST_HEX(FIELD_ADDRESS, "cr2_or_gpa", "gva"), HEX(FIELD_SPTEP, "sptep", NULL), MUST_HEX(FIELD_OLD, "old_spte", "old"), MUST_HEX(FIELD_NEW, "new_spte", "new"), MUST_DEC(FIELD_FIXED, "ret", "fixed")}},
	[EVENT_PAGE_FAULT] = {"kvm_page_fault", {DEC(FIELD_VCPU, "vcpu_id", "vcpu"), HEX(FIELD_RIP, "guest_rip", "rip"), MUST_HEX(FIELD_ADDRESS, "fault_address", "address"), HEX(FIELD_ERROR, "error_code", NULL)}},
	[EVENT_EXIT] = {"kvm_exit", {DEC(FIELD_VCPU, "vcpu_id", "vcpu"), DEC(FIELD_REASON, "exit_reason", NULL), HEX(FIELD_RIP, "guest_rip", "rip"), DEC(FIELD_ISA, "isa", NULL)}},
	[EVENT_ENTRY] = {"kvm_entry", {DEC(FIELD_VCPU, "vcpu_id", "vcpu"), HEX(FIELD_RIP, "rip", NULL)}},
	[EVENT_USER_EXIT] = {"kvm_userspace_exit", {DEC(FIELD_REASON, "reason", NULL), DEC(FIELD_ERRNO, "errno", NULL)}},
	[EVENT_UNMAP] = {"kvm_unmap_hva_range", {MUST_HEX(FIELD_START, "start", "range:"), HEX(FIELD_END, "end", "--")}},
	[EVENT_AGE] = {"kvm_age_hva", {MUST_HEX(FIELD_START, "start", "hva:"), HEX(FIELD_END, "end", "--")}},
	[EVENT_MMIO] = {"kvm_mmio", {DEC(FIELD_TYPE, "type", NULL), DEC(FIELD_LENGTH, "len", NULL), MUST_HEX(FIELD_ADDRESS, "gpa", NULL), HEX(FIELD_VALUE, "val", NULL)}},
	[EVENT_FAST_MMIO] = {"kvm_fast_mmio", {MUST_HEX(FIELD_ADDRESS, "gpa", NULL)}},
	[EVENT_STACK] = {"kernel_stack", {{0}}},
	[EVENT_NOTE] = {"print", {{0}}},
	[EVENT_LOST] = {"lost", {{0}}},
};

static bool equals(const char *text, size_t length, const char *name)
{
	return strlen(name) == length && memcmp(text, name, length) == 0;
}

enum event_id event_named(const char *name, size_t length)
{
	/* Most events of a trace are the first one, or not wanted. */
	for (unsigned id = EVENT_OTHER + 1; id < EVENT_NOTE; id++)
		if (equals(name, length, event_kinds[id].name))
			return (enum event_id)id;
	if (equals(name, length, "print") || equals(name, length, "tracing_mark_write"))
		return EVENT_NOTE;
	return EVENT_OTHER;
}

bool event_is_whole(const struct source_event *event)
{
	for (const struct event_field *field = event_kinds[event->id].fields; field->name; field++)
		if (field->must && !event_has(event, (enum field_id)field->id))
			return false;
	return true;
}

/* Value of a digit, and 1; 0 = it is none. */
static const uint8_t digits[256] = {
	['0'] = 1,
	2,
	3,
	4,
	5,
	6,
	7,
	8,
	9,
	10,
	['A'] = 11,
	12,
	13,
	14,
	15,
	16,
	['a'] = 11,
	12,
	13,
	14,
	15,
	16,
};

/* A number at `text`; its end, or NULL when there is none or it does not fit. */
static const char *read_number(const char *text, const char *end, unsigned base, uint64_t *value)
{
	const char *start;
	bool minus = false;
	uint64_t n = 0;
	uint8_t digit;

	if (text < end && *text == '-') {
		minus = true;
		text++;
	}
	if (end - text > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
		base = 16;
		text += 2;
	}
	start = text;
	if (base == 16) {
		for (; text < end && (digit = digits[(uint8_t)*text]) != 0; text++) {
			if (n >> 60)
				return NULL;
			n = n << 4 | (digit - 1u);
		}
	} else {
		for (; text < end && (digit = digits[(uint8_t)*text]) != 0 && digit <= 10; text++) {
			if (n > (UINT64_MAX - 9) / 10)
				return NULL;
			n = n * 10 + (digit - 1u);
		}
	}
	*value = minus ? 0 - n : n;
	return text > start ? text : NULL;
}

/* Where what follows the word `label` begins, looked for from `text` on. NULL: not there. */
static const char *behind(const char *label, const char *start, const char *text, const char *end)
{
	size_t length = strlen(label);

	while ((size_t)(end - text) > length) {
		const char *at = memchr(text, label[0], (size_t)(end - text) - length);

		if (!at)
			return NULL;
		if (memcmp(at, label, length) == 0 && (at == start || at[-1] == ' ')) {
			const char *to = at + length;

			if (*to == ' ' || *to == '=' || label[length - 1] == ':')
				return to + (*to == ' ' || *to == '=');
		}
		text = at + 1;
	}
	return NULL;
}

static void read_fields(struct source_event *event, const char *text, const char *end, bool raw)
{
	const char *from = text;

	for (const struct event_field *field = event_kinds[event->id].fields; field->name; field++) {
		const char *label = raw || !field->label ? field->name : field->label, *at;
		uint64_t value;

		at = behind(label, text, from, end);
		if (!at && from != text)
			at = behind(label, text, text, end);
		if (!at)
			continue;
		while (at < end && *at == ' ')
			at++;
		at = read_number(at, end, raw ? field->raw_base : field->base, &value);
		if (!at)
			continue;
		event_set(event, (enum field_id)field->id, value);
		from = at;
	}
}

/* "name=value" from the first word on, as trace-cmd prints what it cannot or shall not format. */
static bool is_raw(const char **text, const char *end)
{
	static const char failed[] = "[FAILED TO PARSE]";
	const char *at = *text;

	if ((size_t)(end - at) > sizeof(failed) && memcmp(at, failed, sizeof(failed) - 1) == 0)
		at += sizeof(failed) - 1;
	while (at < end && *at == ' ')
		at++;
	*text = at;
	while (at < end && (isalnum((unsigned char)*at) || *at == '_'))
		at++;
	return at > *text && at < end && *at == '=';
}

/*
 * "sp gen 0 gfn 400 l1 8-byte q0 direct wux nxe ad root 0 sync new", or from an old
 * plugin of trace-cmd "new sp gfn 400 1 q0 direct wux !pae nxe wp root 0 sync".
 */
static void read_page_text(struct source_event *event, const char *text, const char *end)
{
	const char *at = behind("gfn", text, text, end);
	uint64_t gfn, level;

	at = at ? read_number(at, end, 16, &gfn) : NULL;
	if (!at || at == end)
		return;
	at++;
	if (at < end && *at == 'l')
		at++;
	at = read_number(at, end, 10, &level);
	if (!at || level > ROLE_LEVEL)
		return;
	event_set(event, FIELD_GFN, gfn);
	level |= behind("direct", text, at, end) ? ROLE_DIRECT : 0;
	level |= behind("invalid", text, at, end) ? ROLE_INVALID : 0;
	level |= behind("!ad", text, at, end) ? ROLE_AD_DISABLED : 0;
	event_set(event, FIELD_ROLE, level);
	if (end - text > 3)
		event_set(event, FIELD_CREATED, memcmp(text, "new", 3) == 0 || memcmp(end - 3, "new", 3) == 0);
}

/*
 * RET_PF_FIXED is 5 since Linux 6.9 and 4 before. Then 4 stands for "invalid",
 * which leaves the entry alone.
 */
void event_take_result(struct source_event *event, int fixed_code)
{
	uint64_t result = event->field[FIELD_FIXED];
	bool fixed = fixed_code >= 0 ? result == (uint64_t)fixed_code : result == 4 || result == 5;

	event->field[FIELD_FIXED] = fixed && event->field[FIELD_OLD] != event->field[FIELD_NEW];
}

static bool contains(const char *text, const char *end, const char *part)
{
	return memmem(text, (size_t)(end - text), part, strlen(part)) != NULL;
}

/* The reason stands there by name, "EPT_VIOLATION rip 0x..." or "PF excp rip 0x...". */
static void read_exit_reason(struct source_event *event, const char *text, const char *end)
{
	const char *at = behind("reason", text, text, end), *stop;
	uint64_t reason = EXIT_REASON_OTHER;
	unsigned isa = 0;

	if (!at)
		return;
	stop = memmem(at, (size_t)(end - at), " rip ", 5);
	exit_reason_find(at, (size_t)((stop ? stop : end) - at), &reason);
	stop = memchr(at, ' ', (size_t)(end - at));
	stop = stop ? stop : end;
	if (contains(at, stop, "EPT_VIOLATION")) {
		reason = VMX_EPT_VIOLATION;
		isa = ISA_VMX;
	} else if (contains(at, stop, "EPT_MISCONFIG")) {
		reason = VMX_EPT_MISCONFIG;
		isa = ISA_VMX;
	} else if (contains(at, stop, "npf") || contains(at, stop, "NPF")) {
		reason = SVM_NPF;
		isa = ISA_SVM;
	} else if (contains(at, stop, "hlt")) {
		reason = SVM_HLT;
		isa = ISA_SVM;
	} else if (contains(at, stop, "HLT")) {
		reason = contains(at, stop, "EXIT_HLT") ? SVM_HLT : VMX_HLT;
	}
	event_set(event, FIELD_REASON, reason);
	if (isa)
		event_set(event, FIELD_ISA, isa);
}

static void read_mmio_type(struct source_event *event, const char *text, const char *end)
{
	if (contains(text, end, "unsatisfied"))
		event_set(event, FIELD_TYPE, 0);
	else if (contains(text, end, "mmio read"))
		event_set(event, FIELD_TYPE, 1);
	else if (contains(text, end, "mmio write"))
		event_set(event, FIELD_TYPE, 2);
}

/* "reason KVM_EXIT_IO (2)", "reason error 14" */
static void read_user_exit(struct source_event *event, const char *text, const char *end)
{
	const char *at = memchr(text, '(', (size_t)(end - text));
	uint64_t value;

	if (at && read_number(at + 1, end, 10, &value))
		event_set(event, FIELD_REASON, value);
	at = behind("error", text, text, end);
	if (at && read_number(at, end, 10, &value))
		event_set(event, FIELD_ERRNO, value);
}

void event_read_text(struct source_event *event, const char *text, const char *end)
{
	bool raw = is_raw(&text, end);

	if (raw) {
		read_fields(event, text, end, true);
		if (event->id == EVENT_FAST_FAULT)
			event_take_result(event, -1);
		return;
	}
	switch (event->id) {
	case EVENT_GET_PAGE:
	case EVENT_ZAP_PAGE:
		read_page_text(event, text, end);
		return;
	case EVENT_USER_EXIT:
		read_user_exit(event, text, end);
		return;
	case EVENT_EXIT:
		read_fields(event, text, end, false);
		read_exit_reason(event, text, end);
		return;
	case EVENT_MMIO:
		read_fields(event, text, end, false);
		read_mmio_type(event, text, end);
		return;
	default:
		read_fields(event, text, end, false);
	}
}
