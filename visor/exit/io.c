/* SPDX-License-Identifier: BSD-2-Clause */
/* Port access: every port is intercepted, none reaches the machine. */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/test_commands.h"
#include "visor/vm/phases.h"
#include "visor/vm/test_device.h"
#include "visor/vm/vm.h"
#include "visor/vm/watch.h"

static uint32_t port_read(struct vm *vm, uint16_t port, unsigned size)
{
	uint32_t value = UINT32_MAX;

	if (port == TEST_DEVICE_PORT && vm->options->test_device)
		return TEST_DEVICE_SIGNATURE;
	platform_port_read(vm->platform, port, size, &value);
	return value;
}

static void port_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
	if (port == TEST_DEVICE_PORT && vm->options->test_device && size == 4) {
		test_command_run(vm, value);
		watch_resume(&vm->vcpu); /* what a test asks for may take its time */
	} else if (port == TEST_PHASE_PORT && vm->options->test_device && size == 1) {
		phases_mark(vm, (uint8_t)value);
	} else {
		platform_port_write(vm->platform, port, size, value);
	}
}

static uint64_t low_bytes(unsigned size)
{
	return size == 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

/* INS and OUTS move one element; the memory side may fault. False: the guest gets #PF instead. */
static bool string_element(struct vcpu *v, const struct io_access *io, uint64_t gva)
{
	struct vm *vm = v->vm;
	struct vmmu_guest_walk walk;
	unsigned access = io->in ? VMMU_W : VMMU_R;
	uint64_t value = 0;

	/* Bytes one by one, so that an element may cross a page. First all are translated: an
	 * element is either moved or not. */
	for (unsigned i = 0; i < io->size; i++) {
		enum vmmu_guest_result r = guest_translate(&v->state, &vm->bus, gva + i, access, &walk);

		if (r == VMMU_GUEST_FAULT || r == VMMU_GUEST_NO_MEMORY) {
			v->backend->write_special(v, CPU_SPECIAL_CR2, gva + i);
			exit_raise(v, X86_PF, true, walk.error_code);
		} else if (r == VMMU_GUEST_NONCANONICAL) {
			exit_raise(v, X86_GP, true, 0);
		}
		if (r != VMMU_GUEST_OK) /* busy: the guest runs the instruction again */
			return false;
	}
	if (io->in)
		value = port_read(vm, io->port, io->size);
	for (unsigned i = 0; i < io->size; i++) {
		uint64_t byte = value >> i * 8 & 0xff;

		guest_translate(&v->state, &vm->bus, gva + i, access, &walk);
		if (io->in) {
			vm->bus.write(vm->bus.ctx, walk.gpa.v, 1, byte);
		} else {
			vm->bus.read(vm->bus.ctx, walk.gpa.v, 1, &byte);
			value |= (byte & 0xff) << i * 8;
		}
	}
	if (!io->in)
		port_write(vm, io->port, io->size, (uint32_t)value);
	return true;
}

/*
 * One element per exit: the instruction is run again while its count lasts, so
 * that interrupts come in between as on a CPU.
 */
static void string_io(struct vcpu *v, const struct io_access *io)
{
	uint64_t mask = low_bytes(io->address_size);
	unsigned index = io->in ? X86_RDI : X86_RSI;
	uint64_t *gpr = v->state.gpr, step, gva;
	unsigned segment = io->in ? X86_ES : io->segment;

	v->backend->read_state(v);
	if (io->rep && !(gpr[X86_RCX] & mask)) {
		exit_skip(v);
		return;
	}
	gva = (gpr[index] & mask) + v->state.segment[segment].base;
	if (!(v->state.efer & X86_EFER_LMA && v->state.segment[X86_CS].access & X86_ACCESS_LONG))
		gva &= UINT32_MAX;
	if (!string_element(v, io, gva))
		return;
	step = v->state.rflags & X86_FLAG_DF ? -(uint64_t)io->size : io->size;
	gpr[index] = (gpr[index] & ~mask) | ((gpr[index] + step) & mask);
	if (io->rep)
		gpr[X86_RCX] = (gpr[X86_RCX] & ~mask) | ((gpr[X86_RCX] - 1) & mask);
	/* A 32-bit address size clears the upper halves, as every 32-bit write does. */
	if (io->address_size == 4 && v->state.efer & X86_EFER_LMA) {
		gpr[index] &= UINT32_MAX;
		gpr[X86_RCX] = io->rep ? gpr[X86_RCX] & UINT32_MAX : gpr[X86_RCX];
	}
	if (!io->rep || !(gpr[X86_RCX] & mask))
		exit_skip(v);
}

void exit_io(struct vcpu *v, const struct io_access *io)
{
	uint64_t mask = low_bytes(io->size), *rax = &v->state.gpr[X86_RAX];

	exit_count(v, EXIT_IO);
	if (io->string) {
		string_io(v, io);
		return;
	}
	if (io->in) {
		uint32_t value = port_read(v->vm, io->port, io->size);

		*rax = io->size == 4 ? value : (*rax & ~mask) | (value & mask);
	} else {
		port_write(v->vm, io->port, io->size, (uint32_t)(*rax & mask));
	}
	exit_skip(v);
}
