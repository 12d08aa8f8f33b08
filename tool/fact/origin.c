/* SPDX-License-Identifier: BSD-2-Clause */
#include "origin.h"

#include <stdbool.h>
#include <string.h>

static const struct {
	const char *name, *text;
} origins[FACT_ORIGIN_COUNT] = {
	[FACT_ORIGIN_NONE] = {"-", "not known: no stack was recorded"},
	[FACT_ORIGIN_NX_RECOVERY] = {"nx-recovery", "the recovery of huge pages (nx_huge_pages)"},
	[FACT_ORIGIN_NX_SWITCH] = {"nx-switch", "nx_huge_pages, which was switched"},
	[FACT_ORIGIN_VM_END] = {"vm-end", "the end of the VM"},
	[FACT_ORIGIN_SLOT] = {"memslot", "a memory slot that was deleted, moved or changed"},
	[FACT_ORIGIN_DIRTY_LOG] = {"dirty-log", "dirty logging"},
	[FACT_ORIGIN_NUMA] = {"numa-balancing", "NUMA balancing"},
	[FACT_ORIGIN_KSM] = {"ksm", "KSM, which merges equal pages"},
	[FACT_ORIGIN_COLLAPSE] = {"thp-collapse", "a huge page put together (khugepaged)"},
	[FACT_ORIGIN_HUGE_SPLIT] = {"thp-split", "a huge page of the host that was split"},
	[FACT_ORIGIN_MIGRATION] = {"migration", "a page moved in host memory (compaction, NUMA, offlining)"},
	[FACT_ORIGIN_RECLAIM] = {"reclaim", "reclaim: the host needed memory"},
	[FACT_ORIGIN_COPY] = {"copy-on-write", "a copy on write"},
	[FACT_ORIGIN_MADVISE] = {"madvise", "madvise (memory given back, as for a balloon)"},
	[FACT_ORIGIN_MREMAP] = {"mremap", "mremap"},
	[FACT_ORIGIN_MMAP] = {"mmap", "mmap over what was there"},
	[FACT_ORIGIN_MUNMAP] = {"munmap", "munmap"},
	[FACT_ORIGIN_MPROTECT] = {"mprotect", "mprotect"},
	[FACT_ORIGIN_HOLE] = {"punch-hole", "a hole punched into the file, or its truncation"},
	[FACT_ORIGIN_USERFAULT] = {"userfaultfd", "userfaultfd"},
	[FACT_ORIGIN_EXIT] = {"exit", "the end of the process"},
	[FACT_ORIGIN_FAULT] = {"fault", "a fault of the guest"},
	[FACT_ORIGIN_NOTIFIER] = {"notifier", "the MMU notifier"},
	[FACT_ORIGIN_OTHER] = {"other", "something else"},
};

/* Functions that stand for themselves in a stack: neither inlined nor called for other ends. */
static const struct {
	const char *function;
	enum fact_origin origin;
} functions[] = {
	{"kvm_nx_huge_page_recovery_worker", FACT_ORIGIN_NX_RECOVERY},
	{"kvm_nx_lpage_recovery_worker", FACT_ORIGIN_NX_RECOVERY},
	{"kvm_recover_nx_huge_pages", FACT_ORIGIN_NX_RECOVERY},
	{"set_nx_huge_pages", FACT_ORIGIN_NX_SWITCH},
	{"kvm_mmu_notifier_release", FACT_ORIGIN_VM_END},
	{"kvm_destroy_vm", FACT_ORIGIN_VM_END},
	{"kvm_arch_destroy_vm", FACT_ORIGIN_VM_END},
	{"kvm_mmu_zap_collapsible_sptes", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_tdp_mmu_zap_collapsible_sptes", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_mmu_recover_huge_pages", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_tdp_mmu_recover_huge_pages", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_mmu_slot_try_split_huge_pages", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_mmu_slot_remove_write_access", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_mmu_slot_leaf_clear_dirty", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_get_dirty_log_protect", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_clear_dirty_log_protect", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_vm_ioctl_get_dirty_log", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_vm_ioctl_clear_dirty_log", FACT_ORIGIN_DIRTY_LOG},
	{"kvm_set_memory_region", FACT_ORIGIN_SLOT},
	{"kvm_vm_ioctl_set_memory_region", FACT_ORIGIN_SLOT},
	{"kvm_set_memslot", FACT_ORIGIN_SLOT},
	{"kvm_invalidate_memslot", FACT_ORIGIN_SLOT},
	{"kvm_arch_flush_shadow_memslot", FACT_ORIGIN_SLOT},
	{"kvm_arch_memslots_updated", FACT_ORIGIN_SLOT},
	{"task_numa_work", FACT_ORIGIN_NUMA},
	{"change_prot_numa", FACT_ORIGIN_NUMA},
	{"migrate_misplaced_page", FACT_ORIGIN_NUMA},
	{"migrate_misplaced_folio", FACT_ORIGIN_NUMA},
	{"do_numa_page", FACT_ORIGIN_NUMA},
	{"ksm_scan_thread", FACT_ORIGIN_KSM},
	{"ksm_do_scan", FACT_ORIGIN_KSM},
	{"try_to_merge_one_page", FACT_ORIGIN_KSM},
	{"write_protect_page", FACT_ORIGIN_KSM},
	{"unmerge_ksm_pages", FACT_ORIGIN_KSM},
	{"khugepaged", FACT_ORIGIN_COLLAPSE},
	{"collapse_huge_page", FACT_ORIGIN_COLLAPSE},
	{"collapse_file", FACT_ORIGIN_COLLAPSE},
	{"collapse_pte_mapped_thp", FACT_ORIGIN_COLLAPSE},
	{"madvise_collapse", FACT_ORIGIN_COLLAPSE},
	{"retract_page_tables", FACT_ORIGIN_COLLAPSE},
	{"split_huge_page_to_list", FACT_ORIGIN_HUGE_SPLIT},
	{"split_huge_page_to_list_to_order", FACT_ORIGIN_HUGE_SPLIT},
	{"__split_huge_pmd", FACT_ORIGIN_HUGE_SPLIT},
	{"deferred_split_scan", FACT_ORIGIN_HUGE_SPLIT},
	{"migrate_pages", FACT_ORIGIN_MIGRATION},
	{"migrate_pages_batch", FACT_ORIGIN_MIGRATION},
	{"try_to_migrate", FACT_ORIGIN_MIGRATION},
	{"compact_zone", FACT_ORIGIN_MIGRATION},
	{"shrink_lruvec", FACT_ORIGIN_RECLAIM},
	{"shrink_node", FACT_ORIGIN_RECLAIM},
	{"shrink_folio_list", FACT_ORIGIN_RECLAIM},
	{"reclaim_pages", FACT_ORIGIN_RECLAIM},
	{"damon_va_apply_scheme", FACT_ORIGIN_RECLAIM},
	{"do_wp_page", FACT_ORIGIN_COPY},
	{"wp_page_copy", FACT_ORIGIN_COPY},
	{"do_huge_pmd_wp_page", FACT_ORIGIN_COPY},
	{"hugetlb_wp", FACT_ORIGIN_COPY},
	{"do_madvise", FACT_ORIGIN_MADVISE},
	{"__x64_sys_madvise", FACT_ORIGIN_MADVISE},
	{"__x64_sys_process_madvise", FACT_ORIGIN_MADVISE},
	{"madvise_vma_behavior", FACT_ORIGIN_MADVISE},
	{"__x64_sys_mremap", FACT_ORIGIN_MREMAP},
	{"move_vma", FACT_ORIGIN_MREMAP},
	{"mmap_region", FACT_ORIGIN_MMAP},
	{"__x64_sys_munmap", FACT_ORIGIN_MUNMAP},
	{"__vm_munmap", FACT_ORIGIN_MUNMAP},
	{"do_munmap", FACT_ORIGIN_MUNMAP},
	{"do_vmi_munmap", FACT_ORIGIN_MUNMAP},
	{"do_mprotect_pkey", FACT_ORIGIN_MPROTECT},
	{"unmap_mapping_range", FACT_ORIGIN_HOLE},
	{"unmap_mapping_pages", FACT_ORIGIN_HOLE},
	{"shmem_fallocate", FACT_ORIGIN_HOLE},
	{"hugetlbfs_fallocate", FACT_ORIGIN_HOLE},
	{"truncate_pagecache", FACT_ORIGIN_HOLE},
	{"userfaultfd_ioctl", FACT_ORIGIN_USERFAULT},
	{"mwriteprotect_range", FACT_ORIGIN_USERFAULT},
	{"exit_mmap", FACT_ORIGIN_EXIT},
	{"do_exit", FACT_ORIGIN_EXIT},
	{"oom_reaper", FACT_ORIGIN_EXIT},
	{"kvm_tdp_page_fault", FACT_ORIGIN_FAULT},
	{"direct_page_fault", FACT_ORIGIN_FAULT},
	{"kvm_mmu_page_fault", FACT_ORIGIN_FAULT},
	{"kvm_mmu_notifier_invalidate_range_start", FACT_ORIGIN_NOTIFIER},
	{"kvm_mmu_notifier_change_pte", FACT_ORIGIN_NOTIFIER},
	{"kvm_mmu_unmap_gfn_range", FACT_ORIGIN_NOTIFIER},
};

/* Compilers make parts of functions: "do_wp_page.isra.0". */
static bool is_function(const char *name, size_t length, const char *function)
{
	size_t own = strlen(function);

	return length >= own && memcmp(name, function, own) == 0 && (length == own || name[own] == '.');
}

enum fact_origin fact_origin_better(enum fact_origin known, const char *function, size_t length)
{
	enum fact_origin best = known == FACT_ORIGIN_NONE ? FACT_ORIGIN_OTHER : known;

	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		if (functions[i].origin < best && length && *function == *functions[i].function &&
		    is_function(function, length, functions[i].function))
			best = functions[i].origin;
	return best;
}

const char *fact_origin_name(unsigned origin)
{
	return origin < FACT_ORIGIN_COUNT ? origins[origin].name : "?";
}

const char *fact_origin_text(unsigned origin)
{
	return origin < FACT_ORIGIN_COUNT ? origins[origin].text : "?";
}

_Bool fact_origin_is_notifier(unsigned origin)
{
	return (origin >= FACT_ORIGIN_NUMA && origin <= FACT_ORIGIN_EXIT) || origin == FACT_ORIGIN_NOTIFIER;
}
