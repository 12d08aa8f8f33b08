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

	free(access);
	free(place);
	return out;
}

void trace_json_print(const struct view *view, const struct vmmu_decoder *decoder,
                      const struct vmmu_trace_record *write, const struct vmmu_trace_record *fault,
                      uint64_t number)
{
	json_t *line = json_pack("{sI sf si si si so si so ss so so}", "record", (json_int_t)number, "seconds",
	                         trace_seconds(&view->trace, write), "vm", write->vm, "vcpu",
	                         write->vcpu == VMMU_TRACE_NO_VCPU ? -1 : write->vcpu, "level", write->level,
	                         "table", hex(write->spte.table), "index", write->index, "gpa",
	                         hex(write->spte.gfn << VMMU_PAGE_SHIFT), "cause", describe_cause(write->cause).text,
	                         "old", entry_json(decoder, write->level, write->spte.old_spte), "new",
	                         entry_json(decoder, write->level, write->spte.new_spte));

	if (fault)
		json_object_set_new(line, "fault", fault_json(fault, &view->symbols));
	json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(SECONDS_DIGITS));
	putchar('\n');
	json_decref(line);
}
