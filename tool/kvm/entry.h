/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's entries: what is hardware's in them (SDM vol. 3, 29.3; APM vol. 2, 5.4
 * and 15.25) and what is KVM's own. Names as in Linux, arch/x86/kvm/mmu/spte.h.
 */
#ifndef TOOL_KVM_ENTRY_H
#define TOOL_KVM_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

enum kvm_mode { KVM_MODE_UNKNOWN,
	        KVM_MODE_EPT,
	        KVM_MODE_NPT,
	        KVM_MODE_SHADOW };

enum kvm_entry_kind {
	KVM_ENTRY_EMPTY,   /* 0, or only bit 63 since Linux 6.10 */
	KVM_ENTRY_REMOVED, /* REMOVED_SPTE, later FROZEN_SPTE: being taken away */
	KVM_ENTRY_TABLE,
	KVM_ENTRY_LEAF,
	KVM_ENTRY_MMIO, /* refused by the CPU on purpose: the access goes to a device */
	KVM_ENTRY_OTHER,
};

enum kvm_entry_kind kvm_entry_kind(uint64_t entry, unsigned level);
/* A leaf, a table or an MMIO entry: something is there. */
bool kvm_entry_is_there(uint64_t entry, unsigned level);
/* Host-physical address of the page or table it names. */
uint64_t kvm_entry_hpa(uint64_t entry, unsigned level);
bool kvm_entry_writable(uint64_t entry);
/* What an entry of a table of this level is part of; KVM_MODE_UNKNOWN when it does not tell. */
enum kvm_mode kvm_entry_mode(uint64_t entry, unsigned level);

/*
 * Is `old` what was left there as `known`? The CPU sets accessed and dirty bits
 * on its own. `inferred`: the entry was filled in by a split, whose right to
 * execute follows a rule of its own.
 */
bool kvm_entry_same(enum kvm_mode mode, uint64_t known, uint64_t old, unsigned level, bool inferred);

/* What the entry at `index` of the table that replaces a huge leaf holds. level: the leaf's. */
uint64_t kvm_entry_split(uint64_t leaf, unsigned level, unsigned index);

/* "4 KiB page 0x1234000 rwx AD", "table 0x...", "empty", "being removed", "mmio ..."; the caller frees. */
char *kvm_entry_describe(enum kvm_mode mode, uint64_t entry, unsigned level);
const char *kvm_mode_name(enum kvm_mode mode);

#endif
