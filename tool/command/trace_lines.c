/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_lines.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../trace/describe.h"

void lines_write(const struct view *view, const struct vmmu_decoder *decoder,
                 const struct vmmu_trace_record *write)
{
	const struct palette *p = view->palette;
	char *was = describe_entry(decoder, write->level, write->spte.old_spte);
	char *now = describe_entry(decoder, write->level, write->spte.new_spte);

	printf("    L%u %-7s  0x%09" PRIx64 "[%3u]  %s%-10s%s  %s -> %s%s%s\n", write->level,
	       text_level_span(write->level), write->spte.table, write->index, p->yellow,
	       describe_cause(write->cause).text, p->off, was, write->spte.new_spte ? p->green : p->red, now, p->off);
	free(was);
	free(now);
}

/* Which paging the guest had on, and who handled the fault. */
static void print_modes(const struct palette *p, const struct vmmu_trace_record *fault,
                        const struct vmmu_trace_record *end)
{
	printf("  %s", p->dim);
	if (fault_paging(fault))
		printf("cr3 0x%" PRIx64, fault->page_fault.word & ~(uint64_t)VMMU_TRACE_WORD_BITS);
	else
		printf("pg off");
	if (end && end->fault_end.handler)
		printf("  map %s%s", describe_handler(end->fault_end.handler).text,
		       maps_directly(end->fault_end.handler) ? " (direct_map)" : "");
	printf("%s", p->off);
}

void lines_fault(const struct view *view, const struct vmmu_trace_record *fault,
                 const struct vmmu_trace_record *end, bool more)
{
	const struct palette *p = view->palette;
	char *access = describe_access(fault), *place = describe_place(fault, &view->symbols);

	printf("%sfault %u%s  %s%.6f s%s  %s at %s0x%09" PRIx64 "%s%s  by %s%s%s", p->bold, fault->fault, p->off,
	       p->dim, trace_seconds(&view->trace, fault), p->off, access, p->cyan, fault->page_fault.address, p->off,
	       fault_of_l2(fault) ? " of L2" : "", p->blue, place, p->off);
	if (fault->vcpu)
		printf("  vCPU %u", fault->vcpu);
	if (more)
		print_modes(p, fault, end);
	if (!end)
		printf("  (no end recorded)");
	else if (end->result != VMMU_FAULT_FIXED)
		printf("  %s%s%s", p->magenta, describe_result(end->result).text, p->off);
	putchar('\n');
	free(access);
	free(place);
}

void lines_cause(const struct view *view, const struct vmmu_trace_record *write)
{
	const struct palette *p = view->palette;

	printf("%s%s%s  %s%.6f s%s\n", p->bold, describe_cause(write->cause).text, p->off, p->dim,
	       trace_seconds(&view->trace, write), p->off);
}

void lines_other(const struct view *view, const struct vmmu_decoder *decoder,
                 const struct vmmu_trace_record *r)
{
	const struct palette *p = view->palette;

	printf("%s    %.6f s  %s", p->dim, trace_seconds(&view->trace, r), describe_event(r->event).text);
	switch (r->event) {
	case VMMU_TRACE_VM:
		printf("  VM %u, %s, %" PRIu64 " levels, MAXPHYADDR %" PRIu64, r->vm,
		       describe_mode((enum vmmu_mode)r->config.mode), r->config.levels, r->config.maxphyaddr);
		break;
	case VMMU_TRACE_ROOT_LOAD:
		printf("  root %u at 0x%" PRIx64 ", %s 0x%" PRIx64, r->root, r->root_load.table,
		       describe_root_register(decoder->mode), r->root_load.pointer);
		break;
	case VMMU_TRACE_SLOT:
		printf("  %s slot %u: gpa 0x%" PRIx64 " + %s, flags %u", describe_cause(r->cause).text, r->slot_id,
		       r->slot.base_gfn << VMMU_PAGE_SHIFT, text_bytes(r->slot.pages << VMMU_PAGE_SHIFT).text,
		       r->slot_flags);
		break;
	case VMMU_TRACE_GET_PAGE:
		printf("  level %u table 0x%" PRIx64 " for gfn 0x%" PRIx64 "%s", r->level, r->page.table, r->page.gfn,
		       r->created == 1 ? ", new" : ", in use already");
		break;
	case VMMU_TRACE_FOUND:
		printf("  level %u table 0x%" PRIx64 " [%u] holds 0x%" PRIx64, r->level, r->entry.table, r->index,
		       r->entry.spte);
		break;
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
		printf("  level %u table 0x%" PRIx64 " for gfn 0x%" PRIx64 ", %s", r->level, r->page.table, r->page.gfn,
		       describe_cause(r->cause).text);
		break;
	case VMMU_TRACE_FREE_PAGE:
		printf("  table 0x%" PRIx64 ", after flush %u", r->page.table, r->flush_id);
		break;
	case VMMU_TRACE_FLUSH_OWED:
		printf("  flush %u: gfn 0x%" PRIx64 " + %" PRIu64 " pages, %" PRIu64 " tables wait, %s",
		       r->flush_id, r->flush.start_gfn, r->flush.pages, r->flush.tables, describe_cause(r->cause).text);
		break;
	case VMMU_TRACE_FLUSH_DONE:
		printf("  flush %u", r->flush_id);
		break;
	case VMMU_TRACE_HANDLE_MMIO:
		printf("  addr 0x%" PRIx64 " by the cached entry 0x%" PRIx64, r->mmio.addr, r->mmio.spte);
		break;
	case VMMU_TRACE_CHECK_MMIO:
		printf("  generation %" PRIu64 " now, %" PRIu64 " in the entry", r->check_mmio.kvm_gen,
		       r->check_mmio.spte_gen);
		break;
	case VMMU_TRACE_MARK:
		printf("  phase %" PRIu64 " ends", r->mark.number);
		break;
	case VMMU_TRACE_GUEST_FLUSH:
		printf("  %s 0x%" PRIx64 " carried out by the host, which flushed for it",
		       describe_guest_flush(r->instruction).text, r->guest_flush.value);
		break;
	case VMMU_TRACE_PAGING_ELEMENT:
		if (r->cause == VMMU_CAUSE_PREFETCH)
			printf("  prefetch:");
		else
			printf("  0x%" PRIx64 " of L2:", r->element.address);
		printf(" L1's level %u entry at 0x%" PRIx64 " is 0x%" PRIx64, r->level, r->element.where, r->element.pte);
		if (r->element.gpa)
			printf(", gpa of L1 0x%" PRIx64, r->element.gpa);
		break;
	case VMMU_TRACE_DROPS:
		printf("  %s%" PRIu64 " records were lost here", p->red, r->drops.records);
		break;
	case VMMU_TRACE_DUMP:
	case VMMU_TRACE_DUMP_END:
	case VMMU_TRACE_CHECKSUM:
		break;
	default:
		printf("  of a newer vmmu: 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64, r->word[0], r->word[1],
		       r->word[2], r->word[3]);
		break;
	}
	printf("%s\n", p->off);
}
