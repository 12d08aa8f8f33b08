/* SPDX-License-Identifier: BSD-2-Clause */
#include "entry.h"

#include <inttypes.h>

#include <vmmu/types.h>

#include "../base/text.h"

#define NONPRESENT_BIT (1ull << 63) /* SHADOW_NONPRESENT_VALUE since Linux 6.10 */
#define REMOVED 0x5a0ull
#define KVM_PRESENT (1ull << 11) /* SPTE_MMU_PRESENT_MASK */
#define HUGE_PAGE (1ull << 7)
#define ADDRESS 0x000ffffffffff000ull
#define WRITABLE 2ull /* the same bit under EPT and NPT */

#define EPT_AD (3ull << 8)
#define NPT_AD (3ull << 5)
#define NPT_NX (1ull << 63)
#define EPT_X (1ull << 2)
#define RIGHTS 7ull

#define MMIO_RESERVED_BIT (1ull << 51) /* how kvm-amd marks MMIO entries */
#define EPT_MISCONFIGURED 6ull         /* how kvm-intel does: write and execute without read */

enum kvm_entry_kind kvm_entry_kind(uint64_t entry, unsigned level)
{
	uint64_t bare = entry & ~NONPRESENT_BIT;

	if (bare == 0)
		return KVM_ENTRY_EMPTY;
	if (bare == REMOVED)
		return KVM_ENTRY_REMOVED;
	/* vmmu's own MMIO entries under NPT bear an address that no memory has. */
	if ((entry & RIGHTS) == EPT_MISCONFIGURED || (entry & ADDRESS) == ADDRESS)
		return KVM_ENTRY_MMIO;
	if (!(entry & KVM_PRESENT)) {
		if (entry & MMIO_RESERVED_BIT)
			return KVM_ENTRY_MMIO;
		/* Kernels before 5.13 do not have the bit. */
		if (!(entry & 1))
			return KVM_ENTRY_OTHER;
	}
	return level == 1 || entry & HUGE_PAGE ? KVM_ENTRY_LEAF : KVM_ENTRY_TABLE;
}

bool kvm_entry_is_there(uint64_t entry, unsigned level)
{
	enum kvm_entry_kind kind = kvm_entry_kind(entry, level);

	return kind == KVM_ENTRY_TABLE || kind == KVM_ENTRY_LEAF || kind == KVM_ENTRY_MMIO;
}

uint64_t kvm_entry_hpa(uint64_t entry, unsigned level)
{
	uint64_t address = entry & ADDRESS;

	if (kvm_entry_kind(entry, level) == KVM_ENTRY_LEAF)
		address &= ~((vmmu_level_pages(level) << VMMU_PAGE_SHIFT) - 1);
	return address;
}

bool kvm_entry_writable(uint64_t entry)
{
	return entry & WRITABLE;
}

enum kvm_mode kvm_entry_mode(uint64_t entry, unsigned level)
{
	/* A table's entry bears rwx and the accessed bit of its format, set by KVM from the start. */
	if (kvm_entry_kind(entry, level) != KVM_ENTRY_TABLE || (entry & RIGHTS) != RIGHTS)
		return KVM_MODE_UNKNOWN;
	if (entry & 1ull << 5)
		return KVM_MODE_NPT;
	/* Without accessed bits it is EPT: every CPU with NPT has them. */
	return KVM_MODE_EPT;
}

static uint64_t accessed_dirty(enum kvm_mode mode)
{
	return mode == KVM_MODE_EPT ? EPT_AD : mode == KVM_MODE_UNKNOWN ? EPT_AD | NPT_AD
	                                                                : NPT_AD;
}

bool kvm_entry_same(enum kvm_mode mode, uint64_t known, uint64_t old, unsigned level, bool inferred)
{
	enum kvm_entry_kind a = kvm_entry_kind(known, level), b = kvm_entry_kind(old, level);
	uint64_t differ = known ^ old;

	/* The kernel goes from "removed" to "empty" without an event. */
	if ((a == KVM_ENTRY_EMPTY || a == KVM_ENTRY_REMOVED) && (b == KVM_ENTRY_EMPTY || b == KVM_ENTRY_REMOVED))
		return true;
	if (a != b)
		return false;
	if (a == KVM_ENTRY_LEAF || a == KVM_ENTRY_TABLE)
		differ &= ~accessed_dirty(mode);
	if (inferred)
		differ &= ~(mode == KVM_MODE_EPT ? EPT_X : NPT_NX);
	return differ == 0;
}

uint64_t kvm_entry_split(uint64_t leaf, unsigned level, unsigned index)
{
	uint64_t child = leaf + ((uint64_t)index * vmmu_level_pages(level - 1) << VMMU_PAGE_SHIFT);

	return level == 2 ? child & ~HUGE_PAGE : child;
}

static char *describe_ept(uint64_t entry, unsigned level, enum kvm_entry_kind kind)
{
	static const char *const types[] = {"UC", "WC", "?", "?", "WT", "WP", "WB", "?"};
	bool a = entry & 1ull << 8, d = entry & 1ull << 9;
	char rights[4] = {entry & 1 ? 'r' : '-', entry & 2 ? 'w' : '-', entry & 4 ? 'x' : '-', '\0'};

	if (kind == KVM_ENTRY_TABLE)
		return formatted("table 0x%" PRIx64 " %s%s", kvm_entry_hpa(entry, level), rights, a ? " A" : "");
	return formatted("%s page 0x%" PRIx64 " %s %s%s%s%s%s", text_level_span(level), kvm_entry_hpa(entry, level),
	                 rights, types[entry >> 3 & 7], entry & 1 << 6 ? " ignore-PAT" : "", a || d ? " " : "",
	                 a ? "A" : "", d ? "D" : "");
}

static char *describe_long_mode(uint64_t entry, unsigned level, enum kvm_entry_kind kind)
{
	bool a = entry & 1 << 5, d = entry & 1 << 6;
	char rights[5] = {'r', entry & 2 ? 'w' : '-', entry & NPT_NX ? '-' : 'x', entry & 4 ? '\0' : 's', '\0'};

	if (kind == KVM_ENTRY_TABLE)
		return formatted("table 0x%" PRIx64 " %s%s", kvm_entry_hpa(entry, level), rights, a ? " A" : "");
	return formatted("%s page 0x%" PRIx64 " %s%s%s%s", text_level_span(level), kvm_entry_hpa(entry, level), rights,
	                 a || d ? " " : "", a ? "A" : "", d ? "D" : "");
}

char *kvm_entry_describe(enum kvm_mode mode, uint64_t entry, unsigned level)
{
	enum kvm_entry_kind kind = kvm_entry_kind(entry, level);

	switch (kind) {
	case KVM_ENTRY_EMPTY:
		return duplicate("empty");
	case KVM_ENTRY_REMOVED:
		return duplicate("being removed");
	case KVM_ENTRY_MMIO:
		return duplicate("mmio: a device is behind it");
	case KVM_ENTRY_OTHER:
		return formatted("not present: 0x%" PRIx64, entry);
	default:
		break;
	}
	if (mode == KVM_MODE_EPT && !(entry & RIGHTS))
		return formatted("%s page 0x%" PRIx64 " rights kept aside to see accesses", text_level_span(level),
		                 kvm_entry_hpa(entry, level));
	return mode == KVM_MODE_EPT ? describe_ept(entry, level, kind) : describe_long_mode(entry, level, kind);
}

const char *kvm_mode_name(enum kvm_mode mode)
{
	static const char *const names[] = {"unknown format", "EPT", "NPT", "shadow paging"};

	return (unsigned)mode < ARRAY_SIZE(names) ? names[mode] : "?";
}
