/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The record of three: what a fault that wrote one entry has to say, taken apart. The engine
 * puts it together in table/trace_fault.h.
 */
#include <vmmu/trace.h>
#include <vmmu/vmmu.h>

#include "format/format.h"

enum { GPA_BITS = 52,
       FRAME_HIGH_BITS = 24 };

static const uint64_t frame_mask = ((1ull << GPA_BITS) - 1) & ~(uint64_t)(VMMU_PAGE_SIZE - 1);

/* The head that all three have. */
static struct vmmu_trace_record part(const struct vmmu_trace_record *whole, unsigned n, enum vmmu_trace_event event)
{
	return (struct vmmu_trace_record){
		.time = whole->time,
		.seq = whole->seq + n,
		.event = event,
		.vm = whole->vm,
		.vcpu = whole->vcpu,
		.fault = whole->fault,
		.root = whole->root,
	};
}

unsigned vmmu_trace_expand(const struct vmmu_trace_record *record, struct vmmu_trace_record out[VMMU_TRACE_EXPANDED])
{
	const struct vmmu_trace_fault_fixed *f = &record->fault_fixed;
	const uint64_t gpa = f->address & ((1ull << GPA_BITS) - 1), gfn = gpa / VMMU_PAGE_SIZE;
	const uint64_t table = record->frame_low | (uint64_t)(record->frame_high & ((1u << FRAME_HIGH_BITS) - 1)) << 16;
	uint64_t pages;

	if (record->event != VMMU_TRACE_FAULT_FIXED || record->level < VMMU_LEVEL_4K || record->level > VMMU_LEVEL_MAX) {
		out[0] = *record;
		return 1;
	}
	pages = vmmu_level_pages(record->level);
	out[0] = part(record, 0, VMMU_TRACE_PAGE_FAULT);
	out[0].access = record->frame_high >> FRAME_HIGH_BITS;
	out[0].page_fault = (struct vmmu_trace_page_fault){
		.address = gpa,
		.error_code = f->address >> GPA_BITS | (uint64_t)record->error_high << 32,
		.guest_rip = f->guest_rip,
		.word = f->word,
	};
	out[1] = part(record, 1, VMMU_TRACE_SPTE_CHANGED);
	out[1].level = record->level;
	out[1].cause = VMMU_CAUSE_VIOLATION;
	out[1].index = (uint16_t)(gfn / pages % VMMU_ENTRIES);
	out[1].spte = (struct vmmu_trace_spte_changed){
		.table = table * VMMU_PAGE_SIZE,
		.gfn = gfn & ~(pages - 1),
		.new_spte = f->new_spte,
	};
	out[2] = part(record, 2, VMMU_TRACE_FAULT_END);
	out[2].level = record->level;
	out[2].result = VMMU_FAULT_FIXED;
	out[2].fault_end = (struct vmmu_trace_fault_end){
		.gpa = gpa,
		.pfn = ((f->new_spte & frame_mask) / VMMU_PAGE_SIZE & ~(pages - 1)) | (gfn & (pages - 1)),
		.entry = f->new_spte,
		.handler = VMMU_HANDLER_DIRECT,
	};
	return VMMU_TRACE_EXPANDED;
}
