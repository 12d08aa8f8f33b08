/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/summary.h"

#include "visor/host/clock.h"
#include "visor/host/log.h"
#include "visor/lib/format.h"
#include "visor/vm/memory.h"
#include "visor/vm/trace_disk.h"
#include "visor/vm/vm.h"

static void write_by_level(const char *key, const uint64_t *levels)
{
	char name[8];

	json_open(key);
	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++) {
		snprintf(name, sizeof(name), "%u", level);
		if (levels[level])
			json_number(name, levels[level]);
	}
	json_close();
}

static void write_exits(const struct vm *vm)
{
	json_open("exits");
	for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
		uint64_t count = kind == EXIT_MEMORY_FAULT ? vm->vcpu.memory_faults : vm->exits[kind];

		if (count || kind == EXIT_CR3_ACCESS || kind == EXIT_INVLPG)
			json_number(exit_kind_name(&vm->vcpu, kind), count);
	}
	json_close();
}

static void write_faults(const struct vmmu_stats *s)
{
	json_open("faults");
	for (unsigned result = 1; result < VMMU_FAULT_RESULT_COUNT; result++) {
		if (s->faults[result])
			json_number(vmmu_fault_result_name(result), s->faults[result]);
	}
	json_close();
}

static void write_entries(const struct vmmu_stats *s)
{
	json_open("entries");
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++) {
		uint64_t sum = 0;

		for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
			sum += s->entries[cause][level];
		if (sum)
			write_by_level(vmmu_cause_name(cause), s->entries[cause]);
	}
	json_close();
}

static void write_tables(const struct vmmu_stats *s)
{
	uint64_t live[VMMU_LEVEL_MAX + 1] = {0}, total = 0, freed = 0;

	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++) {
		live[level] = s->tables_allocated[level] - s->tables_freed[level];
		total += live[level];
		freed += s->tables_freed[level];
	}
	write_by_level("tables", live);
	json_number("tables_freed", freed);
	json_number("table_bytes", total * VMMU_PAGE_SIZE);
}

void summary_write(struct vm *vm)
{
	struct vmmu_stats s;

	vmmu_stats_read(vm->mmu, &s);
	json_begin("summary");
	json_number("guest_ns", clock_ticks_to_ns(vm->end_tsc - vm->start_tsc));
	json_number("host_ticks", vm->end_tsc - vm->start_tsc);
	write_exits(vm);
	write_faults(&s);
	write_entries(&s);
	write_tables(&s);
	json_open("mapped");
	json_number("4k", s.pages[VMMU_LEVEL_4K]);
	json_number("2m", s.pages[VMMU_LEVEL_2M]);
	json_number("1g", s.pages[VMMU_LEVEL_1G]);
	json_close();
	json_number("frames", memory_frames(vm));
	json_number("trace_records", trace_disk_records());
	json_number("trace_dropped", trace_disk_dropped());
	json_number("audit_findings", vm->audit_findings);
	json_end();
}

static const char *end_name(enum vm_end end)
{
	switch (end) {
	case VM_POWER_OFF: return "power-off";
	case VM_REBOOT: return "reboot";
	case VM_TRIPLE_FAULT: return "triple-fault";
	case VM_DEBUG_EXIT: return "debug-exit";
	case VM_HALTED: return "halted";
	case VM_KILLED: return "killed";
	case VM_RUNNING:
	case VM_FAILED: break;
	}
	return "failed";
}

void summary_end(const struct vm *vm)
{
	json_begin("end");
	json_string("status", end_name(vm->end));
	json_number("code", vm->end_code);
	if (vm->reason[0])
		json_string("reason", vm->reason);
	json_end();
}
