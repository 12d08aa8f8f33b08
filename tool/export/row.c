/* SPDX-License-Identifier: BSD-2-Clause */
#include "row.h"

#include <stdlib.h>

#include <vmmu/vmmu.h>

#include "../kvm/exit_name.h"
#include "../source/event.h"

/* ---- names of values ------------------------------------------------------------------------ */

static const char *label_of_kind(unsigned kind)
{
	return kind == FACT_NONE ? NULL : fact_kind_name(kind);
}

static const char *label_of_entry(unsigned kind)
{
	static const char *const names[] = {
		[KVM_ENTRY_EMPTY] = "empty",
		[KVM_ENTRY_REMOVED] = "removed",
		[KVM_ENTRY_TABLE] = "table",
		[KVM_ENTRY_LEAF] = "leaf",
		[KVM_ENTRY_MMIO] = "mmio",
		[KVM_ENTRY_OTHER] = "other",
	};

	return kind < ARRAY_SIZE(names) ? names[kind] : NULL;
}

static const char *label_of_cause(unsigned cause)
{
	const char *name = fact_cause_name(cause);

	return *name == '?' ? NULL : name;
}

static const char *label_of_result(unsigned result)
{
	return result < VMMU_FAULT_RESULT_COUNT ? vmmu_fault_result_name((enum vmmu_fault_result)result) : NULL;
}

enum export_access {
	EXPORT_READ,
	EXPORT_WRITE,
	EXPORT_FETCH,
	EXPORT_READ_PENDING,
	EXPORT_WRITE_FAST,
	EXPORT_ACCESSES
};

static const char *label_of_access(unsigned access)
{
	static const char *const names[EXPORT_ACCESSES] = {
		[EXPORT_READ] = "read",
		[EXPORT_WRITE] = "write",
		[EXPORT_FETCH] = "fetch",
		[EXPORT_READ_PENDING] = "read-pending",
		[EXPORT_WRITE_FAST] = "fast-write",
	};

	return access < EXPORT_ACCESSES ? names[access] : NULL;
}

static const char *label_of_known(unsigned known)
{
	return known < FACT_KNOWN_COUNT ? fact_known_name(known) : NULL;
}

static const char *label_of_origin(unsigned origin)
{
	return origin < FACT_ORIGIN_COUNT ? fact_origin_name(origin) : NULL;
}

/* ---- columns --------------------------------------------------------------------------------- */

const struct column_info column_info[COLUMN_COUNT] = {
	[COLUMN_NUMBER] = {"number", FORM_NUMBER, NULL, 0},
	[COLUMN_TIME] = {"time", FORM_NUMBER, NULL, 0},
	[COLUMN_EVENT] = {"event", FORM_LABEL, label_of_kind, FACT_KIND_COUNT},
	[COLUMN_VM] = {"vm", FORM_NUMBER, NULL, 0},
	[COLUMN_VCPU] = {"vcpu", FORM_SIGNED, NULL, 0},
	[COLUMN_TID] = {"tid", FORM_SIGNED, NULL, 0},
	[COLUMN_THREAD] = {"thread", FORM_TEXT, NULL, 0},
	[COLUMN_ADDRESS] = {"address", FORM_HEX, NULL, 0},
	[COLUMN_LEVEL] = {"level", FORM_NUMBER, NULL, 0},
	[COLUMN_ROOT] = {"root", FORM_NUMBER, NULL, 0},
	[COLUMN_TABLE] = {"table", FORM_HEX, NULL, 0},
	[COLUMN_OLD] = {"old", FORM_HEX, NULL, 0},
	[COLUMN_NEW] = {"new", FORM_HEX, NULL, 0},
	[COLUMN_OLD_KIND] = {"old_kind", FORM_LABEL, label_of_entry, KVM_ENTRY_OTHER + 1},
	[COLUMN_NEW_KIND] = {"new_kind", FORM_LABEL, label_of_entry, KVM_ENTRY_OTHER + 1},
	[COLUMN_HPA] = {"hpa", FORM_HEX, NULL, 0},
	[COLUMN_CAUSE] = {"cause", FORM_LABEL, label_of_cause, FACT_CAUSE_END},
	[COLUMN_KNOWN] = {"known", FORM_LABEL, label_of_known, FACT_KNOWN_COUNT},
	[COLUMN_UNEXPLAINED] = {"unexplained", FORM_FLAG, NULL, 0},
	[COLUMN_AFTER_LOSS] = {"after_loss", FORM_FLAG, NULL, 0},
	[COLUMN_ORIGIN] = {"origin", FORM_LABEL, label_of_origin, FACT_ORIGIN_COUNT},
	[COLUMN_FAULT] = {"fault", FORM_SIGNED, NULL, 0},
	[COLUMN_ACCESS] = {"access", FORM_LABEL, label_of_access, EXPORT_ACCESSES},
	[COLUMN_ERROR_CODE] = {"error_code", FORM_HEX, NULL, 0},
	[COLUMN_PRESENT] = {"present", FORM_FLAG, NULL, 0},
	[COLUMN_PAGE_WALK] = {"page_walk", FORM_FLAG, NULL, 0},
	[COLUMN_RIP] = {"rip", FORM_HEX, NULL, 0},
	[COLUMN_FUNCTION] = {"function", FORM_TEXT, NULL, 0},
	[COLUMN_RESULT] = {"result", FORM_LABEL, label_of_result, VMMU_FAULT_RESULT_COUNT},
	[COLUMN_REASON] = {"reason", FORM_NUMBER, NULL, 0},
	[COLUMN_REASON_NAME] = {"reason_name", FORM_TEXT, NULL, 0},
	[COLUMN_ERRNO] = {"errno", FORM_SIGNED, NULL, 0},
	[COLUMN_HVA] = {"hva", FORM_HEX, NULL, 0},
	[COLUMN_HVA_END] = {"hva_end", FORM_HEX, NULL, 0},
	[COLUMN_LENGTH] = {"length", FORM_NUMBER, NULL, 0},
	[COLUMN_VALUE] = {"value", FORM_HEX, NULL, 0},
	[COLUMN_SLOT] = {"slot", FORM_NUMBER, NULL, 0},
	[COLUMN_PAGES] = {"pages", FORM_NUMBER, NULL, 0},
	[COLUMN_ROLE] = {"role", FORM_HEX, NULL, 0},
	[COLUMN_LOST] = {"lost", FORM_NUMBER, NULL, 0},
	[COLUMN_CPU] = {"cpu", FORM_NUMBER, NULL, 0},
};

#define COLUMNS(...) \
	(const uint8_t[]) { __VA_ARGS__, COLUMN_COUNT }
#define OF_WRITE \
	COLUMN_ADDRESS, COLUMN_LEVEL, COLUMN_ROOT, COLUMN_TABLE, COLUMN_OLD, COLUMN_NEW, COLUMN_OLD_KIND, \
		COLUMN_NEW_KIND, COLUMN_HPA, COLUMN_CAUSE, COLUMN_KNOWN, COLUMN_UNEXPLAINED, COLUMN_AFTER_LOSS, \
		COLUMN_ORIGIN, COLUMN_FAULT
/* One whose old value nobody tells. */
#define OF_VALUE \
	COLUMN_ADDRESS, COLUMN_LEVEL, COLUMN_ROOT, COLUMN_TABLE, COLUMN_NEW, COLUMN_NEW_KIND, COLUMN_HPA, COLUMN_KNOWN, \
		COLUMN_FAULT

static const uint8_t *const columns_of[FACT_KIND_COUNT] = {
	[FACT_WRITE] = COLUMNS(OF_WRITE),
	[FACT_FOUND] = COLUMNS(OF_VALUE),
	[FACT_SET] = COLUMNS(OF_VALUE, COLUMN_CAUSE),
	[FACT_FAULT] = COLUMNS(COLUMN_ADDRESS, COLUMN_ACCESS, COLUMN_ERROR_CODE, COLUMN_PRESENT, COLUMN_PAGE_WALK, COLUMN_RIP,
                               COLUMN_FUNCTION),
	[FACT_FAULT_END] = COLUMNS(COLUMN_FAULT, COLUMN_ADDRESS, COLUMN_RESULT),
	[FACT_TABLE] = COLUMNS(COLUMN_ADDRESS, COLUMN_LEVEL, COLUMN_TABLE, COLUMN_ROLE, COLUMN_FAULT),
	[FACT_TABLE_ZAP] = COLUMNS(COLUMN_ADDRESS, COLUMN_LEVEL, COLUMN_TABLE, COLUMN_ROLE, COLUMN_CAUSE, COLUMN_ORIGIN,
                                   COLUMN_FAULT),
	[FACT_ZAP_ALL] = COLUMNS(COLUMN_ORIGIN),
	[FACT_UNMAP] = COLUMNS(COLUMN_HVA, COLUMN_HVA_END, COLUMN_ORIGIN),
	[FACT_AGE] = COLUMNS(COLUMN_HVA, COLUMN_HVA_END, COLUMN_ORIGIN),
	[FACT_EXIT] = COLUMNS(COLUMN_REASON, COLUMN_REASON_NAME, COLUMN_RIP, COLUMN_FUNCTION),
	[FACT_ENTRY] = COLUMNS(COLUMN_RIP, COLUMN_FUNCTION, COLUMN_FAULT),
	[FACT_USER_EXIT] = COLUMNS(COLUMN_REASON, COLUMN_ERRNO, COLUMN_FAULT),
	[FACT_MMIO] = COLUMNS(COLUMN_ADDRESS, COLUMN_ACCESS, COLUMN_LENGTH, COLUMN_VALUE, COLUMN_FAULT),
	[FACT_LOST] = COLUMNS(COLUMN_LOST, COLUMN_CPU),
	[FACT_SLOT] = COLUMNS(COLUMN_SLOT, COLUMN_ADDRESS, COLUMN_PAGES, COLUMN_HVA),
};

const uint8_t *row_columns(unsigned kind)
{
	return kind < FACT_KIND_COUNT ? columns_of[kind] : NULL;
}

/* ---- facts ------------------------------------------------------------------------------------ */

bool row_wanted(const struct rows *rows, uint64_t number)
{
	const struct fact *fact = model_fact(rows->ask->model, number);

	if (!row_columns(fact->kind))
		return false;
	return fact->kind == FACT_LOST || ask_wants(rows->ask, fact);
}

void rows_init(struct rows *rows, const struct ask *ask)
{
	uint64_t left = ask->last;

	*rows = (struct rows){.ask = ask, .from = ask->from, .to = ask->to};
	rows->first_time = model_first_time(ask->model);
	rows->thread_count = model_thread_count(ask->model);
	rows->threads = allocate(rows->thread_count * sizeof(*rows->threads));
	for (size_t i = 0; i < rows->thread_count; i++)
		rows->threads[i] = printable(model_thread(ask->model, (uint32_t)i)->comm);
	if (left == UINT64_MAX)
		return;
	for (rows->from = rows->to; rows->from > ask->from && left; rows->from--)
		left -= row_wanted(rows, rows->from - 1);
}

void rows_free(struct rows *rows)
{
	for (size_t i = 0; i < rows->thread_count; i++)
		free(rows->threads[i]);
	free(rows->threads);
}

static uint64_t fault_access(const struct rows *rows, const struct fact *fact)
{
	unsigned access = ask_access(ask_mode(rows->ask, fact), fact->a);

	return access & ACCESS_FETCH ? EXPORT_FETCH : access & ACCESS_WRITE ? EXPORT_WRITE
	                                                                    : EXPORT_READ;
}

static uint64_t mmio_access(const struct fact *fact)
{
	return fact->cause == FACT_MMIO_READ_PENDING ? EXPORT_READ_PENDING
	       : fact->cause == FACT_MMIO_READ       ? EXPORT_READ
	       : fact->cause == FACT_MMIO_FAST       ? EXPORT_WRITE_FAST
	                                             : EXPORT_WRITE;
}

static bool host_physical(const struct fact *fact, uint64_t *value)
{
	enum kvm_entry_kind kind = kvm_entry_kind(fact->b, fact->level);

	*value = kvm_entry_hpa(fact->b, fact->level);
	return kind == KVM_ENTRY_LEAF || kind == KVM_ENTRY_TABLE;
}

static bool has(uint64_t *to, uint64_t value, bool there)
{
	*to = value;
	return there;
}

bool row_value(const struct rows *rows, uint64_t number, enum column column, uint64_t *value)
{
	const struct model *model = rows->ask->model;
	const struct fact *fact = model_fact(model, number);
	const struct kvm_thread *thread;

	switch (column) {
	case COLUMN_NUMBER:
		return has(value, number, true);
	case COLUMN_TIME:
		return has(value, fact->time, true);
	case COLUMN_EVENT:
		return has(value, fact->kind, true);
	case COLUMN_VM:
		return has(value, fact->vm + 1u, fact->vm != FACT_NO_VM);
	case COLUMN_VCPU:
		return has(value, fact->vcpu, fact->vcpu != FACT_NO_VCPU && fact->kind != FACT_LOST);
	case COLUMN_TID:
		thread = fact->kind == FACT_LOST ? NULL : model_thread(model, fact->thread);
		return thread && has(value, thread->pid, true);
	case COLUMN_ADDRESS:
	case COLUMN_HVA:
		return has(value, fact->kind == FACT_SLOT && column == COLUMN_HVA ? fact->b : fact->address, true);
	case COLUMN_LEVEL:
		return has(value, fact->level, true);
	case COLUMN_ROOT:
		return has(value, fact->root, fact->root != FACT_NO_ROOT);
	case COLUMN_TABLE:
		return has(value, fact->table, fact->table != 0);
	case COLUMN_OLD:
		return has(value, fact->a, true);
	case COLUMN_NEW:
		return has(value, fact->b, true);
	case COLUMN_OLD_KIND:
		return has(value, kvm_entry_kind(fact->a, fact->level), true);
	case COLUMN_NEW_KIND:
		return has(value, kvm_entry_kind(fact->b, fact->level), true);
	case COLUMN_HPA:
		return host_physical(fact, value);
	case COLUMN_CAUSE:
		return has(value, fact->cause, label_of_cause(fact->cause) != NULL);
	case COLUMN_KNOWN:
		return has(value, fact->known, fact->known < FACT_KNOWN_COUNT);
	case COLUMN_UNEXPLAINED:
		return has(value, fact->flags & FACT_UNEXPLAINED ? 1 : 0, true);
	case COLUMN_AFTER_LOSS:
		return has(value, fact->flags & FACT_AFTER_LOSS ? 1 : 0, true);
	case COLUMN_ORIGIN:
		return has(value, fact->origin, fact->origin != FACT_ORIGIN_NONE && fact->origin < FACT_ORIGIN_COUNT);
	case COLUMN_FAULT:
		return model_fault_of(model, number, value) != NULL;
	case COLUMN_ACCESS:
		return has(value, fact->kind == FACT_MMIO ? mmio_access(fact) : fault_access(rows, fact), true);
	case COLUMN_REASON:
		return has(value, fact->a, fact->kind != FACT_EXIT || fact->a != EXIT_REASON_OTHER);
	case COLUMN_ERROR_CODE:
	case COLUMN_HVA_END:
	case COLUMN_LENGTH:
	case COLUMN_PAGES:
	case COLUMN_ROLE:
		return has(value, fact->a, true);
	case COLUMN_LOST:
		return has(value, fact->a, fact->a != 0);
	case COLUMN_PRESENT:
		return has(value, ask_access(ask_mode(rows->ask, fact), fact->a) & ACCESS_PRESENT ? 1 : 0, true);
	case COLUMN_PAGE_WALK:
		return has(value, ask_access(ask_mode(rows->ask, fact), fact->a) & ACCESS_WALK ? 1 : 0, true);
	case COLUMN_RIP:
		return has(value, fact->b, fact->b != 0);
	case COLUMN_RESULT:
		return has(value, fact->a, label_of_result((unsigned)fact->a) != NULL);
	case COLUMN_ERRNO:
		return has(value, (uint64_t)(int64_t)(int32_t)fact->b, true);
	case COLUMN_VALUE:
	case COLUMN_CPU:
		return has(value, fact->b, true);
	case COLUMN_SLOT:
		return has(value, fact->table, true);
	case COLUMN_THREAD:
	case COLUMN_FUNCTION:
	case COLUMN_REASON_NAME:
	case COLUMN_COUNT:
		break;
	}
	return false;
}

const char *row_text(const struct rows *rows, uint64_t number, enum column column)
{
	const struct fact *fact = model_fact(rows->ask->model, number);
	const char *text = NULL;
	static char *place;

	switch (column) {
	case COLUMN_THREAD:
		text = fact->kind != FACT_LOST && fact->thread < rows->thread_count ? rows->threads[fact->thread] : NULL;
		break;
	case COLUMN_REASON_NAME:
		text = kvm_exit_name(ask_mode(rows->ask, fact), fact->a);
		break;
	case COLUMN_FUNCTION:
		if (!fact->b || !rows->ask->symbols.source)
			break;
		free(place);
		place = symbols_describe(&rows->ask->symbols, fact->b);
		text = place;
		break;
	default:
		break;
	}
	return text ? text : "";
}
