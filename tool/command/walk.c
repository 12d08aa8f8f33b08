/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu walk: the entries that translate one address, and how each came to be. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../trace/bits.h"
#include "../trace/describe.h"
#include "../trace/reverse.h"
#include "../trace/view.h"
#include "../question/question.h"
#include "command.h"
#include "shared_options.h"
#include "walk_l1.h"

enum { OPTION_GPA = 'g',
       OPTION_BRIEF = 'b',
       OPTION_GVA = 0x100,
       OPTION_L2,
       OPTION_ROOT,
       OPTION_BITS,
       OPTION_RMAP };

struct walk {
	struct view view;
	uint64_t address; /* gpa; in shadow tables gva; of L2 */
	bool is_gva, given;
	bool is_l2, json; /* the gpa of a guest's guest; JSON is had in other ways of the others */
	uint64_t root;    /* top table; 0: the one loaded last */
	bool brief;       /* no history */
	bool bits;        /* entries taken apart */
	bool rmap;        /* instead: which entries map the gpa */

	struct replay replay;
	struct replay_vm *vm;
	uint64_t moment; /* records before this number have happened */
	char *label;
	struct vmmu_path_step steps[VMMU_LEVEL_MAX];
	unsigned count;
	struct l1_path l1;
};

static void print_heading(const struct walk *walk)
{
	const struct palette *p = walk->view.palette;

	printf("%sGuest-%s%s 0x%012" PRIx64 " %s%s\n", p->bold, walk->is_gva ? "virtual" : "physical",
	       walk->is_l2 ? " for L2" : "", walk->address, walk->label, p->off);
	printf("%sVM %u, %s, %u levels", p->dim, walk->vm->id,
	       describe_mode(walk->vm->decoder.mode), walk->vm->decoder.levels);
	if (walk->view.machine[0])
		printf(", machine %s", walk->view.machine);
	if (walk->view.kernel_name)
		printf(", kernel %s", walk->view.kernel_name);
	printf("%s\n\n", p->off);
}

static void print_steps(const struct walk *walk)
{
	const struct palette *p = walk->view.palette;

	printf("%s  level  covers   table        %sindex  at           entry               meaning%s\n", p->dim,
	       walk->is_gva ? "guest's own  " : walk->is_l2 ? "L1's table   "
	                                                    : "",
	       p->off);
	for (unsigned i = 0; i < walk->count; i++) {
		const struct vmmu_path_step *step = &walk->steps[i];
		char *meaning = describe_entry(&walk->vm->decoder, step->level, step->entry);
		const char *colour = step->info.kind == VMMU_ENTRY_EMPTY ? p->red : step->info.kind == VMMU_ENTRY_LEAF ? p->green
		                                                                                                       : "";

		printf("  %-5u  %-7s  0x%09" PRIx64 "  ", step->level, text_level_span(step->level),
		       step->table.v);
		if (walk->is_gva || walk->is_l2)
			printf("0x%09" PRIx64 "  ",
			       replay_table_at(&walk->replay, step->table.v)->gfn << VMMU_PAGE_SHIFT);
		printf("[%3u]  0x%09" PRIx64 "  0x%016" PRIx64 "  %s%s%s\n", step->index,
		       step->table.v + sizeof(uint64_t) * step->index, step->entry, colour, meaning, p->off);
		free(meaning);
		if (walk->bits)
			bits_print(&walk->vm->decoder, step->level, step->entry, 9);
	}
}

/* ---- the other way round: from a guest page to the entries that map it ------------------ */

struct reverse {
	const struct walk *walk;
	unsigned count;
};

static void print_reverse(void *arg, const struct replay_table *table, unsigned index)
{
	struct reverse *reverse = arg;
	const struct walk *walk = reverse->walk;
	char *meaning = describe_entry(&walk->vm->decoder, table->level, replay_entry(table, index));

	printf("  0x%09" PRIx64 "  L%u table 0x%09" PRIx64 "[%3u]  0x%016" PRIx64 "  %s\n",
	       table->hpa + sizeof(uint64_t) * index, table->level, table->hpa, index, replay_entry(table, index), meaning);
	free(meaning);
	reverse->count++;
}

static void show_reverse(const struct walk *walk)
{
	struct reverse reverse = {.walk = walk};
	const struct palette *p = walk->view.palette;

	printf("%sEntries that map guest-physical 0x%" PRIx64 " %s%s\n\n", p->bold, walk->address, walk->label, p->off);
	reverse_map(walk->vm, walk->address >> VMMU_PAGE_SHIFT, print_reverse, &reverse);
	if (walk->vm->decoder.mode == VMMU_MODE_SHADOW)
		printf("\n%u entr%s. Under shadow paging the guest maps a page where it likes: the engine keeps these in a "
		       "list,\nthe reverse map, to find them when the page is taken away or write-protected.\n",
		       reverse.count,
		       reverse.count == 1 ? "y" : "ies");
	else
		printf("\n%u entr%s. A direct map has one place for each page, which a walk from the root finds: it keeps no\n"
		       "reverse map.\n",
		       reverse.count, reverse.count == 1 ? "y" : "ies");
}

/* The first gfn that the shadow leaf at the walk's end maps: its last write tells. */
static uint64_t gfn_of_leaf(const struct walk *walk)
{
	const struct vmmu_path_step *last = &walk->steps[walk->count - 1];

	for (uint64_t n = walk->moment; n-- > 0;) {
		const struct vmmu_trace_record *record = &walk->view.trace.records[n];

		if ((record->event == VMMU_TRACE_SPTE_CHANGED || record->event == VMMU_TRACE_FOUND) &&
		    record->vm == walk->vm->id && record->spte.table == last->table.v && record->index == last->index)
			return record->spte.gfn;
	}
	return 0;
}

static void print_result(const struct walk *walk)
{
	const struct palette *p = walk->view.palette;
	const struct vmmu_path_step *last;
	uint64_t bytes;

	if (walk->count == 0) {
		printf("  no root had been loaded yet\n");
		return;
	}
	last = &walk->steps[walk->count - 1];
	bytes = vmmu_level_pages(last->level) << VMMU_PAGE_SHIFT;
	printf("\n  ");
	if (walk->is_gva && last->info.kind == VMMU_ENTRY_LEAF)
		printf("=> guest-physical 0x%012" PRIx64 "\n  ",
		       (gfn_of_leaf(walk) << VMMU_PAGE_SHIFT) + (walk->address & (bytes - 1)));
	if (last->info.kind == VMMU_ENTRY_LEAF)
		printf("=> host-physical %s0x%012" PRIx64 "%s in a %s page, %s, %s\n", p->green,
		       vmmu_pfn_hpa(last->info.pfn).v + (walk->address & (bytes - 1)), p->off,
		       text_level_span(last->level), describe_rights(last->info.rights).text,
		       describe_memtype(last->info.memtype));
	else if (last->info.kind == VMMU_ENTRY_EMPTY)
		printf("=> %snot mapped%s: the next access faults at level %u\n", p->red, p->off, last->level);
	else if (last->info.kind == VMMU_ENTRY_MMIO)
		printf("=> a device: every access goes to its emulation\n");
	else
		printf("=> %sthe CPU would refuse this entry%s\n", p->red, p->off);
}

/* Shadow tables say of a gva what they say now: another table may have stood here before. */
static bool is_on_the_way(const struct walk *walk, const struct vmmu_trace_record *record)
{
	for (unsigned i = 0; i < walk->count; i++)
		if (walk->steps[i].level == record->level)
			return walk->steps[i].table.v == record->spte.table && walk->steps[i].index == record->index;
	return false;
}

/* Does this record tell of the entry of `level` on the way to the address? */
static bool writes_entry(const struct walk *walk, const struct vmmu_trace_record *record, unsigned level)
{
	uint64_t pages = vmmu_level_pages(level);
	bool tells = record->event == VMMU_TRACE_SPTE_CHANGED || record->event == VMMU_TRACE_FOUND;

	if (!tells || record->vm != walk->vm->id || record->level != level)
		return false;
	if (walk->is_gva || walk->is_l2)
		return is_on_the_way(walk, record);
	/* Those of a nested map are for gpas of L2. */
	if (walk->vm->nested && record->root == walk->vm->map)
		return false;
	return (record->spte.gfn & ~(pages - 1)) == ((walk->address >> VMMU_PAGE_SHIFT) & ~(pages - 1));
}

static void print_reason(const struct walk *walk, uint64_t number)
{
	const struct vmmu_trace_record *fault = view_fault_of(&walk->view, number);
	const struct palette *p = walk->view.palette;
	char *access, *place;

	if (!fault) {
		printf("a call of the host's\n");
		return;
	}
	access = describe_access(fault);
	place = describe_place(fault, &walk->view.symbols);
	printf("fault %u: %s at %s0x%" PRIx64 "%s%s by %s%s%s\n", fault->fault, access, p->cyan, fault->page_fault.address,
	       p->off, fault_of_l2(fault) ? " of L2" : "", p->blue, place, p->off);
	free(access);
	free(place);
}

static void print_found(const struct walk *walk, uint64_t number)
{
	const struct vmmu_trace_record *record = &walk->view.trace.records[number];
	const struct palette *p = walk->view.palette;
	char *entry = describe_entry(&walk->vm->decoder, record->level, record->entry.spte);

	printf("    %s%12.6f s%s  was there when the trace began: %s\n", p->dim,
	       trace_seconds(&walk->view.trace, record), p->off, entry);
	free(entry);
}

static void print_write(const struct walk *walk, uint64_t number)
{
	const struct vmmu_trace_record *record = &walk->view.trace.records[number];
	const struct palette *p = walk->view.palette;
	char *was = describe_entry(&walk->vm->decoder, record->level, record->spte.old_spte);
	char *now = describe_entry(&walk->vm->decoder, record->level, record->spte.new_spte);

	printf("    %s%12.6f s%s  %s%-10s%s  ", p->dim, trace_seconds(&walk->view.trace, record), p->off,
	       p->yellow, describe_cause(record->cause).text, p->off);
	print_reason(walk, number);
	printf("                    %srecord %" PRIu64 "%s: %s -> %s%s%s\n", p->dim, number, p->off, was,
	       record->spte.new_spte ? p->green : p->red, now, p->off);
	free(was);
	free(now);
}

static uint64_t count_writes(const struct walk *walk, unsigned level, uint64_t from, uint64_t to)
{
	uint64_t count = 0;

	for (uint64_t n = from; n < to; n++)
		count += writes_entry(walk, &walk->view.trace.records[n], level);
	return count;
}

static void print_history(const struct walk *walk, unsigned level)
{
	const struct palette *p = walk->view.palette;
	const struct trace_file *trace = &walk->view.trace;
	uint64_t before = count_writes(walk, level, 0, walk->moment);
	uint64_t after = count_writes(walk, level, walk->moment, trace->count);
	uint64_t table = 0;

	printf("\n%s  level %u%s, which covers %s: ", p->bold, level, p->off, text_level_span(level));
	if (before + after == 0) {
		printf("never written\n");
		return;
	}
	printf("%" PRIu64 " write%s", before, before == 1 ? "" : "s");
	if (after)
		printf(", %" PRIu64 " more later", after);
	putchar('\n');
	for (uint64_t n = 0; n < trace->count; n++) {
		const struct vmmu_trace_record *record = &trace->records[n];

		if (!writes_entry(walk, record, level))
			continue;
		if (table != record->spte.table)
			printf("    %sin table 0x%" PRIx64 ", entry %u%s\n", p->dim, record->spte.table, record->index, p->off);
		table = record->spte.table;
		if (n >= walk->moment && before != UINT64_MAX) {
			printf("    %s--- after that moment ---%s\n", p->magenta, p->off);
			before = UINT64_MAX;
		}
		if (record->event == VMMU_TRACE_FOUND)
			print_found(walk, n);
		else
			print_write(walk, n);
	}
}

/* Which addresses do the tables of this VM translate? */
static bool is_address_of_mode(const struct walk *walk)
{
	const struct vmmu_decoder *d = &walk->vm->decoder;
	unsigned bits = VMMU_PAGE_SHIFT + 9 * d->levels;
	bool shadow = d->mode == VMMU_MODE_SHADOW;
	uint64_t beyond = walk->address >> (bits - shadow);

	if (walk->is_gva != shadow && !(walk->is_l2 && shadow)) {
		complain(shadow ? "shadow tables translate guest-virtual addresses: give --gva"
		                : "%s tables translate guest-physical addresses: give --gpa",
		         describe_mode(d->mode));
		return false;
	}
	/* Canonical: the upper half repeats the highest bit. */
	if (beyond && !(shadow && beyond == ~0ull >> (bits - 1))) {
		complain("0x%" PRIx64 " is beyond what %u levels of tables can translate", walk->address,
		         d->levels);
		return false;
	}
	return true;
}

static bool prepare_l2(struct walk *walk)
{
	uint64_t root = walk->root ? walk->root : walk->vm->l2_root;
	const struct replay_table *top = root ? replay_table_at(&walk->replay, root) : NULL;

	if (!top || top->root != walk->vm->map) {
		complain(walk->root ? "the table at 0x%" PRIx64 " is none of a nested map's"
		                    : "no tables for L2 had been loaded then, or they are gone",
		         walk->root);
		return false;
	}
	walk->count = replay_walk(&walk->replay, walk->vm, root, walk->address, walk->steps);
	l1_path_find(&walk->l1, &walk->view, walk->vm, top, walk->address, walk->moment);
	return true;
}

static bool prepare(struct walk *walk)
{
	char *error = NULL;

	if (!trace_sort(&walk->view.trace, &error)) {
		complain("%s", error);
		free(error);
		return false;
	}
	if (!view_moment(&walk->view, &walk->moment, &walk->label))
		return false;
	replay_range(&walk->replay, &walk->view.trace, 0, walk->moment);
	replay_settle(&walk->replay, &walk->view.trace);
	walk->vm = view_vm(&walk->view, &walk->replay);
	if (!walk->vm)
		return false;
	if (walk->rmap)
		return true;
	if (!is_address_of_mode(walk))
		return false;
	if (walk->is_l2 && !walk->vm->nested) {
		complain("no guest of this trace runs guests: --l2 is for those of `vmmu run --nested`");
		return false;
	}
	if (walk->root && !replay_table_at(&walk->replay, walk->root)) {
		complain("there is no table at 0x%" PRIx64 " at that moment: `vmmu dump` lists them", walk->root);
		return false;
	}
	if (walk->is_l2)
		return prepare_l2(walk);
	walk->count = replay_walk(&walk->replay, walk->vm, walk->root ? walk->root : walk->vm->root,
	                          walk->address, walk->steps);
	return true;
}

/* ---- an address of L2 in JSON ------------------------------------------------------------ */

static json_t *write_json(const struct walk *walk, uint64_t number)
{
	const struct vmmu_trace_record *record = &walk->view.trace.records[number], *fault = view_fault_of(&walk->view, number);
	bool found = record->event == VMMU_TRACE_FOUND;
	uint64_t now = found ? record->entry.spte : record->spte.new_spte;
	char *meaning = describe_entry(&walk->vm->decoder, record->level, now);
	json_t *json = json_pack("{sI sf ss so ss}", "record", (json_int_t)number, "time", trace_seconds(&walk->view.trace, record),
	                         "cause", found ? "found" : describe_cause(record->cause).text, "new", walk_hex(now), "meaning", meaning);

	if (!found)
		json_object_set_new(json, "old", walk_hex(record->spte.old_spte));
	if (fault)
		json_object_set_new(json, "fault", json_integer(fault->fault));
	free(meaning);
	return json;
}

static json_t *step_json(const struct walk *walk, const struct vmmu_path_step *step)
{
	char *meaning = describe_entry(&walk->vm->decoder, step->level, step->entry);
	json_t *json = json_pack("{si si so so ss}", "level", step->level, "index", step->index, "table", walk_hex(step->table.v),
	                         "entry", walk_hex(step->entry), "meaning", meaning);
	json_t *history;

	free(meaning);
	if (walk->brief)
		return json;
	history = json_array();
	for (uint64_t n = 0; n < walk->view.trace.count; n++)
		if (writes_entry(walk, &walk->view.trace.records[n], step->level))
			json_array_append_new(history, write_json(walk, n));
	json_object_set_new(json, "history", history);
	return json;
}

static void show_l2_json(struct walk *walk)
{
	const struct vmmu_path_step *last = walk->count ? &walk->steps[walk->count - 1] : NULL;
	json_t *steps = json_array(), *json;

	view_index_faults(&walk->view);
	for (unsigned i = 0; i < walk->count; i++)
		json_array_append_new(steps, step_json(walk, &walk->steps[i]));
	json = json_pack("{so si so so so}", "l2_gpa", walk_hex(walk->address), "vm", walk->vm->id, "root", walk_hex(walk->steps[0].table.v),
	                 "l1_steps", l1_path_json(&walk->l1, walk->brief), "steps", steps);
	if (walk->l1.mapped)
		json_object_set_new(json, "l1_gpa", walk_hex(walk->l1.l1_gpa));
	if (last && last->info.kind == VMMU_ENTRY_LEAF)
		json_object_set_new(json, "hpa", walk_hex(vmmu_pfn_hpa(last->info.pfn).v + (walk->address & ((vmmu_level_pages(last->level) << VMMU_PAGE_SHIFT) - 1))));
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(13));
	putchar('\n');
	json_decref(json);
}

/* ---- all of it --------------------------------------------------------------------------- */

static void show(struct walk *walk)
{
	if (walk->rmap) {
		show_reverse(walk);
		return;
	}
	if (walk->is_l2 && walk->json) {
		show_l2_json(walk);
		return;
	}
	print_heading(walk);
	if (walk->is_l2) {
		printf("%sThe path in L1's tables, as it was read until then%s\n", walk->view.palette->bold, walk->view.palette->off);
		l1_path_print(&walk->l1);
		printf("\n%sThe path in ours, L1's and the slots' merged, as the CPU walks it%s\n", walk->view.palette->bold,
		       walk->view.palette->off);
	}
	print_steps(walk);
	print_result(walk);
	if (walk->brief)
		return;
	view_index_faults(&walk->view);
	printf("\n%sWhen and why each entry was written%s\n", walk->view.palette->bold, walk->view.palette->off);
	for (unsigned level = walk->count ? walk->steps[0].level : walk->vm->decoder.levels; level >= 1; level--) {
		/* Below a large page there is a level only if one was there once. */
		if (walk->count && level < walk->steps[walk->count - 1].level &&
		    count_writes(walk, level, 0, walk->view.trace.count) == 0)
			break;
		if (walk->is_l2)
			l1_path_print_history(&walk->l1, level);
		print_history(walk, level);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct walk *walk = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &walk->view;
		state->child_inputs[1] = &walk->view;
		state->child_inputs[2] = &walk->json;
		return 0;
	case OPTION_GPA:
	case OPTION_GVA:
	case OPTION_L2:
		if (walk->given)
			argp_error(state, "one address at a time");
		if (!parse_address(arg, &walk->address))
			argp_error(state, "--%s takes an address in hex, with 0x or without, like 1a3c000, not \"%s\"",
			           key == OPTION_GPA   ? "gpa"
			           : key == OPTION_GVA ? "gva"
			                               : "l2",
			           arg);
		walk->is_gva = key == OPTION_GVA;
		walk->is_l2 = key == OPTION_L2;
		walk->given = true;
		return 0;
	case OPTION_ROOT:
		if (!parse_address(arg, &walk->root) || !walk->root)
			argp_error(state, "--root takes the host-physical address of a table, in hex, not \"%s\"", arg);
		return 0;
	case OPTION_BITS:
		walk->bits = true;
		return 0;
	case OPTION_RMAP:
		walk->rmap = true;
		return 0;
	case OPTION_BRIEF:
		walk->brief = true;
		return 0;
	case ARGP_KEY_END:
		if (walk->rmap && (walk->is_gva || walk->is_l2))
			argp_error(state, "--rmap goes from a guest page to its entries: give --gpa X");
		if (!walk->given)
			argp_error(state, "which address? Give --gpa X, --gva X under shadow paging, or --l2 X for a guest's guest");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gpa", OPTION_GPA, "X", 0, "The guest-physical address, in hex with or without 0x", 1},
	{"gva", OPTION_GVA, "X", 0, "Under shadow paging: the guest-virtual address", 1},
	{"l2", OPTION_L2, "X", 0, "In a run with --nested: the guest-physical address of a guest's guest, through both dimensions", 1},
	{"root", OPTION_ROOT, "HPA", 0,
         "The top table to begin with (default: the one that was loaded last)", 1},
	{"bits", OPTION_BITS, NULL, 0, "Take each entry apart, bit by bit", 1},
	{"rmap", OPTION_RMAP, NULL, 0, "Instead, all entries that map the page at --gpa: the reverse map", 1},
	{"brief", OPTION_BRIEF, NULL, 0, "The entries only, without their history", 1},
	{0},
};

static const struct argp_child children[] = {{&view_argp, 0, NULL, 0}, {&moment_argp, 0, NULL, 0}, {&shared_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show the entries that translate a guest-physical address (under shadow paging: a "
	       "guest-virtual one) as they stood at one moment, and when, why and by which guest "
	       "instruction each of them was written."
	       " FILE may also be a recording of KVM, with options of its own: `vmmu walk FILE --help`.",
	.children = children,
};

/*
 * A replay takes a second for some three million records. For what is longer, the index
 * beside the file answers at once; it knows the entries of direct maps by their gpa.
 */
static bool wants_index(const struct walk *walk)
{
	const off_t large = 128 << 20;
	struct {
		struct vmmu_trace_file_header header;
		struct vmmu_trace_record first;
	} begin;
	int fd = open(walk->view.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	bool direct;

	if (fd < 0)
		return false;
	direct = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= large &&
	         pread(fd, &begin, sizeof(begin), 0) == sizeof(begin) &&
	         memcmp(begin.header.magic, VMMU_TRACE_MAGIC, sizeof(begin.header.magic)) == 0 &&
	         begin.first.event == VMMU_TRACE_VM && begin.first.config.mode != VMMU_MODE_SHADOW;
	close(fd);
	return direct && !walk->is_gva && !walk->is_l2 && !walk->root && !walk->bits && !walk->rmap && !walk->view.kernel_path &&
	       walk->view.vm == UINT64_MAX && (walk->view.moment == MOMENT_END || walk->view.moment == MOMENT_TIME);
}

/* It has a JSON of its own: the index does not know L1's entries. */
static bool asks_for_l2(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--l2", 4) == 0)
			return true;
	return false;
}

int command_walk(int argc, char **argv)
{
	struct walk walk = {0};
	int status = EXIT_TROUBLE;

	if (question_is_asked(argc, argv, asks_for_l2(argc, argv) ? QUESTION_FOR_KVM : QUESTION_FOR_OPTION_JSON))
		return question_walk(argc, argv);
	view_init(&walk.view);
	argp_parse(&argp, argc, argv, 0, NULL, &walk);
	if (wants_index(&walk))
		return question_walk(argc, argv);
	if (!view_open(&walk.view))
		return EXIT_TROUBLE;
	trace_warn_ending(&walk.view.trace);
	replay_init(&walk.replay, NULL, NULL);
	if (prepare(&walk)) {
		show(&walk);
		status = EXIT_OK;
	}
	replay_free(&walk.replay);
	free(walk.label);
	view_close(&walk.view);
	return status;
}
