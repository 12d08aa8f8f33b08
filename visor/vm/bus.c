/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/bus.h"

#include "visor/host/execute.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

static bool bus_read(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct vm *vm = ctx;

	if (memory_load(vm, gpa, size, value))
		return true;
	if (!platform_mmio_read(vm->platform, gpa, size, value))
		*value = UINT64_MAX; /* nobody answers: the bus floats high, as on a PC */
	return true;
}

static bool bus_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	struct vm *vm = ctx;

	/* A write to a read-only slot or to nothing is lost, as on a PC. */
	if (!memory_write(vm, gpa, &value, size) && !memory_covers(vm, gpa))
		platform_mmio_write(vm->platform, gpa, size, value);
	return true;
}

static void *bus_page(void *ctx, uint64_t gpa, bool write)
{
	return memory_page(ctx, gpa, write);
}

static void bus_written(void *ctx, uint64_t gpa, uint64_t bytes)
{
	struct vm *vm = ctx;

	vmmu_guest_written(vm->vcpu.mmu, vmmu_gpa_of(gpa), bytes);
}

static void bus_stored(void *ctx, uint64_t gpa)
{
	struct vm *vm = ctx;

	vmmu_mark_dirty(vm->mmu, vm->vcpu.mmu, vmmu_gpa_gfn(vmmu_gpa_of(gpa)));
}

static int bus_execute(void *ctx, const uint8_t *code, unsigned bytes, struct native_registers *registers,
                       uint64_t *where)
{
	(void)ctx;
	*where = (uintptr_t)native_code;
	return execute_code(code, bytes, registers);
}

void bus_connect(struct vm *vm)
{
	vm->bus = (struct guest_memory){
		.read = bus_read,
		.write = bus_write,
		.execute = bus_execute,
		.page = bus_page,
		.written = bus_written,
		.ctx = vm,
		.host = &vm->host,
		.stored = bus_stored,
		.cpu = cpuid_paging(&vm->vcpu),
		.mode = &vm->mode,
	};
}
