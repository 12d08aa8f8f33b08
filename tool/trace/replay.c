/* SPDX-License-Identifier: BSD-2-Clause */
#include "replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* How many records later the write that an early one follows may stand. */
	PATIENCE = 4096,
	/* How many that wait for the same are looked at. */
	ALIKE_MAX = 64,
};

struct replay_early {
	uint64_t number;                 /* of the record */
	uint64_t key;                    /* in replay->early */
	struct replay_early *next, **at; /* in the order of records */
	struct replay_early *table_next, **table_at;
	struct replay_early *alike; /* with the same key, later */
	struct replay_table *table;
};

void replay_init(struct replay *replay, replay_problem_fn problem, void *arg)
{
	*replay = (struct replay){.seed = map_random_seed(), .problem = problem, .arg = arg};
	replay->last = &replay->first;
}

static void table_free(struct replay_table *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(table->part); i++)
		free(table->part[i]);
	free(table);
}

void replay_free(struct replay *replay)
{
	while (replay->first) {
		struct replay_early *early = replay->first;

		replay->first = early->next;
		free(early);
	}
	for (size_t i = 0; i < replay->vm_count; i++) {
		while (replay->vms[i].tables) {
			struct replay_table *table = replay->vms[i].tables;

			replay->vms[i].tables = table->next;
			table_free(table);
		}
	}
	map_free(&replay->tables);
	map_free(&replay->vm_numbers);
	map_free(&replay->early);
	free(replay->vms);
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

struct replay_table *replay_table_at(const struct replay *replay, uint64_t hpa)
{
	uint64_t place = map_get(&replay->tables, hpa);

	return place != MAP_NONE ? (struct replay_table *)(uintptr_t)place : NULL;
}

static struct replay_cell cell_at(const struct replay_table *table, unsigned index)
{
	const struct replay_cell *part = table->part[index / PART_ENTRIES];

	return part ? part[index % PART_ENTRIES] : (struct replay_cell){0};
}

uint64_t replay_entry(const struct replay_table *table, unsigned index)
{
	return cell_at(table, index).entry;
}

uint64_t replay_entry_gfn(const struct replay_table *table, unsigned index)
{
	return cell_at(table, index).gfn;
}

static void set_entry(struct replay_table *table, unsigned index, uint64_t value, uint64_t gfn)
{
	struct replay_cell **part = &table->part[index / PART_ENTRIES];

	if (!*part && value)
		*part = allocate(PART_ENTRIES * sizeof(**part));
	if (*part)
		(*part)[index % PART_ENTRIES] = (struct replay_cell){value, gfn};
}

uint32_t replay_pass(struct replay *replay)
{
	return ++replay->passes;
}

bool replay_see(struct replay_table *table, uint32_t pass)
{
	bool first = table->seen != pass;

	table->seen = pass;
	return first;
}

struct replay_vm *replay_vm_of(const struct replay *replay, uint16_t id)
{
	uint64_t number = map_get(&replay->vm_numbers, id);

	return number != MAP_NONE ? &replay->vms[number] : NULL;
}

static void list_table(struct replay_vm *vm, struct replay_table *table)
{
	table->next = vm->tables;
	table->at = &vm->tables;
	if (table->next)
		table->next->at = &table->next;
	vm->tables = table;
}

static struct replay_vm *vm_named(struct replay *replay, uint16_t id)
{
	struct replay_vm *vm = replay_vm_of(replay, id);

	if (vm)
		return vm;
	/* Doubled when full: then the lists' heads move, and what points to them. */
	if ((replay->vm_count & (replay->vm_count - 1)) == 0) {
		size_t room = replay->vm_count ? 2 * replay->vm_count : 1;

		replay->vms = reallocate(replay->vms, room * sizeof(*replay->vms));
		for (size_t i = 0; i < replay->vm_count; i++)
			if (replay->vms[i].tables)
				replay->vms[i].tables->at = &replay->vms[i].tables;
	}
	*map_at(&replay->vm_numbers, id) = replay->vm_count;
	vm = &replay->vms[replay->vm_count++];
	*vm = (struct replay_vm){.id = id, .decoder = {.mode = VMMU_MODE_EPT, .levels = 4}};
	return vm;
}

/* A table that `record` names, at `hpa`. */
static struct replay_table *table_add(struct replay *replay, const struct vmmu_trace_record *record,
                                      uint64_t hpa, uint64_t gfn)
{
	struct replay_table *table = allocate(sizeof(*table));

	table->hpa = hpa;
	table->gfn = gfn;
	table->vm = record->vm;
	table->root = record->root;
	table->early_last = &table->early;
	table->level = record->level;
	list_table(vm_named(replay, record->vm), table);
	*map_at(&replay->tables, hpa) = (uintptr_t)table;
	return table;
}

/* Nothing waits in it. */
static void table_remove(struct replay *replay, struct replay_table *table)
{
	*table->at = table->next;
	if (table->next)
		table->next->at = table->at;
	map_remove(&replay->tables, table->hpa);
	table_free(table);
}

/* APM vol. 2, 5.4.2 (A bit 5, D bit 6); SDM vol. 3, 29.3.5 (EPT: A bit 8, D bit 9). */
static uint64_t bits_the_cpu_sets(const struct vmmu_decoder *decoder)
{
	if (decoder->mode != VMMU_MODE_EPT)
		return 3u << 5;
	return decoder->cpu.ad ? 3u << 8 : 0;
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
	return replay_same_entry(replay_vm_of(replay, record->vm), replay_entry(table, record->index), record->spte.old_spte,
	                         bits);
}

static void take_write(struct replay *replay, struct replay_table *table,
                       const struct vmmu_trace_record *record)
{
	set_entry(table, record->index, record->spte.new_spte, record->spte.gfn);
	replay->writes++;
}

/* ---- writes that come before the one they follow ---------------------------------- */

/* What waits for entry `index` of a table to hold `value`, whatever the CPU sets in it. */
static uint64_t key_of(const struct replay *replay, const struct replay_table *table, unsigned index, uint64_t value)
{
	const struct replay_vm *vm = replay_vm_of(replay, table->vm);

	return map_hash(map_hash(table->hpa + index, replay->seed) + (value & ~(vm ? vm->cpu_bits : 0)), replay->seed);
}

/* The last of those that wait for it, which form a ring: its `alike` is the first. NULL: there is none. */
static struct replay_early *last_alike(const struct replay *replay, uint64_t key)
{
	uint64_t place = map_get(&replay->early, key);

	return place != MAP_NONE ? (struct replay_early *)(uintptr_t)place : NULL;
}

static void set_aside(struct replay *replay, struct replay_table *table, const struct vmmu_trace_record *record,
                      uint64_t number)
{
	struct replay_early *early = allocate(sizeof(*early)), *end;

	early->number = number;
	early->table = table;
	early->key = key_of(replay, table, record->index, record->spte.old_spte);
	early->at = replay->last;
	*replay->last = early;
	replay->last = &early->next;
	early->table_at = table->early_last;
	*table->early_last = early;
	table->early_last = &early->table_next;
	end = last_alike(replay, early->key);
	early->alike = end ? end->alike : early;
	if (end)
		end->alike = early;
	*map_at(&replay->early, early->key) = (uintptr_t)early;
}

/* Out of all lists; `before` is the one in front of it in its ring. */
static void take_out(struct replay *replay, struct replay_early *early, struct replay_early *before)
{
	if (before == early) {
		map_remove(&replay->early, early->key);
	} else {
		before->alike = early->alike;
		if (last_alike(replay, early->key) == early)
			*map_at(&replay->early, early->key) = (uintptr_t)before;
	}
	*early->at = early->next;
	if (early->next)
		early->next->at = early->at;
	else
		replay->last = early->at;
	*early->table_at = early->table_next;
	if (early->table_next)
		early->table_next->table_at = early->table_at;
	else
		early->table->early_last = early->table_at;
	free(early);
}

/* The oldest stands first in its ring, so one step finds what is in front of it. */
static void take_out_any(struct replay *replay, struct replay_early *early)
{
	struct replay_early *before = last_alike(replay, early->key);

	while (before->alike != early)
		before = before->alike;
	take_out(replay, early, before);
}

/* An entry of `table` has changed: does that make an early write of it follow, and another that one? */
static void take_early(struct replay *replay, const struct trace_file *trace, struct replay_table *table,
                       unsigned index)
{
	for (;;) {
		struct replay_early *before =
			last_alike(replay, key_of(replay, table, index, replay_entry(table, index)));
		const struct replay_early *end = before;
		bool taken = false;

		for (unsigned looked = 0; before && !taken && looked < ALIKE_MAX; looked++) {
			struct replay_early *early = before->alike;
			const struct vmmu_trace_record *record = &trace->records[early->number];

			if (early->table == table && record->index == index &&
			    follows(replay, table, record, &replay->cpu_set_bits)) {
				take_out(replay, early, before);
				take_write(replay, table, record);
				taken = true;
			}
			before = early == end ? NULL : early;
		}
		if (!taken)
			return;
	}
}

/* Nothing explains this one: report it, believe it. */
static void force(struct replay *replay, const struct trace_file *trace, struct replay_early *early)
{
	uint64_t number = early->number;
	const struct vmmu_trace_record *record = &trace->records[number];
	struct replay_table *table = early->table;

	take_out_any(replay, early);
	problem(replay, number,
	        "level %u table 0x%" PRIx64 " [%u] held 0x%" PRIx64 ", but the record found 0x%" PRIx64 " there",
	        record->level, record->spte.table, record->index, replay_entry(table, record->index),
	        record->spte.old_spte);
	take_write(replay, table, record);
	take_early(replay, trace, table, record->index);
}

void replay_settle(struct replay *replay, const struct trace_file *trace)
{
	while (replay->first)
		force(replay, trace, replay->first);
}

/* The same for what waits in one table only. */
static void settle_table(struct replay *replay, const struct trace_file *trace, struct replay_table *table)
{
	while (table->early)
		force(replay, trace, table->early);
}

/* ---- records --------------------------------------------------------------------- */

static void take_vm(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	const struct vmmu_trace_record *record = &trace->records[number];
	struct replay_vm *vm = vm_named(replay, record->vm);

	while (vm->tables) {
		settle_table(replay, trace, vm->tables);
		table_remove(replay, vm->tables);
	}
	vmmu_trace_decoder(record, &vm->decoder);
	vm->cpu_bits = bits_the_cpu_sets(&vm->decoder);
	vm->described = true;
	vm->nested = record->config.features & VMMU_TRACE_NESTED;
	vm->map = record->root;
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
		set_aside(replay, table, record, number);
		return;
	}
	take_write(replay, table, record);
	if (replay->first)
		take_early(replay, trace, table, record->index);
}

static void apply_get_page(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	const struct vmmu_trace_record *record = &trace->records[number];
	struct replay_table *table = replay_table_at(replay, record->page.table);

	if (table) {
		problem(replay, number, "table 0x%" PRIx64 " is taken into use while it is in use", record->page.table);
		settle_table(replay, trace, table);
		table_remove(replay, table);
	}
	table_add(replay, record, record->page.table, record->page.gfn);
}

static void apply_root_load(struct replay *replay, const struct vmmu_trace_record *record)
{
	struct replay_vm *vm = vm_named(replay, record->vm);
	const struct replay_table *top = replay_table_at(replay, record->root_load.table);

	if (vm->nested && top && top->root == vm->map) {
		vm->l2_root = record->root_load.table;
		return;
	}
	vm->root = record->root_load.table;
	vm->root_id = record->root;
	if (!top)
		table_add(replay, record, record->root_load.table, 0);
}

static void apply_free_page(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	uint64_t hpa = trace->records[number].page.table;
	struct replay_table *table = replay_table_at(replay, hpa);

	if (!table) {
		problem(replay, number, "table 0x%" PRIx64 " is freed, but it was not in use", hpa);
		return;
	}
	settle_table(replay, trace, table);
	table_remove(replay, table);
}

void replay_note_entry(struct replay *replay, const struct vmmu_trace_record *record)
{
	struct replay_table *table = replay_table_at(replay, record->entry.table);

	if (!table)
		table = table_add(replay, record, record->entry.table, record->entry.gfn & ~(vmmu_level_pages(record->level + 1u) - 1));
	set_entry(table, record->index, record->entry.spte, record->entry.gfn);
}

void replay_apply(struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	const struct vmmu_trace_record *record = &trace->records[number];

	if (replay->first && number - replay->first->number > PATIENCE)
		force(replay, trace, replay->first);
	switch (record->event) {
	case VMMU_TRACE_VM:
		take_vm(replay, trace, number);
		break;
	case VMMU_TRACE_ROOT_LOAD:
		apply_root_load(replay, record);
		break;
	case VMMU_TRACE_GET_PAGE:
		apply_get_page(replay, trace, number);
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
	const struct replay_table *top = root ? replay_table_at(replay, root) : NULL;
	unsigned level = vm->decoder.levels, count = 0;
	uint64_t hpa = root;

	if (!top)
		return 0;
	/* Under shadow paging the guest's mode decides. */
	if (top->level < level && vm->decoder.mode == VMMU_MODE_SHADOW)
		level = top->level;
	for (; level >= 1; level--) {
		const struct replay_table *table = replay_table_at(replay, hpa);
		struct vmmu_path_step *step = &steps[count];

		if (!table)
			break;
		*step = (struct vmmu_path_step){
			.level = (uint8_t)level, .index = (uint16_t)replay_index(address, level), .table = {hpa}};
		step->entry = replay_entry(table, step->index);
		vmmu_entry_decode(&vm->decoder, level, step->entry, &step->info);
		count++;
		if (step->info.kind != VMMU_ENTRY_TABLE)
			break;
		hpa = vmmu_pfn_hpa(step->info.pfn).v;
	}
	return count;
}
