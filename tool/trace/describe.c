/* SPDX-License-Identifier: BSD-2-Clause */
#include "describe.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../base/text.h"

const char *describe_mode(enum vmmu_mode mode)
{
	return mode == VMMU_MODE_SHADOW ? "shadow paging" : mode == VMMU_MODE_NPT ? "NPT"
	                                                                          : "EPT";
}

const char *describe_root_register(enum vmmu_mode mode)
{
	return mode == VMMU_MODE_SHADOW ? "CR3" : mode == VMMU_MODE_NPT ? "nCR3"
	                                                                : "EPTP";
}

static struct number_text text_of_number(const char *name, bool known, const char *kind, unsigned number)
{
	struct number_text text;

	if (known)
		snprintf(text.text, sizeof(text.text), "%s", name);
	else
		snprintf(text.text, sizeof(text.text), "%s-%u", kind, number);
	return text;
}

struct number_text describe_cause(unsigned cause)
{
	return text_of_number(vmmu_cause_name(cause), cause < VMMU_CAUSE_COUNT, "cause", cause);
}

struct number_text describe_result(unsigned result)
{
	bool known = result > 0 && result < VMMU_FAULT_RESULT_COUNT;

	return text_of_number(vmmu_fault_result_name((enum vmmu_fault_result)result), known, "result", result);
}

struct number_text describe_handler(uint64_t handler)
{
	bool known = handler > 0 && handler < VMMU_HANDLER_COUNT;

	return text_of_number(vmmu_handler_name(known ? (unsigned)handler : 0), known, "map", (unsigned)handler);
}

struct number_text describe_guest_flush(unsigned instruction)
{
	bool known = instruction > 0 && instruction < VMMU_GUEST_FLUSH_COUNT;

	return text_of_number(vmmu_guest_flush_name(known ? instruction : 0), known, "instruction", instruction);
}

struct number_text describe_event(unsigned event)
{
	return text_of_number(vmmu_trace_event_name(event), event < VMMU_TRACE_EVENT_COUNT, "event", event);
}

struct rights_text describe_rights(unsigned rights)
{
	return (struct rights_text){{
		rights & VMMU_R ? 'r' : '-',
		rights & VMMU_W ? 'w' : '-',
		rights & VMMU_X ? 'x' : '-',
		'\0',
	}};
}

const char *describe_memtype(unsigned memtype)
{
	switch (memtype) {
	case VMMU_MEMTYPE_UC:
		return "UC";
	case VMMU_MEMTYPE_WC:
		return "WC";
	case VMMU_MEMTYPE_WT:
		return "WT";
	case VMMU_MEMTYPE_WP:
		return "WP";
	case VMMU_MEMTYPE_WB:
		return "WB";
	default:
		return "?";
	}
}

char *describe_entry(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry)
{
	struct vmmu_entry_info info;
	struct rights_text rights;

	vmmu_entry_decode(decoder, level, entry, &info);
	rights = describe_rights(info.rights);
	switch (info.kind) {
	case VMMU_ENTRY_EMPTY:
		return duplicate("empty");
	case VMMU_ENTRY_TABLE:
		return formatted("table 0x%" PRIx64 " %s%s", vmmu_pfn_hpa(info.pfn).v, rights.text,
		                 info.accessed ? " A" : "");
	case VMMU_ENTRY_LEAF:
		return formatted("%s page 0x%" PRIx64 " %s %s%s%s%s%s", text_level_span(level),
		                 vmmu_pfn_hpa(info.pfn).v, rights.text, describe_memtype(info.memtype),
		                 info.ignore_pat ? " ignore-PAT" : "", info.accessed || info.dirty ? " " : "",
		                 info.accessed ? "A" : "", info.dirty ? "D" : "");
	case VMMU_ENTRY_MMIO:
		return formatted("mmio generation %u", info.mmio_gen);
	case VMMU_ENTRY_BAD:
		break;
	}
	return formatted("BAD entry 0x%016" PRIx64, entry);
}

char *describe_access(const struct vmmu_trace_record *fault)
{
	uint32_t access = fault->access;
	const char *kind = access & VMMU_X ? "fetch" : access & VMMU_W ? "write"
	                                                               : "read";

	if (access & VMMU_ACCESS_RESERVED)
		return duplicate("access through a misconfigured or MMIO entry");
	if ((access & VMMU_R) && (access & VMMU_W))
		kind = "read and write";
	return formatted("%s%s%s", kind, access & VMMU_ACCESS_WALK ? " by the guest's page walk" : "",
	                 access & VMMU_ACCESS_PRESENT ? " refused by rights" : "");
}

/* Linux' own code and modules lie from _text up; what runs below it came before: its decompressor. */
static bool is_boot_code(const struct vmmu_trace_record *fault, const struct symbols *symbols)
{
	return fault->page_fault.guest_rip < symbols->text;
}

char *describe_place(const struct vmmu_trace_record *fault, const struct symbols *symbols)
{
	uint64_t rip = fault->page_fault.guest_rip;
	char *name;

	if (fault_paging(fault) && fault_cpl(fault) == 3)
		return formatted("user space at 0x%" PRIx64, rip);
	name = symbols_describe(symbols, rip);
	if (*name)
		return name;
	free(name);
	if (is_boot_code(fault, symbols))
		return formatted("boot code at 0x%" PRIx64, rip);
	return formatted("0x%" PRIx64 "%s", rip, fault_paging(fault) ? "" : " (guest paging off)");
}
