/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries, faults and records in words. All results are the caller's to free. */
#ifndef TOOL_DESCRIBE_H
#define TOOL_DESCRIBE_H

#include <vmmu/vmmu.h>

#include "../symbols/symbols.h"
#include "trace_file.h"

/* "EPT"; and what the CPU calls the register that names the root: "EPTP". */
const char *describe_mode(enum vmmu_mode mode);
const char *describe_root_register(enum vmmu_mode mode);

/* "r-x" */
struct rights_text {
	char text[4];
};
struct rights_text describe_rights(unsigned rights);

/* "WB"; "?" for an encoding that does not exist. */
const char *describe_memtype(unsigned memtype);

/* "zap-slot"; "cause-40" for one that a newer engine has. */
struct number_text {
	char text[32];
};
struct number_text describe_cause(unsigned cause);
/* "fixed"; "result-40". */
struct number_text describe_result(unsigned result);
/* "direct"; "map-40" for the number of a handler that is not known. */
struct number_text describe_handler(uint64_t handler);
/* "mov-cr3"; "instruction-40". */
struct number_text describe_guest_flush(unsigned instruction);
/* Its leaves are written by direct_map. */
static inline bool maps_directly(uint64_t handler)
{
	return handler == VMMU_HANDLER_DIRECT || handler == VMMU_HANDLER_UNPAGED;
}
/* "kvm_page_fault"; "event-40". */
struct number_text describe_event(unsigned event);

/* "empty", "table 0x7fe02000 rwx A", "4 KiB page 0x12345000 rwx WB AD", "mmio generation 3" */
char *describe_entry(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry);

/* "write", "read by the guest's page walk" ... from a kvm_page_fault record. */
char *describe_access(const struct vmmu_trace_record *fault);

/* "clear_page_erms+0x7", "user space at 0x401234", "boot code at 0x431c3fb"; symbols may be empty. */
char *describe_place(const struct vmmu_trace_record *fault, const struct symbols *symbols);

/* Fields of the host's word in a kvm_page_fault record (docs/trace-format.md). */
static inline unsigned fault_cpl(const struct vmmu_trace_record *fault)
{
	return fault->page_fault.word & VMMU_TRACE_WORD_CPL;
}
static inline bool fault_paging(const struct vmmu_trace_record *fault)
{
	return fault->page_fault.word & VMMU_TRACE_WORD_PAGING;
}
static inline bool fault_long_mode(const struct vmmu_trace_record *fault)
{
	return fault->page_fault.word & VMMU_TRACE_WORD_LMA;
}
static inline bool fault_of_l2(const struct vmmu_trace_record *fault)
{
	return fault->page_fault.word & VMMU_TRACE_WORD_L2;
}

#endif
