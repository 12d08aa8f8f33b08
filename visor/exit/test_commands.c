/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/test_commands.h"

#include "visor/cpu/x86.h"
#include "visor/exit/violate.h"
#include "visor/host/frame.h"
#include "visor/lib/string.h"
#include "visor/vm/fail.h"
#include "visor/vm/memory.h"
#include "visor/vm/test_device.h"
#include "visor/vm/vm.h"
#include "visor/vm/watch.h"

/* More words than any slot has pages for: 1 TiB of guest memory. */
#define DIRTY_WORDS_MAX (1ull << 22)

static enum vmmu_status dirty_log(struct vm *vm, const uint64_t *arg)
{
	uint64_t words = arg[2];
	enum vmmu_status status;
	uint64_t *bitmap;

	if (!words || words > DIRTY_WORDS_MAX)
		return VMMU_ERR_INVALID;
	bitmap = object_alloc(words * sizeof(*bitmap));
	if (!bitmap)
		return VMMU_ERR_NO_MEMORY;
	status = vmmu_dirty_log(vm->mmu, (uint32_t)arg[0], bitmap, words);
	if (status == VMMU_OK && !memory_write(vm, arg[1], bitmap, words * sizeof(*bitmap)))
		status = VMMU_ERR_INVALID;
	object_free(bitmap, words * sizeof(*bitmap));
	return status;
}

static enum vmmu_status invalidate(struct vm *vm, uint64_t base, uint64_t bytes, uint64_t exits)
{
	enum vmmu_status status;

	if (vm->taken_back.exits)
		return VMMU_ERR_BUSY;
	status = vmmu_invalidate_begin(vm->mmu, vmmu_gpa_of(base), bytes);
	if (status != VMMU_OK)
		return status;
	if (exits)
		vm->taken_back = (struct taken_back){base, bytes, exits};
	else
		vmmu_invalidate_end(vm->mmu, vmmu_gpa_of(base), bytes);
	return VMMU_OK;
}

void test_exit_done(struct vm *vm)
{
	struct taken_back *t = &vm->taken_back;

	if (--t->exits && !vm->vcpu.stop)
		return;
	t->exits = 0;
	vmmu_invalidate_end(vm->mmu, vmmu_gpa_of(t->base), t->bytes);
}

static void path(struct vm *vm, uint64_t gpa, uint64_t *result)
{
	struct vmmu_path p;
	const struct vmmu_path_step *last;

	vmmu_path_of(vm->mmu, vmmu_gpa_of(gpa), &p);
	if (!p.steps)
		return;
	last = &p.step[p.steps - 1];
	result[0] = last->level;
	result[1] = last->entry;
	result[2] = last->info.kind;
}

static void stat(struct vm *vm, uint64_t *result)
{
	struct vmmu_stats s;

	vmmu_stats_read(vm->mmu, &s);
	result[0] = vm->vcpu.memory_faults;
	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++) {
		result[1] += s.tables_allocated[level] - s.tables_freed[level];
		for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++)
			result[2] += s.entries[cause][level];
	}
}

static uint32_t command_run(struct vm *vm, struct test_command *c)
{
	const uint64_t *arg = c->arg;

	switch (c->code) {
	case TEST_SLOT_CREATE:
		return memory_add(vm, (uint32_t)arg[0], (uint32_t)arg[1], arg[2], arg[3]);
	case TEST_SLOT_DELETE:
		return memory_remove(vm, (uint32_t)arg[0]);
	case TEST_SLOT_MOVE:
		return memory_move(vm, (uint32_t)arg[0], arg[1]);
	case TEST_SLOT_FLAGS:
		return memory_set_flags(vm, (uint32_t)arg[0], (uint32_t)arg[1]);
	case TEST_RESTRICT:
		return vmmu_range_restrict(vm->mmu, vmmu_gpa_of(arg[0]), arg[1], (unsigned)arg[2]);
	case TEST_DIRTY_LOG:
		return dirty_log(vm, arg);
	case TEST_INVALIDATE:
		return invalidate(vm, arg[0], arg[1], arg[2]);
	case TEST_PREFAULT:
		return vmmu_prefault(vm->vcpu.mmu, vmmu_gpa_of(arg[0]), arg[1], (unsigned)arg[2], &c->result[0]);
	case TEST_AUDIT:
		c->result[0] = vmmu_audit(vm->mmu, NULL, NULL);
		return VMMU_OK;
	case TEST_TRACE:
		vm->vcpu.tracing = arg[0];
		vmmu_trace_enable(vm->mmu, arg[0]);
		return VMMU_OK;
	case TEST_PATH:
		path(vm, arg[0], c->result);
		return VMMU_OK;
	case TEST_STAT:
		stat(vm, c->result);
		return VMMU_OK;
	case TEST_VISOR_STATE:
		c->result[0] = read_cr0();
		c->result[1] = read_cr4();
		c->result[2] = rdmsr(MSR_EFER);
		return VMMU_OK;
	case TEST_VIOLATE:
		violate(vm, arg[0], arg[1]);
		return VMMU_OK;
	default:
		return VMMU_ERR_INVALID;
	}
}

void test_command_run(struct vm *vm, uint32_t gpa)
{
	struct test_command c;

	if (!memory_read(vm, gpa, &c, sizeof(c))) {
		vm_fail(&vm->vcpu, "test device: there is no memory for a command at %x", gpa);
		return;
	}
	memset(c.result, 0, sizeof(c.result));
	if (c.code != TEST_VIOLATE)
		watch_pause();
	c.status = command_run(vm, &c);
	/* The command may have taken away the memory that it stood in. */
	if (!memory_write(vm, gpa, &c, sizeof(c)))
		vm_fail(&vm->vcpu, "test device: there is no memory for the answer at %x", gpa);
}
