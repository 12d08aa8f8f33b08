/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/counters.h"

#include "visor/cpu/x86.h"
#include "visor/host/log.h"
#include "visor/lib/format.h"
#include "visor/lib/string.h"
#include "visor/vm/nested.h"
#include "visor/vm/vm.h"

static const char *const exit_names[EXIT_KIND_COUNT] = {
	[EXIT_MISCONFIGURATION] = "ept-misconfiguration",
	[EXIT_CR3_WRITE] = "cr3-write",
	[EXIT_CR3_READ] = "cr3-read",
	[EXIT_INVLPG] = "invlpg",
	[EXIT_CR_ACCESS] = "cr-access",
	[EXIT_CR8_ACCESS] = "cr8-access",
	[EXIT_DR_ACCESS] = "dr-access",
	[EXIT_IO] = "io",
	[EXIT_CPUID] = "cpuid",
	[EXIT_MSR_READ] = "msr-read",
	[EXIT_MSR_WRITE] = "msr-write",
	[EXIT_HLT] = "hlt",
	[EXIT_EXTERNAL_INTERRUPT] = "external-interrupt",
	[EXIT_INTERRUPT_WINDOW] = "interrupt-window",
	[EXIT_NMI_WINDOW] = "nmi-window",
	[EXIT_NMI] = "nmi",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_INIT] = "init",
	[EXIT_TASK_SWITCH] = "task-switch",
	[EXIT_XSETBV] = "xsetbv",
	[EXIT_CACHE] = "invd-wbinvd",
	[EXIT_UNDEFINED] = "undefined-instruction",
	[EXIT_HYPERCALL] = "hypercall",
	[EXIT_RDPMC] = "rdpmc",
	[EXIT_TRIPLE_FAULT] = "triple-fault",
	[EXIT_NESTED_ENTRY] = "nested-entry",
	[EXIT_NESTED_EXIT] = "nested-exit",
	[EXIT_NESTED_INSTRUCTION] = "nested-instruction",
	[EXIT_OTHER] = "other",
};

const char *exit_kind_name(const struct vcpu *vcpu, enum exit_kind kind)
{
	return kind == EXIT_MEMORY_FAULT ? vcpu->backend->fault_exit : exit_names[kind];
}

void exit_count(struct vcpu *vcpu, enum exit_kind kind)
{
	vcpu->vm->exits[kind]++;
	if (vcpu->nested.l2)
		vcpu->vm->l2_exits[kind]++;
	vcpu->vm->watch.kind = kind;
}

void counters_read(struct vm *vm, struct counters *out)
{
	out->tsc = rdtsc();
	memcpy(out->exits, vm->exits, sizeof(out->exits));
	out->exits[EXIT_MEMORY_FAULT] = vm->vcpu.memory_faults; /* counted apart, on the hot path */
	memcpy(out->l2_exits, vm->l2_exits, sizeof(out->l2_exits));
	out->l2_exits[EXIT_MEMORY_FAULT] = nested_faults_of_l2(&vm->vcpu);
	out->ahead_instructions = vm->ahead.instructions;
	out->ahead_faults = vm->ahead.faults;
	vmmu_stats_read(vm->mmu, &out->engine);
}

void counters_difference(const struct counters *after, const struct counters *before, struct counters *out)
{
	/* Nothing but 64-bit counts: whatever is added to them is subtracted, too. */
	_Static_assert(sizeof(*out) % sizeof(uint64_t) == 0, "counters are words");
	const uint64_t *a = (const uint64_t *)after, *b = (const uint64_t *)before;
	uint64_t *difference = (uint64_t *)out;

	for (size_t i = 0; i < sizeof(*out) / sizeof(uint64_t); i++)
		difference[i] = a[i] - b[i];
}

static uint64_t sum(const uint64_t *levels)
{
	uint64_t total = 0;

	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
		total += levels[level];
	return total;
}

uint64_t counters_tables_allocated(const struct counters *c)
{
	return sum(c->engine.tables_allocated);
}

uint64_t counters_tables_freed(const struct counters *c)
{
	return sum(c->engine.tables_freed);
}

static void write_exits(const struct vm *vm, const struct counters *c)
{
	json_open("exits");
	for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
		if (c->exits[kind] || kind == EXIT_CR3_WRITE || kind == EXIT_CR3_READ || kind == EXIT_INVLPG)
			json_number(exit_kind_name(&vm->vcpu, kind), c->exits[kind]);
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

static void write_ahead(const struct counters *c)
{
	json_open("run_ahead");
	json_number("instructions", c->ahead_instructions);
	json_number("faults", c->ahead_faults);
	json_close();
}

void counters_write_by_level(const char *key, const uint64_t *levels)
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

static void write_entries(const struct vmmu_stats *s)
{
	json_open("entries");
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++) {
		if (sum(s->entries[cause]))
			counters_write_by_level(vmmu_cause_name(cause), s->entries[cause]);
	}
	json_close();
	json_open("zapped");
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++) {
		if (s->zapped[cause])
			json_number(vmmu_cause_name(cause), s->zapped[cause]);
	}
	json_close();
}

/* How many of these L2 has made; the others are L1's. */
static void write_l2_exits(const struct vm *vm, const struct counters *c)
{
	json_open("exits_l2");
	for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
		if (c->l2_exits[kind])
			json_number(exit_kind_name(&vm->vcpu, kind), c->l2_exits[kind]);
	}
	json_close();
}

void counters_write(const struct vm *vm, const struct counters *c)
{
	write_exits(vm, c);
	if (vm->options->nested)
		write_l2_exits(vm, c);
	write_faults(&c->engine);
	if (vm->vcpu.backend->mode == VMMU_MODE_SHADOW)
		write_ahead(c);
	write_entries(&c->engine);
}
