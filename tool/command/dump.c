/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu dump: the whole tree of tables at one moment. */
#include <inttypes.h>
#include <stdlib.h>

#include "../trace/describe.h"
#include "../trace/view.h"
#include "../question/question.h"
#include "command.h"
#include "shared_options.h"

enum { OPTION_RAW = 'r',
       OPTION_GPA = 'g',
       OPTION_GVA = 0x100 };

struct dump {
	struct view view;
	bool raw;
	uint64_t first, last; /* only what translates these: gvas under shadow paging, else gpas */
	bool gva_given, gpa_given;
	struct replay replay;
	struct replay_vm *vm;
	uint32_t pass;
	uint64_t tables[VMMU_LEVEL_MAX + 1];
	uint64_t leaves[VMMU_LEVEL_MAX + 1];
};

/*
 * Leaves that continue one another in all address spaces, with equal rights and type.
 * `from` is what the tables translate: gpa, or gva under shadow paging; then `gpa` is
 * what the guest's own tables make of it.
 */
struct run {
	uint64_t from, gpa, hpa, bytes;
	uint64_t count;
	unsigned level;
	struct vmmu_entry_info info;
};

static bool is_shadow(const struct dump *dump)
{
	return dump->vm->decoder.mode == VMMU_MODE_SHADOW;
}

static void indent(const struct dump *dump, unsigned level)
{
	printf("%*s", 2 * (int)(dump->vm->decoder.levels - level), "");
}

static void print_run(const struct dump *dump, struct run *run)
{
	const struct palette *p = dump->view.palette;

	if (run->count == 0)
		return;
	indent(dump, run->level);
	printf("L%u  %s %s0x%09" PRIx64 "-0x%09" PRIx64 "%s", run->level, is_shadow(dump) ? "gva" : "gpa", p->cyan,
	       run->from, run->from + run->bytes - 1, p->off);
	if (is_shadow(dump))
		printf(" -> gpa 0x%09" PRIx64, run->gpa);
	printf(" -> hpa %s0x%09" PRIx64 "%s  %" PRIu64 " x %s  %s %s\n", p->green, run->hpa, p->off, run->count,
	       text_level_span(run->level), describe_rights(run->info.rights).text,
	       describe_memtype(run->info.memtype));
	run->count = 0;
}

static void add_leaf(const struct dump *dump, struct run *run, uint64_t from, uint64_t gpa, unsigned level,
                     const struct vmmu_entry_info *info)
{
	uint64_t bytes = vmmu_level_pages(level) << VMMU_PAGE_SHIFT, hpa = vmmu_pfn_hpa(info->pfn).v;
	bool continues = run->count && run->from + run->bytes == from && run->gpa + run->bytes == gpa &&
	                 run->hpa + run->bytes == hpa && run->info.rights == info->rights &&
	                 run->info.memtype == info->memtype;

	if (!continues) {
		print_run(dump, run);
		*run = (struct run){.from = from, .gpa = gpa, .hpa = hpa, .level = level, .info = *info};
	}
	run->count++;
	run->bytes += bytes;
}

static void print_entry(const struct dump *dump, const struct replay_table *table, unsigned index, uint64_t from)
{
	char *meaning = describe_entry(&dump->vm->decoder, table->level, replay_entry(table, index));

	indent(dump, table->level);
	printf("L%u 0x%09" PRIx64 "[%3u] 0x%016" PRIx64 "  ", table->level, table->hpa, index, replay_entry(table, index));
	if (is_shadow(dump))
		printf("gva 0x%09" PRIx64 "  ", from);
	printf("%s\n", meaning);
	free(meaning);
}

/* What entry `index` of a table translates, where the table's first one translates `base`. */
static uint64_t address_of(const struct dump *dump, uint64_t base, unsigned level, unsigned index)
{
	unsigned shift = 9 * (level - 1) + VMMU_PAGE_SHIFT, top = 9 * dump->vm->decoder.levels + VMMU_PAGE_SHIFT - 1;
	uint64_t address = base + ((uint64_t)index << shift);

	/* A gva is canonical: its highest bit is repeated above. */
	if (is_shadow(dump) && address >> top & 1)
		address |= ~0ull << top;
	return address;
}

static bool is_wanted(const struct dump *dump, uint64_t from, unsigned level)
{
	uint64_t bytes = vmmu_level_pages(level) << VMMU_PAGE_SHIFT;

	return !(dump->gva_given || dump->gpa_given) || (from <= dump->last && from + (bytes - 1) >= dump->first);
}

/* Of the tables that are reached several times, as under shadow paging, the contents are shown once. */
static void show_table(struct dump *dump, struct replay_table *table, uint64_t base)
{
	struct run run = {0};
	unsigned level = table->level;

	dump->tables[level]++;
	for (unsigned index = 0; index < TABLE_ENTRIES; index++) {
		uint64_t entry = replay_entry(table, index), from = address_of(dump, base, level, index);
		struct replay_table *child = NULL;
		struct vmmu_entry_info info;

		if (!entry || !is_wanted(dump, from, level))
			continue;
		vmmu_entry_decode(&dump->vm->decoder, level, entry, &info);
		if (info.kind == VMMU_ENTRY_LEAF) {
			dump->leaves[level]++;
			if (!dump->raw) {
				uint64_t gpa = replay_entry_gfn(table, index) << VMMU_PAGE_SHIFT;

				add_leaf(dump, &run, from, is_shadow(dump) ? gpa : from, level, &info);
				continue;
			}
		}
		print_run(dump, &run);
		print_entry(dump, table, index, from);
		/* Only a step down: a damaged trace must not lead in circles. */
		if (info.kind == VMMU_ENTRY_TABLE)
			child = replay_table_at(&dump->replay, vmmu_pfn_hpa(info.pfn).v);
		if (!child || child->level != level - 1)
			continue;
		if (replay_see(child, dump->pass)) {
			show_table(dump, child, from);
		} else {
			indent(dump, child->level);
			printf("L%u 0x%09" PRIx64 "  as shown above\n", child->level, child->hpa);
		}
	}
	print_run(dump, &run);
}

static void print_totals(const struct dump *dump)
{
	uint64_t all = 0;

	printf("\ntables:");
	for (unsigned level = dump->vm->decoder.levels; level >= 1; level--) {
		printf(" %" PRIu64 " at level %u%s", dump->tables[level], level, level > 1 ? "," : "");
		all += dump->tables[level];
	}
	printf("; %s together\npages:", text_bytes(all * VMMU_PAGE_SIZE).text);
	for (unsigned level = VMMU_LEVEL_1G; level >= 1; level--)
		printf(" %s of %s%s", text_count(dump->leaves[level]).text, text_level_span(level),
		       level > 1 ? "," : "\n");
}

/* --gva is for shadow tables, --gpa for all others. */
static bool is_right_address(const struct dump *dump)
{
	if (dump->gva_given && !is_shadow(dump))
		complain("%s tables translate guest-physical addresses: give --gpa; --gva is for shadow paging",
		         describe_mode(dump->vm->decoder.mode));
	else if (dump->gpa_given && is_shadow(dump))
		complain("shadow tables translate guest-virtual addresses: give --gva. "
		         "`vmmu walk --gpa X --rmap` lists the entries that map a page");
	else
		return true;
	return false;
}

static int show(struct dump *dump)
{
	const struct palette *p = dump->view.palette;
	struct replay_table *root;
	uint64_t records;
	char *label, *error = NULL;

	if (!trace_sort(&dump->view.trace, &error)) {
		complain("%s", error);
		free(error);
		return EXIT_TROUBLE;
	}
	if (!view_moment(&dump->view, &records, &label))
		return EXIT_TROUBLE;
	replay_range(&dump->replay, &dump->view.trace, 0, records);
	replay_settle(&dump->replay, &dump->view.trace);
	dump->vm = view_vm(&dump->view, &dump->replay);
	root = dump->vm && dump->vm->root ? replay_table_at(&dump->replay, dump->vm->root) : NULL;
	if (!root) {
		if (dump->vm)
			complain("no root had been loaded %s", label);
		free(label);
		return EXIT_TROUBLE;
	}
	if (!is_right_address(dump)) {
		free(label);
		return EXIT_TROUBLE;
	}
	printf("%sTables of VM %u %s%s, root 0x%" PRIx64 "\n\n", p->bold, dump->vm->id, label, p->off, root->hpa);
	dump->pass = replay_pass(&dump->replay);
	replay_see(root, dump->pass);
	show_table(dump, root, 0);
	print_totals(dump);
	free(label);
	return EXIT_OK;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct dump *dump = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &dump->view;
		state->child_inputs[1] = &dump->view;
		return 0;
	case OPTION_RAW:
		dump->raw = true;
		return 0;
	case OPTION_GVA:
	case OPTION_GPA:
		if (dump->gva_given || dump->gpa_given)
			argp_error(state, "one --gpa or --gva at a time");
		if (!parse_address_range(arg, &dump->first, &dump->last))
			argp_error(state, "%s takes an address or a range X-Y, not \"%s\"", key == OPTION_GVA ? "--gva" : "--gpa", arg);
		*(key == OPTION_GVA ? &dump->gva_given : &dump->gpa_given) = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"gva", OPTION_GVA, "X[-Y]", 0, "Under shadow paging: only what translates these guest-virtual addresses", 1},
	{"gpa", OPTION_GPA, "X[-Y]", 0, "Only what covers this guest-physical address or range", 1},
	{"raw", OPTION_RAW, NULL, 0, "Every entry on a line of its own, with its value", 1},
	{0},
};

static const struct argp_child children[] = {{&view_argp, 0, NULL, 0}, {&moment_argp, 0, NULL, 0}, {&shared_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Show all tables as they stood at one moment (default: the end). Pages that continue one "
	       "another are shown as one line."
	       " FILE may also be a recording of KVM, with options of its own: `vmmu dump FILE --help`. A trace of vmmu takes "
	       "those, too, together with --json, --last, --since, --until or --vcpu.",
	.children = children,
};

int command_dump(int argc, char **argv)
{
	struct dump dump = {0};
	int status;

	if (question_is_asked(argc, argv, QUESTION_FOR_OPTION_JSON))
		return question_tree(argc, argv);
	view_init(&dump.view);
	dump.view.no_symbols = true;
	argp_parse(&argp, argc, argv, 0, NULL, &dump);
	if (!view_open(&dump.view))
		return EXIT_TROUBLE;
	trace_warn_ending(&dump.view.trace);
	replay_init(&dump.replay, NULL, NULL);
	status = show(&dump);
	replay_free(&dump.replay);
	view_close(&dump.view);
	return status;
}
