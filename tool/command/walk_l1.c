/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L1's tables are in L1's memory, and L1 writes them as it likes; the trace has what the engine
 * read there. While a merged entry stands, no CPU can write the entry of L1's that it comes from,
 * so what was read last holds at least as long.
 */
#include "walk_l1.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../trace/describe.h"

#define PRESENT_EPT 7u
#define PRESENT_NPT 1u
#define LARGE (1u << 7)
#define ADDRESS (((1ull << 52) - 1) & ~(uint64_t)0xfff)
#define ADDRESS_32 0xfffff000u

json_t *walk_hex(uint64_t value)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

/* ---- L1's formats: SDM vol. 3, 29.3.2; APM vol. 2, 5.2 to 5.4 and 15.25 ------------------- */

static bool is_32bit(const struct l1_path *path)
{
	return path->entry_bytes == sizeof(uint32_t);
}

static unsigned index_bits(const struct l1_path *path)
{
	return is_32bit(path) ? 10 : 9;
}

static unsigned shift_of(const struct l1_path *path, unsigned level)
{
	return VMMU_PAGE_SHIFT + index_bits(path) * (level - 1);
}

static const char *span_of(const struct l1_path *path, unsigned level)
{
	return is_32bit(path) && level == 2 ? "4 MiB" : text_level_span(level);
}

static bool is_present(const struct l1_path *path, uint64_t entry)
{
	return entry & (path->vm->decoder.mode == VMMU_MODE_NPT ? PRESENT_NPT : PRESENT_EPT);
}

static bool is_page(const struct l1_path *path, unsigned level, uint64_t entry)
{
	/* PAE's four entries reference tables only. */
	bool may_be_large = level == 2 || (level == 3 && path->count && path->steps[0].level > 3);

	return level == 1 || (may_be_large && (entry & LARGE));
}

static uint64_t offset_mask(const struct l1_path *path, unsigned level)
{
	return ((uint64_t)1 << shift_of(path, level)) - 1;
}

static uint64_t page_address(const struct l1_path *path, unsigned level, uint64_t entry)
{
	uint64_t offset = path->l2_gpa & offset_mask(path, level);

	if (!is_32bit(path))
		return (entry & ADDRESS & ~offset_mask(path, level)) | offset;
	if (level == 1)
		return (entry & ADDRESS_32) | offset;
	/* PSE-36: bits 20:13 are address bits 39:32. */
	return (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32 | offset;
}

static char *meaning_of(const struct l1_path *path, unsigned level, uint64_t entry)
{
	struct vmmu_entry_info info;

	if (!is_present(path, entry))
		return duplicate(entry ? "not present" : "empty");
	vmmu_entry_decode(&path->vm->decoder, level, entry, &info);
	if (info.kind == VMMU_ENTRY_MMIO || info.kind == VMMU_ENTRY_BAD)
		return duplicate("refused: reserved bits, or a misconfiguration");
	if (!is_32bit(path) && info.kind != VMMU_ENTRY_EMPTY)
		return describe_entry(&path->vm->decoder, level, entry);
	return is_page(path, level, entry)
	               ? formatted("%s page 0x%" PRIx64, span_of(path, level), page_address(path, level, entry) & ~offset_mask(path, level))
	               : formatted("table 0x%" PRIx64, entry & ADDRESS_32);
}

/* ---- what the trace knows ------------------------------------------------------------------ */

static bool tells_of(const struct l1_path *path, const struct vmmu_trace_record *r, unsigned level, uint64_t where)
{
	return r->event == VMMU_TRACE_PAGING_ELEMENT && r->vm == path->vm->id && r->level == level && r->element.where == where;
}

/* The level of L1's top table, and where in its page it begins: PAE's has 32 bytes. 0: nothing was read from it. */
static unsigned find_top(const struct l1_path *path, uint64_t gfn, uint64_t *begin)
{
	const struct trace_file *trace = &path->view->trace;
	unsigned level = 0;

	*begin = gfn << VMMU_PAGE_SHIFT;
	for (uint64_t n = 0; n < path->moment; n++) {
		const struct vmmu_trace_record *r = &trace->records[n];

		if (r->event != VMMU_TRACE_PAGING_ELEMENT || r->vm != path->vm->id || r->cause == VMMU_CAUSE_PREFETCH ||
		    r->element.where >> VMMU_PAGE_SHIFT != gfn || r->level < level)
			continue;
		level = r->level;
		if (level == 3)
			*begin = r->element.where & ~(uint64_t)31;
	}
	return level;
}

static bool last_value(const struct l1_path *path, struct l1_step *step)
{
	const struct trace_file *trace = &path->view->trace;

	for (uint64_t n = path->moment; n-- > 0;)
		if (tells_of(path, &trace->records[n], step->level, step->where)) {
			step->entry = trace->records[n].element.pte;
			return true;
		}
	return false;
}

void l1_path_find(struct l1_path *path, const struct view *view, const struct replay_vm *vm,
                  const struct replay_table *top, uint64_t l2_gpa, uint64_t moment)
{
	uint64_t table;
	unsigned level;

	*path = (struct l1_path){.view = view, .vm = vm, .l2_gpa = l2_gpa, .moment = moment};
	level = find_top(path, top->gfn, &table);
	/* Two levels are those of 32-bit paging, and of nothing else. */
	path->entry_bytes = level == 2 ? sizeof(uint32_t) : sizeof(uint64_t);
	for (; level >= 1; level--) {
		struct l1_step *step = &path->steps[path->count];

		step->level = (uint8_t)level;
		step->index = (uint16_t)(l2_gpa >> shift_of(path, level) & ((1u << index_bits(path)) - 1));
		step->where = table + (uint64_t)path->entry_bytes * step->index;
		step->known = last_value(path, step);
		path->count++;
		if (!step->known || !is_present(path, step->entry))
			return;
		if (is_page(path, level, step->entry)) {
			path->mapped = true;
			path->l1_gpa = page_address(path, level, step->entry);
			return;
		}
		table = step->entry & (is_32bit(path) ? ADDRESS_32 : ADDRESS);
	}
}

/* ---- in words ------------------------------------------------------------------------------- */

void l1_path_print(const struct l1_path *path)
{
	const struct palette *p = path->view->palette;

	printf("%s  level  covers   L1's table   index  at           entry               meaning%s\n", p->dim, p->off);
	if (path->count == 0)
		printf("  nothing was read of this table of L1's until then\n");
	for (unsigned i = 0; i < path->count; i++) {
		const struct l1_step *step = &path->steps[i];
		char *meaning = step->known ? meaning_of(path, step->level, step->entry) : duplicate("not known: nothing has read it");
		bool ends = step->known && !is_present(path, step->entry);

		printf("  %-5u  %-7s  0x%09" PRIx64 "  [%3u]  0x%09" PRIx64 "  ", step->level, span_of(path, step->level),
		       step->where - (uint64_t)path->entry_bytes * step->index, step->index, step->where);
		if (step->known)
			printf("0x%016" PRIx64 "  ", step->entry);
		else
			printf("%-18s  ", "?");
		printf("%s%s%s\n", ends ? p->red : path->mapped && i + 1 == path->count ? p->green
		                                                                        : "",
		       meaning, p->off);
		free(meaning);
	}
	if (path->mapped)
		printf("\n  => guest-physical for L1 %s0x%012" PRIx64 "%s\n", p->green, path->l1_gpa, p->off);
	else if (path->count && path->steps[path->count - 1].known)
		printf("\n  => %sL1 maps nothing%s: an access of L2 is L1's to know\n", p->red, p->off);
	else
		printf("\n  => not known: no access of L2 had come this far\n");
}

static const struct l1_step *step_of(const struct l1_path *path, unsigned level)
{
	for (unsigned i = 0; i < path->count; i++)
		if (path->steps[i].level == level)
			return &path->steps[i];
	return NULL;
}

/* Call `visit` for each reading of the entry in the whole trace that found something else than the one before it. */
typedef void (*reading_visit)(const struct l1_path *path, const struct l1_step *step, uint64_t number, void *arg);

static void each_reading(const struct l1_path *path, const struct l1_step *step, reading_visit visit, void *arg)
{
	const struct trace_file *trace = &path->view->trace;
	uint64_t last = 0;
	bool any = false;

	for (uint64_t n = 0; n < trace->count; n++) {
		const struct vmmu_trace_record *r = &trace->records[n];

		if (!tells_of(path, r, step->level, step->where) || (any && r->element.pte == last))
			continue;
		visit(path, step, n, arg);
		last = r->element.pte;
		any = true;
	}
}

struct readings {
	uint64_t count;
	bool after;
};

static void print_reading(const struct l1_path *path, const struct l1_step *step, uint64_t number, void *arg)
{
	struct readings *readings = arg;
	const struct vmmu_trace_record *r = &path->view->trace.records[number], *fault = view_fault_of(path->view, number);
	const struct palette *p = path->view->palette;
	char *meaning = meaning_of(path, step->level, r->element.pte);

	if (number >= path->moment && !readings->after) {
		printf("    %s--- after that moment ---%s\n", p->magenta, p->off);
		readings->after = true;
	}
	readings->count++;
	printf("    %s%12.6f s%s  %s%-10s%s  ", p->dim, trace_seconds(&path->view->trace, r), p->off, p->yellow, "read", p->off);
	if (!fault) {
		printf("for a root\n");
	} else if (r->cause == VMMU_CAUSE_PREFETCH) {
		printf("with others, in fault %u\n", fault->fault);
	} else {
		char *access = describe_access(fault);

		printf("for fault %u: %s at %s0x%" PRIx64 "%s of L2\n", fault->fault, access, p->cyan, fault->page_fault.address, p->off);
		free(access);
	}
	printf("                    %srecord %" PRIu64 "%s: 0x%016" PRIx64 "  %s\n", p->dim, number, p->off, r->element.pte, meaning);
	free(meaning);
}

void l1_path_print_history(const struct l1_path *path, unsigned level)
{
	const struct l1_step *step = step_of(path, level);
	const struct palette *p = path->view->palette;
	struct readings readings = {0};

	if (!step)
		return;
	printf("\n%s  L1's level %u%s, entry at 0x%" PRIx64 " of L1, as it was found:\n", p->bold, level, p->off, step->where);
	each_reading(path, step, print_reading, &readings);
	if (!readings.count)
		printf("    never read\n");
}

/* ---- in JSON --------------------------------------------------------------------------------- */

static void add_reading(const struct l1_path *path, const struct l1_step *step, uint64_t number, void *arg)
{
	const struct vmmu_trace_record *r = &path->view->trace.records[number], *fault = view_fault_of(path->view, number);
	char *meaning = meaning_of(path, step->level, r->element.pte);
	json_t *json = json_pack("{sI sf ss so ss}", "record", (json_int_t)number, "time", trace_seconds(&path->view->trace, r), "cause",
	                         describe_cause(r->cause).text, "entry", walk_hex(r->element.pte), "meaning", meaning);

	if (fault)
		json_object_set_new(json, "fault", json_integer(fault->fault));
	json_array_append_new(arg, json);
	free(meaning);
}

json_t *l1_path_json(const struct l1_path *path, bool brief)
{
	json_t *steps = json_array();

	for (unsigned i = 0; i < path->count; i++) {
		const struct l1_step *step = &path->steps[i];
		json_t *json = json_pack("{si si so sb}", "level", step->level, "index", step->index, "at", walk_hex(step->where), "known",
		                         step->known);

		if (step->known) {
			char *meaning = meaning_of(path, step->level, step->entry);

			json_object_set_new(json, "entry", walk_hex(step->entry));
			json_object_set_new(json, "meaning", json_string(meaning));
			free(meaning);
		}
		if (!brief) {
			json_t *history = json_array();

			each_reading(path, step, add_reading, history);
			json_object_set_new(json, "history", history);
		}
		json_array_append_new(steps, json);
	}
	return steps;
}
