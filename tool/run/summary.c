/* SPDX-License-Identifier: BSD-2-Clause */
#include "summary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/types.h>

struct counted {
	const char *name;
	uint64_t count;
};

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static uint64_t sum(const json_t *object)
{
	uint64_t total = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
		total += (uint64_t)json_integer_value(value);
	return total;
}

/* Count at one level, whether the key is "1" or "4k". */
static uint64_t at_level(const json_t *object, unsigned level)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		unsigned of;

		if (parse_level(key, &of) && of == level)
			return (uint64_t)json_integer_value(value);
	}
	return 0;
}

static int by_count(const void *a, const void *b)
{
	const struct counted *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->name, y->name);
}

static struct counted *sorted(const json_t *object, size_t *count)
{
	struct counted *list = allocate(json_object_size(object) * sizeof(*list));
	const char *key;
	json_t *value;

	*count = 0;
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
		list[(*count)++] = (struct counted){key, (uint64_t)json_integer_value(value)};
	qsort(list, *count, sizeof(*list), by_count);
	return list;
}

/*
 * "title   total", then "name count, name count ..." over as many lines as it
 * takes. The visor names what it counts even at 0 when that says something,
 * as for CR3 accesses and INVLPG, which second-level paging does away with.
 */
static void print_counts(FILE *to, const char *title, const json_t *object)
{
	size_t count, column = 0;
	struct counted *list = sorted(object, &count);

	fprintf(to, "  %-12s %s", title, text_count(sum(object)).text);
	for (size_t i = 0; i < count; i++) {
		char *name = printable(list[i].name), *item = formatted("%s %s", name, text_count(list[i].count).text);

		free(name);

		if (column + strlen(item) > 72 || column == 0) {
			fprintf(to, "\n               %s", item);
			column = strlen(item);
		} else {
			fprintf(to, ", %s", item);
			column += strlen(item) + 2;
		}
		free(item);
	}
	fputc('\n', to);
	free(list);
}

static unsigned top_level(const json_t *entries)
{
	unsigned top = 4;
	const char *cause;
	json_t *levels;

	json_object_foreach((json_t *)(uintptr_t)entries, cause, levels) if (at_level(levels, 5))
		top = 5;
	return top;
}

static void print_entries(FILE *to, const json_t *entries)
{
	unsigned top = top_level(entries);
	uint64_t totals[VMMU_LEVEL_MAX + 1] = {0}, all = 0;
	const char *cause;
	json_t *levels;

	fprintf(to, "  entries      %-12s", "by cause");
	for (unsigned level = top; level >= 1; level--)
		fprintf(to, "%10s", text_level_span(level));
	fprintf(to, "%12s\n", "together");
	json_object_foreach((json_t *)(uintptr_t)entries, cause, levels)
	{
		uint64_t line = 0;

		for (unsigned level = top; level >= 1; level--)
			line += at_level(levels, level);
		if (line == 0)
			continue;
		fprintf(to, "  %-12s %-12s", "", cause);
		for (unsigned level = top; level >= 1; level--) {
			uint64_t count = at_level(levels, level);

			totals[level] += count;
			fprintf(to, "%10s", text_count(count).text);
		}
		all += line;
		fprintf(to, "%12s\n", text_count(line).text);
	}
	fprintf(to, "  %-12s %-12s", "", "all");
	for (unsigned level = top; level >= 1; level--)
		fprintf(to, "%10s", text_count(totals[level]).text);
	fprintf(to, "%12s\n", text_count(all).text);
}

static void print_tables(FILE *to, const json_t *summary)
{
	const json_t *tables = json_object_get(summary, "tables"), *mapped = json_object_get(summary, "mapped");
	const json_t *nested = json_object_get(summary, "tables_made_nested");
	uint64_t bytes = number(summary, "table_bytes"), mapped_bytes = 0;

	fprintf(to, "  tables       %s", text_count(sum(tables)).text);
	for (unsigned level = VMMU_LEVEL_MAX; level >= 1; level--)
		if (at_level(tables, level))
			fprintf(to, ", %s of level %u", text_count(at_level(tables, level)).text, level);
	fprintf(to, "; %s freed\n", text_count(number(summary, "tables_freed")).text);
	if (sum(nested))
		fprintf(to, "  tables made  %s for L1, %s for L2\n",
		        text_count(sum(tables) + number(summary, "tables_freed") - sum(nested)).text, text_count(sum(nested)).text);

	fprintf(to, "  mapped       ");
	for (unsigned level = VMMU_LEVEL_1G; level >= 1; level--) {
		uint64_t pages = at_level(mapped, level);

		mapped_bytes += pages * vmmu_level_pages(level) * VMMU_PAGE_SIZE;
		if (pages)
			fprintf(to, "%s x %s, ", text_count(pages).text, text_level_span(level));
	}
	fprintf(to, "together %s\n", text_bytes(mapped_bytes).text);

	fprintf(to, "  table memory %s", text_bytes(bytes).text);
	if (mapped_bytes)
		fprintf(to, " = %s per GiB mapped",
		        text_bytes((uint64_t)((double)bytes * (1 << 30) / (double)mapped_bytes)).text);
	fputc('\n', to);
}

/* By level, where the guest has run guests. */
static void print_exits(FILE *to, const json_t *summary)
{
	json_t *exits = json_object_get(summary, "exits"), *of_l2 = json_object_get(summary, "exits_l2"), *of_l1, *value;
	const char *key;

	if (sum(of_l2) == 0) {
		print_counts(to, "exits", exits);
		return;
	}
	of_l1 = json_object();
	json_object_foreach(exits, key, value) if (number(exits, key) > number(of_l2, key))
		json_object_set_new(of_l1, key, json_integer((json_int_t)(number(exits, key) - number(of_l2, key))));
	print_counts(to, "exits of L1", of_l1);
	print_counts(to, "exits of L2", of_l2);
	json_decref(of_l1);
}

static void print_longest_exit(FILE *to, const json_t *longest)
{
	const char *kind = json_string_value(json_object_get(longest, "kind"));

	if (kind && *kind)
		fprintf(to, "  longest exit %.3f ms (%s)\n", (double)number(longest, "ns") / 1e6, kind);
}

/* Exits that there were none of: programs were carried out up to the next page that they touched first. */
static void print_run_ahead(FILE *to, const json_t *ahead)
{
	if (number(ahead, "instructions"))
		fprintf(to, "  run ahead    %s instructions, %s faults met\n", text_count(number(ahead, "instructions")).text,
		        text_count(number(ahead, "faults")).text);
}

static void print_trace(FILE *to, const struct run_facts *facts)
{
	if (!facts->trace)
		return;
	fprintf(to, "  trace        %s: %s records, %s lost\n", facts->trace,
	        text_count(facts->trace_records).text, text_count(facts->trace_dropped).text);
}

void summary_print(FILE *to, const json_t *summary, const struct run_facts *facts,
                   const struct palette *palette)
{
	double guest = (double)number(summary, "guest_ns") / 1e9;
	uint64_t findings = number(summary, "audit_findings");

	fprintf(to, "\n%svmmu: %s%s, exit status %d  (%s, %s, pages up to %s)\n", palette->bold, facts->status,
	        palette->off, facts->exit_status, facts->machine, facts->mmu, facts->page_size);
	fprintf(to, "  time         %.3f s of guest time, %.1f s of real time\n", guest, facts->seconds);
	if (facts->where)
		fprintf(to, "  guest at     %s\n", facts->where);
	print_counts(to, "violations", json_object_get(summary, "faults"));
	print_entries(to, json_object_get(summary, "entries"));
	print_tables(to, summary);
	print_exits(to, summary);
	print_longest_exit(to, json_object_get(summary, "longest_exit"));
	print_run_ahead(to, json_object_get(summary, "run_ahead"));
	print_trace(to, facts);
	fprintf(to, "  audit        %s%s finding%s%s\n", findings ? palette->red : palette->green,
	        findings ? text_count(findings).text : "no", findings == 1 ? "" : "s", palette->off);
}
