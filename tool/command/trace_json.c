/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "../trace/describe.h"

/* Nanoseconds in the first hours. */
enum { SECONDS_DIGITS = 13 };

/* Addresses and entries as text: JSON numbers do not hold 64 bits everywhere. */
static json_t *hex(uint64_t value)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

static json_t *entry_json(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry)
{
	static const char *const kinds[] = {"empty", "table", "leaf", "mmio", "bad"};
	struct vmmu_entry_info info;
	json_t *out;

	vmmu_entry_decode(decoder, level, entry, &info);
	out = json_pack("{so ss}", "entry", hex(entry), "kind", kinds[info.kind]);
	if (info.kind == VMMU_ENTRY_TABLE || info.kind == VMMU_ENTRY_LEAF) {
		json_object_set_new(out, "hpa", hex(vmmu_pfn_hpa(info.pfn).v));
		json_object_set_new(out, "rights", json_string(describe_rights(info.rights).text));
		json_object_set_new(out, "accessed", json_boolean(info.accessed));
	}
	if (info.kind == VMMU_ENTRY_LEAF) {
		json_object_set_new(out, "dirty", json_boolean(info.dirty));
		json_object_set_new(out, "memtype", json_string(describe_memtype(info.memtype)));
	}
	return out;
}

static json_t *fault_json(const struct vmmu_trace_record *fault, const struct symbols *symbols)
{
	char *access = describe_access(fault), *place = describe_place(fault, symbols);
	json_t *out = json_pack("{sI so ss so ss}", "id", (json_int_t)fault->fault, "gpa", hex(fault->page_fault.address),
	                        "access", access, "rip", hex(fault->page_fault.guest_rip), "place", place);

	if (fault_of_l2(fault))
		json_object_set_new(out, "guest", json_string("L2"));
	free(access);
	free(place);
	return out;
}

/* What every line has. */
static json_t *line_of(const struct view *view, const struct vmmu_trace_record *record, uint64_t number)
{
	return json_pack("{sI sf ss si si}", "record", (json_int_t)number, "seconds", trace_seconds(&view->trace, record),
	                 "event", describe_event(record->event).text, "vm", record->vm, "vcpu",
	                 record->vcpu == VMMU_TRACE_NO_VCPU ? -1 : record->vcpu);
}

static void print_line(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(SECONDS_DIGITS));
	putchar('\n');
	json_decref(line);
}

static bool is_reference(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry)
{
	struct vmmu_entry_info info;

	vmmu_entry_decode(decoder, level, entry, &info);
	return info.kind == VMMU_ENTRY_TABLE;
}

/* Under shadow paging a reference has no gpa of its own: it stands for a table of the guest's. */
static const char *what_it_names(const struct vmmu_decoder *decoder, const struct vmmu_trace_record *write)
{
	bool reference = is_reference(decoder, write->level, write->spte.new_spte) ||
	                 is_reference(decoder, write->level, write->spte.old_spte);

	return decoder->mode == VMMU_MODE_SHADOW && reference ? "guest_table" : "gpa";
}

void trace_json_print(const struct view *view, const struct vmmu_decoder *decoder,
                      const struct vmmu_trace_record *write, const struct vmmu_trace_record *fault,
                      uint64_t number)
{
	json_t *line = line_of(view, write, number);
	json_t *more = json_pack("{si so si so ss so so}", "level", write->level, "table", hex(write->spte.table), "index",
	                         write->index, what_it_names(decoder, write), hex(write->spte.gfn << VMMU_PAGE_SHIFT),
	                         "cause", describe_cause(write->cause).text, "old",
	                         entry_json(decoder, write->level, write->spte.old_spte), "new",
	                         entry_json(decoder, write->level, write->spte.new_spte));

	json_object_update(line, more);
	json_decref(more);
	if (fault)
		json_object_set_new(line, "fault", fault_json(fault, &view->symbols));
	print_line(line);
}

void trace_json_fault(const struct view *view, const struct vmmu_trace_record *fault,
                      const struct vmmu_trace_record *end, uint64_t number)
{
	json_t *line = line_of(view, fault, number);

	json_object_set_new(line, "fault", fault_json(fault, &view->symbols));
	if (end) {
		json_object_set_new(line, "result", json_string(describe_result(end->result).text));
		json_object_set_new(line, "end", json_real(trace_seconds(&view->trace, end)));
		if (end->fault_end.handler)
			json_object_set_new(line, "map", json_string(describe_handler(end->fault_end.handler).text));
	}
	print_line(line);
}

/* The fields that docs/trace-format.md names for the event, under those names. */
static json_t *fields_of(const struct vmmu_trace_record *r)
{
	switch (r->event) {
	case VMMU_TRACE_VM:
		return json_pack("{ss sI sI so}", "mode", describe_mode((enum vmmu_mode)r->config.mode), "levels",
		                 (json_int_t)r->config.levels, "maxphyaddr", (json_int_t)r->config.maxphyaddr, "features",
		                 hex(r->config.features));
	case VMMU_TRACE_ROOT_LOAD:
		return json_pack("{si si so so}", "root", r->root, "level", r->level, "table", hex(r->root_load.table),
		                 "pointer", hex(r->root_load.pointer));
	case VMMU_TRACE_SLOT:
		return json_pack("{ss sI si so so so so}", "cause", describe_cause(r->cause).text, "slot",
		                 (json_int_t)r->slot_id, "flags", r->slot_flags, "base_gfn", hex(r->slot.base_gfn), "pages",
		                 hex(r->slot.pages), "backing", hex(r->slot.backing), "old_base_gfn",
		                 hex(r->slot.old_base_gfn));
	case VMMU_TRACE_GET_PAGE:
		return json_pack("{si so so sb}", "level", r->level, "table", hex(r->page.table), "gfn", hex(r->page.gfn),
		                 "created", r->created == 1);
	case VMMU_TRACE_FOUND:
		return json_pack("{si so si so so}", "level", r->level, "table", hex(r->entry.table), "index", r->index,
		                 "gfn", hex(r->entry.gfn), "spte", hex(r->entry.spte));
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
		return json_pack("{si so so ss}", "level", r->level, "table", hex(r->page.table), "gfn", hex(r->page.gfn),
		                 "cause", describe_cause(r->cause).text);
	case VMMU_TRACE_FREE_PAGE:
		return json_pack("{so sI}", "table", hex(r->page.table), "flush", (json_int_t)r->flush_id);
	case VMMU_TRACE_FLUSH_OWED:
		return json_pack("{sI so so sI ss}", "flush", (json_int_t)r->flush_id, "start_gfn", hex(r->flush.start_gfn),
		                 "pages", hex(r->flush.pages), "tables", (json_int_t)r->flush.tables, "cause",
		                 describe_cause(r->cause).text);
	case VMMU_TRACE_FLUSH_DONE:
		return json_pack("{sI}", "flush", (json_int_t)r->flush_id);
	case VMMU_TRACE_HANDLE_MMIO:
		return json_pack("{so so so so}", "addr", hex(r->mmio.addr), "gfn", hex(r->mmio.gfn), "rip",
		                 hex(r->mmio.guest_rip), "spte", hex(r->mmio.spte));
	case VMMU_TRACE_CHECK_MMIO:
		return json_pack("{so so so}", "kvm_gen", hex(r->check_mmio.kvm_gen), "spte_gen",
		                 hex(r->check_mmio.spte_gen), "spte", hex(r->check_mmio.spte));
	case VMMU_TRACE_MARK:
		return json_pack("{sI}", "number", (json_int_t)r->mark.number);
	case VMMU_TRACE_GUEST_FLUSH:
		return json_pack("{ss so so}", "instruction", describe_guest_flush(r->instruction).text, "value",
		                 hex(r->guest_flush.value), "rip", hex(r->guest_flush.guest_rip));
	case VMMU_TRACE_PAGING_ELEMENT:
		return json_pack("{si ss so so so so}", "level", r->level, "cause", describe_cause(r->cause).text, "address", hex(r->element.address), "where", hex(r->element.where), "pte",
		                 hex(r->element.pte), "gpa", hex(r->element.gpa));
	case VMMU_TRACE_DROPS:
		return json_pack("{so}", "lost", hex(r->drops.records));
	default:
		return json_pack("{s[oooo]}", "words", hex(r->word[0]), hex(r->word[1]), hex(r->word[2]), hex(r->word[3]));
	}
}

void trace_json_other(const struct view *view, const struct vmmu_trace_record *record, uint64_t number)
{
	json_t *line = line_of(view, record, number), *fields = fields_of(record);

	if (record->fault)
		json_object_set_new(line, "in_fault", json_integer(record->fault));
	json_object_update(line, fields);
	json_decref(fields);
	print_line(line);
}
