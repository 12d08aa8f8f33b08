/* SPDX-License-Identifier: BSD-2-Clause */
#include "fact.h"

#include <vmmu/trace.h>

static const char *const kinds[FACT_KIND_COUNT] = {
	[FACT_NONE] = "none",
	[FACT_WRITE] = "write",
	[FACT_FOUND] = "found",
	[FACT_SET] = "set",
	[FACT_FAULT] = "fault",
	[FACT_FAULT_END] = "fault-end",
	[FACT_TABLE] = "table",
	[FACT_TABLE_ZAP] = "table-zap",
	[FACT_ZAP_ALL] = "zap-all",
	[FACT_UNMAP] = "unmap",
	[FACT_AGE] = "age",
	[FACT_EXIT] = "exit",
	[FACT_ENTRY] = "entry",
	[FACT_USER_EXIT] = "user-exit",
	[FACT_MMIO] = "mmio",
	[FACT_LOST] = "lost",
	[FACT_SLOT] = "slot",
};

static const char *const causes[FACT_CAUSE_END - FACT_CAUSE_KVM] = {
	[FACT_CAUSE_FAULT - FACT_CAUSE_KVM] = "fault",
	[FACT_CAUSE_PREFAULT -
		FACT_CAUSE_KVM] = "prefault",
	[FACT_CAUSE_FAST -
		FACT_CAUSE_KVM] = "fast-fault",
	[FACT_CAUSE_MMIO -
		FACT_CAUSE_KVM] = "mmio",
	[FACT_CAUSE_SPLIT -
		FACT_CAUSE_KVM] = "split",
	[FACT_CAUSE_SPLIT_FILL -
		FACT_CAUSE_KVM] = "split-fill",
	[FACT_CAUSE_COLLAPSE -
		FACT_CAUSE_KVM] = "collapse",
	[FACT_CAUSE_PROTECT -
		FACT_CAUSE_KVM] = "protect",
	[FACT_CAUSE_UNPROTECT -
		FACT_CAUSE_KVM] = "unprotect",
	[FACT_CAUSE_AGE -
		FACT_CAUSE_KVM] = "age",
	[FACT_CAUSE_ZAP -
		FACT_CAUSE_KVM] = "zap",
	[FACT_CAUSE_ZAP_NOTIFIER -
		FACT_CAUSE_KVM] = "zap-notifier",
	[FACT_CAUSE_ZAP_ALL -
		FACT_CAUSE_KVM] = "zap-all",
	[FACT_CAUSE_ZAP_NX -
		FACT_CAUSE_KVM] = "zap-nx",
	[FACT_CAUSE_ZAP_TABLE -
		FACT_CAUSE_KVM] = "zap-table",
	[FACT_CAUSE_OTHER -
		FACT_CAUSE_KVM] = "other",
};

static const char *const knowns[FACT_KNOWN_COUNT] = {
	[FACT_UNKNOWN] = "unknown",
	[FACT_SEEN] = "seen",
	[FACT_INFERRED] = "inferred",
	[FACT_FROM_OLD] = "from-old",
	[FACT_SNAPSHOT] = "snapshot",
	[FACT_MAYBE] = "maybe",
};

const char *fact_kind_name(unsigned kind)
{
	return kind < FACT_KIND_COUNT ? kinds[kind] : "?";
}

const char *fact_cause_name(unsigned cause)
{
	if (cause < VMMU_CAUSE_COUNT)
		return vmmu_cause_name(cause);
	return cause >= FACT_CAUSE_KVM && cause < FACT_CAUSE_END ? causes[cause - FACT_CAUSE_KVM] : "?";
}

const char *fact_known_name(unsigned known)
{
	return known < FACT_KNOWN_COUNT ? knowns[known] : "?";
}

bool fact_cause_is_zap(unsigned cause)
{
	return (cause >= FACT_CAUSE_ZAP && cause <= FACT_CAUSE_ZAP_TABLE) ||
	       (cause >= VMMU_CAUSE_ZAP_SLOT && cause <= VMMU_CAUSE_ZAP_VM);
}
