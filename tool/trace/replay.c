/* SPDX-License-Identifier: BSD-2-Clause */
#include "replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS = 16384,
	/* How many records later the write that an early one follows may stand. */
	PATIENCE = 4096,
};

void replay_init(struct replay *replay, replay_problem_fn problem, void *arg)
{
	*replay = (struct replay){
		.buckets = allocate(BUCKETS * sizeof(*replay->buckets)), .problem = problem, .arg = arg};
}

void replay_free(struct replay *replay)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (replay->buckets[i]) {
			struct replay_table *table = replay->buckets[i];

			replay->buckets[i] = table->next;
			free(table);
		}
	}
	free(replay->buckets);
	free(replay->vms);
	free(replay->early);
	*replay = (struct replay){0};
}

static void problem(struct replay *replay, uint64_t record, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void problem(struct replay *replay, uint64_t record, const char *format, ...)
{
	va_list arguments;
	char *text;

	if (!replay->problem)
		return;
	va_start(arguments, format);
	text = formatted_v(format, arguments);
	va_end(arguments);
	replay->problem(replay->arg, record, text);
	free(text);
}

static struct replay_table **link_to(const struct replay *replay, uint64_t hpa)
{
	struct replay_table **link = &replay->buckets[(hpa >> VMMU_PAGE_SHIFT) % BUCKETS];

	while (*link && (*link)->hpa != hpa)
		link = &(*link)->next;
	return link;
}

struct replay_table *replay_table_at(const struct replay *replay, uint64_t hpa)
{
	return *link_to(replay, hpa);
}

/* A table that `record` names, at `hpa`. */
static struct replay_table *table_add(struct replay *replay, const struct vmmu_trace_record *record,
                                      uint64_t hpa, uint64_t gfn)
{
	struct replay_table **link = link_to(replay, hpa);
	struct replay_table *table = allocate(sizeof(*table));

	table->hpa = hpa;
	table->gfn = gfn;
	table->vm = record->vm;
	table->level = record->level;
	*link = table;
	return table;
}

static void table_remove(struct replay *replay, uint64_t hpa)
{
	struct replay_table **link = link_to(replay, hpa), *table = *link;

	*link = table->next;
	free(table);
}

struct replay_vm *replay_vm_of(const struct replay *replay, uint16_t id)
{
	for (size_t i = 0; i < replay->vm_count; i++)
		if (replay->vms[i].id == id)
			return &replay->vms[i];
	return NULL;
}

/* APM vol. 2, 5.4.2 (A bit 5, D bit 6); SDM vol. 3, 29.3.5 (EPT: A bit 8, D bit 9). */
static uint64_t bits_the_cpu_sets(const struct vmmu_decoder *decoder)
{
	if (decoder->mode != VMMU_MODE_EPT)
		return 3u << 5;
	return decoder->cpu.ad ? 3u << 8 : 0;
}

static struct replay_vm *vm_named(struct replay *replay, uint16_t id)
{
	struct replay_vm *vm = replay_vm_of(replay, id);

	if (vm)
		return vm;
	replay->vms = reallocate(replay->vms, (replay->vm_count + 1) * sizeof(*replay->vms));
	vm = &replay->vms[replay->vm_count++];
	*vm = (struct replay_vm){.id = id, .decoder = {.mode = VMMU_MODE_EPT, .levels = 4}};
	return vm;
}

static void forget_tables(struct replay *replay, uint16_t vm)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct replay_table **link = &replay->buckets[i];

		while (*link) {
			struct replay_table *table = *link;

			if (table->vm != vm) {
				link = &table->next;
				continue;
			}
			*link = table->next;
			free(table);
		}
	}
}

static void take_vm(struct replay *replay, const struct vmmu_trace_record *record)
{
	struct replay_vm *vm = vm_named(replay, record->vm);

	vmmu_trace_decoder(record, &vm->decoder);
	vm->cpu_bits = bits_the_cpu_sets(&vm->decoder);
	forget_tables(replay, record->vm);
}

bool replay_same_entry(const struct replay_vm *vm, uint64_t recorded, uint64_t seen, uint64_t *bits)
{
	uint64_t set = seen & ~recorded;

	/* An entry that is not there has nothing the CPU could mark. */
	if (recorded & ~seen || set & ~(vm ? vm->cpu_bits : 0) || (set && !recorded))
		return false;
	if (bits)
		*bits += (uint64_t)__builtin_popcountll(set);
	return true;
}

static struct replay_table *table_written(struct replay *replay, const struct vmmu_trace_record *record,
                                          uint64_t number)
{
	struct replay_table *table = replay_table_at(replay, record->spte.table);

	if (table)
		return table;
	problem(replay, number, "a write to table 0x%" PRIx64 ", which no record before it took into use",
	        record->spte.table);
	return table_add(replay, record, record->spte.table, record->spte.gfn & ~(vmmu_level_pages(record->level + 1u) - 1));
}

/* Does the entry hold what the record found there? */
static bool follows(struct replay *replay, const struct replay_table *table,
                    const struct vmmu_trace_record *record, uint64_t *bits)
{
	return replay_same_entry(replay_vm_of(replay, record->vm), table->entry[record->index], record->spte.old_spte,
	                         bits);
}

static void take_write(struct replay *replay, struct replay_table *table,
                       const struct vmmu_trace_record *record)
{
	table->entry[record->index] = record->spte.new_spte;
	replay->writes++;
}

static void forget_early(struct replay *replay, size_t i)
{
	memmove(&replay->early[i], &replay->early[i + 1],
	        (--replay->early_count - i) * sizeof(*replay->early));
}

static bool same_entry(const struct vmmu_trace_record *a, const struct vmmu_trace_record *b)
{
	return a->spte.table == b->spte.table && a->index == b->index;
}

/* The entry that `record` wrote has changed: does that make an early write of it follow? */
static void take_early(struct replay *replay, const struct trace_file *trace, struct replay_table *table,
                       const struct vmmu_trace_record *record)
{
	size_t i = 0;

	while (i < replay->early_count) {
		const struct vmmu_trace_record *early = &trace->records[replay->early[i]];

		if (!same_entry(early, record) || !follows(replay, table, early, &replay->cpu_set_bits)) {
			i++;
			continue;
		}
		forget_early(replay, i);
		take_write(replay, table, early);
		i = 0;
	}
}

/* Nothing explains early[i]: report it, believe it. */
static void force(struct replay *replay, const struct trace_file *trace, size_t i)
{
	uint64_t number = replay->early[i];
	const struct vmmu_trace_record *record = &trace->records[number];
	struct replay_table *table;

	forget_early(replay, i);
	table = table_written(replay, record, number);
	problem(replay, number,
	        "level %u table 0x%" PRIx64 " [%u] held 0x%" PRIx64 ", but the record found 0x%" PRIx64 " there",
	        record->level, record->spte.table, record->index, table->entry[record->index], record->spte.old_spte);
	take_write(replay, table, record);
	take_early(replay, trace, table, record);
}

void replay_settle(struct replay *replay, const struct trace_file *trace)
{
	while (replay->early_count)
		force(replay, trace, 0);
}

/* The same for what waits in one table only. */
static void settle_table(struct replay *replay, const struct trace_file *trace, uint64_t hpa)
{
	size_t i = 0;

	while (i < replay->early_count) {
		if (trace->records[replay->early[i]].spte.table != hpa) {
			i++;
			continue;
		}
		force(replay, trace, i);
		i = 0;
	}
}

static void apply_write(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	const struct vmmu_trace_record *record = &trace->records[number];
	struct replay_table *table = table_written(replay, record, number);

	if (table->level != record->level)
		problem(replay, number, "table 0x%" PRIx64 " is of level %u, the record says %u", table->hpa,
		        table->level, record->level);
	if (!follows(replay, table, record, &replay->cpu_set_bits)) {
		/* Two CPUs may be recorded the wrong way round: wait for the write between. */
		replay->early = reallocate(replay->early,
		                           (replay->early_count + 1) * sizeof(*replay->early));
		replay->early[replay->early_count++] = number;
		return;
	}
	take_write(replay, table, record);
	if (replay->early_count)
		take_early(replay, trace, table, record);
}

static void apply_get_page(struct replay *replay, const struct vmmu_trace_record *record, uint64_t number)
{
	if (replay_table_at(replay, record->page.table)) {
		problem(replay, number, "table 0x%" PRIx64 " is taken into use while it is in use", record->page.table);
		table_remove(replay, record->page.table);
	}
	table_add(replay, record, record->page.table, record->page.gfn);
}

static void apply_root_load(struct replay *replay, const struct vmmu_trace_record *record)
{
	struct replay_vm *vm = vm_named(replay, record->vm);

	vm->root = record->root_load.table;
	vm->root_id = record->root;
	if (!replay_table_at(replay, record->root_load.table))
		table_add(replay, record, record->root_load.table, 0);
}

static void apply_free_page(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	uint64_t hpa = trace->records[number].page.table;

	settle_table(replay, trace, hpa);
	if (replay_table_at(replay, hpa))
		table_remove(replay, hpa);
	else
		problem(replay, number, "table 0x%" PRIx64 " is freed, but it was not in use", hpa);
}

void replay_note_entry(struct replay *replay, const struct vmmu_trace_record *record)
{
	struct replay_table *table = replay_table_at(replay, record->entry.table);

	if (!table)
		table = table_add(replay, record, record->entry.table, record->entry.gfn & ~(vmmu_level_pages(record->level + 1u) - 1));
	table->entry[record->index] = record->entry.spte;
}

void replay_apply(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	const struct vmmu_trace_record *record = &trace->records[number];

	if (replay->early_count && number - replay->early[0] > PATIENCE)
		force(replay, trace, 0);
	switch (record->event) {
	case VMMU_TRACE_VM:
		take_vm(replay, record);
		break;
	case VMMU_TRACE_ROOT_LOAD:
		apply_root_load(replay, record);
		break;
	case VMMU_TRACE_GET_PAGE:
		apply_get_page(replay, record, number);
		break;
	case VMMU_TRACE_SPTE_CHANGED:
		apply_write(replay, trace, number);
		break;
	case VMMU_TRACE_FOUND:
		replay_note_entry(replay, record);
		break;
	case VMMU_TRACE_FREE_PAGE:
		apply_free_page(replay, trace, number);
		break;
	default:
		break;
	}
}

void replay_range(struct replay *replay, const struct trace_file *trace, uint64_t from, uint64_t to)
{
	for (uint64_t number = from; number < to; number++)
		replay_apply(replay, trace, number);
}

unsigned replay_index(uint64_t address, unsigned level)
{
	return address >> (VMMU_PAGE_SHIFT + 9 * (level - 1)) & (TABLE_ENTRIES - 1);
}

unsigned replay_walk(const struct replay *replay, const struct replay_vm *vm, uint64_t root,
                     uint64_t address, struct vmmu_path_step *steps)
{
	const struct replay_table *top = replay_table_at(replay, root);
	unsigned level = vm->decoder.levels, count = 0;
	uint64_t hpa = root;

	/* Under shadow paging the guest's mode decides. */
	if (top && top->level < level && vm->decoder.mode == VMMU_MODE_SHADOW)
		level = top->level;
	for (; level >= 1; level--) {
		const struct replay_table *table = replay_table_at(replay, hpa);
		struct vmmu_path_step *step = &steps[count];

		if (!table)
			break;
		*step = (struct vmmu_path_step){
			.level = (uint8_t)level, .index = (uint16_t)replay_index(address, level), .table = {hpa}};
		step->entry = table->entry[step->index];
		vmmu_entry_decode(&vm->decoder, level, step->entry, &step->info);
		count++;
		if (step->info.kind != VMMU_ENTRY_TABLE)
			break;
		hpa = vmmu_pfn_hpa(step->info.pfn).v;
	}
	return count;
}
