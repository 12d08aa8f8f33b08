/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_filter.h"

#include <vmmu/types.h>

/* Do the `pages` from `gfn` on meet the range that was asked for? */
static bool meets_range(const struct trace_filter *filter, uint64_t gfn, uint64_t pages)
{
	uint64_t first = filter->gpa_first >> VMMU_PAGE_SHIFT, last = filter->gpa_last >> VMMU_PAGE_SHIFT;

	return gfn <= last && gfn + pages > first;
}

static bool range_given(const struct trace_filter *filter)
{
	return filter->gpa_first != 0 || filter->gpa_last != UINT64_MAX;
}

static bool of_vm(const struct trace_filter *filter, const struct vmmu_trace_record *record)
{
	return filter->vm == UINT64_MAX || record->vm == filter->vm;
}

static bool of_faults(const struct trace_filter *filter, const struct vmmu_trace_record *record)
{
	return record->fault >= filter->fault_first && record->fault <= filter->fault_last;
}

/* Filters that only an entry write can pass. */
static bool writes_only(const struct trace_filter *filter)
{
	return !filter->all || filter->level || filter->causes;
}

static bool is_leaf(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry)
{
	struct vmmu_entry_info info;

	vmmu_entry_decode(decoder, level, entry, &info);
	return info.kind == VMMU_ENTRY_LEAF;
}

static bool covers(const struct trace_filter *filter, const struct vmmu_decoder *decoder,
                   const struct vmmu_trace_record *write)
{
	uint64_t pages = vmmu_level_pages(write->level);

	if (!range_given(filter))
		return true;
	if (decoder->mode == VMMU_MODE_SHADOW)
		return (is_leaf(decoder, write->level, write->spte.old_spte) ||
		        is_leaf(decoder, write->level, write->spte.new_spte)) &&
		       meets_range(filter, write->spte.gfn, pages);
	return meets_range(filter, write->spte.gfn & ~(pages - 1), pages);
}

static bool gva_given(const struct trace_filter *filter)
{
	return filter->gva_first != 0 || filter->gva_last != UINT64_MAX;
}

/* Only faults have a gva, and writes have that of theirs. */
static bool of_gva(const struct trace_filter *filter, const struct vmmu_trace_record *fault)
{
	return !gva_given(filter) || (fault && fault->page_fault.address >= filter->gva_first &&
	                              fault->page_fault.address <= filter->gva_last);
}

bool filter_write(const struct trace_filter *filter, const struct vmmu_decoder *decoder,
                  const struct vmmu_trace_record *write, const struct vmmu_trace_record *fault)
{

	if (filter->level && write->level != filter->level)
		return false;
	if (filter->causes && (write->cause >= VMMU_CAUSE_COUNT || !(filter->causes & 1ull << write->cause)))
		return false;
	return of_vm(filter, write) && of_faults(filter, write) && of_gva(filter, fault) &&
	       covers(filter, decoder, write);
}

/* Its gpa: under shadow paging what the guest's tables made of the address, which the end tells. */
static bool of_range(const struct trace_filter *filter, const struct vmmu_decoder *decoder,
                     const struct vmmu_trace_record *fault, const struct vmmu_trace_record *end)
{
	if (!range_given(filter))
		return true;
	if (decoder->mode == VMMU_MODE_SHADOW)
		return end && meets_range(filter, end->fault_end.gpa >> VMMU_PAGE_SHIFT, 1);
	return meets_range(filter, fault->page_fault.address >> VMMU_PAGE_SHIFT, 1);
}

bool filter_fault(const struct trace_filter *filter, const struct vmmu_decoder *decoder,
                  const struct vmmu_trace_record *fault, const struct vmmu_trace_record *end)
{
	return !writes_only(filter) && of_vm(filter, fault) && of_faults(filter, fault) && of_gva(filter, fault) &&
	       of_range(filter, decoder, fault, end);
}

bool filter_other(const struct trace_filter *filter, const struct vmmu_trace_record *record)
{
	if (writes_only(filter) || gva_given(filter) || !of_vm(filter, record) || !of_faults(filter, record))
		return false;
	switch (record->event) {
	case VMMU_TRACE_GET_PAGE:
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
		return meets_range(filter, record->page.gfn, vmmu_level_pages(record->level + 1u));
	case VMMU_TRACE_FOUND:
		return meets_range(filter, record->entry.gfn, vmmu_level_pages(record->level));
	case VMMU_TRACE_SLOT:
		return meets_range(filter, record->slot.base_gfn, record->slot.pages);
	case VMMU_TRACE_FLUSH_OWED:
		return meets_range(filter, record->flush.start_gfn, record->flush.pages);
	case VMMU_TRACE_HANDLE_MMIO:
	case VMMU_TRACE_CHECK_MMIO:
		/* They stand under a fault, which was judged by its address. */
		return true;
	case VMMU_TRACE_DUMP:
	case VMMU_TRACE_DUMP_END:
	case VMMU_TRACE_CHECKSUM:
		return false;
	default:
		return !range_given(filter);
	}
}
