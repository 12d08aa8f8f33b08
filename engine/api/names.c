/* SPDX-License-Identifier: BSD-2-Clause */
/* Names for what the API counts by number. */
#include <vmmu/vmmu.h>

#define NAME_OF(names, i) \
	((i) < sizeof(names) / sizeof((names)[0]) && (names)[i] ? (names)[i] : "unknown")

const char *vmmu_status_name(enum vmmu_status status)
{
	static const char *const names[VMMU_STATUS_COUNT] = {
		[VMMU_OK] = "ok",
		[VMMU_ERR_NO_MEMORY] = "out of memory",
		[VMMU_ERR_INVALID] = "argument outside its documented range",
		[VMMU_ERR_UNSUPPORTED] = "not supported by this CPU",
		[VMMU_ERR_BUSY] = "still in use",
		[VMMU_ERR_SLOT_EXISTS] = "a slot with this id exists already",
		[VMMU_ERR_SLOT_MISSING] = "no such slot",
		[VMMU_ERR_SLOT_OVERLAP] = "slot overlaps another slot",
		[VMMU_ERR_SLOT_EMPTY] = "slot has no pages",
		[VMMU_ERR_SLOT_MISALIGNED] = "slot is not page aligned",
		[VMMU_ERR_SLOT_WRAP] = "slot wraps around the end of the address space",
		[VMMU_ERR_SLOT_BEYOND] = "slot reaches beyond the guest's physical address width",
		[VMMU_ERR_SLOT_ID] = "slot id is too large",
		[VMMU_ERR_SLOT_FLAGS] = "unknown slot flags",
	};

	return NAME_OF(names, status);
}

const char *vmmu_handler_name(unsigned handler)
{
	static const char *const names[VMMU_HANDLER_COUNT] = {
		[VMMU_HANDLER_NONE] = "none",
		[VMMU_HANDLER_DIRECT] = "direct",
		[VMMU_HANDLER_UNPAGED] = "unpaged",
		[VMMU_HANDLER_SHADOW] = "shadow",
		[VMMU_HANDLER_NESTED] = "nested",
	};

	return NAME_OF(names, handler);
}

const char *vmmu_guest_flush_name(unsigned flush)
{
	static const char *const names[VMMU_GUEST_FLUSH_COUNT] = {
		[VMMU_GUEST_FLUSH_NONE] = "none",
		[VMMU_GUEST_FLUSH_CR0] = "mov-cr0",
		[VMMU_GUEST_FLUSH_CR3] = "mov-cr3",
		[VMMU_GUEST_FLUSH_CR4] = "mov-cr4",
		[VMMU_GUEST_FLUSH_INVLPG] = "invlpg",
	};

	return NAME_OF(names, flush);
}

const char *vmmu_fault_result_name(enum vmmu_fault_result result)
{
	static const char *const names[VMMU_FAULT_RESULT_COUNT] = {
		[VMMU_FAULT_FIXED] = "fixed",
		[VMMU_FAULT_SPURIOUS] = "spurious",
		[VMMU_FAULT_RETRY] = "retry",
		[VMMU_FAULT_EMULATE_MMIO] = "emulate-mmio",
		[VMMU_FAULT_READ_ONLY] = "read-only",
		[VMMU_FAULT_WRITE_TABLE] = "write-to-table",
		[VMMU_FAULT_EMULATE_WRITE] = "emulate-write",
		[VMMU_FAULT_REFLECT] = "reflect-to-l1",
		[VMMU_FAULT_INJECT_PF] = "inject-pf",
		[VMMU_FAULT_NO_MEMORY] = "no-memory",
		[VMMU_FAULT_DENIED] = "denied",
		[VMMU_FAULT_BAD_ENTRY] = "bad-entry",
		[VMMU_FAULT_BEYOND] = "beyond",
		[VMMU_FAULT_BAD_BACKING] = "bad-backing",
	};

	return NAME_OF(names, result);
}

const char *vmmu_cause_name(unsigned cause)
{
	static const char *const names[VMMU_CAUSE_COUNT] = {
		[VMMU_CAUSE_NONE] = "none",
		[VMMU_CAUSE_VIOLATION] = "violation",
		[VMMU_CAUSE_PREFAULT] = "prefault",
		[VMMU_CAUSE_MMIO] = "mmio",
		[VMMU_CAUSE_SPLIT] = "split",
		[VMMU_CAUSE_PERMISSION] = "permission",
		[VMMU_CAUSE_PROTECT] = "protect",
		[VMMU_CAUSE_ZAP_SLOT] = "zap-slot",
		[VMMU_CAUSE_ZAP_RANGE] = "zap-range",
		[VMMU_CAUSE_ZAP_REMAP] = "zap-remap",
		[VMMU_CAUSE_ZAP_MMIO] = "zap-mmio",
		[VMMU_CAUSE_ZAP_VM] = "zap-vm",
		[VMMU_CAUSE_SLOT_CREATE] = "slot-create",
		[VMMU_CAUSE_SLOT_DELETE] = "slot-delete",
		[VMMU_CAUSE_SLOT_MOVE] = "slot-move",
		[VMMU_CAUSE_SLOT_FLAGS] = "slot-flags",
		[VMMU_CAUSE_GUEST_WRITE] = "guest-write",
		[VMMU_CAUSE_REMAP] = "remap",
		[VMMU_CAUSE_PREFETCH] = "prefetch",
		[VMMU_CAUSE_SYNC] = "sync",
		[VMMU_CAUSE_RECLAIM] = "reclaim",
		[VMMU_CAUSE_ROOT] = "root",
	};

	return NAME_OF(names, cause);
}

const char *vmmu_trace_event_name(unsigned event)
{
	static const char *const names[VMMU_TRACE_EVENT_COUNT] = {
		[VMMU_TRACE_VM] = "vm",
		[VMMU_TRACE_ROOT_LOAD] = "root_load",
		[VMMU_TRACE_SLOT] = "slot",
		[VMMU_TRACE_PAGE_FAULT] = "kvm_page_fault",
		[VMMU_TRACE_FAULT_END] = "fault_end",
		[VMMU_TRACE_SPTE_CHANGED] = "kvm_tdp_mmu_spte_changed",
		[VMMU_TRACE_GET_PAGE] = "kvm_mmu_get_page",
		[VMMU_TRACE_PREPARE_ZAP_PAGE] = "kvm_mmu_prepare_zap_page",
		[VMMU_TRACE_FREE_PAGE] = "free_page",
		[VMMU_TRACE_FLUSH_OWED] = "flush_owed",
		[VMMU_TRACE_FLUSH_DONE] = "flush_done",
		[VMMU_TRACE_HANDLE_MMIO] = "handle_mmio_page_fault",
		[VMMU_TRACE_CHECK_MMIO] = "check_mmio_spte",
		[VMMU_TRACE_DROPS] = "drops",
		[VMMU_TRACE_DUMP] = "dump",
		[VMMU_TRACE_DUMP_END] = "dump_end",
		[VMMU_TRACE_FOUND] = "found",
		[VMMU_TRACE_CHECKSUM] = "checksum",
		[VMMU_TRACE_MARK] = "mark",
		[VMMU_TRACE_GUEST_FLUSH] = "guest_flush",
		[VMMU_TRACE_PAGING_ELEMENT] = "kvm_mmu_paging_element",
		[VMMU_TRACE_FAULT_FIXED] = "fault_fixed",
	};

	return NAME_OF(names, event);
}
